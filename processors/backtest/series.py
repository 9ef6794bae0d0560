"""The columns of a table as series: whose, of which quantity, and their numbers.

From: `processors.backtest.layout`, with the columns a person chose. To: the same, which makes rows of them. A table is
long with a column that names devices; else wide: a column per quantity where names say so, else a column per device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import numpy as np

from devices.readings import Float64, Int64
from devices.spec import Kind, Quantity, Text
from processors.backtest.columns import Match, device_column, is_label, main_quantity, match, melted, stranger
from processors.backtest.files import Table, few, short
from processors.errors import BacktestError

if TYPE_CHECKING:
    import pandas as pd

_DEVICES_MAX: Final = 200_000
_NAME_MAX: Final = 128
_LABELS: Final = Text("像是标签（可用--columns指定）", "they look like labels (--columns would take them)")
_TEXT: Final = Text("内容是文字", "they hold text")
_NO_QUANTITY: Final = Text("列名不是该类设备的量", "they name no quantity of this kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How the person wants a file to be read; empty: by what the file says.

    `columns`: patterns as of file names, comma separated. `unit`: of the values. `time`: the time column. `zone`: what
    times without an offset mean. `quantity`: what the device columns hold. `named`: column -> quantity. `detector`:
    for the generic kind. `from_us`, `to_us`: UTC microseconds.
    """

    columns: str = ""
    unit: str = ""
    time: str = ""
    zone: str = "Asia/Shanghai"
    quantity: str = ""
    named: Mapping[str, str] = field(default_factory=dict)
    detector: str = ""
    from_us: int | None = None
    to_us: int | None = None


@dataclass(slots=True)
class Series:
    """One column's numbers: whose, and of which quantity. `where`: (n,) rows of the table, None for all."""

    device: str
    quantity: str
    values: Float64
    where: Int64 | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table as the person wants it read: `frame` has the columns chosen, `device` is the one that names devices."""

    table: Table
    frame: pd.DataFrame
    asked: Asked
    device: str | None

    @classmethod
    def of(cls, table: Table, asked: Asked) -> Sheet:
        """BacktestError when no column is as asked for."""
        device = _device_column(table.columns)
        frame = (
            table.columns if not asked.columns else table.columns[_chosen(table.columns, asked.columns, device)]
        )
        return cls(table, frame, asked, device)

    @property
    def notes(self) -> list[Text]:
        """What the person should know; to be added to."""
        return self.table.notes

    @property
    def names(self) -> list[str]:
        """The columns that may hold numbers."""
        return [name for name in self.frame.columns if name != self.device]

    def labels(self) -> set[str]:
        """Columns that say what was wrong rather than what was measured, unless asked for."""
        return set() if self.asked.columns else {name for name in self.names if is_label(name)}

    def parts(self) -> list[tuple[str, Int64 | None]]:
        """Each device with its rows of the table; without a device column one device, by the file's name, has all."""
        if self.device is None:
            return [(_id(self.table.path.stem), None)]
        codes, ids = self.frame[self.device].factorize()
        if len(ids) > _DEVICES_MAX:
            raise self.refusal(f"at most {_DEVICES_MAX:,} devices", f"{len(ids):,}")
        order = np.argsort(codes, kind="stable")
        edges = np.searchsorted(codes[order], np.arange(len(ids) + 1))
        return [(_id(str(one)), order[edges[i] : edges[i + 1]].astype(np.int64)) for i, one in enumerate(ids)]

    def refusal(self, expected: str, got: str) -> BacktestError:
        """What is wrong with the file, in one line."""
        return BacktestError(f"{short(self.table.path.name)}: expected {expected}, got {got}; nothing was run")


def any_columns(sheet: Sheet) -> tuple[list[Series], list[str]]:
    """Every column of numbers as a quantity of its own name; and those names."""
    names, series, text = [], [], []
    parts, labels = sheet.parts(), sheet.labels()
    for name in sheet.names:
        if name in labels:
            continue
        numbers = _numbers(sheet, name)
        if numbers is None:
            text.append(name)
            continue
        names.append(name)
        series += [Series(one, name, numbers if where is None else numbers[where], where) for one, where in parts]
    _tell(sheet, _LABELS, sorted(labels))
    _tell(sheet, _TEXT, text)
    return series, names


def of_kind(sheet: Sheet, kind: Kind) -> list[Series]:
    """The columns that hold quantities of `kind`; BacktestError when none does."""
    if sheet.device is not None and (pair := melted(sheet.names)):
        return _melted(sheet, pair, kind)
    found = _matches(sheet.names, kind, sheet.asked.named)
    if found and not sheet.asked.quantity and not _are_devices(sheet, kind, found):
        return _quantities(sheet, found)
    quantity = _main(sheet, kind)
    if sheet.device is None:
        return _devices(sheet, quantity, found)
    only = [name for name in sheet.names if name not in sheet.labels()]
    if len(only) == 1:
        return _quantities(sheet, {only[0]: Match(quantity, "")})
    raise _nothing_of(sheet, kind, sheet.names)


def _chosen(frame: pd.DataFrame, patterns: str, device: str | None) -> list[str]:
    wanted = [one.strip() for one in patterns.split(",") if one.strip()]
    kept = [name for name in frame.columns if name == device or any(fnmatchcase(name, one) for one in wanted)]
    if not [name for name in kept if name != device]:
        raise BacktestError(
            f"--columns: expected a pattern of {few(list(frame.columns))}, got {short(patterns)}; nothing was run"
        )
    return kept


def _device_column(frame: pd.DataFrame) -> str | None:
    """The column that says whose each row is: a name for one, and fewer devices than rows."""
    name = device_column(list(frame.columns))
    if name is None or len(frame.columns) == 1:
        return None
    return name if frame[name].nunique() * 2 <= len(frame) or frame[name].nunique() == 1 else None


def _numbers(sheet: Sheet, name: str) -> Float64 | None:
    """(n,) the column's numbers, NaN for what is none; None for a column of text."""
    import pandas as pd  # noqa: PLC0415  heavy

    column = sheet.frame[name]
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.is_datetime64_any_dtype(column.dtype) or pd.api.types.is_timedelta64_dtype(column.dtype):
        return None
    text = column.astype("str").str.strip()
    filled = (~column.isna() & (text != "")).to_numpy()
    numbers: Float64 = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = int((filled & np.isnan(numbers)).sum())
    if bad * 2 >= max(int(filled.sum()), 1):
        return None
    if bad:
        sheet.notes.append(
            Text(
                f"列{short(name)}有{bad:,}个单元格不是数值，未采用",
                f"column {short(name)}: {bad:,} cells are no numbers: left out",
            )
        )
    return numbers


def _id(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text.strip())[:_NAME_MAX]


def _matches(names: Sequence[str], kind: Kind, named: Mapping[str, str]) -> dict[str, Match]:
    """Columns by the quantity they hold, each quantity once: as the person said, then the column that says it best."""
    found: dict[str, Match] = {}
    known = {q.name: q for q in kind.quantities}
    for name, quantity in named.items():
        if name not in names:
            raise BacktestError(f"--map: expected a column of {few(names)}, got {short(name)}; nothing was run")
        if quantity not in known:
            raise BacktestError(
                f"--map: expected a quantity of {', '.join(known)}, got {short(quantity)}; nothing was run"
            )
        found[name] = Match(known[quantity], "")
    taken = {one.quantity.name for one in found.values()}
    likely = [(name, one) for name in names if name not in found and (one := match(kind, name)) is not None]
    for name, one in sorted(likely, key=lambda pair: pair[1].rank):
        if one.quantity.name not in taken:
            found[name] = one
            taken.add(one.quantity.name)
    return found


def _are_devices(sheet: Sheet, kind: Kind, found: Mapping[str, Match]) -> bool:
    """Whether the columns that name no quantity are devices: those that do name one lack what the kind is about."""
    main = main_quantity(kind)
    if main is None or sheet.device is not None or sheet.asked.named:
        return False
    return main.name not in {one.quantity.name for one in found.values()} and len(sheet.names) > len(found)


def _main(sheet: Sheet, kind: Kind) -> Quantity:
    """What a column per device holds."""
    wanted, known = sheet.asked.quantity, {q.name: q for q in kind.quantities}
    if wanted and wanted not in known:
        raise BacktestError(
            f"--quantity: expected one of {', '.join(known)}, got {short(wanted)}; nothing was run"
        )
    quantity = known[wanted] if wanted else main_quantity(kind)
    if quantity is None:
        raise _nothing_of(sheet, kind, sheet.names)
    return quantity


def _nothing_of(sheet: Sheet, kind: Kind, names: Sequence[str]) -> BacktestError:
    known = ", ".join(q.name for q in kind.quantities[:5])
    hint = "say --map COLUMN=QUANTITY, or --quantity where each column is a device"
    return sheet.refusal(f"columns named like {known}", f"{few(names)} ({hint})")


def _quantities(sheet: Sheet, found: Mapping[str, Match]) -> list[Series]:
    """Each column is a quantity of the device of its row."""
    series, text, parts = [], [], sheet.parts()
    for name, one in found.items():
        numbers = _numbers(sheet, name)
        if numbers is None:
            text.append(name)
            continue
        sheet.notes.append(
            Text(f"列{short(name)}是{one.quantity.label.zh}", f"column {short(name)} is {one.quantity.name}")
        )
        for device, where in parts:
            values = numbers if where is None else numbers[where]
            series.append(Series(device, one.quantity.name, values, where, one.unit))
    _tell(sheet, _TEXT, text)
    _tell(sheet, _NO_QUANTITY, [name for name in sheet.names if name not in found])
    return series


def _melted(sheet: Sheet, pair: tuple[str, str], kind: Kind) -> list[Series]:
    """One value per row, with the name of its quantity beside."""
    numbers = _numbers(sheet, pair[1])
    if numbers is None:
        raise sheet.refusal(f"numbers in column {short(pair[1])}", "text")
    codes, listed = sheet.frame[pair[0]].astype("str").factorize()
    names = [str(name) for name in listed]
    found = _matches(names, kind, sheet.asked.named)
    if not found:
        raise _nothing_of(sheet, kind, names)
    series = []
    for device, where in sheet.parts():
        rows = np.arange(len(sheet.frame)) if where is None else where
        for code, name in enumerate(names):
            here = rows[codes[rows] == code]
            if name in found and len(here):
                series.append(Series(device, found[name].quantity.name, numbers[here], here, found[name].unit))
    _tell(sheet, _NO_QUANTITY, [name for name in names if name not in found])
    return series


def _devices(sheet: Sheet, quantity: Quantity, found: Mapping[str, Match]) -> list[Series]:
    """Each column is a device, and holds `quantity`; `found`: those that name a quantity, which may be another."""
    names = [name for name in sheet.names if name not in sheet.labels()]
    strange = {name for name in names if stranger(name, quantity)}
    strange |= {name for name, one in found.items() if one.quantity.name != quantity.name}
    other = [] if sheet.asked.columns else [name for name in names if name in strange]
    if len(other) == len(names):
        other = []  # it is how this file calls its devices
    series, text = [], []
    for name in names:
        if name in other:
            continue
        numbers = _numbers(sheet, name)
        if numbers is None:
            text.append(name)
        else:
            series.append(Series(_id(name), quantity.name, numbers))
    _tell(sheet, _TEXT, text)
    _tell(
        sheet,
        Text(
            f"列名表明不是{quantity.label.zh}（可用--columns指定）",
            f"their names say that they are no {quantity.name} (--columns would take them)",
        ),
        other,
    )
    return series


def _tell(sheet: Sheet, why: Text, names: Sequence[str]) -> None:
    if names:
        sheet.notes.append(Text(f"未采用，{why.zh}：{few(names)}", f"left out, as {why.en}: {few(names)}"))
