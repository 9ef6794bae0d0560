"""The supervisor with real child processes, and its arithmetic with a clock of our own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.errors import SettingsError, SupervisorError
from deploy.roles import only_one, role_names
from deploy.settings import RunSettings, Settings
from deploy.supervisor import Child, Supervisor
from ingest.mqtt_settings import MqttSettings
from ingest.tcp_settings import TcpSettings

QUICK = RunSettings(grace_s=1.0, restart_s=0.05, restart_max_s=0.2)
# A role as short as it can be: notes its start and its end, and stops when told or when its supervisor is gone.
ROLE = """
import os, signal, sys, threading, time
from pathlib import Path
log = Path(sys.argv[1]); name = sys.argv[2]; mode = sys.argv[3]
def note(word):
    with log.open("a") as f: f.write(f"{word} {name} {os.getpid()}\\n")
def end(*_):
    note("stop"); os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "stubborn" else end)
note("start")
def lifeline():
    os.read(int(os.environ["UNDERCITY_LIFELINE"]), 1); note("orphan"); os._exit(0)
threading.Thread(target=lifeline, daemon=True).start()
if mode == "short": os._exit(3)
time.sleep(60)
"""


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class City:
    """A supervisor on a thread over fake roles, and what they noted."""

    def __init__(self, folder: Path, modes: dict[str, str]) -> None:
        self.notes = folder / "notes"
        self.notes.touch()
        self.stop = threading.Event()
        self.supervisor = Supervisor(
            tuple(modes),
            lambda role: [sys.executable, "-S", "-c", ROLE, str(self.notes), role, modes[role]],
            QUICK,
        )
        self.thread = threading.Thread(target=self.supervisor.run, args=(self.stop,))
        self.thread.start()

    def said(self, word: str, role: str = "") -> list[int]:
        lines = [line.split() for line in self.notes.read_text().splitlines()]
        return [int(pid) for said, name, pid in lines if said == word and role in {"", name}]

    def order(self, word: str) -> list[str]:
        return [line.split()[1] for line in self.notes.read_text().splitlines() if line.startswith(word)]

    def end(self) -> None:
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., City]]:
    cities: list[City] = []

    def begin(**modes: str) -> City:
        cities.append(City(tmp_path, {name.replace("_", "-"): mode for name, mode in modes.items()}))
        return cities[-1]

    yield begin
    for city in cities:
        city.end()


def test_a_role_that_was_killed_is_started_again_while_the_others_go_on(start: Callable[..., City]) -> None:
    city = start(processor="steady", console="steady")
    _until(lambda: len(city.said("start")) == 2)
    os.kill(city.said("start", "processor")[0], signal.SIGKILL)
    _until(lambda: len(city.said("start", "processor")) == 2)
    assert len(city.said("start", "console")) == 1


def test_roles_stop_in_order_ingest_first_and_console_last(start: Callable[..., City]) -> None:
    city = start(console="steady", sender="steady", processor="steady", ingest_0="steady")
    _until(lambda: len(city.said("start")) == 4)
    city.end()
    assert city.order("stop") == ["ingest-0", "processor", "sender", "console"]


def test_a_role_that_does_not_stop_is_killed_after_its_grace(start: Callable[..., City]) -> None:
    city = start(processor="stubborn")
    _until(lambda: len(city.said("start")) == 1)
    began = time.monotonic()
    city.end()
    assert QUICK.grace_s <= time.monotonic() - began < QUICK.grace_s + 5
    with pytest.raises(ProcessLookupError):
        os.kill(city.said("start")[0], 0)


def test_a_role_that_keeps_dying_is_started_again_and_again(start: Callable[..., City]) -> None:
    city = start(sender="short")
    _until(lambda: len(city.said("start")) >= 3)


def test_a_command_that_cannot_be_started_does_not_stop_the_supervisor() -> None:
    supervisor = Supervisor(("console",), lambda _role: ["/nonexistent"], QUICK, monotonic=lambda: 5.0)
    supervisor._lifeline = (0, 0)
    supervisor.step()
    assert supervisor.children["console"].due_s is not None
    assert supervisor.children["console"].due_s > 5.0


def test_the_pause_doubles_up_to_its_cap() -> None:
    settings = RunSettings(restart_s=1.0, restart_max_s=30.0)
    supervisor = Supervisor((), lambda _role: [], settings, chance=lambda: 1.0)
    assert [supervisor._pause_s(Child("x", failures=n)) for n in (1, 2, 3, 6, 500)] == [1.0, 2.0, 4.0, 30.0, 30.0]


def test_chance_takes_at_most_half_of_the_pause() -> None:
    supervisor = Supervisor((), lambda _role: [], RunSettings(restart_s=1.0), chance=lambda: 0.0)
    assert supervisor._pause_s(Child("x", failures=1)) == 0.5


def test_children_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, threading; from deploy.supervisor import Supervisor; from deploy.settings import RunSettings;"
        "notes, role = sys.argv[1:];"
        "Supervisor(('processor',), lambda name: [sys.executable, '-S', '-c', role, notes, name, 'steady'],"
        " RunSettings()).run(threading.Event())"
    )
    notes = tmp_path / "notes"
    notes.touch()
    parent = subprocess.Popen([sys.executable, "-c", script, str(notes), ROLE], stderr=subprocess.DEVNULL)
    try:
        _until(lambda: "start" in notes.read_text(), 30)
    finally:
        parent.kill()
        parent.wait()
    _until(lambda: "orphan" in notes.read_text())


def test_a_role_runs_once_per_data_folder(tmp_path: Path) -> None:
    with only_one(tmp_path, "processor"), only_one(tmp_path, "sender"):
        second = only_one(tmp_path, "processor")
        with pytest.raises(SupervisorError, match=f"already runs on .* as process {os.getpid()}"):
            second.__enter__()
    with only_one(tmp_path, "processor"):
        pass


def test_each_ingest_worker_is_a_role() -> None:
    names = role_names(Settings(run=RunSettings(ingest_workers=3)))
    assert names == ("processor", "ingest-0", "ingest-1", "ingest-2", "sender", "console")


def test_a_city_with_loggers_only_has_no_worker_that_waits_for_a_broker():
    loggers = Settings(mqtt=MqttSettings(enabled=False), tcp=TcpSettings(port=9212))
    assert role_names(loggers) == ("processor", "ingest-tcp", "sender", "console")
    with pytest.raises(SettingsError, match="nothing else takes readings in"):
        Settings(mqtt=MqttSettings(enabled=False))
