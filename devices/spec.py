"""What a sensor kind is made of: frozen data, no behaviour.

From: the files in `devices.kinds`, one per kind. To: every other layer. Decoding, quality, detection,
boards, simulation and the documentation table follow from these declarations; a kind names detectors
and panels, it never calls them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from devices.errors import SpecError


class Text(NamedTuple):
    """One phrase for a person, in both languages."""

    zh: str
    en: str


class Severity(StrEnum):
    """Priority of an alert; about 5 / 15 / 80 percent of alerts each (EEMUA 191)."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One measured quantity of a kind.

    `physical`: outside it the instrument cannot be right (bad). `plausible`: outside it a person should look
    (suspect). `max_rate_per_s`: fastest believable change. `flat_after_s`: how long a healthy instrument may repeat
    one value, which includes its measuring cycle; None where flat is normal. `sentinels`: values that an instrument
    shows where it measured nothing (bad), outside `plausible`. `reads`: names under which field
    protocols report it, best first (`devices.codecs`): exact, or with `?`, `*` and `[]` as in file names.
    """

    name: str
    unit: str
    label: Text
    physical: tuple[float, float]
    plausible: tuple[float, float]
    max_rate_per_s: float | None = None
    flat_after_s: float | None = None
    decimals: int = 2
    sentinels: tuple[float, ...] = ()
    reads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        low, high = self.physical
        if not low <= self.plausible[0] < self.plausible[1] <= high:
            raise SpecError(
                f"quantity {self.name}: plausible {self.plausible} must lie within physical {self.physical}"
            )
        if any(self.plausible[0] <= value <= self.plausible[1] for value in self.sentinels):
            raise SpecError(f"quantity {self.name}: sentinels {self.sentinels} must lie outside what is plausible")


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One rule: a detector by name, applied to one quantity (None: to the device as a whole).

    `rule` is unique within its kind and part of every finding's identity; `version` rises when the parameters change
    meaning. `beside`: further quantities the detector reads, in the order it documents. `because`: the sentence of
    its findings where the detector's own does not say it well; see `processors.evidence.sentence`.
    """

    rule: str
    detector: str
    quantity: Quantity | None = None
    beside: tuple[Quantity, ...] = ()
    params: Mapping[str, float] = field(default_factory=dict)
    severity: Severity = Severity.MEDIUM
    title: Text
    because: Text | None = None
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel of the kind's board: `type` is timeseries, stat or table."""

    type: str
    quantity: Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a healthy quantity moves, for the simulator.

    value = level * hour_factor(local hour) + noise, then held for `hold_s`, clamped to `clamp`. `hours`: 24
    multipliers of `level`, interpolated; empty means constant. `device_spread` is the relative standard deviation of
    `level` between devices. `noise` is Gaussian in the quantity's unit; `burst_sigma` adds lognormal bursts.
    `on_hours` limits activity to sessions (outside them the value is `off_level`). `drift_per_day` swings with the
    sun (thermal). `follow` adds `gain` times another quantity's deviation from its level (dilution: negative gain).
    `grows_per_hour` makes a counter, from the run's start. `season` swings once a year, warmest in July; `weather`
    wanders over days, alike for all devices. `spike` is added to a `spike_share` of the readings, and to all
    quantities of a reading at once: a vehicle's shock. `open_h`: sessions begin and end up to so many hours earlier
    and later, each day otherwise. `axis` x, y or z: the inclination of that axis of a housing whose tilt is the
    quantity that it follows, about a direction that each device has; its noise is added. `days`: 7 multipliers more,
    each day's at its noon, Monday first. `water`: names of a flow and two
    temperatures; `gain` times flow times their difference is added. `adds_up`: a counter from the run's start, `gain`
    times the named quantity's level an hour.
    """

    level: float
    hours: tuple[float, ...] = ()
    days: tuple[float, ...] = ()
    noise: float = 0.0
    device_spread: float = 0.0
    hold_s: float = 0.0
    burst_sigma: float = 0.0
    on_hours: tuple[tuple[float, float], ...] = ()
    off_level: float = 0.0
    drift_per_day: float = 0.0
    follow: str = ""
    gain: float = 0.0
    grows_per_hour: float = 0.0
    season: float = 0.0
    weather: float = 0.0
    spike: float = 0.0
    spike_share: float = 0.0
    open_h: float = 0.0
    axis: str = ""
    water: tuple[str, str, str] | tuple[()] = ()
    adds_up: str = ""
    clamp: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.hours and len(self.hours) != 24:
            raise SpecError(f"shape: expected 24 hour multipliers, got {len(self.hours)}")
        if self.days and len(self.days) != 7:
            raise SpecError(f"shape: expected 7 day multipliers, got {len(self.days)}")


class Change(StrEnum):
    """What a fault does to a quantity."""

    STEP = "step"  # add amount
    SCALE = "scale"  # multiply by amount
    SET = "set"  # replace by amount
    RAMP = "ramp"  # add amount per hour since onset
    GROW = "grow"  # multiply by 1 + amount per hour since onset
    FREEZE = "freeze"  # repeat the value at onset
    CYCLE = "cycle"  # add amount in every second quarter of an hour since onset
    NOISE = "noise"  # add Gaussian noise of this standard deviation
    TURN = "turn"  # turn the direction of a tilt by this many degrees


class Effect(NamedTuple):
    """One quantity's change during a fault."""

    quantity: str
    change: Change
    amount: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A labelled fault for the simulator and the score.

    `rules`: any of these alerts counts as detection; empty for a harmless disturbance that must raise none. `silent`:
    the device stops reporting, `silent_after_s` after the onset. `report_every_s`: an event makes the device report
    at this pace. `seen_after_s`: how long it takes to be seen where the rules' hold times do not say it.
    `healthy_s`: how long the device must have been well before, for a rule that compares with what it has learned.
    `clock_s`: the device's clock is so far ahead of the time.
    """

    name: str
    label: Text
    effects: tuple[Effect, ...] = ()
    silent: bool = False
    rules: tuple[str, ...] = ()
    duration_s: float = 3600.0
    report_every_s: float | None = None
    silent_after_s: float = 0.0
    seen_after_s: float | None = None
    healthy_s: float = 0.0
    clock_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The simulator's picture of a kind: a shape per quantity, and the faults it can have."""

    shapes: Mapping[str, Shape]
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One sensor kind, as a datasheet.

    `cadence_s`: expected reporting period where a device has none of its own. `lateness_s`: a reading
    older than this on arrival is history: stored, and it wakes nobody.
    """

    name: str
    label: Text
    quantities: tuple[Quantity, ...]
    cadence_s: float
    lateness_s: float
    detectors: tuple[Use, ...]
    panels: tuple[Panel, ...]
    simulate: Profile
    prefix: str  # device ids of the demo city begin with it: WP-0412

    def __post_init__(self) -> None:
        names = [quantity.name for quantity in self.quantities]
        if len(set(names)) != len(names):
            raise SpecError(f"kind {self.name}: a quantity is declared twice: {names}")
        rules = [use.rule for use in self.detectors]
        if len(set(rules)) != len(rules):
            raise SpecError(f"kind {self.name}: a rule is declared twice: {rules}")
        strangers = {u.quantity.name for u in self.detectors if u.quantity} | {
            p.quantity.name for p in self.panels
        }
        strangers |= {quantity.name for use in self.detectors for quantity in use.beside}
        strangers |= set(self.simulate.shapes)
        if unknown := strangers - set(names):
            raise SpecError(f"kind {self.name}: names quantities it does not have: {sorted(unknown)}")

    def column(self, quantity: str) -> int:
        """Index of `quantity` in every array of this kind; SpecError if it has no such quantity."""
        for index, candidate in enumerate(self.quantities):
            if candidate.name == quantity:
                return index
        raise SpecError(f"kind {self.name}: no quantity {quantity}; it has {[q.name for q in self.quantities]}")

    def quantity(self, name: str) -> Quantity:
        """The quantity called `name`; SpecError if there is none."""
        return self.quantities[self.column(name)]
