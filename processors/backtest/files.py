"""A table out of a file nobody vouches for: CSV or Parquet, with its times found and read.

From: a path. To: `processors.backtest.layout`, which makes readings of it. Bounds come before reading: how many bytes,
rows and cells; nothing in a file is ever executed. What is odd but can be used becomes a note for the person.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from devices.readings import Int64
from devices.spec import Text
from processors.errors import BacktestError

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN: Final = -(2**62)
"""The time of a row whose own could not be read."""

_BYTES_MAX: Final = 2 * 1024**3
_ROWS_MAX: Final = 20_000_000
_CELLS_MAX: Final = 100_000_000
_COLUMNS_MAX: Final = 20_000
_SAMPLE: Final = 65_536
_ENCODINGS: Final = ("utf-8-sig", "gb18030")  # the second is what spreadsheets in China save
_TIME_NAMES: Final = (
    "time", "timestamp", "datetime", "date_time", "date", "ts", "t", "when", "time_utc", "utc", "received_at",
    "时间", "采集时间", "数据时间", "上报时间", "时间戳", "日期时间", "日期", "监测时间",
    "start", "begin", "onset", "from",
)  # fmt: skip
_COUNTED: Final = {
    "d": 86400e6, "day": 86400e6, "days": 86400e6, "h": 3600e6, "hours": 3600e6, "min": 60e6, "minutes": 60e6,
    "s": 1e6, "sec": 1e6, "seconds": 1e6,
}  # fmt: skip
_EARLIEST_US: Final = 0  # 1970
_LATEST_US: Final = 4_102_444_800_000_000  # 2100
_COUNTED_FROM_US: Final = 1_577_836_800_000_000 - 8 * 3_600_000_000  # 2020-01-01 00:00 in Beijing, a Wednesday
_RAGGED: Final = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")  # what pandas says
_MOSTLY: Final = 0.9
_NAMED: Final = 0.5  # of a column that is called time


@dataclass(slots=True)
class Table:
    """A file's columns beside their times; n rows as they stand in the file.

    `time_us`: (n,) UTC microseconds, UNKNOWN where unreadable. `stamps`: (n,) the times as the file has them.
    `columns`: the others by name, unread. `zone`: what naive times were taken for; `naive`: whether the file's are.
    """

    path: Path
    time_us: Int64
    stamps: pd.Series[Any]
    columns: pd.DataFrame
    zone: ZoneInfo
    naive: bool
    notes: list[Text] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.time_us)


def zone_of(name: str) -> ZoneInfo:
    """The time zone called `name`; BacktestError when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BacktestError(
            f"--timezone: expected a name such as Asia/Shanghai or UTC, got {name!r:.60}; nothing was run"
        ) from error


def read_table(path: Path, *, time: str = "", zone: str = "Asia/Shanghai") -> Table:
    """The table in `path`; `time` names its time column, `zone` says what times without an offset mean.

    BacktestError in one line for what cannot be read, is too large, holds no rows or no times.
    """
    import pandas as pd  # noqa: PLC0415  heavy

    known = zone_of(zone)
    notes: list[Text] = []
    frame = _frame(path, notes)
    if len(frame.columns) > _COLUMNS_MAX:
        raise _unusable(path, f"at most {_COLUMNS_MAX:,} columns", f"{len(frame.columns):,}")
    if not len(frame):
        raise _unusable(path, "rows of readings", "none")
    frame.columns = pd.Index(_names(list(frame.columns)))
    frame = _with_index(frame)
    name = _time_column(path, frame, time, known)
    if times(pd.Series([name]), known, "", [])[0][0] != UNKNOWN:
        raise _unusable(path, "a first line with the names of the columns", f"the reading of {short(name)}")
    time_us, naive = times(frame[name], known, name, notes)
    if (time_us == UNKNOWN).all():
        raise _unusable(path, f"times in column {short(name)}", repr(short(str(frame[name].iloc[0]))))
    if bad := int((time_us == UNKNOWN).sum()):
        notes.append(
            Text(
                f"{len(time_us):,}行中有{bad:,}行时间无法识别，未采用",
                f"{bad:,} of {len(time_us):,} rows have no time that can be read: left out",
            )
        )
    return Table(path, time_us, frame[name], frame.drop(columns=[name]), known, naive, notes)


def _frame(path: Path, notes: list[Text]) -> pd.DataFrame:
    if not path.is_file():
        raise _unusable(path, "a CSV or Parquet file", "a folder" if path.is_dir() else "none")
    size = path.stat().st_size
    if size > _BYTES_MAX:
        raise _unusable(path, f"at most {_BYTES_MAX // 1024**2} MiB", f"{size // 1024**2} MiB")
    if not size:
        raise _unusable(path, "a header and rows", "an empty file")
    with path.open("rb") as file:
        start = file.read(_SAMPLE)
    return _parquet(path) if start[:4] == b"PAR1" else _csv(path, start, notes)


def _parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  heavy; it ships no types
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        said = pq.ParquetFile(path).metadata
        _bounded(path, said.num_rows, said.num_columns)
        groups = range(said.num_row_groups)
        if (full := sum(said.row_group(i).total_byte_size for i in groups)) > 4 * _BYTES_MAX:
            raise _unusable(path, f"at most {4 * _BYTES_MAX // 1024**2} MiB of data", f"{full // 1024**2} MiB")
        # Extension types of a stranger's file are not looked up; the pandas block of its metadata is, for the index.
        table = pq.read_table(path, use_threads=False, memory_map=False)
        nested = [f.name for f in table.schema if pa.types.is_nested(f.type) or pa.types.is_binary(f.type)]
        frame: pd.DataFrame = (table.drop_columns(nested) if nested else table).to_pandas()
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise _unusable(path, "a Parquet file that can be read", _first_line(error)) from error
    return frame


def _csv(path: Path, start: bytes, notes: list[Text]) -> pd.DataFrame:
    if b"\0" in start:
        raise _unusable(path, "CSV text or Parquet", "other binary data")
    for encoding in _ENCODINGS:
        try:
            return _text(path, start, encoding, notes)
        except UnicodeDecodeError:
            continue
        except (ValueError, csv.Error, OverflowError, StopIteration, MemoryError) as error:
            raise _unusable(
                path, "a table of comma, semicolon or tab separated values", _first_line(error)
            ) from error
    raise _unusable(path, "text in UTF-8 or GB 18030", "bytes that are neither")


def _text(path: Path, start: bytes, encoding: str, notes: list[Text]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415  heavy

    head = start.decode(encoding, errors="strict" if len(start) < _SAMPLE else "ignore")
    first = next((line for line in head.splitlines() if line.strip()), "")
    # The header has most of the one that separates: it has no reason to hold the others.
    separator = max((",", ";", "\t"), key=first.count)
    columns = len(next(csv.reader([first], delimiter=separator), ""))
    most = min(_ROWS_MAX, _CELLS_MAX // max(columns, 1)) + 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", pd.errors.ParserWarning)
        frame = pd.read_csv(path, sep=separator, encoding=encoding, nrows=most, low_memory=False, index_col=False,
                            skipinitialspace=True, on_bad_lines="error")  # fmt: skip
    if caught:
        notes.append(
            Text(
                "部分行的单元格多于表头，多出的未采用",
                "rows hold more cells than the header has names: the cells beyond it are left out",
            )
        )
    _bounded(path, len(frame), len(frame.columns))
    return frame


def _bounded(path: Path, rows: int, columns: int) -> None:
    if rows > _ROWS_MAX or rows * columns > _CELLS_MAX:
        raise _unusable(
            path, f"at most {_ROWS_MAX:,} rows and {_CELLS_MAX:,} cells", f"{rows:,} rows of {columns:,} columns"
        )


def _names(columns: Sequence[Any]) -> list[str]:
    """Column names as text, each once."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for column in columns:
        name = str(column).strip()
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return names


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """A time index as a column like any other; a plain row number is no column."""
    import pandas as pd  # noqa: PLC0415

    if frame.index.nlevels > 1:
        levels = [f"index {i}" if name is None else str(name) for i, name in enumerate(frame.index.names)]
        return frame.reset_index(names=[f"{name} (index)" if name in frame.columns else name for name in levels])
    if isinstance(frame.index, pd.RangeIndex):
        return frame.reset_index(drop=True)
    name = "time" if frame.index.name is None else str(frame.index.name)
    index = frame.index.to_series(index=pd.RangeIndex(len(frame)))
    frame = frame.reset_index(drop=True)
    frame.insert(0, name if name not in frame.columns else f"{name} (index)", index)
    return frame


def _time_column(path: Path, frame: pd.DataFrame, wanted: str, zone: ZoneInfo) -> str:
    """The column asked for, or the one whose type, name or content says that it holds times."""
    import pandas as pd  # noqa: PLC0415

    names = list(frame.columns)
    if wanted:
        if wanted not in names:
            raise BacktestError(f"--time: expected one of {few(names)}, got {short(wanted)}; nothing was run")
        return wanted
    plain = {_plain(name): name for name in reversed(names)}
    likely = [plain[name] for name in _TIME_NAMES if name in plain]
    likely += [name for name in names if re.fullmatch(r"(time|timestamp|date)[ _\[(].*", name.lower())]
    typed = [name for name in names if pd.api.types.is_datetime64_any_dtype(frame[name].dtype)]
    for name in [*likely, *typed, names[0]]:
        head = frame[name].head(1000)
        if pd.api.types.is_numeric_dtype(head.dtype) and name not in likely:
            continue  # the first column may well be a value
        if (times(head, zone, name, [])[0] != UNKNOWN).mean() >= (_NAMED if name in likely else _MOSTLY):
            return name
    raise BacktestError(
        f"{path.name}: expected a column of times, got {few(names)}; name it with --time; nothing was run"
    )


def times(column: pd.Series[Any], zone: ZoneInfo, name: str, notes: list[Text]) -> tuple[Int64, bool]:
    """(n,) UTC microseconds, UNKNOWN where unreadable; and whether the column's times say no offset of their own.

    `name`: of the column, which may say what its numbers count. `notes`: what a person should know is added.
    """
    import pandas as pd  # noqa: PLC0415

    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        naive = getattr(column.dt, "tz", None) is None
        return _localised(column, zone) if naive else _utc(column), naive
    if pd.api.types.is_numeric_dtype(column.dtype) and not _written_out(column):
        return _numbers(column.to_numpy(dtype=np.float64, na_value=np.nan), name, notes), False
    text = column.astype("str").str.strip()
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.notna().mean() >= _MOSTLY and not _written_out(numbers):
        return _numbers(numbers.to_numpy(dtype=np.float64), name, notes), False
    offsets = text.str.contains(r"(?:Z|[+-]\d{2}:?\d{2})$", regex=True, case=False)
    if offsets.any():
        return _utc(_parsed(text, utc=True)), False
    return _localised(_parsed(text, utc=False), zone), True


def _written_out(numbers: pd.Series[Any]) -> bool:
    """Whether numbers are 20260101120000, the way packets of HJ 212 write a moment."""
    middle = float(numbers.median()) if numbers.notna().any() else 0.0
    return 19_700_101_000_000 <= middle < 21_000_101_000_000


def _parsed(text: pd.Series[Any], *, utc: bool) -> pd.Series[Any]:
    """Times out of text: in one form throughout, which is quick, else each on its own."""
    import pandas as pd  # noqa: PLC0415

    parsed = pd.to_datetime(text, errors="coerce", utc=utc, format="ISO8601")
    if parsed.isna().mean() <= 1 - _MOSTLY:
        return parsed
    for form in (
        "%Y/%m/%d %H:%M:%S",
        "%Y/%m/%d %H:%M",
        "%Y年%m月%d日 %H:%M:%S",
        "%Y%m%d%H%M%S",
        "%d.%m.%Y %H:%M:%S",
    ):
        other = pd.to_datetime(text, errors="coerce", utc=utc, format=form)
        if other.isna().mean() < parsed.isna().mean():
            parsed = other
    return parsed


def _localised(column: pd.Series[Any], zone: ZoneInfo) -> Int64:
    # An hour that a clock shows twice: the first time; one that it leaves out: as far behind as it is wide.
    local = column.dt.tz_localize(zone, ambiguous=np.zeros(len(column), dtype=bool), nonexistent="shift_forward")
    return _utc(local)


def _utc(column: pd.Series[Any]) -> Int64:
    missing = column.isna().to_numpy()
    time_us = column.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]").to_numpy().astype(np.int64)
    return _calendar(np.where(missing, UNKNOWN, time_us))


def _numbers(value: np.ndarray[Any, np.dtype[np.float64]], name: str, notes: list[Text]) -> Int64:
    """Numbers as times since 1970, in the unit that puts them there; or as counted by the column's own name."""
    middle = float(np.nanmedian(np.abs(value))) if np.isfinite(value).any() else 0.0
    for low, factor in ((1e17, 1e-3), (1e14, 1.0), (1e11, 1e3), (1e8, 1e6)):
        if low <= middle < low * 1e3:
            return _whole(value * factor, 0)
    unit = _plain(name).rsplit("_", 1)[-1]
    if unit in _COUNTED and _plain(name) != unit:
        notes.append(
            Text(
                f"列{short(name)}没有起始日期，按2020-01-01起算",
                f"column {short(name)} counts from no date: counted from 2020-01-01",
            )
        )
        return _whole(value * _COUNTED[unit], _COUNTED_FROM_US)
    return np.full(len(value), UNKNOWN, dtype=np.int64)


def _whole(time_us: np.ndarray[Any, np.dtype[np.float64]], since_us: int) -> Int64:
    fine = np.isfinite(time_us) & (np.abs(time_us) < _LATEST_US)
    return _calendar(np.where(fine, np.where(fine, np.round(time_us), 0).astype(np.int64) + since_us, UNKNOWN))


def _calendar(time_us: Int64) -> Int64:
    """What lies outside 1970 to 2100 is no time of a reading."""
    return np.where((time_us >= _EARLIEST_US) & (time_us < _LATEST_US), time_us, UNKNOWN).astype(np.int64)


def _plain(name: str) -> str:
    return re.sub(r"[\s\-.]+", "_", name.strip().lower()).strip("_")


def few(names: Sequence[str]) -> str:
    """The first of `names` for one line of a terminal."""
    shown = ", ".join(short(name) for name in names[:8]) or "none"
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


def short(text: str) -> str:
    """`text` fit for one line of a terminal."""
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return clean if len(clean) <= 40 else f"{clean[:37]}..."


def _first_line(error: BaseException) -> str:
    if ragged := _RAGGED.search(str(error)):
        expected, line, got = ragged.groups()
        return f"{got} cells in line {line} after {expected} in those before"
    said = str(error).strip().splitlines()
    return short(said[0]) if said else type(error).__name__


def _unusable(path: Path, expected: str, got: str) -> BacktestError:
    return BacktestError(f"{short(path.name)}: expected {expected}, got {got}; nothing was run")
