"""What a person reads: an alert's message in Chinese, English or both, long for chat and mail, short for SMS.

From: the finding that caused it, and what is known of the place. To: the sender. Times are local, everything
needed to judge is in the text: what, where, since when, observed against limit, how far the value may be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple

from devices.spec import Kind, Text
from processors.findings import Finding, Phase, micros
from processors.notify.settings import Language, Place

_PLACES_SHOWN: Final = 5
SHORT_MAX: Final = 70  # characters of one SMS with Chinese in it
_GATEWAY: Final = Text("网关", "gateway")
_GATEWAY_SILENT: Final = Text("网关失联，其下设备状态未知", "gateway silent, its devices are unknown")

# Never colour alone: each priority has a shape and a number (ISA-101).
_SEVERITY: Final = {
    "high": Text("▲1 高", "▲1 HIGH"),
    "medium": Text("◆2 中", "◆2 MEDIUM"),
    "low": Text("●3 低", "●3 LOW"),
}
_QUALITY: Final = {
    "good": Text("良好", "good"),
    "suspect": Text("可疑", "suspect"),
    "maintenance": Text("维护中", "maintenance"),
    "bad": Text("不可信", "bad"),
    "missing": Text("缺测", "missing"),
}
_STATE: Final = {
    Phase.RAISE: Text("", ""),
    Phase.UPDATE: Text("更新 ", "Update: "),
    Phase.CLEAR: Text("已恢复 ", "Cleared: "),
}


class Composed(NamedTuple):
    """A message ready to send; `title` is a mail's subject, empty for a short one."""

    title: str
    body: str


def compose(
    finding: Finding, *, language: Language, place: Place | None, kinds: Mapping[str, Kind], zone: tzinfo
) -> Composed:
    """The full message about `finding`."""
    view = _View(finding, place or Place(), kinds, zone)
    if language == "both":
        return Composed(
            f"{view.title(zh=True)} | {view.title(zh=False)}", f"{view.body(zh=True)}\n\n{view.body(zh=False)}"
        )
    return Composed(view.title(zh=language == "zh"), view.body(zh=language == "zh"))


def compose_short(
    finding: Finding, *, language: Language, place: Place | None, kinds: Mapping[str, Kind], zone: tzinfo
) -> Composed:
    """At most 70 characters about `finding`, in Chinese unless `language` is English; the place gives way first."""
    view = _View(finding, place or Place(), kinds, zone)
    text = view.short(zh=language != "en")
    return Composed("", text if len(text) <= SHORT_MAX else text[: SHORT_MAX - 1] + "…")


class _View:
    """One finding, ready to be put into words."""

    def __init__(self, finding: Finding, place: Place, kinds: Mapping[str, Kind], zone: tzinfo) -> None:
        self._finding = finding
        self._place = place
        self._zone = zone
        kind = kinds.get(finding.kind)
        self._kind = kind
        self._label = kind.label if kind else _GATEWAY if finding.kind == "gateway" else _same(finding.kind)
        titles = {use.rule: use.title for use in kind.detectors} if kind else {"gateway_silent": _GATEWAY_SILENT}
        self._severity = _SEVERITY.get(finding.severity, _same(finding.severity))
        self._rule = titles.get(finding.rule, _same(finding.rule))

    def title(self, *, zh: bool) -> str:
        f = self._finding
        severity = _pick(self._severity, zh)
        return f"{_pick(_STATE[f.phase], zh)}[{severity}] {f.device} {_pick(self._rule, zh)}"

    def body(self, *, zh: bool) -> str:
        f = self._finding
        lines = [
            (Text("告警", "Alert"), f"{_pick(self._rule, zh)} [{_pick(self._severity, zh)}]"),
            (Text("原因", "Why"), f.evidence.why.get("zh" if zh else "en", "")),
            (Text("设备", "Device"), f"{f.device} {_pick(self._label, zh)}"),
            (Text("位置", "Where"), self._where()),
            (Text("最近的设备", "Nearest"), ("、" if zh else ", ").join(f.evidence.place[:_PLACES_SHOWN])),
            (Text("开始", "Since"), self._time(f.onset)),
        ]
        if f.phase is Phase.CLEAR:
            lines.append((Text("恢复", "Cleared"), f"{self._time(f.at)} {self._lasted(zh=zh)}"))
        lines += [
            (Text("实测", "Observed"), self._measured(f.evidence.observed)),
            (Text("限值", "Limit"), self._measured(f.evidence.limit)),
            (Text("预期", "Expected"), self._measured(f.evidence.expected)),
            (Text("数据质量", "Quality"), _pick(_QUALITY.get(f.evidence.quality, _same(f.evidence.quality)), zh)),
            (Text("规则", "Rule"), f"{f.rule} v{f.version}"),
            (Text("编号", "Id"), f.id),
        ]
        colon = "：" if zh else ": "
        return "\n".join(f"{_pick(name, zh)}{colon}{value}" for name, value in lines if value)

    def short(self, *, zh: bool) -> str:
        f = self._finding
        evidence = f.evidence
        severity = _pick(self._severity, zh)
        parts = [f"{_pick(_STATE[f.phase], zh)}[{severity}]", f.device, _pick(self._rule, zh)]
        if evidence.observed is not None and f.phase is not Phase.CLEAR:
            limit = "" if evidence.limit is None else f"/{self._number(evidence.limit)}"
            parts.append(f"{self._number(evidence.observed)}{limit}{evidence.unit}")
        parts.append(self._time(f.at if f.phase is Phase.CLEAR else f.onset)[5:16])
        where = self._place.address or self._place.site
        return " ".join([*parts, where] if where else parts)

    def _where(self) -> str:
        place = self._place
        return " ".join(part for part in (place.district, place.address, place.site) if part)

    def _measured(self, value: float | None) -> str:
        return "" if value is None else f"{self._number(value)} {self._finding.evidence.unit or ''}".rstrip()

    def _number(self, value: float) -> str:
        name = self._finding.evidence.quantity
        decimals = 2
        if self._kind is not None and name in {quantity.name for quantity in self._kind.quantities}:
            decimals = self._kind.quantity(str(name)).decimals
        return f"{value:.{decimals}f}".rstrip("0").rstrip(".") if decimals else f"{value:.0f}"

    def _time(self, text: str) -> str:
        try:
            moment = datetime.fromtimestamp(micros(text) / 1e6, UTC).astimezone(self._zone)
        except (ValueError, OverflowError, OSError):
            return text  # a device's clock may be beyond the calendar
        return f"{moment:%Y-%m-%d %H:%M:%S}"

    def _lasted(self, *, zh: bool) -> str:
        seconds = max(0, micros(self._finding.at) - micros(self._finding.onset)) // 1_000_000
        hours, minutes = seconds // 3600, seconds % 3600 // 60
        if zh:
            span = f"{hours} 小时 {minutes} 分" if hours else f"{minutes} 分 {seconds % 60} 秒"
            return f"（持续 {span}）"
        return f"(lasted {timedelta(seconds=seconds)})"


def _pick(text: Text, zh: bool) -> str:  # noqa: FBT001  a language, not a switch
    return text.zh if zh else text.en


def _same(word: str) -> Text:
    """A word nobody translated."""
    return Text(word, word)
