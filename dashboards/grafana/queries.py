"""Flux questions behind the boards' panels.

From: the store's layout (measurement = kind; tags device, district, street, site, gateway; fields = quantities, and
`quality_<quantity>` where a value is not good). To: panel targets.

The names put into the text are ours: kinds and quantities, checked to be plain identifiers. What a viewer chooses goes
through Grafana's own `:regex` quoting. Every question names a device, or reduces to counts or to a short list on the
server: a board never fetches ten thousand devices.

Alerts are a measurement of their own, `alerts`: tags kind, device, rule, severity; fields title_zh, title_en and
phase (raise or clear).
"""

from __future__ import annotations

import re
from typing import Final

from dashboards.errors import BoardError
from devices.spec import Kind, Quantity

RAW: Final = "raw"
HOURLY: Final = "hourly"
TOP: Final = 20
DEVICES_LISTED: Final = 2_000
_BAD: Final = 3  # Quality.BAD: from here on a value is not drawn
_LONG_H: Final = 14 * 24  # ranges longer than two weeks read the hourly means
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def plain(name: str) -> str:
    """`name` if it may stand in a query as it is; BoardError otherwise."""
    if not _NAME.fullmatch(name):
        raise BoardError(f"boards: expected a name of letters, digits and _, got {name!r}; no board was built")
    return name


def _bucket() -> str:
    """Long ranges read the hourly bucket. Grafana writes the range into the text before the server sees it."""
    return (
        f"hours = (int(v: v.timeRangeStop) - int(v: v.timeRangeStart)) / 3600000000000\n"
        f'source = if hours > {_LONG_H} then "{HOURLY}" else "{RAW}"\n'
    )


def course(kind: Kind, quantity: Quantity) -> str:
    """The chosen devices' values over the board's range, thinned to the panel's width; bad values left out."""
    name = plain(quantity.name)
    judged = f"quality_{name}"
    return (
        _bucket() + "from(bucket: source)\n"
        "  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)\n"
        f'  |> filter(fn: (r) => r._measurement == "{plain(kind.name)}")\n'
        "  |> filter(fn: (r) => r.device =~ /^${device:regex}$/)\n"
        f'  |> filter(fn: (r) => r._field == "{name}" or r._field == "{judged}")\n'
        # The hourly bucket holds mean, min, max and count side by side; the raw one has no such tag.
        '  |> filter(fn: (r) => not exists r.stat or r.stat == "mean")\n'
        '  |> keep(columns: ["_time", "_value", "_field", "device"])\n'
        "  |> toFloat()\n"
        '  |> pivot(rowKey: ["_time", "device"], columnKey: ["_field"], valueColumn: "_value")\n'
        f"  |> filter(fn: (r) => exists r.{name} and (not exists r.{judged} or r.{judged} < {_BAD}.0))\n"
        f'  |> rename(columns: {{{name}: "_value"}})\n'
        '  |> keep(columns: ["_time", "_value", "device"])\n'
        '  |> group(columns: ["device"])\n'
        "  |> aggregateWindow(every: v.windowPeriod, fn: mean, createEmpty: false)"
    )


def newest(kind: Kind, quantity: Quantity) -> str:
    """The chosen devices' newest value."""
    return (
        f'from(bucket: "{RAW}")\n'
        "  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)\n"
        f'  |> filter(fn: (r) => r._measurement == "{plain(kind.name)}" and r._field == "{plain(quantity.name)}")\n'
        "  |> filter(fn: (r) => r.device =~ /^${device:regex}$/)\n"
        "  |> last()\n"
        '  |> keep(columns: ["_time", "_value", "device"])'
    )


def last_seen(kind: Kind) -> str:
    """Seconds since the chosen devices were last heard, looked for over 30 days whatever the board's range."""
    return (
        f'from(bucket: "{RAW}")\n'
        "  |> range(start: -30d)\n"
        f'  |> filter(fn: (r) => r._measurement == "{plain(kind.name)}")\n'
        "  |> filter(fn: (r) => r.device =~ /^${device:regex}$/)\n"
        "  |> last()\n"
        '  |> keep(columns: ["_time", "device"])\n'
        '  |> group(columns: ["device"])\n'
        '  |> max(column: "_time")\n'
        "  |> map(fn: (r) => ({device: r.device, _time: now(), "
        "_value: float(v: int(v: now()) - int(v: r._time)) / 1000000000.0}))"
    )


def extreme(kind: Kind, quantity: Quantity, *, highest: bool) -> str:
    """The TOP devices of the district by newest value, highest or lowest first."""
    return (
        f'from(bucket: "{RAW}")\n'
        f"  |> range(start: -{_patience_s(kind)}s)\n"
        f'  |> filter(fn: (r) => r._measurement == "{plain(kind.name)}" and r._field == "{plain(quantity.name)}")\n'
        "  |> filter(fn: (r) => r.district =~ /^${district:regex}$/)\n"
        "  |> last()\n"
        '  |> keep(columns: ["_time", "_value", "device", "site"])\n'
        "  |> group()\n"
        f'  |> sort(columns: ["_value"], desc: {"true" if highest else "false"})\n'
        f"  |> limit(n: {TOP})"
    )


def longest_silent(kind: Kind) -> str:
    """The TOP devices of the district that were heard within a week but not within their patience, longest first."""
    first = plain(kind.quantities[0].name)
    return (
        f'from(bucket: "{RAW}")\n'
        "  |> range(start: -7d)\n"
        f'  |> filter(fn: (r) => r._measurement == "{plain(kind.name)}" and r._field == "{first}")\n'
        "  |> filter(fn: (r) => r.district =~ /^${district:regex}$/)\n"
        "  |> last()\n"
        '  |> keep(columns: ["_time", "device", "site"])\n'
        "  |> group()\n"
        f"  |> filter(fn: (r) => int(v: now()) - int(v: r._time) > {_patience_s(kind)}000000000)\n"
        '  |> sort(columns: ["_time"])\n'
        f"  |> limit(n: {TOP})"
    )


def reporting(kind: Kind) -> str:
    """How many devices were heard within three of the kind's periods; 0, not nothing, when none was."""
    first = plain(kind.quantities[0].name)
    return (
        f'from(bucket: "{RAW}")\n'
        f"  |> range(start: -{_patience_s(kind)}s)\n"
        f'  |> filter(fn: (r) => r._measurement == "{plain(kind.name)}" and r._field == "{first}")\n'
        "  |> last()\n"
        '  |> keep(columns: ["_time", "_value", "device"])\n'
        "  |> group()\n"
        '  |> count(column: "_value")'
    )


def newest_age(kind: Kind) -> str:
    """Seconds since anything of this kind was heard, over a week; no value means longer."""
    first = plain(kind.quantities[0].name)
    return (
        f'from(bucket: "{RAW}")\n'
        "  |> range(start: -7d)\n"
        f'  |> filter(fn: (r) => r._measurement == "{plain(kind.name)}" and r._field == "{first}")\n'
        "  |> last()\n"
        '  |> keep(columns: ["_time"])\n'
        "  |> group()\n"
        '  |> max(column: "_time")\n'
        "  |> map(fn: (r) => ({_time: now(), _value: float(v: int(v: now()) - int(v: r._time)) / 1000000000.0}))"
    )


def alert_marks(kind: Kind | None, language: str) -> str:
    """Alerts raised within the range, as annotations: of the chosen devices on a kind's board, of all elsewhere."""
    chosen = ""
    if kind is not None:
        chosen = f'  |> filter(fn: (r) => r.kind == "{plain(kind.name)}" and r.device =~ /^${{device:regex}}$/)\n'
    return (
        f'from(bucket: "{RAW}")\n'
        "  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)\n"
        f'  |> filter(fn: (r) => r._measurement == "alerts" and r._field == "title_{plain(language)}")\n'
        + chosen
        + '  |> keep(columns: ["_time", "_value", "device", "rule", "severity"])\n'
        "  |> group()\n"
        '  |> sort(columns: ["_time"], desc: true)\n'
        "  |> limit(n: 200)\n"
        '  |> map(fn: (r) => ({_time: r._time, text: r.device + " " + r._value, tags: r.severity}))'
    )


def alert_list(language: str) -> str:
    """The newest alerts within the range, as a table."""
    return (
        f'from(bucket: "{RAW}")\n'
        "  |> range(start: v.timeRangeStart, stop: v.timeRangeStop)\n"
        f'  |> filter(fn: (r) => r._measurement == "alerts" and r._field == "title_{plain(language)}")\n'
        '  |> keep(columns: ["_time", "severity", "device", "rule", "_value"])\n'
        "  |> group()\n"
        '  |> sort(columns: ["_time"], desc: true)\n'
        f"  |> limit(n: {5 * TOP})"
    )


def districts(kind: Kind) -> str:
    """The districts that have devices of this kind, for the variable."""
    return (
        'import "influxdata/influxdb/schema"\n'
        f'schema.tagValues(bucket: "{RAW}", tag: "district", '
        f'predicate: (r) => r._measurement == "{plain(kind.name)}", start: -30d)'
    )


def devices(kind: Kind) -> str:
    """The devices of the chosen district that match the search, at most DEVICES_LISTED, for the variable."""
    return (
        'import "influxdata/influxdb/schema"\n'
        f'schema.tagValues(bucket: "{RAW}", tag: "device", '
        f'predicate: (r) => r._measurement == "{plain(kind.name)}" and r.district =~ /^${{district:regex}}$/, '
        "start: -30d)\n"
        "  |> filter(fn: (r) => r._value =~ /(?i)${search:regex}/)\n"
        f"  |> limit(n: {DEVICES_LISTED})"
    )


def _patience_s(kind: Kind) -> int:
    """Three reporting periods, at least a minute: within it a device counts as reporting."""
    return max(60, int(3 * kind.cadence_s))
