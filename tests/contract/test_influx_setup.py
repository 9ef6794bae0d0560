"""`undercity influx setup` against a server that nobody has set up, and against one that is ours already."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from typer.testing import CliRunner

from deploy.cli.main import app
from devices.readings import Quality
from ingest.errors import StoreError, StoreUnavailable
from ingest.timeseries.influx import InfluxSettings, InfluxStore
from ingest.timeseries.influx_setup import TASK, InfluxSetup, InfluxSetupSettings
from tests.support.influx import Influxd, require_influxd
from tests.support.series import HOUR, SECOND, batch_of, fleet_of, kind_of

pytestmark = pytest.mark.influx
WELL = kind_of("well", "level_m")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_influxd()
    own = Influxd(tmp_path_factory.mktemp("influx"))
    own.start()
    yield own.url
    own.stop()


@pytest.fixture(scope="module")
def folder(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first run, on the new server, left its secrets."""
    path = tmp_path_factory.mktemp("secrets") / "own"
    done = InfluxSetup(InfluxSetupSettings(url=url, secrets_dir=path)).run("")
    assert [line.split(",")[0] for line in done][:2] == ["server set up: user undercity", "bucket hourly made"]
    return path


def operator(folder: Path) -> str:
    return (folder / "operator.token").read_text().strip()


def client(url: str, folder: Path) -> InfluxDBClient:
    return InfluxDBClient(url, operator(folder), org="undercity", timeout=20_000)


def test_every_secret_is_a_file_of_its_own_that_only_we_can_read(url: str, folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [
        "grafana.token",
        "operator.password",
        "operator.token",
        "pipeline.token",
    ]
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o600}


def test_a_second_run_changes_nothing(url: str, folder: Path) -> None:
    before = {p.name: p.read_text() for p in folder.iterdir()}
    assert InfluxSetup(InfluxSetupSettings(url=url, secrets_dir=folder)).run(operator(folder)) == []
    assert {p.name: p.read_text() for p in folder.iterdir()} == before


def test_what_was_altered_is_brought_back_not_doubled(url: str, folder: Path) -> None:
    with client(url, folder) as db:
        task = db.tasks_api().find_tasks(name=TASK)[0]
        task.flux = 'option task = {name: "undercity hourly", every: 2h}\nfrom(bucket: "raw") |> range(start: -1h)'
        db.tasks_api().update_task(task)
        bucket = db.buckets_api().find_bucket_by_name("hourly")
        bucket.retention_rules[0].every_seconds = 7 * 86400
        bucket.retention_rules[0].shard_group_duration_seconds = 86400
        db.buckets_api().update_bucket(bucket)
        (folder / "grafana.token").unlink()
        done = InfluxSetup(InfluxSetupSettings(url=url, secrets_dir=folder)).run(operator(folder))
        assert done == [
            "bucket hourly now keeps 1825 days",
            "task undercity hourly brought up to date",
            f"token of undercity grafana written to {folder / 'grafana.token'}",
        ]
        assert len(db.tasks_api().find_tasks(name=TASK)) == 1
        known = [a.description for a in db.authorizations_api().find_authorizations()]
        assert sorted(k for k in known if k.startswith("undercity ")) == [
            "undercity grafana",
            "undercity pipeline",
        ]


def test_the_pipelines_token_writes_and_grafanas_only_reads(url: str, folder: Path) -> None:
    now = time.time_ns() // 1000
    fleet = fleet_of(WELL, ["A"])
    stores = [
        InfluxStore(InfluxSettings(url=url, token_file=folder / f)) for f in ("pipeline.token", "grafana.token")
    ]
    assert stores[0].write([batch_of(fleet, [("A", now, {"level_m": 1})])], 5).rows == 1
    assert stores[1].history(WELL, "A", "level_m", now, now + 1).value.tolist() == [1.0]
    with pytest.raises(StoreUnavailable, match="may not do this"):
        stores[1].write([batch_of(fleet, [("A", now, {"level_m": 1})])], 6)
    for store in stores:
        store.close()


def test_the_task_fills_the_hours_without_bad_values(url: str, folder: Path) -> None:
    hour = time.time_ns() // 1000 // HOUR * HOUR - HOUR
    rows = [("A", hour + i * SECOND, {"level_m": float(i)}) for i in range(4)]
    rows.append(("A", hour + 9 * SECOND, {"level_m": (900.0, Quality.BAD)}))
    rows.append(("B", hour, {"level_m": (900.0, Quality.BAD)}))
    store = InfluxStore(InfluxSettings(url=url, token_file=folder / "pipeline.token"))
    store.write([batch_of(fleet_of(WELL, ["A", "B"]), rows)], 7)
    store.close()
    with client(url, folder) as db:
        task = db.tasks_api().find_tasks(name=TASK)[0]
        run = db.tasks_api().run_manually(task.id)
        _until_run(db, task.id, run["id"] if isinstance(run, dict) else run.id)
        found = db.query_api().query(
            'from(bucket: "hourly") |> range(start: 0) |> filter(fn: (r) => r._measurement == "well") |> group()'
        )
        cells = {(r["device"], r["stat"]): (r["_value"], r["_time"].timestamp()) for t in found for r in t.records}
    wanted = {"mean": 1.5, "min": 0.0, "max": 3.0, "count": 4.0}
    assert {k: v for k, v in cells.items() if v[1] == hour / 1e6} == {
        ("A", stat): (value, hour / 1e6) for stat, value in wanted.items()
    }


def _until_run(db: InfluxDBClient, task: str, run: str) -> None:
    deadline = time.monotonic() + 30
    while (status := _status(db, task, run)) not in {"success", "failed"}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert status == "success", [event.message for event in db.tasks_api().get_run_logs(task, run)]


def _status(db: InfluxDBClient, task: str, run: str) -> str:
    try:
        return str(db.tasks_api().get_run(task, run).status)
    except ApiException as error:
        # A run that just ended is for a moment neither among those under way nor among those recorded.
        if error.status not in {404, 500}:
            raise
        return "between two lists"


def test_a_server_that_is_set_up_wants_an_operators_token(url: str, folder: Path, tmp_path: Path) -> None:
    setup = InfluxSetup(InfluxSetupSettings(url=url, secrets_dir=tmp_path))
    with pytest.raises(StoreError, match="expected an operator's token, got none; nothing was changed"):
        setup.run("")
    with pytest.raises(StoreError, match="HTTP 401"):
        setup.run("wrong")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_did_and_shows_no_token(url: str, folder: Path, tmp_path: Path) -> None:
    import deploy.cli.influx  # noqa: PLC0415

    deploy.cli.influx.register(app)
    token = folder / "operator.token"
    arguments = ["influx", "setup", "--url", url, "--token-file", str(token), "--secrets-dir", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "token of undercity pipeline written to" in result.output
    assert result.output.endswith("ready\n")
    secrets = [p.read_text().strip() for p in tmp_path.iterdir()] + [token.read_text().strip()]
    assert not any(secret in result.output for secret in secrets)
