"""The simulated city: repeatable, in order, and true to its registry and labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from devices.codecs import load as load_codecs
from devices.errors import SpecError
from devices.fleet import Entry
from devices.kinds import load
from devices.readings import Sample
from devices.registry import check_grid, parse_component
from devices.simulator.chance import gauss, keys, uniform
from devices.simulator.city import City, Emission
from devices.simulator.example import example
from devices.simulator.faults import Labelled, schedule
from devices.simulator.profiles import KindModel
from devices.spec import Kind, Profile, Quantity, Shape, Text

KINDS = load()
START_US = 1_767_576_600_000_000
MINUTE_US = 60_000_000
CODEC = load_codecs()["json"]


def by_kind(entries: list[Entry]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        ids[entry.kind].append(entry.id)
    return ids


def run(seed: int = 5, minutes: int = 120, cuts: int = 1, share: float = 0.2) -> list[Emission]:
    entries = example(KINDS, 120, seed=seed).entries()
    end = START_US + minutes * MINUTE_US
    labels = schedule(KINDS, by_kind(entries), seed=seed, from_us=START_US, to_us=end, share=share)
    city = City(KINDS, entries, seed=seed, start_us=START_US, labels=labels)
    edges = [START_US + (end - START_US) * i // cuts for i in range(cuts + 1)]
    return [emission for a, b in pairwise(edges) for emission in city.emissions(a, b)]


def samples(emissions: list[Emission]) -> list[Sample]:
    return [sample for emission in emissions for sample in CODEC.decode(emission.payload)]


def test_the_same_seed_gives_the_same_bytes_however_the_run_is_cut() -> None:
    whole = run()
    assert whole == run(cuts=7)
    assert whole != run(seed=6)


def test_emissions_come_in_order_and_carry_what_they_say() -> None:
    emissions = run()
    assert all(a.due_us <= b.due_us for a, b in pairwise(emissions))
    for emission in emissions:
        found = CODEC.decode(emission.payload)
        assert len(found) == emission.readings
        assert {sample.time_us for sample in found} == {emission.due_us}
        assert emission.topic.split("/")[3] == emission.device
        assert "gateway" in emission.topic or found[0].device == emission.device


def test_every_device_counts_its_own_reports_from_one() -> None:
    counters: Counter[str] = Counter()
    for sample in samples(run()):
        counters[sample.device] += 1
        assert sample.seq == counters[sample.device]


def test_a_device_reports_at_its_own_cadence() -> None:
    entries = [Entry("WP-1", "water_pressure", "d", cadence_s=60), Entry("WP-2", "water_pressure", "d")]
    city = City(KINDS, entries, seed=1, start_us=START_US)
    counts = Counter(e.device for e in city.emissions(START_US, START_US + 60 * MINUTE_US))
    assert counts == {"WP-1": 60, "WP-2": 12}


def test_a_gateway_speaks_for_its_children_in_one_payload() -> None:
    entries = [Entry(f"HM-{i}", "heat_meter", "d", gateway="GW-1") for i in range(5)]
    emissions = list(
        City(KINDS, entries, seed=1, start_us=START_US).emissions(START_US, START_US + 60 * MINUTE_US)
    )
    assert [(e.topic, e.readings) for e in emissions] == [("city/d/gateway/GW-1/up", 5)]


def test_a_silent_fault_silences_its_device_and_no_other() -> None:
    entries = [Entry(f"KE-{i}", "kitchen_exhaust", "d") for i in range(2)]
    label = Labelled(
        "KE-0", "kitchen_exhaust", "dropout", START_US + 10 * MINUTE_US, START_US + 20 * MINUTE_US, ()
    )
    city = City(KINDS, entries, seed=1, start_us=START_US, labels=[label])
    found = list(city.emissions(START_US, START_US + 30 * MINUTE_US))
    inside = Counter(e.device for e in found if label.start_us <= e.due_us < label.end_us)
    assert inside == {"KE-1": 10}
    assert Counter(e.device for e in found) == {"KE-0": 20, "KE-1": 30}


def test_an_event_reports_at_onset_at_its_pace_and_at_recovery() -> None:
    label = Labelled(
        "MC-1", "manhole_cover", "tilted", START_US + MINUTE_US, START_US + 2 * MINUTE_US, ("tilted",)
    )
    entries = [Entry("MC-1", "manhole_cover", "d", cadence_s=86_400)]
    city = City(KINDS, entries, seed=1, start_us=START_US, labels=[label])
    found = samples(list(city.emissions(START_US, START_US + 5 * MINUTE_US)))
    assert [(s.time_us - label.start_us) / 1e6 for s in found] == list(range(0, 65, 5))
    assert [s.values["tilt_deg"] > 30 for s in found] == [True] * 12 + [False]


def test_analysers_repeat_their_value_within_the_cycle() -> None:
    entries = [Entry("SI-1", "sewage_inflow", "d")]
    found = samples(
        list(City(KINDS, entries, seed=1, start_us=START_US).emissions(START_US, START_US + 480 * MINUTE_US))
    )
    assert len({s.values["cod_mgl"] for s in found}) in (4, 5)
    assert len({s.values["flow_ls"] for s in found}) > 200


def test_kitchens_cook_in_sessions_and_rest_outside() -> None:
    model = KindModel(KINDS["kitchen_exhaust"], seed=2, start_us=START_US)
    rows = np.repeat(np.arange(100, dtype=np.int64), 205)
    times = np.tile(START_US + np.arange(205, dtype=np.int64) * 7 * MINUTE_US, 100)
    values = model.values(rows, times)
    hour = (times / 3.6e9 + 8) % 24
    early = (
        KINDS["kitchen_exhaust"].simulate.shapes["fan_a"].open_h
    )  # by so much a kitchen may open or close otherwise
    assert 0 < early < 1
    sure = ((hour >= 10.5 + early) & (hour < 13.5 - early)) | ((hour >= 16.5 + early) & (hour < 20.5 - early))
    rest = ~(((hour >= 10.5 - early) & (hour < 13.5 + early)) | ((hour >= 16.5 - early) & (hour < 20.5 + early)))
    assert (values[rest, 1] == 0).all()
    assert (values[sure, 1] > 2).all()
    assert 0.05 <= np.median(values[:, 0]) <= 0.3
    assert 1.0 < values[:, 0].max() <= 4.1


def test_a_heat_meters_power_and_energy_follow_its_flow_and_temperatures() -> None:
    model = KindModel(KINDS["heat_meter"], seed=2, start_us=START_US)
    hours = 48
    values = model.values(np.zeros(hours, dtype=np.int64), START_US + np.arange(hours) * 60 * MINUTE_US)
    supply, back, flow, power, energy = values[:, :5].T
    assert power == pytest.approx(1.143 * flow * (supply - back), abs=16)
    assert (np.diff(energy) > 0).all()
    assert energy[-1] - energy[0] == pytest.approx(power[1:].sum() / 1000, rel=0.05)


def test_the_schedule_labels_what_fits_one_fault_a_device() -> None:
    entries = example(KINDS, 400, seed=1).entries()
    end = START_US + 240 * MINUTE_US
    labels = schedule(KINDS, by_kind(entries), seed=1, from_us=START_US, to_us=end, share=0.3)
    assert labels == schedule(KINDS, by_kind(entries), seed=1, from_us=START_US, to_us=end, share=0.3)
    assert max(Counter(label.device for label in labels).values()) == 1
    assert all(START_US < label.start_us < end for label in labels)
    assert len({(label.kind, label.fault) for label in labels}) > 15
    assert schedule(KINDS, by_kind(entries), seed=1, from_us=START_US, to_us=end, share=0) == []


def test_the_example_city_has_every_kind_and_well_formed_codes() -> None:
    city = example(KINDS, 200, seed=1, registered_us=START_US)
    assert len(city.devices) == len({device.id for device in city.devices}) == 200
    assert {device.kind for device in city.devices} == set(KINDS)
    assert {device.gateway for device in city.devices if device.gateway} == {
        gateway.id for gateway in city.gateways
    }
    assert {device.site for device in city.devices} <= {site.id for site in city.sites}
    for device in city.devices:
        assert check_grid(device.grid)
        assert parse_component(device.component_code).district == device.district
    assert example(KINDS, 3, seed=1).devices == example(KINDS, 3, seed=1).devices
    assert len(example(KINDS, 3, seed=1).devices) == 3


def test_shapes_that_follow_each_other_are_refused() -> None:
    pair = [
        Quantity(name=name, unit="m", label=Text("量", name), physical=(0, 9), plausible=(1, 2))
        for name in ("a", "b")
    ]
    kind = Kind(
        name="ring",
        label=Text("环", "ring"),
        prefix="RI",
        quantities=tuple(pair),
        cadence_s=60,
        lateness_s=60,
        detectors=(),
        panels=(),
        simulate=Profile(shapes={"a": Shape(level=1, follow="b"), "b": Shape(level=1, follow="a")}),
    )
    with pytest.raises(SpecError, match="circle"):
        KindModel(kind, seed=1, start_us=0)


def test_chance_is_even_normal_and_without_memory() -> None:
    key = keys(1, 2, np.arange(50_000, dtype=np.int64), 77)
    assert abs(uniform(key).mean() - 0.5) < 0.01
    assert (abs(gauss(key).mean()) < 0.02, abs(gauss(key).std() - 1) < 0.02) == (True, True)
    assert uniform(keys(1, 2, np.array([123]), 77))[0] == uniform(key)[123]
    assert abs(np.corrcoef(gauss(key), gauss(keys(1, 3, np.arange(50_000, dtype=np.int64), 77)))[0, 1]) < 0.02
