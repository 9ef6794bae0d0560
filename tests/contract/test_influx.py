"""What only InfluxDB can do to us: refuse a part, go away, come back. Against a real server, never a fake."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devices.fleet import Entry
from ingest.errors import StoreError, StoreUnavailable
from ingest.timeseries.influx import InfluxSettings, InfluxStore
from ingest.timeseries.ports import Annotates, Mark, Rejected
from ingest.timeseries.retry import RetryPolicy
from ingest.timeseries.spool import SpooledStore, SpoolSettings
from tests.support.influx import Influxd, InfluxServer, influx_server, onboarded, require_influxd
from tests.support.series import DAY, HOUR, SECOND, Row, batch_of, fleet_of, kind_of

pytestmark = pytest.mark.influx
NOW = time.time_ns() // 1000 // HOUR * HOUR
T = NOW - DAY
WELL = kind_of("well", "level_m", "battery_v")
RISEN = Mark(
    kind="well",
    device="A",
    rule="high",
    severity="high",
    phase="raise",
    title_zh="水位高",
    title_en="level high",
    time_us=T,
)
QUICK = RetryPolicy(attempts=1, first_s=0.05, longest_s=0.2)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    with influx_server(tmp_path_factory.mktemp("influx")) as running:
        yield running


def settings_for(server: InfluxServer, folder: Path, **more: object) -> InfluxSettings:
    bucket = f"own-{time.time_ns()}"
    with server.client() as client:
        client.buckets_api().create_bucket(
            bucket_name=bucket, org=server.org, retention_rules=[{"type": "expire", "everySeconds": 30 * 86400}]
        )
    token = folder / "token"
    token.write_text(server.token, encoding="utf-8")
    given = {"retry": QUICK} | more
    return InfluxSettings(url=server.url, org=server.org, bucket=bucket, token_file=token, **given)  # type: ignore[arg-type]


@pytest.fixture
def settings(server: InfluxServer, tmp_path: Path) -> InfluxSettings:
    return settings_for(server, tmp_path)


@pytest.fixture
def store(settings: InfluxSettings) -> Iterator[InfluxStore]:
    opened = InfluxStore(settings)
    yield opened
    opened.close()


def rows(device: str, count: int, start_us: int = T) -> list[Row]:
    return [(device, start_us + i * SECOND, {"level_m": float(i)}) for i in range(count)]


def stored(store: InfluxStore | SpooledStore, device: str) -> int:
    return len(store.history(WELL, device, "level_m", T - 60 * DAY, NOW + DAY).time_us)


def test_rows_older_than_the_bucket_remembers_do_not_stop_the_others(store: InfluxStore) -> None:
    given = rows("A", 300)
    for number in (0, 57, 58, 299):
        given[number] = ("B", NOW - 40 * DAY + number, {"level_m": 1.0})
    written = store.write([batch_of(fleet_of(WELL, ["A", "B"]), given)], 1)
    assert (written.rows, stored(store, "A")) == (296, 296)
    assert [(r.device, r.kind, r.time_us) for r in written.rejected] == [
        ("B", "well", NOW - 40 * DAY + n) for n in (0, 57, 58, 299)
    ]
    assert "outside retention policy" in written.rejected[0].reason


def test_rows_of_another_field_type_do_not_stop_the_others(store: InfluxStore) -> None:
    # Somebody else's program wrote whole numbers into a field of ours.
    store.write_block(b"well,device=X battery_v=3i %d\n" % (T * 1000))
    given = rows("A", 200)
    given[60] = ("B", T, {"level_m": 5.0, "battery_v": 3.6})
    given[61] = ("C", T, {"battery_v": 3.6})
    written = store.write([batch_of(fleet_of(WELL, ["A", "B", "C"]), given)], 1)
    assert (written.rows, stored(store, "A")) == (198, 198)
    assert [(r.device, r.time_us) for r in written.rejected] == [("B", T), ("C", T)]
    assert "field type conflict" in written.rejected[0].reason


def test_both_reasons_in_one_block_hide_nothing(store: InfluxStore) -> None:
    # The server names the type conflict alone and counts one: the old row must be found all the same.
    store.write_block(b"well,device=X battery_v=3i %d\n" % (T * 1000))
    given = rows("A", 100)
    given[10] = ("C", T, {"battery_v": 3.6})
    given[80] = ("B", NOW - 40 * DAY, {"level_m": 1.0})
    written = store.write([batch_of(fleet_of(WELL, ["A", "B", "C"]), given)], 1)
    assert stored(store, "A") == 98
    assert [r.device for r in written.rejected] == ["C", "B"]


def test_lines_that_do_not_parse_do_not_stop_the_others(store: InfluxStore) -> None:
    stamp = T * 1000
    block = b"well,device=A level_m=1 %d\nwell,device= level_m=1 %d\ngarbage\nwell,device=B level_m=2 %d\n"
    rejected = store.write_block(block % (stamp, stamp, stamp))
    assert [r.reason.split(":")[0] for r in rejected] == [
        f"unable to parse 'well,device= level_m=1 {stamp}'",
        "unable to parse 'garbage'",
    ]
    assert (stored(store, "A"), stored(store, "B")) == (1, 1)


def test_a_whole_refused_block_takes_one_request(
    settings: InfluxSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = InfluxStore(settings)
    asked: list[int] = []
    post: Callable[[bytes], str | None] = store._post
    monkeypatch.setattr(store, "_post", lambda body: asked.append(1) or post(body))
    lines = b"".join(b"well,device=A level_m=%d %d\n" % (i, (NOW - 40 * DAY + i) * 1000) for i in range(500))
    assert (len(store.write_block(lines)), len(asked)) == (500, 1)
    store.close()


def test_a_device_whose_site_changed_keeps_one_history(store: InfluxStore) -> None:
    for hour, site in enumerate(("old", "new", "new")):
        fleet = fleet_of(WELL, [Entry("A", "well", site=site)])
        store.write([batch_of(fleet, rows("A", 10, T + hour * 5 * SECOND))], 1)
    assert stored(store, "A") == 20
    found = store.history(WELL, "A", "level_m", T, T + HOUR, HOUR)
    assert found.count is not None
    assert found.count.tolist() == [20]


def test_a_refused_token_is_one_clear_line_without_the_token(server: InfluxServer, tmp_path: Path) -> None:
    settings = settings_for(server, tmp_path)
    (tmp_path / "token").write_text("not-the-token", encoding="utf-8")
    store = InfluxStore(settings)
    with pytest.raises(StoreUnavailable, match=r"the token was refused .*set it right and it goes on") as refusal:
        store.write([batch_of(fleet_of(WELL, ["A"]), rows("A", 1))], 1)
    assert "not-the-token" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
    store.close()


def test_a_missing_token_is_refused_before_any_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFLUX_TOKEN", raising=False)
    with pytest.raises(StoreError, match="expected a token in INFLUX_TOKEN"):
        InfluxStore(InfluxSettings(url="http://127.0.0.1:1"))
    with pytest.raises(StoreError, match="No such file"):
        InfluxStore(InfluxSettings(url="http://127.0.0.1:1", token_file=tmp_path / "none"))


def test_the_spool_carries_the_pipeline_over_an_outage_and_then_empties(tmp_path: Path) -> None:
    require_influxd()
    own = Influxd(tmp_path)
    own.start()
    server = onboarded(own.url)
    settings, fleet = settings_for(server, tmp_path), fleet_of(WELL, ["A", "B"])
    rejected: list[Rejected] = []

    def open_spooled() -> SpooledStore:
        spool = SpoolSettings(
            path=tmp_path / "spool.db", request_bytes=5000, idle_s=0.05, trim_every=1, retry=QUICK
        )
        return SpooledStore(
            InfluxStore(settings), spool, now=lambda: time.time_ns() // 1000, on_rejected=rejected.extend
        )

    try:
        db = open_spooled()
        assert db.write([batch_of(fleet, rows("A", 10))], 10).rows == 10
        assert db.drained(10)
        own.stop()
        for number in range(5):
            db.write([batch_of(fleet, rows("A", 100, T + (1 + number) * HOUR))], 20 + number)
        db.write([batch_of(fleet, [("B", NOW - 40 * DAY, {"level_m": 1})])], 30)
        assert (db.cursor(), db.drained(0.3)) == (30, False)
        assert (db.lag().writes, db.lag().since_us is not None) == (6, True)
        _until(lambda: "127.0.0.1" in db.lag().failing)
        with pytest.raises(StoreUnavailable, match="nothing was read"):
            stored(db, "A")
        # Our own process goes and comes as well, meanwhile.
        db.close()
        db = open_spooled()
        assert (db.cursor(), db.lag().writes) == (30, 6)
        own.start()
        assert db.drained(20)
        assert (stored(db, "A"), db.lag().failing, db.lag().since_us) == (510, "", None)
        assert [r.device for r in rejected] == ["B"]
        db.close()
    finally:
        own.stop()


def test_marks_of_alerts_wait_in_the_spool_and_never_for_the_server(server: InfluxServer, tmp_path: Path) -> None:
    settings = settings_for(server, tmp_path)
    away = replace(settings, url="http://127.0.0.1:1")
    spool = SpoolSettings(path=tmp_path / "spool.db", idle_s=0.05, retry=QUICK)
    fleet = fleet_of(WELL, ["A"])
    db = SpooledStore(InfluxStore(away), spool, now=lambda: NOW)
    assert isinstance(db, Annotates)
    start = time.monotonic()
    db.write([batch_of(fleet, rows("A", 3))], 3)
    db.annotate([RISEN])
    db.annotate([])
    assert time.monotonic() - start < 1
    assert (db.cursor(), db.lag().writes) == (3, 2)
    db.close()
    db = SpooledStore(InfluxStore(settings), spool, now=lambda: NOW)
    db.annotate([RISEN])
    db.write([batch_of(fleet, rows("A", 5))], 5)
    assert db.drained(10)
    assert stored(db, "A") == 5
    db.close()
    with server.client() as client:
        query = (
            f'from(bucket: "{settings.bucket}") |> range(start: -2d) '
            '|> filter(fn: (r) => r._measurement == "alerts" and r._field == "title_zh")'
        )
        found = [record.values for one in client.query_api().query(query) for record in one.records]
    assert [(row["device"], row["_value"]) for row in found] == [("A", "水位高")]


def test_a_mark_that_cannot_be_kept_is_one_refusal(server: InfluxServer, tmp_path: Path) -> None:
    db = SpooledStore(
        InfluxStore(settings_for(server, tmp_path)),
        SpoolSettings(path=tmp_path / "s" / "spool.db"),
        now=lambda: NOW,
    )
    holder = sqlite3.connect(tmp_path / "s" / "spool.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=r"spool: .*locked"):
        db.annotate([RISEN])
    holder.execute("ROLLBACK")
    holder.close()
    db.close()


def _until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
