"""A table as readings of a kind: in order of time, in the kind's units.

From: `processors.backtest.series`, out of a file. To: the run. What does not fit is left out, and the person is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from devices.readings import Bool, Float64, Int32, Int64
from devices.spec import Kind, Quantity, Text
from processors.backtest import generic
from processors.backtest.columns import converted, guess, unit_named
from processors.backtest.files import UNKNOWN, Table, few, read_table, short
from processors.backtest.run import Rows, sorted_rows
from processors.backtest.series import Asked, Series, Sheet, any_columns, of_kind
from processors.errors import BacktestError

_VALUES_MAX: Final = 240_000_000  # two gigabytes of numbers


@dataclass(slots=True)
class Loaded:
    """A file as readings. `notes`: what the person should know of how it was read."""

    kind: Kind
    rows: Rows
    table: Table
    notes: list[Text]


def load(path: Path, kind: Kind | None, asked: Asked) -> Loaded:
    """The readings in the file at `path`; `kind` None makes one for its columns.

    BacktestError in one line for a file or a wish that cannot be met.
    """
    sheet = Sheet.of(read_table(path, time=asked.time, zone=asked.zone), asked)
    if kind is None:
        series, names = any_columns(sheet)
        _demand_numbers(series, sheet)
        kind = generic.kind_of(names, asked.detector)
    else:
        series = of_kind(sheet, kind)
        _demand_numbers(series, sheet)
        _to_units(series, kind, asked, sheet.notes)
    return Loaded(kind, _rows(sheet.table, series, kind, asked), sheet.table, sheet.notes)


def _demand_numbers(series: Sequence[Series], sheet: Sheet) -> None:
    if not series:
        raise BacktestError(
            f"{short(sheet.table.path.name)}: expected columns of numbers, got {few(sheet.names)}; nothing was run"
        )


def _to_units(series: Sequence[Series], kind: Kind, asked: Asked, notes: list[Text]) -> None:
    """Everything in the kind's units: by what the person says, by the column's name, else by what the numbers fit."""
    first = series[0].quantity if series else ""
    for quantity in kind.quantities:
        own = [one for one in series if one.quantity == quantity.name]
        if asked.unit and quantity.name == (asked.quantity or first):
            unit = unit_named(asked.unit, quantity)
        elif own and not own[0].unit:
            unit = _guessed(own, quantity, notes)
        else:
            unit = own[0].unit if own else ""
        for one in own:
            one.values = converted(one.values, unit, quantity)


def _guessed(own: Sequence[Series], quantity: Quantity, notes: list[Text]) -> str:
    found = guess(np.concatenate([one.values[:: max(1, len(one.values) // 20_000)] for one in own]), quantity)
    if found is None:
        return ""
    others = (f"（{'、'.join(found.others)}也符合）", f" ({' and '.join(found.others)} would as well)")
    zh, en = others if found.others else ("", "")
    notes.append(
        Text(
            f"{quantity.label.zh}：多数数值按{quantity.unit}不合理，几乎全部符合{found.unit}{zh}，"
            f"按{found.unit}处理；可用--unit指定",
            f"{quantity.name}: most values are implausible in {quantity.unit} and nearly all fit {found.unit}{en}: "
            f"taken as {found.unit}; --unit says otherwise",
        )
    )
    return found.unit


def _rows(table: Table, series: Sequence[Series], kind: Kind, asked: Asked) -> Rows:
    """All series as rows in order of time; a device's quantities of one table row are one reading."""
    keep = _kept(table, asked)
    ids: dict[str, int] = {}
    by_device: dict[str, list[Series]] = {}
    for one in series:
        by_device.setdefault(one.device, []).append(one)
    count = sum(max(len(s.values) for s in own) for own in by_device.values()) * len(kind.quantities)
    if count > _VALUES_MAX:
        raise BacktestError(
            f"{short(table.path.name)}: expected at most {_VALUES_MAX:,} values, got {count:,}; "
            "choose some with --columns, --from and --to; nothing was run"
        )
    rows, times, values = [], [], []
    for device, own in by_device.items():
        place = ids.setdefault(device, len(ids))
        at, block = _together(own, table.time_us, keep, kind)
        rows.append(np.full(len(at), place, dtype=np.int32))
        times.append(at)
        values.append(block)
    row: Int32 = np.concatenate(rows)
    made = sorted_rows(list(ids), row, np.concatenate(times), np.concatenate(values))
    _tell_repeats(made, table.notes)
    return made


def _kept(table: Table, asked: Asked) -> Bool:
    keep: Bool = table.time_us != UNKNOWN
    if asked.from_us is not None:
        keep &= table.time_us >= asked.from_us
    if asked.to_us is not None:
        keep &= table.time_us < asked.to_us
    if not keep.any():
        raise BacktestError(
            f"{short(table.path.name)}: expected rows between --from and --to, got none; nothing was run"
        )
    return keep


def _together(own: Sequence[Series], time_us: Int64, keep: Bool, kind: Kind) -> tuple[Int64, Float64]:
    """(n,) times and (n, q) values of one device; series over the same rows of the table share a row."""
    where = [np.arange(len(time_us)) if one.where is None else one.where for one in own]
    if all(len(one) == len(where[0]) and (one == where[0]).all() for one in where):
        fine = keep[where[0]]
        at, values = time_us[where[0]][fine], np.full((int(fine.sum()), len(kind.quantities)), np.nan)
        for one in own:
            values[:, kind.column(one.quantity)] = one.values[fine]
        return at, values
    at = np.unique(np.concatenate([time_us[one][keep[one]] for one in where]))
    values = np.full((len(at), len(kind.quantities)), np.nan)
    for one, rows in zip(own, where, strict=True):
        fine = keep[rows][::-1]  # backwards: where a time repeats, the first value stays
        place = np.searchsorted(at, time_us[rows][::-1][fine])
        values[place, kind.column(one.quantity)] = one.values[::-1][fine]
    return at, values


def _tell_repeats(rows: Rows, notes: list[Text]) -> None:
    order = np.lexsort((rows.time_us, rows.row))
    same = (np.diff(rows.time_us[order]) == 0) & (np.diff(rows.row[order]) == 0)
    if same.any():
        count = int(same.sum())
        notes.append(
            Text(
                f"有{count:,}行与同一设备的其他行时间相同，重复的只计一次",
                f"{count:,} rows repeat a device's time: what they repeat counts once",
            )
        )
