"""One contract, two stores: whatever the pipeline relies on holds for DuckDB and for a real InfluxDB alike."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.errors import SpecError
from devices.fleet import Entry, KindFleet
from devices.readings import Quality
from devices.spec import Kind
from ingest.timeseries.embedded import EmbeddedSettings, EmbeddedStore
from ingest.timeseries.influx import InfluxSettings, InfluxStore
from ingest.timeseries.ports import History, Latest, TimeSeriesStore
from tests.support.influx import InfluxServer, influx_server
from tests.support.series import DAY, HOUR, SECOND, Row, batch_of, fleet_of, kind_of

# InfluxDB refuses what is older than the bucket remembers: tests live in the last days, on a whole hour.
NOW = time.time_ns() // 1000 // HOUR * HOUR
T = NOW - DAY
MINUTE = 60 * SECOND
_numbers = itertools.count()


class Store(NamedTuple):
    """A store that can be opened again, and a kind nobody else writes to."""

    name: str
    kind: Kind
    reopen: Callable[[], TimeSeriesStore]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    with influx_server(tmp_path_factory.mktemp("influx")) as running:
        yield running


@pytest.fixture(params=["embedded", pytest.param("influx", marks=pytest.mark.influx)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: list[TimeSeriesStore] = []
    embedded = request.param == "embedded"
    make = _embedded(tmp_path) if embedded else _influx(request.getfixturevalue("server"), tmp_path)

    def reopen() -> TimeSeriesStore:
        for old in opened:
            old.close()
        opened.append(make())
        return opened[-1]

    yield Store(request.param, kind_of(f"well{next(_numbers)}", "level_m", "battery_v"), reopen)
    for old in opened:
        old.close()


def _embedded(folder: Path) -> Callable[[], TimeSeriesStore]:
    return lambda: EmbeddedStore(EmbeddedSettings(path=folder / "store.duckdb"))


def _influx(server: InfluxServer, folder: Path) -> Callable[[], TimeSeriesStore]:
    bucket = f"contract-{time.time_ns()}"
    with server.client() as client:
        client.buckets_api().create_bucket(
            bucket_name=bucket, org=server.org, retention_rules=[{"type": "expire", "everySeconds": 90 * 86400}]
        )
    token = folder / "token"
    token.write_text(server.token, encoding="utf-8")
    return lambda: InfluxStore(InfluxSettings(url=server.url, org=server.org, bucket=bucket, token_file=token))


def now_and_reopened(db: TimeSeriesStore, store: Store) -> Iterator[TimeSeriesStore]:
    yield db
    yield store.reopen()


def raw(store: TimeSeriesStore, kind: Kind, device: str, quantity: str = "level_m") -> dict[int, float]:
    found = store.history(kind, device, quantity, T - 30 * DAY, NOW + DAY)
    assert np.all(np.diff(found.time_us) > 0)
    return dict(zip(found.time_us.tolist(), found.value.tolist(), strict=True))


def newest(found: Latest) -> dict[str, list[tuple[int, float, int]]]:
    """Per device and quantity: time, value, quality; 0 and None where there is none."""
    assert found.time_us is not None
    assert found.values is not None
    assert found.quality is not None
    rows = zip(found.time_us.tolist(), found.values.tolist(), found.quality.tolist(), strict=True)
    return {
        device: [(t, -1.0 if math.isnan(v) else v, q) for t, v, q in zip(*row, strict=True)]
        for device, row in zip(found.devices, rows, strict=True)
    }


def write(store: TimeSeriesStore, fleet: KindFleet, *rows: Row, upto: int = 1) -> int:
    written = store.write([batch_of(fleet, rows)], upto)
    assert written.rejected == ()
    return written.rows


def test_repeating_a_write_changes_nothing(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A", "B"])
    rows: list[Row] = [("A", T, {"level_m": 1.25}), ("B", T, {"level_m": 2}), ("A", T + MINUTE, {"level_m": 3})]
    assert [write(db, fleet, *rows), write(db, fleet, *rows)] == [3, 3]
    db = store.reopen()
    write(db, fleet, *rows)
    assert raw(db, store.kind, "A") == {T: 1.25, T + MINUTE: 3.0}
    hourly = db.history(store.kind, "A", "level_m", T, T + HOUR, HOUR)
    assert hourly.count is not None
    assert hourly.count.tolist() == [2]


def test_another_quantity_at_the_same_time_is_added(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A"])
    write(db, fleet, ("A", T, {"level_m": 1.5}))
    write(db, fleet, ("A", T, {"battery_v": 3.6}))
    assert (raw(db, store.kind, "A"), raw(db, store.kind, "A", "battery_v")) == ({T: 1.5}, {T: 3.6})


def test_another_value_at_the_same_time_replaces_also_within_one_write(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A"])
    write(db, fleet, ("A", T, {"level_m": 1, "battery_v": 3.6}), ("A", T, {"level_m": 2}))
    assert (raw(db, store.kind, "A"), raw(db, store.kind, "A", "battery_v")) == ({T: 2.0}, {T: 3.6})
    write(db, fleet, ("A", T, {"level_m": 3}))
    assert (raw(db, store.kind, "A"), raw(db, store.kind, "A", "battery_v")) == ({T: 3.0}, {T: 3.6})


def test_rows_that_come_late_take_their_place(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A"])
    write(db, fleet, ("A", T + 2 * MINUTE, {"level_m": 3}))
    write(db, fleet, ("A", T + MINUTE, {"level_m": 2}), ("A", T, {"level_m": 1}))
    assert raw(db, store.kind, "A") == {T: 1.0, T + MINUTE: 2.0, T + 2 * MINUTE: 3.0}
    assert newest(db.latest(store.kind, NOW))["A"][0] == (T + 2 * MINUTE, 3.0, 0)


def test_absent_values_are_no_points_and_a_row_without_values_is_none(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A", "B"])
    assert write(db, fleet, ("A", T, {"battery_v": 3.6}), ("B", T, {}), upto=9) == 1
    assert (raw(db, store.kind, "A"), raw(db, store.kind, "B")) == ({}, {})
    assert newest(db.latest(store.kind, NOW)) == {"A": [(0, -1.0, Quality.MISSING), (T, 3.6, 0)]}
    assert db.cursor() == 9


def test_quality_comes_back_as_it_was_judged_last(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A"])
    given: list[Row] = [
        ("A", T + i * MINUTE, {"level_m": (i, quality), "battery_v": 3.6}) for i, quality in enumerate(Quality)
    ]
    write(db, fleet, *given)
    found = db.history(store.kind, "A", "level_m", T, NOW)
    assert found.quality.tolist() == [0, 1, 2, 3, 4]
    assert db.history(store.kind, "A", "battery_v", T, NOW).quality.tolist() == [0] * 5
    assert newest(db.latest(store.kind, T + MINUTE))["A"][0] == (T + MINUTE, 1.0, Quality.SUSPECT)
    # A second judgement: the codec was mended, the value is good after all.
    db = store.reopen()
    write(db, fleet, *[("A", t, {"level_m": 5}) for _, t, _ in given])
    assert db.history(store.kind, "A", "level_m", T, NOW).quality.tolist() == [0] * 5
    assert newest(db.latest(store.kind, NOW))["A"][0] == (T + 4 * MINUTE, 5.0, 0)


@pytest.mark.parametrize("worst", [Quality.MAINTENANCE, Quality.MISSING])
@pytest.mark.parametrize("every", [5 * MINUTE, HOUR, 7 * MINUTE])
def test_buckets_are_what_pandas_makes_of_the_usable_values(store: Store, every: int, worst: Quality) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A", "B"])
    chance = np.random.default_rng(7)
    times = T + np.sort(chance.choice(6 * 3600, 300, replace=False)) * SECOND
    values = np.round(chance.normal(20, 5, 300), 2)
    quality = chance.integers(0, worst + 1, 300)
    rows: list[Row] = [
        ("A", int(t), {"level_m": (float(v), Quality(q))}) for t, v, q in zip(times, values, quality, strict=True)
    ]
    write(db, fleet, *rows, ("B", T + MINUTE, {"level_m": 999}))
    # Neither end lies on a bucket's border.
    start, end = int(times[3]), int(times[-3])
    found = db.history(store.kind, "A", "level_m", start, end, every)
    frame = pd.DataFrame({"t": times // every * every, "v": values, "q": quality})
    frame = frame[(times >= start) & (times < end) & (quality < Quality.BAD)]
    wanted = frame.groupby("t").agg(
        v=("v", "mean"), low=("v", "min"), high=("v", "max"), n=("v", "size"), q=("q", "max")
    )
    assert found.time_us.tolist() == wanted.index.tolist()
    np.testing.assert_allclose(found.value, wanted["v"], rtol=1e-12)
    for part, column in ((found.low, "low"), (found.high, "high"), (found.count, "n"), (found.quality, "q")):
        assert part is not None
        assert part.tolist() == wanted[column].tolist()


def test_a_range_includes_its_start_and_not_its_end(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A"])
    write(db, fleet, *[("A", T + i, {"level_m": i}) for i in range(3)])
    assert db.history(store.kind, "A", "level_m", T, T + 2).value.tolist() == [0.0, 1.0]
    assert db.history(store.kind, "A", "level_m", T, T + 2, SECOND).value.tolist() == [0.5]


def test_latest_is_per_quantity_and_not_later_than_now(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A", "B", "C"])
    write(
        db, fleet, ("A", T, {"level_m": 1, "battery_v": 3.6}), ("B", T, {"level_m": 7}), ("C", NOW, {"level_m": 8})
    )
    write(db, fleet, ("A", T + MINUTE, {"level_m": 2}), ("A", T + HOUR, {"level_m": 3}))
    for opened in now_and_reopened(db, store):
        assert newest(opened.latest(store.kind, NOW - 1)) == {
            "A": [(T + HOUR, 3.0, 0), (T, 3.6, 0)],
            "B": [(T, 7.0, 0), (0, -1.0, 4)],
        }
        assert newest(opened.latest(store.kind, T + MINUTE))["A"] == [(T + MINUTE, 2.0, 0), (T, 3.6, 0)]
        assert newest(opened.latest(store.kind, T - 1)) == {}


def test_retention_deletes_what_is_older_and_nothing_else(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A", "B"])
    write(
        db, fleet, ("A", T - 1, {"level_m": 1}), ("A", T, {"level_m": 2}), ("B", T - HOUR, {"level_m": 3}), upto=5
    )
    db.retain(T)
    for opened in now_and_reopened(db, store):
        assert (raw(opened, store.kind, "A"), raw(opened, store.kind, "B")) == ({T: 2.0}, {})
        assert list(newest(opened.latest(store.kind, NOW))) == ["A"]
        assert opened.cursor() == 5


def test_what_was_never_stored_is_empty_not_an_error(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A"])
    for _ in range(2):
        assert len(db.history(store.kind, "nobody", "level_m", T, NOW).time_us) == 0
        bucketed = db.history(store.kind, "nobody", "level_m", T, NOW, HOUR)
        assert bucketed.count is not None
        assert (len(bucketed.time_us), len(bucketed.count)) == (0, 0)
        write(db, fleet, ("A", T, {"level_m": 1}))
    assert db.latest(kind_of("never_seen", "level_m"), NOW).devices == []
    with pytest.raises(SpecError, match="no quantity depth"):
        db.history(store.kind, "A", "depth", T, NOW)


HOSTILE = [
    "a b",
    "a,b",
    "a=b",
    'say "hi"',
    "it's",
    "back\\slash",
    "ends\\",
    "a\\,b",
    "街道 3 号",
    "line\nbreak",
    "💧",
    "#",
    "$x",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_breaks_a_row(store: Store, text: str) -> None:
    entries = [
        Entry("A", store.kind.name, district=text, street=text, site=text, gateway=text),
        Entry(f"X {text}".replace("\n", "").rstrip("\\"), store.kind.name, site=text),
    ]
    db, fleet = store.reopen(), fleet_of(store.kind, entries)
    write(db, fleet, *[(entry.id, T, {"level_m": 1.5}) for entry in entries])
    assert [raw(db, store.kind, entry.id) for entry in entries] == [{T: 1.5}, {T: 1.5}]
    assert set(db.latest(store.kind, NOW).devices) == {entry.id for entry in entries}


def test_the_cursor_survives_reopening_and_never_goes_back(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A"])
    assert db.cursor() == 0
    write(db, fleet, ("A", T, {"level_m": 1}), upto=70_000_000_000)
    db.write([], 70_000_000_005)
    write(db, fleet, ("A", T, {"level_m": 1}), upto=12)
    assert db.cursor() == 70_000_000_005
    assert store.reopen().cursor() == 70_000_000_005


def test_one_row_refused_for_good_does_not_stop_the_others(store: Store) -> None:
    db, fleet = store.reopen(), fleet_of(store.kind, ["A", "B"])
    rows: list[Row] = [("A", T + i * SECOND, {"level_m": i}) for i in range(50)]
    rows[17] = ("B", T, {"level_m": math.inf})
    rows[31] = ("B", 2**62, {"level_m": 1})
    written = db.write([batch_of(fleet, rows)], 3)
    assert written.rows == 48
    assert [(r.device, r.kind, r.time_us) for r in written.rejected] == [
        ("B", store.kind.name, T),
        ("B", store.kind.name, 2**62),
    ]
    assert len(raw(db, store.kind, "A")) == 48
    assert db.cursor() == 3


def test_a_quantity_and_a_device_may_join_later(store: Store) -> None:
    narrow, wide = kind_of(store.kind.name, "level_m"), kind_of(store.kind.name, "new_c", "battery_v", "level_m")
    db = store.reopen()
    write(db, fleet_of(narrow, ["A"]), ("A", T, {"level_m": 1}))
    grown = fleet_of(wide, ["Z", "A"])
    write(db, grown, ("A", T + MINUTE, {"new_c": 21.5, "level_m": 2}), ("Z", T, {"new_c": 20, "battery_v": 3}))
    for opened in now_and_reopened(db, store):
        assert raw(opened, wide, "A") == {T: 1.0, T + MINUTE: 2.0}
        assert raw(opened, wide, "Z", "new_c") == {T: 20.0}
        assert newest(opened.latest(wide, NOW))["A"] == [(T + MINUTE, 21.5, 0), (0, -1.0, 4), (T + MINUTE, 2.0, 0)]
        # What the older reader knows is still there under its name.
        assert newest(opened.latest(narrow, NOW)) == {"A": [(T + MINUTE, 2.0, 0)]}


def test_several_batches_in_one_write(store: Store) -> None:
    other = kind_of(store.kind.name + "_b", "flow_m3h")
    db, fleet = store.reopen(), fleet_of(store.kind, ["A"])
    batches = [
        batch_of(fleet, [("A", T, {"level_m": 1})]),
        batch_of(fleet_of(other, ["A"]), [("A", T, {"flow_m3h": 9})]),
        batch_of(fleet, [("A", T, {"level_m": 2})]),
        batch_of(fleet, []),
    ]
    assert db.write(batches, 4).rows == 3
    assert (raw(db, store.kind, "A"), raw(db, other, "A", "flow_m3h")) == ({T: 2.0}, {T: 9.0})


DECIMALS = st.integers(-10_000, 10_000).map(lambda n: n / 100)
CELL = st.tuples(DECIMALS, st.sampled_from(Quality))
ROWS = st.tuples(
    st.sampled_from("AB"),
    st.integers(0, 4).map(lambda i: T + i * MINUTE),
    st.fixed_dictionaries({}, optional={"level_m": CELL, "battery_v": CELL}),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(st.lists(ROWS, max_size=5), max_size=5), again=st.integers(0, 4))
def test_any_writes_leave_what_a_dict_would_hold(store: Store, writes: list[list[Row]], again: int) -> None:
    kind = kind_of(f"any{next(_numbers)}", "level_m", "battery_v")
    db, fleet = store.reopen(), fleet_of(kind, ["A", "B"])
    model: dict[tuple[str, str], dict[int, tuple[float, int]]] = {}
    for number, rows in enumerate(writes):
        for device, time_us, cells in rows:
            for quantity, cell in cells.items():
                assert isinstance(cell, tuple)
                model.setdefault((device, quantity), {})[time_us] = (cell[0], int(cell[1]))
        write(db, fleet, *rows, upto=number)
        if number == again:
            write(db, fleet, *rows, upto=number)
            db = store.reopen() if store.name == "embedded" else db
    _compare(db, kind, model)


def _compare(
    db: TimeSeriesStore, kind: Kind, model: Mapping[tuple[str, str], dict[int, tuple[float, int]]]
) -> None:
    latest = newest(db.latest(kind, NOW))
    assert set(latest) == {device for device, _ in model}
    for device in ("A", "B"):
        for column, quantity in enumerate(("level_m", "battery_v")):
            wanted = model.get((device, quantity), {})
            assert _cells(db.history(kind, device, quantity, T, NOW)) == wanted
            if wanted:
                last = max(wanted)
                assert latest[device][column] == (last, *wanted[last])


def _cells(found: History) -> dict[int, tuple[float, int]]:
    cells = zip(found.value.tolist(), found.quality.tolist(), strict=True)
    return dict(zip(found.time_us.tolist(), cells, strict=True))
