"""Detectors, one file each, found by looking into this folder: no list to edit.

A detector module offers `DETECTOR`, a class with the `Detector` surface. One instance is one rule over all devices of
a kind: its state is arrays with one element per device, and a step handles many devices at once.

Rules every detector keeps, so that live, replay and backtest agree to the last byte:

- no clock, no I/O, no chance: only the arguments of `step` and `expire`;
- elementwise arithmetic with + - * / sqrt min max only: these round alike whatever the array's length, while vectorised
  exp, log and sums may not;
- what a device gets depends on that device's rows alone.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from devices.readings import Bool, Float64, Int32, Int64, UInt8
from devices.spec import Text
from processors.errors import RuleError
from processors.findings import Phase
from processors.parameters import Parameters

NEVER: int = np.iinfo(np.int64).max  # a deadline that does not come


@dataclass(slots=True)
class Step:
    """Input of one step: n rows, each of another device, values finite and good enough to be judged.

    `device`: (n,) row in the fleet. `time_us`: (n,) event time, never before the device's previous one unless
    the engine called `forget`. `received_us`: (n,) our clock. `value`: (n,) of the rule's quantity. `quality`: (n,)
    Quality of `value`. `beside`: (n, k) the rule's further quantities (`Use.beside`), NaN where absent or not good
    enough; a rule that has such also gets rows whose own `value` is NaN while one of them is there. `bad`: (n, 1 + k)
    where the value, or one beside it, came and cannot be right; only for detectors that ask for it (`BAD`), which
    also get rows with nothing else.
    """

    device: Int32
    time_us: Int64
    received_us: Int64
    value: Float64
    quality: UInt8
    beside: Float64 = field(default_factory=lambda: np.empty((0, 0)))
    bad: Bool = field(default_factory=lambda: np.empty((0, 0), dtype=np.bool_))


@dataclass(slots=True)
class Hits:
    """Output of one step: m statements about conditions that began, worsened or ended.

    `row`: (m,) index into the step's rows (or, from `expire`, the device itself). `phase`: one for all m.
    `onset_us`: (m,) identity of the condition, the same from raise to clear. `at_us`: (m,) event time decided.
    `observed`, `expected`, `limit`: (m,) in the quantity's unit, NaN where they mean nothing.
    `start_us`: (m,) begin of the window looked at. `extra`: further numbers for the sentence and the evidence, by the
    name the sentence uses, (m,) each. `place`: for a group of devices, m lists of device rows, most concerned first;
    `radius_m`: (m,) metres around the first, NaN where unknown. `because`: a sentence for these alone, where the
    detector's own would not be true of them yet.
    """

    phase: Phase
    row: Int64
    onset_us: Int64
    at_us: Int64
    observed: Float64
    expected: Float64
    limit: Float64
    start_us: Int64
    extra: Mapping[str, Float64] = field(default_factory=dict)
    place: Sequence[Int64] = ()
    radius_m: Float64 | None = None
    because: Text | None = None


class Window(NamedTuple):
    """What a rule looked at when it decided about one device, for the chart: what came later is left out.

    `time_us`: (p,) ascending. `value`: (p,) in the rule's unit. `expected`, `limit`: (p,) or None. `most`: so many
    points are shown.
    """

    time_us: Int64
    value: Float64
    expected: Float64 | None = None
    limit: Float64 | None = None
    most: int = 64


class Detector(Protocol):
    """One rule over all devices of a kind."""

    PARAMS: ClassVar[Mapping[str, float]]  # every parameter with its default; units in the name
    STATE: tuple[str, ...]  # names of the state arrays, in snapshot order
    FIXED: ClassVar[frozenset[str]]  # parameters that neither differ between devices nor change
    BECAUSE: ClassVar[Text]  # one sentence, fields as in `processors.evidence.sentence`
    params: Parameters  # as they are now, for each device

    def __init__(self, params: Mapping[str, float]) -> None:
        """`params` complete: defaults already filled in by `build`."""
        ...

    def grow(self, cadence_s: Float64, registered_us: Int64) -> None:
        """Make room for `len(cadence_s)` devices; the state of those already known stays."""
        ...

    def step(self, step: Step) -> list[Hits]:
        """Take one value per device and say what began, worsened or ended."""
        ...

    def deadlines(self) -> Int64 | None:
        """(n,) UTC microseconds by our clock when a device must be looked at again, NEVER without; None if unused."""
        ...

    def expire(self, device: Int64, now_us: Int64) -> list[Hits]:
        """The deadlines of `device` (m,) passed, at `now_us` (m,): say what that means. Hits rows are devices."""
        ...

    def forget(self, device: Int64) -> None:
        """Drop what is known of `device` (m,) but not what it has raised: its clock was set back."""
        ...

    def window(self, device: int) -> Window | None:
        """What the rule saw of `device` where that is more than its last readings; None: those show it."""
        ...


@runtime_checkable
class Extends(Protocol):
    """A detector that waits for signs of life, and can be told to wait longer."""

    def extend(self, device: Int64, until_us: Int64) -> None:
        """No deadline of `device` (m,) falls before `until_us` (m,): we were away, or their gateway was."""
        ...


class GroupDetector(Detector, Protocol):
    """One rule over the groups of a kind's devices, such as the sensors of one pressure zone.

    What a group gets depends on the rows of its devices alone, whatever the segments: values go into buckets of event
    time, and a bucket is judged when our clock has passed its deadline. `Hits.at_us` is that deadline; `Hits.row` is
    the device row to name, the same from raise to clear. A group's own state lives in the row of its first device.
    """

    GROUPED: ClassVar[bool] = True

    def locate(self, position: Float64) -> None:
        """Say where devices are: `position` (n, 2) longitude and latitude in degrees, NaN where unknown."""
        ...

    def group(self, zone: Int64) -> None:
        """Say which devices belong together: `zone` (n,), -1 for none. Called after every `grow`."""
        ...

    def take(self, step: Step) -> list[Hits]:
        """Take a whole segment's rows in journal order, a device any number of times."""
        ...


@cache
def load() -> dict[str, type[Detector]]:
    """Every detector in this folder by its file's name."""
    found: dict[str, type[Detector]] = {}
    for module_info in pkgutil.iter_modules(__path__):
        if module_info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        detector = getattr(module, "DETECTOR", None)
        if detector is None:
            raise RuleError(f"{module.__name__}: expected DETECTOR, got nothing; the file is not used")
        found[module_info.name] = detector
    return found


def build(name: str, params: Mapping[str, float]) -> Detector:
    """A detector called `name` with `params` over its defaults; RuleError for an unknown name or parameter."""
    detector = load().get(name)
    if detector is None:
        raise RuleError(f"detector {name}: expected one of {sorted(load())}; the rule is not used")
    if unknown := set(params) - set(detector.PARAMS):
        raise RuleError(
            f"detector {name}: unknown parameters {sorted(unknown)}; it takes {sorted(detector.PARAMS)}"
        )
    return detector({**detector.PARAMS, **params})


def snapshot(detector: Detector) -> dict[str, NDArray[np.generic]]:
    """Copies of the state arrays, by name."""
    return {name: getattr(detector, name).copy() for name in detector.STATE}


def restore(detector: Detector, arrays: Mapping[str, NDArray[np.generic]], rows: Int64) -> None:
    """Put `arrays` back; element i belongs to device row `rows[i]`, -1 where the device is gone."""
    kept = rows >= 0
    for name in detector.STATE:
        getattr(detector, name)[rows[kept]] = arrays[name][kept]
