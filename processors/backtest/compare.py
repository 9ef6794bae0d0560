"""Today's rules against changed ones: what would have been raised, and what not any more.

From: a kind and changes such as `burst.hold_s=600`. To: the person who thinks about the change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Final, NamedTuple

from devices.spec import Kind, Use
from processors import detectors
from processors.backtest.run import Span
from processors.errors import BacktestError, RuleError

MONTH_DAYS: Final = 30.4375
_NEVER: Final = 2**62


class Set(NamedTuple):
    """One change: `rule` is a rule's name, or a detector's for all its rules."""

    rule: str
    param: str
    value: float


def parsed(text: str) -> Set:
    """`detector.param=value`; BacktestError when it is none.

    >>> parsed("burst.hold_s=600")
    Set(rule='burst', param='hold_s', value=600.0)
    """
    name, equals, number = text.partition("=")
    rule, dot, param = name.strip().rpartition(".")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not (equals and dot and rule and param and isfinite(value)):
        raise BacktestError(
            f"--set: expected detector.param=value such as burst.hold_s=600, got {text!r:.80}; nothing was run"
        )
    return Set(rule, param, value)


def changed(kind: Kind, changes: Sequence[Set]) -> Kind:
    """`kind` with `changes` to its rules; BacktestError for a rule, parameter or value that cannot be."""
    uses = list(kind.detectors)
    for change in changes:
        places = _places(kind, change.rule, "--set")
        for place in places:
            use = uses[place]
            known = detectors.load()[use.detector].PARAMS
            if change.param not in known:
                raise BacktestError(
                    f"--set {change.rule}.{change.param}: expected one of {', '.join(sorted(known))}; nothing was run"
                )
            uses[place] = replace(use, params={**use.params, change.param: change.value})
    for use in uses:
        _try(use)
    return replace(kind, detectors=tuple(uses))


def affected(kind: Kind, change: Set) -> list[Use]:
    """The rules of `kind` that `change` names."""
    return [kind.detectors[place] for place in _places(kind, change.rule, "--set")]


def chosen(kind: Kind, names: Collection[str]) -> Kind:
    """`kind` with only the rules of these names, or of these detectors; BacktestError for a name of neither."""
    if not names:
        return kind
    places = sorted({place for name in names for place in _places(kind, name, "--detector")})
    return replace(kind, detectors=tuple(kind.detectors[place] for place in places))


def _places(kind: Kind, name: str, option: str) -> list[int]:
    """Places in `kind.detectors` of the rule called `name`, or of all rules whose detector is."""
    by_rule = [i for i, use in enumerate(kind.detectors) if use.rule == name]
    found = by_rule or [i for i, use in enumerate(kind.detectors) if use.detector == name]
    if not found:
        rules = ", ".join(f"{use.rule} ({use.detector})" for use in kind.detectors)
        raise BacktestError(
            f"{option}: expected a rule or detector of {kind.name}, got {name!r:.60}; it has {rules}; nothing was run"
        )
    return found


def usable(kind: Kind) -> bool:
    """Whether every rule of `kind` has the parameters it needs; those of a generic kind may wait for them."""
    try:
        for use in kind.detectors:
            detectors.build(use.detector, use.params)
    except RuleError:
        return False
    return True


def demand_usable(kind: Kind) -> None:
    """BacktestError for a rule of `kind` that needs parameters nobody gave."""
    for use in kind.detectors:
        _try(use, f" (say --set {use.rule}.PARAM=VALUE)")


def _try(use: Use, way_out: str = "") -> None:
    try:
        detectors.build(use.detector, use.params)
    except RuleError as error:
        said = str(error).removesuffix("; the rule is not used")
        raise BacktestError(f"rule {use.rule}: {said}{way_out}; nothing was run") from error


@dataclass(frozen=True, slots=True)
class Comparison:
    """Alerts of two runs over the same data. `kept`: pairs of before and after."""

    gained: list[Span]
    lost: list[Span]
    kept: list[tuple[Span, Span]]


def compare(before: Iterable[Span], after: Iterable[Span]) -> Comparison:
    """Which alerts there are only before or only after a change.

    An alert is the same when device and rule are, and the times from onset to end overlap; each pairs with one.
    """
    earlier: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for span in before:
        earlier[span.device, span.rule].append(span)
    gained, kept = [], []
    for span in sorted(after, key=lambda one: one.start_us):
        waiting = earlier[span.device, span.rule]
        mate = next((one for one in waiting if _overlap(one, span)), None)
        if mate is None:
            gained.append(span)
        else:
            waiting.remove(mate)
            kept.append((mate, span))
    lost = [span for spans in earlier.values() for span in spans]
    return Comparison(gained, sorted(lost, key=lambda one: (one.raised_us, one.device)), kept)


def _overlap(one: Span, other: Span) -> bool:
    ends = [span.end_us if span.end_us is not None else _NEVER for span in (one, other)]
    return one.start_us <= ends[1] and other.start_us <= ends[0]


def device_months(devices: int, start_us: int, end_us: int) -> float:
    """How long `devices` were watched, in months of 30.4 days."""
    return devices * max(end_us - start_us, 0) / 86400e6 / MONTH_DAYS
