"""What every sensor kind owes the other layers; a new file in `devices/kinds` is held to it unnamed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from devices.codecs import load as load_codecs
from devices.kinds import load
from devices.readings import Sample
from devices.simulator import faults as faulty
from devices.simulator.profiles import KindModel
from devices.spec import Fault, Kind
from devices.units import unit
from processors.detectors import build
from processors.findings import Phase
from tests.support.simulated import FAULT_AT_US, START_US, labelled, observed

KINDS = load()
FAULTS = [
    pytest.param(kind, fault, id=f"{kind.name}-{fault.name}")
    for kind in KINDS.values()
    for fault in kind.simulate.faults
]
# What takes days to be seen needs days of health before it too: that is measured by the yardsticks, and by the demo.
SOON = [
    param
    for param in FAULTS
    if faulty.needed_s(*param.values, param.values[0].cadence_s) <= 2 * 86_400
    and (param.values[1].seen_after_s or 0) <= 2 * 86_400
]
# What physics or the value itself gives away: hours from the onset on, of hourly readings and without a learned past.
AT_ONCE = {"sensors_reversed": 3.0, "return_sensor_broken": 4.0, "flow_stuck": 7.0, "all_sentinels": 4.0}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def test_the_five_kinds_of_the_city_are_here() -> None:
    assert {kind.prefix for kind in KINDS.values()} >= {"MC", "WP", "HM", "SI", "KE"}
    assert max(Counter(kind.prefix for kind in KINDS.values()).values()) == 1


@each_kind
def test_every_detector_exists_and_takes_its_parameters(kind: Kind) -> None:
    for use in kind.detectors:
        assert build(use.detector, use.params)
        assert (use.quantity is None) == (use.detector == "silence"), use.rule


@each_kind
def test_everything_has_a_name_in_both_languages_and_a_known_unit(kind: Kind) -> None:
    texts = [kind.label, *(q.label for q in kind.quantities), *(use.title for use in kind.detectors)]
    texts += [fault.label for fault in kind.simulate.faults]
    for text in texts:
        assert text.en.isascii()
        assert any("\u4e00" <= letter <= "\u9fff" for letter in text.zh) or text.zh == text.en
    for quantity in kind.quantities:
        assert unit(quantity.unit)


@each_kind
def test_every_quantity_has_a_panel_and_a_shape(kind: Kind) -> None:
    names = {quantity.name for quantity in kind.quantities}
    assert {panel.quantity.name for panel in kind.panels} == names
    assert set(kind.simulate.shapes) == names
    assert {panel.type for panel in kind.panels} <= {"timeseries", "stat", "table"}


@each_kind
def test_faults_name_rules_and_quantities_that_exist(kind: Kind) -> None:
    rules = {use.rule for use in kind.detectors}
    names = {quantity.name for quantity in kind.quantities}
    for fault in kind.simulate.faults:
        assert set(fault.rules) <= rules
        assert {effect.quantity for effect in fault.effects} <= names
        assert fault.silent or fault.effects or fault.clock_s
    assert any(not fault.rules for fault in kind.simulate.faults), "a harmless disturbance belongs to every kind"


@each_kind
def test_every_rule_is_meant_for_a_fault_that_the_demo_counts(kind: Kind) -> None:
    meant = {rule for fault in kind.simulate.faults for rule in fault.rules}
    assert {use.rule for use in kind.detectors} - meant == set()


@each_kind
@pytest.mark.parametrize("codec", ["json"])
def test_a_reading_of_the_kind_survives_the_wire(kind: Kind, codec: str) -> None:
    values = dict(zip((q.name for q in kind.quantities), _day(kind, devices=1)[0].tolist(), strict=True))
    sample = Sample(f"{kind.prefix}-1", START_US, values, 7)
    wire = load_codecs()[codec]
    assert list(wire.decode(wire.encode([sample]))) == [sample]


@each_kind
def test_healthy_devices_stay_plausible(kind: Kind) -> None:
    values = _day(kind, devices=200)
    for column, quantity in enumerate(kind.quantities):
        low, high = quantity.plausible
        assert low <= np.nanmin(values[:, column]) <= np.nanmax(values[:, column]) <= high, quantity.name


@pytest.mark.parametrize(("kind", "fault"), FAULTS)
def test_a_fault_stays_physical(kind: Kind, fault: Fault) -> None:
    model = KindModel(kind, seed=1, start_us=START_US)
    times = np.linspace(FAULT_AT_US, FAULT_AT_US + fault.duration_s * 1e6, 200).astype(np.int64)
    rows = np.zeros(len(times), dtype=np.int64)
    values = model.values(rows, times)
    faulty.apply(model, [faulty.inject(model, labelled(kind, fault), 0)], rows, times, values, seed=1)
    for column, quantity in enumerate(kind.quantities):
        shown = values[~np.isin(values[:, column], quantity.sentinels) & ~np.isnan(values[:, column]), column]
        assert ((shown >= quantity.physical[0]) & (shown <= quantity.physical[1])).all()


@each_kind
def test_healthy_devices_raise_nothing_for_twelve_hours(kind: Kind) -> None:
    assert observed(kind, 12.0, devices=8) == []


@pytest.mark.parametrize(("kind", "fault"), SOON)
def test_a_fault_is_seen_by_its_rules_and_by_no_other(kind: Kind, fault: Fault) -> None:
    before_s = (FAULT_AT_US - START_US) / 1e6 + fault.healthy_s
    hours = (before_s + faulty.needed_s(kind, fault, kind.cadence_s)) / 3600
    raised = {finding.rule for finding in observed(kind, hours, fault=fault) if finding.phase is Phase.RAISE}
    assert raised <= set(fault.rules)
    assert bool(raised) == bool(fault.rules)


@pytest.mark.parametrize(("name", "within_h"), AT_ONCE.items())
def test_a_broken_heat_meter_is_seen_within_hours_though_nothing_was_learned_of_it(
    name: str, within_h: float
) -> None:
    kind = KINDS["heat_meter"]
    fault = next(fault for fault in kind.simulate.faults if fault.name == name)
    stated = observed(kind, (FAULT_AT_US - START_US) / 3.6e9 + within_h, fault=fault)
    assert {finding.rule for finding in stated if finding.phase is Phase.RAISE} == set(fault.rules)


def test_a_tilted_cover_alerts_within_thirty_seconds_and_a_shock_never() -> None:
    kind = KINDS["manhole_cover"]
    by_name = {fault.name: fault for fault in kind.simulate.faults}
    first = next(f for f in observed(kind, 1.8, fault=by_name["tilted"]) if f.rule == "tilted")
    assert first.at <= "2026-01-05T03:15:30"
    assert observed(kind, 6.0, fault=by_name["traffic_shock"]) == []


def _day(kind: Kind, *, devices: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    model = KindModel(kind, seed=1, start_us=START_US)
    times = np.repeat(START_US + np.arange(0, 86_400, 1200, dtype=np.int64) * 1_000_000, devices)
    rows = np.tile(np.arange(devices, dtype=np.int64), len(times) // devices)
    return model.rounded(model.values(rows, times))
