"""One sentence per language that says why a rule spoke.

From: a detector's `BECAUSE` (or the rule's own), filled with the numbers of one hit. To: the finding, and with it every
board, message and report. Fields a sentence may use: {what} the quantity's label; {observed}, {expected}, {limit} with
their unit; {beyond} on which side of the limit it was observed; {since} the onset by the local clock; {lasted} how
long since; {where} the devices nearest to the cause; {which} the label of the quantity whose place, from 1, is `part`
in `extra`; and each number of the hit's `extra` by its name, with a format where it needs one: {ratio:.1f}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from math import isfinite
from string import Formatter
from typing import Any, Final

from devices.beijing import beijing
from devices.spec import Quantity, Text
from devices.units import UNITS
from processors.errors import RuleError

FIELDS: Final = ("what", "observed", "expected", "limit", "beyond", "since", "lasted", "where", "which")
_DEVICE: Final = Text("设备", "the device")
_ABOVE: Final = Text("高于限值", "above the limit of")
_BELOW: Final = Text("低于限值", "below the limit of")
_PLACES_SHOWN: Final = 5
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one sentence is filled with. Times UTC microseconds, numbers in its unit or NaN. `over`: it ended."""

    quantity: Quantity | None
    observed: float
    expected: float
    limit: float
    onset_us: int
    at_us: int
    extra: Mapping[str, float] = field(default_factory=dict)
    place: tuple[str, ...] = ()
    beside: tuple[Quantity, ...] = ()
    over: bool = False


def sentence(because: Text, facts: Facts) -> dict[str, str]:
    """`because` filled in, by language: "zh" and "en"; of what is over, that it is."""
    zh, en = _filled(because.zh, facts, zh=True), _filled(because.en, facts, zh=False)
    if facts.over:
        span = (facts.at_us - facts.onset_us) / 1e6
        zh, en = (
            f"已恢复，历时{lasted(span, zh=True)}；此前{zh}",
            f"over after {lasted(span, zh=False)}; before: {en}",
        )
    return {"zh": zh, "en": en[:1].upper() + en[1:]}


def fields(template: str) -> set[str]:
    """The names a sentence uses; RuleError where it cannot be read.

    >>> sorted(fields("{what} {observed} beyond {limit}, {ratio:.1f} times"))
    ['limit', 'observed', 'ratio', 'what']
    """
    try:
        return {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise RuleError(f"sentence {template!r}: {error}; the rule is not used") from error


def lasted(seconds: float, *, zh: bool) -> str:
    """A duration as a person says it, in its two largest units at most.

    >>> lasted(8100, zh=False)
    '2 h 15 min'
    """
    whole = max(0, round(seconds))
    units = ((_DAY, "天", "d"), (_HOUR, "小时", "h"), (_MINUTE, "分钟", "min"), (1, "秒", "s"))
    for (size, name_zh, name_en), (less, less_zh, less_en) in pairwise(units):
        if whole >= size:
            count, rest = whole // size, whole % size // less
            more = f"{rest}{less_zh}" if zh else f" {rest} {less_en}"
            return (f"{count}{name_zh}" if zh else f"{count} {name_en}") + (more if rest else "")
    return f"{whole}秒" if zh else f"{whole} s"


def measured(value: float, quantity: Quantity | None, *, zh: bool) -> str:
    """`value` with the quantity's decimals and unit; of the device as a whole: a duration."""
    if not isfinite(value):
        return "—"
    if quantity is None:
        return lasted(value, zh=zh)
    unit = UNITS.get(quantity.unit)
    symbol = unit.symbol if unit else quantity.unit
    text = f"{value:.{quantity.decimals}f}"
    return f"{text}{symbol}" if symbol.startswith("°") or symbol == "%" or not symbol else f"{text} {symbol}"


class _Number(float):
    """A number that says itself shortly where the sentence gives no format, and a dash where there is none."""

    def __format__(self, spec: str) -> str:
        if not isfinite(self):
            return "—"
        return super().__format__(spec or ".3g")


def _filled(template: str, facts: Facts, *, zh: bool) -> str:
    value: Callable[[float], str] = partial(measured, quantity=facts.quantity, zh=zh)
    label, which = _label(facts), _which(facts)
    beyond = _BELOW if facts.observed < facts.limit else _ABOVE
    known: dict[str, Any] = {name: _Number(number) for name, number in facts.extra.items()}
    known |= {
        "what": label.zh if zh else label.en,
        "observed": value(facts.observed),
        "expected": value(facts.expected),
        "limit": value(facts.limit),
        "beyond": beyond.zh if zh else beyond.en,
        "since": local(facts.onset_us),
        "lasted": lasted((facts.at_us - facts.onset_us) / 1e6, zh=zh),
        "which": which.zh if zh else which.en,
        "where": ("、" if zh else ", ").join(facts.place[:_PLACES_SHOWN]),
    }
    return template.format_map(known)


def _which(facts: Facts) -> Text:
    part = int(facts.extra.get("part", 1.0))
    return facts.beside[part - 2].label if 2 <= part <= len(facts.beside) + 1 else _label(facts)


def _label(facts: Facts) -> Text:
    return facts.quantity.label if facts.quantity else _DEVICE


def local(time_us: int) -> str:
    """Day and minute by the clock on the wall; a dash where no calendar reaches."""
    try:
        return f"{beijing(time_us):%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return "—"
