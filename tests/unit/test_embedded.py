"""The embedded store's own promises: sorted days, quick starts, readers beside the writer, kills and full disks."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest

from ingest.errors import StoreError, StoreUnavailable
from ingest.timeseries import embedded_reads
from ingest.timeseries.embedded import EmbeddedSettings, EmbeddedStore
from tests.support import store_writer
from tests.support.series import DAY, HOUR, SECOND, Row, batch_of, fleet_of, kind_of

WELL = kind_of("well", "level_m", "battery_v")
T = 1_767_571_200 * SECOND  # midnight UTC
REPOSITORY = Path(__file__).parents[2]


def settings(folder: Path, **more: int) -> EmbeddedSettings:
    return EmbeddedSettings(path=folder / "store.duckdb", **more)  # type: ignore[arg-type]


def hours(devices: list[str], count: int) -> list[Row]:
    return [(d, T + i * HOUR, {"level_m": float(i), "battery_v": 3.6}) for i in range(count) for d in devices]


def test_sorting_closed_days_changes_no_answer(tmp_path: Path) -> None:
    store, devices = EmbeddedStore(settings(tmp_path, sort_rows=1000)), ["A", "B", "C"]
    fleet = fleet_of(WELL, devices)
    store.write([batch_of(fleet, hours(devices, 60))], 1)
    before = [store.history(WELL, d, "level_m", T, T + 9 * DAY).value.tolist() for d in devices]
    now = T + 59 * HOUR
    assert store.compact(now) == 72
    # A late row of a sorted day, between two pieces.
    store.write([batch_of(fleet, [("B", T + 1, {"level_m": 0.5}), ("B", T, {"battery_v": 3.5})])], 2)
    assert [store.compact(now), store.compact(now)] == [72, 0]
    before[1].insert(1, 0.5)
    for _ in range(2):
        assert [store.history(WELL, d, "level_m", T, T + 9 * DAY).value.tolist() for d in devices] == before
        latest = store.latest(WELL, T + 9 * DAY)
        assert latest.values is not None
        assert latest.values.tolist() == [[59.0, 3.6]] * 3
        store.close()
        store = EmbeddedStore(settings(tmp_path))
    assert store.compact(now) == 0
    store.close()


def test_rows_of_a_sorted_day_lie_together_by_device(tmp_path: Path) -> None:
    store, devices = EmbeddedStore(settings(tmp_path)), ["A", "B", "C"]
    store.write([batch_of(fleet_of(WELL, devices), hours(devices, 30))], 1)
    store.compact(T + 2 * DAY)
    store.close()
    with duckdb.connect(str(tmp_path / "store.duckdb"), read_only=True) as db:
        found = db.execute(
            "SELECT device FROM kind.well WHERE epoch_us(time) < ? ORDER BY rowid", [T + DAY]
        ).fetchall()
    assert [device for (device,) in found] == [0] * 24 + [1] * 24 + [2] * 24


def test_a_start_reads_the_snapshot_and_what_came_after_it(tmp_path: Path) -> None:
    store, fleet = EmbeddedStore(settings(tmp_path, snapshot_rows=3)), fleet_of(WELL, ["A", "B"])
    store.write([batch_of(fleet, hours(["A", "B"], 2))], 1)  # saved after this one
    store.write([batch_of(fleet, [("A", T + 9 * HOUR, {"level_m": 9})])], 2)
    copied = tmp_path / "copy"
    copied.mkdir()
    for file in tmp_path.glob("store.duckdb*"):
        (copied / file.name).write_bytes(file.read_bytes())  # as after a kill
    again = EmbeddedStore(settings(copied))
    found = again.latest(WELL, T + DAY)
    assert found.values is not None
    assert found.values.tolist() == [[9.0, 3.6], [1.0, 3.6]]
    again.close()
    store.close()


def test_a_clock_ahead_of_ours_costs_one_look_into_the_file_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, fleet = EmbeddedStore(settings(tmp_path)), fleet_of(WELL, ["A", "B", "C"])
    store.write([batch_of(fleet, [(d, T, {"level_m": 1}) for d in "ABC"])], 1)
    store.write([batch_of(fleet, [(d, T + DAY, {"level_m": 2}) for d in "AC"])], 2)
    looks: list[int] = []
    read = embedded_reads._read_as_of
    monkeypatch.setattr(embedded_reads, "_read_as_of", lambda *given: looks.append(given[3] - T) or read(*given))

    def ask(now_us: int) -> list[float]:
        found = store.latest(WELL, now_us)
        assert found.values is not None
        return found.values[:, 0].tolist()

    seconds = (1, 2, 60, 61, 30)
    assert [ask(T + s * SECOND) for s in seconds] == [[1.0] * 3] * 5
    assert looks == [1 * SECOND, 61 * SECOND, 30 * SECOND]
    assert ask(T + DAY) == [2.0, 1.0, 2.0]
    store.close()


def test_ordinals_stay_when_the_registry_changes(tmp_path: Path) -> None:
    store = EmbeddedStore(settings(tmp_path))
    for number, devices in enumerate((["A", "B"], ["B", "C", "A"], ["C"])):
        rows: list[Row] = [(d, T + number * SECOND, {"level_m": float(ord(d))}) for d in devices]
        store.write([batch_of(fleet_of(WELL, devices), rows)], number)
    values = {d: store.history(WELL, d, "level_m", T, T + DAY).value.tolist() for d in "ABC"}
    assert values == {"A": [65.0] * 2, "B": [66.0] * 2, "C": [67.0] * 2}
    store.close()


def test_readers_on_other_threads_see_whole_writes_only(tmp_path: Path) -> None:
    store, devices = EmbeddedStore(settings(tmp_path)), [f"D{i}" for i in range(20)]
    fleet, stop, faults = fleet_of(WELL, devices), threading.Event(), list[str]()
    store.write([batch_of(fleet, [(d, T, {"level_m": 0.0}) for d in devices])], 1)

    def read() -> None:
        while not stop.is_set():
            values = store.history(WELL, "D7", "level_m", T, T + DAY).value
            if not np.array_equal(values, np.arange(len(values))):
                faults.append(str(values))
            latest = store.latest(WELL, T + DAY).values
            if latest is None or len(set(latest[:, 0].tolist())) != 1:
                faults.append(str(latest))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 60):
        store.write(
            [batch_of(fleet, [(d, T + number * SECOND, {"level_m": float(number)}) for d in devices])], number
        )
    stop.set()
    for reader in readers:
        reader.join()
    assert faults == []
    store.close()


def test_who_asks_while_a_kinds_first_write_is_under_way_gets_what_it_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = fleet_of(WELL, ["A"])
    store = EmbeddedStore(settings(tmp_path))
    arranged, go_on = threading.Event(), threading.Event()
    real = EmbeddedStore._store

    def held(self: EmbeddedStore, *values: object) -> object:
        done = real(self, *values)
        arranged.set()
        assert go_on.wait(20)
        return done

    monkeypatch.setattr(EmbeddedStore, "_store", held)
    writer = threading.Thread(target=store.write, args=([batch_of(fleet, hours(["A"], 3))], 1))
    writer.start()
    assert arranged.wait(20)
    found: list[int] = []
    reader = threading.Thread(
        target=lambda: found.append(len(store.history(WELL, "A", "level_m", T, T + DAY).time_us))
    )
    reader.start()
    reader.join(0.2)
    go_on.set()
    writer.join(20)
    reader.join(20)
    assert found == [3]
    store.close()


def test_a_quantity_named_like_a_column_of_ours_is_refused(tmp_path: Path) -> None:
    store, odd = EmbeddedStore(settings(tmp_path)), kind_of("odd", "Time")
    with pytest.raises(StoreError, match=r"kind odd: expected a quantity name unlike .*, got Time"):
        store.write([batch_of(fleet_of(odd, ["A"]), [("A", T, {"Time": 1})])], 1)
    store.write([batch_of(fleet_of(WELL, ["A"]), [("A", T, {"level_m": 1})])], 2)
    assert store.cursor() == 2
    store.close()


def test_a_file_that_is_not_ours_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "store.duckdb").write_text("hello, this is a text file\n" * 200, encoding="utf-8")
    with pytest.raises(StoreUnavailable, match=r"store .*store\.duckdb: .*try again later") as refusal:
        EmbeddedStore(settings(tmp_path))
    assert "\n" not in str(refusal.value)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = EmbeddedStore(settings(tmp_path))
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="it was closed"):
        store.history(WELL, "A", "level_m", T, T + 1)


def test_the_log_beside_the_file_stays_bounded(tmp_path: Path) -> None:
    store, fleet = EmbeddedStore(settings(tmp_path, wal_mb=1)), fleet_of(WELL, ["A"])
    chance, largest = np.random.default_rng(3), 0
    for number in range(40):
        rows: list[Row] = [
            ("A", T + (number * 2000 + i) * SECOND, {"level_m": v}) for i, v in enumerate(chance.random(2000))
        ]
        store.write([batch_of(fleet, rows)], number)
        log = tmp_path / "store.duckdb.wal"
        largest = max(largest, log.stat().st_size if log.exists() else 0)
    assert 0 < largest < 1_500_000
    store.close()


@pytest.mark.scenario
def test_killed_at_any_moment_it_loses_nothing_that_returned(tmp_path: Path) -> None:
    safe = 0
    for life in range(4):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.support.store_writer", str(tmp_path)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdout is not None
            until = safe + 15 + 17 * life
            while safe < until:
                line = writer.stdout.readline()
                assert line, "the writer ended by itself"
                safe = int(line)
            time.sleep(0.003 * life)
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().split()
            safe = int(rest[-1]) if rest else safe
        store = EmbeddedStore(settings(tmp_path))
        done = store.cursor()
        assert done in {safe, safe + 1}
        model = {t: v["level_m"] for n in range(done) for d, t, v in store_writer.rows_of(n) if d == "D7"}
        found = store.history(store_writer.KIND, "D7", "level_m", 0, T * 2)
        assert dict(zip(found.time_us.tolist(), found.value.tolist(), strict=True)) == model
        latest = store.latest(store_writer.KIND, T * 2)
        assert latest.values is not None
        assert set(latest.values[:, 0].tolist()) == {model[max(model)]}
        store.close()
        safe = done


@pytest.mark.scenario
def test_a_full_disk_refuses_the_write_keeps_the_rest_and_recovers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.small_disk", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0].startswith(f"refused: store {tmp_path / 'store.duckdb'}: "), lines
    assert lines[0].endswith("nothing was stored; try again later"), lines
    assert [line for line in lines[1:] if line != "refused again"] == [
        "cursor True",
        "read True",
        "recovered True",
    ]
