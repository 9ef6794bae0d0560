"""Boards out of what the kinds declare: one overview, and one board per kind.

From: `devices.kinds`. To: Grafana 11.6 JSON, through `dashboards.grafana.publish` or a folder of files. The same kinds
always give the same bytes, under the same uids.

Light, calm, and stale never looks healthy: a panel without data says so in words, each board begins with the age of
its newest value, and lines break where values are missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.cog import encoder, variants
from grafana_foundation_sdk.models import common, dashboard, units

from dashboards.errors import BoardError
from dashboards.grafana import queries
from devices.spec import Kind, Panel, Quantity, Text

SOURCE_TYPE: Final = "influxdb"
SOURCE_UID: Final = "undercity-influx"
SOURCE: Final = dashboard.DataSourceRef(type_val=SOURCE_TYPE, uid="${source}")
TAG: Final = "undercity"
LANGUAGES: Final = ("zh", "en")
_COLUMNS: Final = 24  # of Grafana's grid
_SLATE, _ORANGE, _RED = "#2f4b66", "#c96a00", "#c4162a"

UNITS: Final[Mapping[str, str]] = {
    "kPa": units.Kilopascals,
    "V": units.Volt,
    "A": units.Ampere,
    "degC": units.Celsius,
    "deg": units.Degrees,
    "dBm": units.DecibelMilliWatt,
    "kW": units.KiloWatt,
    "m": units.Meter,
    "pH": "pH",
    "mg/m3": units.MilligramPerCubicMeter,
    "m3/h": "suffix: m³/h",
    "s": units.Seconds,
}
_WORDS: Final[Mapping[str, Text]] = {
    "overview": Text("城市地下 · 总览", "Undercity · Overview"),
    "board": Text("城市地下 · {kind}", "Undercity · {kind}"),
    "no_data": Text("无数据：所选时段没有读数", "NO DATA in this range"),
    "no_alerts": Text("此时段没有告警", "no alerts in this range"),
    "nobody": Text("0 · 没有设备上报", "0 · NOTHING REPORTS"),
    "never": Text("7 天以上没有数据", "NO DATA FOR 7 DAYS"),
    "lost": Text("30 天以上没有数据", "NO DATA FOR 30 DAYS"),
    "reporting": Text("{kind}：正在上报的设备", "{kind}: devices reporting"),
    "age": Text("{kind}：最新数据距今", "{kind}: age of the newest value"),
    "last_seen": Text("最近一次上报距今", "Last seen"),
    "highest": Text("{quantity}：最高的 {n} 台", "{quantity}: highest {n}"),
    "lowest": Text("{quantity}：最低的 {n} 台", "{quantity}: lowest {n}"),
    "silent": Text("静默最久的 {n} 台", "Longest silent {n}"),
    "alerts": Text("告警", "Alerts"),
    "source": Text("数据源", "Data source"),
    "district": Text("区", "District"),
    "device": Text("设备", "Device"),
    "search": Text("设备编号包含", "Device id contains"),
    "chosen": Text("所选设备", "Chosen devices"),
    "district_row": Text("全区", "Whole district"),
}


class FluxQuery(variants.Dataquery):
    """One Flux target; the SDK has no InfluxDB query of its own."""

    def __init__(self, query: str, ref: str = "A") -> None:
        self.query = query
        self.ref = ref

    def to_json(self) -> dict[str, object]:
        """As Grafana stores it."""
        return {"refId": self.ref, "datasource": SOURCE, "query": self.query}


class _Flux(cogbuilder.Builder[FluxQuery]):
    def __init__(self, query: str) -> None:
        self._query = query

    def build(self) -> FluxQuery:
        return FluxQuery(self._query)


class _FluxMarks(dashboard.AnnotationTarget):
    """An annotation's target with a Flux query, where the SDK only knows Grafana's own annotations."""

    def __init__(self, query: str) -> None:
        super().__init__()
        self._query = query

    def to_json(self) -> dict[str, object]:
        return {"refId": "Anno", "query": self._query}


class _Words:
    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise BoardError(f"boards: expected language zh or en, got {language!r}; no board was built")
        self.language = language

    def pick(self, text: Text) -> str:
        return text.zh if self.language == "zh" else text.en

    def say(self, key: str, **fields: object) -> str:
        return self.pick(_WORDS[key]).format(**fields)


def build_all(
    kinds: Mapping[str, Kind], *, language: str = "zh", time_zone: str = "Asia/Shanghai"
) -> list[dict[str, Any]]:
    """Every board as plain JSON data, the overview first; BoardError for a name that cannot stand in a query."""
    words = _Words(language)
    boards = [_overview(kinds, words, time_zone)]
    boards += [_kind_board(kind, words, time_zone) for _, kind in sorted(kinds.items())]
    return [_flowed(json.loads(encoder.JSONEncoder(sort_keys=True).encode(board))) for board in boards]


def _flowed(board: dict[str, Any]) -> dict[str, Any]:
    """The board with its panels set from left to right, line by line, none over another."""
    x = y = tallest = 0
    for panel in board["panels"]:
        place = panel["gridPos"]
        if panel["type"] == "row" or x + place["w"] > _COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        place["x"], place["y"] = x, y
        x, tallest = x + place["w"], max(tallest, place["h"])
    return board


def uid(kind: str) -> str:
    """The board's uid, the same in every Grafana: at most 40 characters."""
    name = f"undercity-{kind}".replace("_", "-")
    if len(name) > 40:
        raise BoardError(
            f"boards: expected a kind's name of at most 30 characters, got {kind!r}; no board was built"
        )
    return name


def _frame(title: str, name: str, words: _Words, time_zone: str, kind: Kind | None) -> builders.Dashboard:
    marks = builders.AnnotationQuery().name(words.say("alerts")).datasource(SOURCE).icon_color(_RED).build()
    marks.target = _FluxMarks(queries.alert_marks(kind, words.language))
    source = (
        builders.DatasourceVariable("source")
        .label(words.say("source"))
        .type(SOURCE_TYPE)
        .current(dashboard.VariableOption(text="Undercity", value=SOURCE_UID))
    )
    board = (
        builders.Dashboard(title)
        .uid(uid(name))
        .tags([TAG])
        .timezone(time_zone)
        .week_start("monday")
        .editable()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .time("now-24h", "now")
        .refresh("30s")
        .with_variable(source)
    )
    internal = board.build()
    internal.annotations = dashboard.AnnotationContainer([marks])
    return board


def _overview(kinds: Mapping[str, Kind], words: _Words, time_zone: str) -> dashboard.Dashboard:
    board = _frame(words.say("overview"), "overview", words, time_zone, None)
    ids = iter(range(1, 10_000))
    width = max(4, 24 // max(1, len(kinds)))
    for _, kind in sorted(kinds.items()):
        label = words.pick(kind.label)
        board.with_panel(
            _stat(next(ids), words.say("reporting", kind=label), queries.reporting(kind), words.say("nobody"))
            .thresholds(_steps((None, _RED), (1, _SLATE)))
            .span(width)
            .height(4)
        )
    for _, kind in sorted(kinds.items()):
        board.with_panel(
            _age(next(ids), words.say("age", kind=words.pick(kind.label)), queries.newest_age(kind), kind, words)
            .span(width)
            .height(4)
        )
    board.with_panel(
        _table(next(ids), words.say("alerts"), queries.alert_list(words.language), words.say("no_alerts"))
        .span(24)
        .height(12)
    )
    return board.build()


def _kind_board(kind: Kind, words: _Words, time_zone: str) -> dashboard.Dashboard:
    board = _frame(words.say("board", kind=words.pick(kind.label)), kind.name, words, time_zone, kind)
    for variable in _variables(kind, words):
        board.with_variable(variable)
    ids = iter(range(1, 10_000))
    board.with_row(builders.Row(words.say("chosen")).id(next(ids)))
    board.with_panel(
        _age(next(ids), words.say("last_seen"), queries.last_seen(kind), kind, words, "lost").span(24).height(4)
    )
    for panel in kind.panels:
        board.with_panel(_declared(next(ids), kind, panel, words))
    board.with_row(builders.Row(words.say("district_row")).id(next(ids)))
    for panel in _whole_district(kind, words, ids):
        board.with_panel(panel)
    return board.build()


def _variables(kind: Kind, words: _Words) -> list[cogbuilder.Builder[dashboard.VariableModel]]:
    return [
        builders.QueryVariable("district")
        .label(words.say("district"))
        .datasource(SOURCE)
        .query(queries.districts(kind))
        .refresh(dashboard.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .include_all(include_all=True)
        .all_value(".*")
        .current(dashboard.VariableOption(text="All", value="$__all")),
        builders.TextBoxVariable("search").label(words.say("search")).default_value(""),
        # No "all": ten thousand lines in one panel tell nobody anything.
        builders.QueryVariable("device")
        .label(words.say("device"))
        .datasource(SOURCE)
        .query(queries.devices(kind))
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=False),
    ]


def _declared(number: int, kind: Kind, panel: Panel, words: _Words) -> Any:
    title = words.pick(panel.quantity.label)
    if panel.type == "timeseries":
        return _course(number, title, kind, panel.quantity, words).span(12).height(8)
    if panel.type == "stat":
        single = _stat(number, title, queries.newest(kind, panel.quantity), words.say("no_data"))
        return _measured(single, kind, panel.quantity).span(6).height(8)
    if panel.type == "table":
        rows = _table(number, title, queries.newest(kind, panel.quantity), words.say("no_data"))
        return _measured(rows, kind, panel.quantity).span(12).height(8)
    raise BoardError(
        f"kind {kind.name}: panel {panel.quantity.name}: expected timeseries, stat or table, got {panel.type!r}; "
        "no board was built"
    )


def _whole_district(kind: Kind, words: _Words, ids: Iterator[int]) -> Iterator[Any]:
    quantity = kind.panels[0].quantity if kind.panels else kind.quantities[0]
    label = words.pick(quantity.label)
    for key, highest in (("highest", True), ("lowest", False)):
        title = words.say(key, quantity=label, n=queries.TOP)
        made = _table(next(ids), title, queries.extreme(kind, quantity, highest=highest), words.say("no_data"))
        yield _measured(made, kind, quantity).span(8).height(12)
    title = words.say("silent", n=queries.TOP)
    yield _table(next(ids), title, queries.longest_silent(kind), "—").span(8).height(12)


def _course(number: int, title: str, kind: Kind, quantity: Quantity, words: _Words) -> Any:
    made = (
        timeseries.Panel()
        .id(number)
        .title(title)
        .datasource(SOURCE)
        .with_target(_Flux(queries.course(kind, quantity)))
        .no_value(words.say("no_data"))
        .line_width(1.5)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.AUTO)
        # A gap of three periods is a gap: a line drawn across it would look like values.
        .span_nulls(max(60_000.0, 3_000.0 * kind.cadence_s))
        .insert_nulls(max(60_000.0, 3_000.0 * kind.cadence_s))
        .thresholds_style(
            common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    )
    return _measured(made, kind, quantity)


def _stat(number: int, title: str, query: str, no_value: str) -> stat.Panel:
    return (
        stat.Panel()
        .id(number)
        .title(title)
        .datasource(SOURCE)
        .with_target(_Flux(query))
        .no_value(no_value)
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _age(number: int, title: str, query: str, kind: Kind, words: _Words, never: str = "never") -> stat.Panel:
    late = max(60.0, 3 * kind.cadence_s)
    steps = _steps((None, _SLATE), (late, _ORANGE), (3 * late, _RED))
    return _stat(number, title, query, words.say(never)).unit(UNITS["s"]).decimals(0).thresholds(steps)


def _table(number: int, title: str, query: str, no_value: str) -> table.Panel:
    return table.Panel().id(number).title(title).datasource(SOURCE).with_target(_Flux(query)).no_value(no_value)


def _measured(made: Any, kind: Kind, quantity: Quantity) -> Any:
    """The panel with the quantity's unit, decimals and limits."""
    unit = UNITS.get(quantity.unit) or (f"suffix: {quantity.unit}" if quantity.unit else units.NoUnit)
    return made.unit(unit).decimals(quantity.decimals).thresholds(_limits(kind, quantity))


def _limits(kind: Kind, quantity: Quantity) -> builders.ThresholdsConfig:
    """Steps of colour: grey inside, orange beyond the plausible range, red beyond a limit that a rule watches."""
    low, high = quantity.plausible
    lows = [low]
    highs = [high]
    for use in kind.detectors:
        if use.detector == "limit" and use.quantity is not None and use.quantity.name == quantity.name:
            lows += [use.params["low"]] if "low" in use.params else []
            highs += [use.params["high"]] if "high" in use.params else []
    inside_low, inside_high = max(lows), min(highs)
    below = _RED if len(lows) > 1 else _ORANGE
    above = _RED if len(highs) > 1 else _ORANGE
    return _steps((None, below), (inside_low, _SLATE), (inside_high, above))


def _steps(*steps: tuple[float | None, str]) -> builders.ThresholdsConfig:
    made = [dashboard.Threshold(value=value, color=color) for value, color in steps]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(made)
