"""One change of one parameter of one rule: pure data and its meaning.

From: the book of thresholds. To: its history, which says what holds; to people, who ask why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from devices.spec import Kind, Use
from processors.detectors import build, load
from processors.errors import ThresholdError

FOREVER: Final[int] = 2**62


class Scope(StrEnum):
    """For whom a change holds; where several do, the one further down wins."""

    KIND = "kind"
    DISTRICT = "district"
    STREET = "street"
    GROUP = "group"  # devices with the same setting `group`
    SITE = "site"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`rule`'s `param` is `value` for `target` from `effective_us` until `until_us`, by our clock, UTC microseconds.

    `target`: the device, site, group, street or district; the kind's name for the whole kind. `withdrawn_us`: from when
    it holds no more, FOREVER while nobody took it back. `number`: place in the book, 0 before it is in there.
    """

    number: int = 0
    kind: str
    rule: str
    param: str
    value: float
    scope: Scope
    target: str
    effective_us: int
    until_us: int = FOREVER
    author: str
    reason: str = ""
    recorded_us: int = 0
    withdrawn_us: int = FOREVER
    withdrawn_by: str = ""

    @property
    def end_us(self) -> int:
        """From when it holds no more."""
        return min(self.until_us, self.withdrawn_us)

    def holds(self, at_us: int) -> bool:
        """Whether it holds at `at_us`."""
        return self.effective_us <= at_us < self.end_us


def use_of(kinds: Mapping[str, Kind], kind: str, rule: str, param: str) -> Use:
    """The declaration of `rule`; ThresholdError where there is no such kind, rule or changeable parameter."""
    found = kinds.get(kind)
    if found is None:
        raise _not_one_of(f"kind {kind!r:.60}", f"类别 {kind!r:.60}", kinds)
    use = next((use for use in found.detectors if use.rule == rule), None)
    if use is None:
        known = [use.rule for use in found.detectors]
        raise _not_one_of(f"rule {rule!r:.60} of {kind}", f"{kind} 的规则 {rule!r:.60}", known)
    if param not in changeable(use):
        offered = changeable(use)
        raise _not_one_of(f"{rule}.{param!s:.60} of {kind}", f"{kind} 的阈值 {rule}.{param!s:.60}", offered)
    return use


def _not_one_of(en: str, zh: str, known: Iterable[str]) -> ThresholdError:
    names = ", ".join(sorted(known))
    return ThresholdError(f"{en}: expected one of {names}", f"{zh}：应为 {names} 之一")


def changeable(use: Use) -> set[str]:
    """The parameters of a rule that may differ between devices and change while it runs."""
    detector = load()[use.detector]
    return set(detector.PARAMS) - detector.FIXED


def declared(use: Use) -> dict[str, float]:
    """Every parameter of a rule as its kind declares it."""
    return {**load()[use.detector].PARAMS, **use.params}


def check(use: Use, numbers: Mapping[str, float]) -> None:
    """RuleError where the rule cannot run with `numbers` over its declared ones."""
    build(use.detector, {**use.params, **numbers})


def of_rule(changes: Iterable[Change], kind: str, rule: str) -> Iterator[Change]:
    """Those of `changes` about one rule."""
    return (change for change in changes if change.kind == kind and change.rule == rule)
