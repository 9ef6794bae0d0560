"""Line protocol, built by column: one block of bytes per kind and write.

    well,device=WE-1,district=d,site=s level_m=1.5,battery_v=3.6,quality=0i 1767600000000000000
    alerts,kind=well,device=WE-1,rule=full,severity=high title_zh="满",title_en="full",phase="raise" 1767600000000000000

From: admitted rows, and marks of alerts. To: InfluxDB, at once or through the spool. Arrow joins the columns, so that
no Python runs per value; a device's measurement and tags are written out once and kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships none
import pyarrow.compute as pc  # type: ignore[import-untyped]

from devices.fleet import KindFleet
from devices.readings import Int64
from ingest.timeseries.ports import Mark, Rejected
from ingest.timeseries.rows import Rows

ALERTS: Final = "alerts"
_TAGS = (("district", "district"), ("street", "street"), ("site", "site"), ("gateway", "gateway_id"))
_CONTROL = dict.fromkeys((*range(32), 127), " ")
_KEY = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
_MEASUREMENT = str.maketrans({",": "\\,", " ": "\\ "})
_TEXT = str.maketrans({"\\": "\\\\", '"': '\\"'})


def tag_text(value: str) -> str:
    """`value` as a tag can carry it: line breaks become spaces, a backslash at its end the full-width one.

    The protocol has no way to write either: the backslash would escape the separator that follows.
    """
    text = value.translate(_CONTROL)
    bare = text.rstrip("\\")
    return bare + "＼" * (len(text) - len(bare))


def _escaped(value: str) -> str:
    return tag_text(value).translate(_KEY)


def tag_prefix(fleet: KindFleet, row: int) -> str:
    """Measurement and tags of the device on `row`, escaped; empty tags are left out."""
    parts = [fleet.kind.name.translate(_MEASUREMENT), f"device={_escaped(fleet.ids[row])}"]
    for tag, column in _TAGS:
        value = getattr(fleet, column)[row]
        if value:
            parts.append(f"{tag}={_escaped(value)}")
    return ",".join(parts)


def mark_lines(marks: Iterable[Mark]) -> bytes:
    """One line per mark, each ended by a line feed; the same mark is always the same point."""
    return "".join(map(_mark_line, marks)).encode("utf-8", "replace")


def _mark_line(mark: Mark) -> str:
    tags = (("kind", mark.kind), ("device", mark.device), ("rule", mark.rule), ("severity", mark.severity))
    fields = (("title_zh", mark.title_zh), ("title_en", mark.title_en), ("phase", mark.phase))
    head = ",".join([ALERTS, *(f"{name}={_escaped(value)}" for name, value in tags if value)])
    body = ",".join(f'{name}="{value.translate(_CONTROL).translate(_TEXT)}"' for name, value in fields)
    return f"{head} {body} {mark.time_us * 1000}\n"


class LineBuilder:
    """Builds the blocks of one store.

    A good value's quality is left out, but where its time may have been written before: there an older, worse
    judgement has to be replaced. That is any time up to `started_us` and up to the device's newest since.
    """

    def __init__(self, started_us: int) -> None:
        self._started_us = started_us
        self._kinds: dict[str, _KindLines] = {}

    def block(self, rows: Rows) -> bytes:
        """`rows`, one per device and time, as lines; each ends in a line feed."""
        if not len(rows):
            return b""
        lines = self._kinds.get(rows.fleet.kind.name)
        if lines is None or lines.fleet is not rows.fleet:
            lines = self._kinds[rows.fleet.kind.name] = _KindLines(rows.fleet, self._started_us)
        return lines.block(rows)


class _KindLines:
    def __init__(self, fleet: KindFleet, started_us: int) -> None:
        self.fleet = fleet
        self._prefixes = pa.array([tag_prefix(fleet, row) for row in range(len(fleet))], pa.string())
        self._newest: Int64 = np.full(len(fleet), started_us, dtype=np.int64)
        self._keys = [quantity.name.translate(_KEY) for quantity in fleet.kind.quantities]

    def block(self, rows: Rows) -> bytes:
        again = rows.time_us <= self._newest[rows.device]
        np.maximum.at(self._newest, rows.device, rows.time_us)
        absent = np.isnan(rows.values)
        worst = np.where(absent, 0, rows.quality).max(axis=1).astype(np.uint8)
        fields = []
        for column, key in enumerate(self._keys):
            missing = absent[:, column]
            if missing.all():
                continue
            quality = rows.quality[:, column]
            fields.append(_field(f"{key}=", pa.array(rows.values[:, column], mask=missing)))
            silent = missing | ((quality == 0) & ~again)
            if not silent.all():
                fields.append(_field(f"quality_{key}=", pa.array(quality, mask=silent), "i"))
        fields.append(_field("quality=", pa.array(worst), "i"))
        joined = pc.binary_join_element_wise(*fields, ",", null_handling="skip")
        times = pc.cast(pa.array(rows.time_us * 1000), pa.string())
        prefixes = self._prefixes.take(pa.array(rows.device))
        # The last of these is the separator; the empty string ends each line with a line feed of its own.
        lines = pc.binary_join_element_wise(prefixes, joined, times, " ")
        return _concatenated(pc.binary_join_element_wise(lines, "", "\n"))


def _field(key: str, values: Any, suffix: str = "") -> Any:
    return pc.binary_join_element_wise(key, pc.cast(values, pa.string()), suffix, "", null_handling="emit_null")


def _concatenated(strings: Any) -> bytes:
    # An Arrow string array is its strings in one piece, with offsets beside it.
    offsets = np.frombuffer(strings.buffers()[1], dtype=np.int32)
    first, last = offsets[strings.offset], offsets[strings.offset + len(strings)]
    return bytes(memoryview(strings.buffers()[2])[first:last])


def line_time_ns(line: bytes) -> int:
    """The time stamp of a line; 0 when it has none."""
    try:
        return int(line[line.rindex(b" ") + 1 :])
    except ValueError:
        return 0


def refused(line: bytes, reason: str) -> Rejected:
    """What a person is told of a line that the server refused."""
    head = _unescaped_parts(line.decode("utf-8", "replace"))
    device = next((part[len("device=") :] for part in head[1:] if part.startswith("device=")), "")
    return Rejected(device, head[0], line_time_ns(line) // 1000, reason)


def _unescaped_parts(line: str) -> list[str]:
    parts, escaped = [""], False
    for letter in line:
        if escaped:
            # As the server reads it: a backslash escapes a separator, anything else it stands before is itself.
            parts[-1] += letter if letter in ",= " else "\\" if letter == "\\" else "\\" + letter
            escaped = letter == "\\"
        elif letter == "\\":
            escaped = True
        elif letter == " ":
            break
        elif letter == ",":
            parts.append("")
        else:
            parts[-1] += letter
    return parts
