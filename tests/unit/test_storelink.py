"""Reading the embedded store from another process."""

from __future__ import annotations

import socket
import struct
import threading

import numpy as np
import pytest

from deploy.storelink import StoreClient, StoreServer, store_socket
from devices.readings import Batch, empty
from ingest.errors import StoreUnavailable
from ingest.timeseries.embedded import EmbeddedSettings, EmbeddedStore
from tests.support.kinds import WELL, fleet_of, wells

S = 1_000_000
FLEET = fleet_of(wells(3)).kinds["well"]


def batch() -> Batch:
    rows = empty(FLEET)
    rows.device = np.array([0, 1, 0], dtype=np.int32)
    rows.time_us = rows.received_us = np.array([10 * S, 20 * S, 30 * S])
    rows.offset = rows.seq = np.arange(3)
    rows.values = np.array([[1.5, np.nan], [2.5, 3.6], [4.5, np.nan]])
    rows.quality = np.array([[0, 4], [0, 0], [1, 4]], dtype=np.uint8)
    rows.reasons, rows.late = np.zeros((3, 2), dtype=np.uint16), np.zeros(3, dtype=np.bool_)
    return rows


@pytest.fixture
def store(tmp_path):
    made = EmbeddedStore(EmbeddedSettings(path=tmp_path / "readings.duckdb"))
    made.write([batch()], 3)
    yield made
    made.close()


@pytest.fixture
def server(store, tmp_path):
    made = StoreServer(store, {"well": WELL}, store_socket(tmp_path / "store.sock"))
    yield made
    made.close()


def client(tmp_path) -> StoreClient:
    return StoreClient(store_socket(tmp_path / "store.sock"), timeout_s=5)


@pytest.mark.usefixtures("server")
def test_history_and_latest_come_back_as_the_owner_gives_them(store, tmp_path):
    asked = client(tmp_path)
    for every in (None, 60 * S):
        mine = asked.history(WELL, "WE-0", "level_m", 0, 100 * S, every)
        owner = store.history(WELL, "WE-0", "level_m", 0, 100 * S, every)
        for name in ("time_us", "value", "quality", "low", "high", "count"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(owner, name))
    latest, owned = asked.latest(WELL, 100 * S), store.latest(WELL, 100 * S)
    assert latest.devices == owned.devices
    np.testing.assert_array_equal(latest.values, owned.values)
    asked.close()


@pytest.mark.usefixtures("server")
def test_garbage_on_the_socket_costs_only_the_one_who_sent_it(tmp_path):
    path = store_socket(tmp_path / "store.sock")
    for garbage in (b"", b"xx", struct.pack(">I", 5) + b"hello", struct.pack(">I", 0xFFFFFFFF) + b"x"):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(path))
            stranger.sendall(garbage)
    asked = client(tmp_path)
    assert asked.latest(WELL, 100 * S).devices[:2] == ["WE-0", "WE-1"]
    asked.close()


@pytest.mark.usefixtures("server")
def test_a_question_about_what_there_is_not_is_refused_in_one_line(tmp_path):
    asked = client(tmp_path)
    with pytest.raises(StoreUnavailable, match="mood"):
        asked.history(WELL, "WE-0", "mood", 0, 1)
    assert len(asked.history(WELL, "nobody", "level_m", 0, 100 * S).time_us) == 0
    asked.close()


def test_an_owner_that_went_away_is_said_and_found_again(store, tmp_path):
    asked = client(tmp_path)
    with pytest.raises(StoreUnavailable, match="the processor does not answer"):
        asked.latest(WELL, 0)
    for _ in range(2):
        server = StoreServer(store, {"well": WELL}, store_socket(tmp_path / "store.sock"))
        assert len(asked.latest(WELL, 100 * S).devices) >= 2
        server.close()
    asked.close()


@pytest.mark.usefixtures("server")
def test_many_may_ask_at_once(tmp_path):
    answers: list[int] = []

    def ask() -> None:
        asked = client(tmp_path)
        answers.extend(len(asked.latest(WELL, 100 * S).devices) for _ in range(10))
        asked.close()

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 160


@pytest.mark.usefixtures("server")
def test_the_socket_is_for_our_user_alone(tmp_path):
    assert store_socket(tmp_path / "store.sock").stat().st_mode & 0o777 == 0o600


def test_a_path_too_long_for_a_socket_gets_a_short_one_in_a_folder_of_ours(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    short = store_socket(tmp_path / ("x" * 120) / "store.sock")
    assert len(str(short)) < 108 or len(str(tmp_path)) > 60
    assert short.parent.stat().st_mode & 0o777 == 0o700
    short.parent.chmod(0o777)
    with pytest.raises(StoreUnavailable, match="a folder of ours alone"):
        store_socket(tmp_path / ("x" * 120) / "store.sock")
