"""Code that is not Python at the other end: the reference gateway in C, on an emulated STM32F405."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from paho.mqtt.client import Client as Subscriber
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from devices.errors import FirmwareError, LinkError
from devices.firmware import reference
from devices.firmware.application.client import Client
from devices.firmware.application.configuration import Child, Configuration, Field
from devices.firmware.application.conformance import Verdict, run
from devices.firmware.application.messages import Connection, Hello, Trouble
from devices.firmware.driver import Proof
from devices.firmware.drivers import named
from devices.firmware.link import Link
from devices.firmware.provision import Provisioned, provision
from devices.simulator.boards import emulated
from devices.simulator.boards.emulated import EmulatedBoard
from tests.support.broker import running_mosquitto, until
from tests.support.reference_board import client_of, flashed, needs_qemu, printed, reference_image

COMPILER = "arm-none-eabi-gcc"
SLOT, RECORD = 0x4000, 4848  # bytes of a flash sector, and of slot_t in fields.c
USERS = {"GW-1": "of the board", "watcher": "of the test"}


@pytest.fixture
def board(tmp_path: Path) -> Iterator[EmulatedBoard]:
    with EmulatedBoard(tmp_path / "board") as started:
        yield started


def test_the_binaries_were_built_of_the_sources_beside_them() -> None:
    assert reference.record()["sources"] == reference.source_digest(), (
        "run devices/firmware/reference/source/build"
    )


def test_the_same_compiler_builds_the_same_bytes(tmp_path: Path) -> None:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not installed")
    said = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True, timeout=20)
    if said.stdout.splitlines()[0] != reference.record()["compiler"]:
        pytest.skip("the binaries were built with another version of the compiler")
    subprocess.run([reference.SOURCE / "build", tmp_path], check=True, timeout=60)
    assert (tmp_path / "bootloader.bin").read_bytes() == reference.bootloader()
    assert (tmp_path / "application.bin").read_bytes() == reference.application()


def test_without_the_emulator_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(FirmwareError, match=r"^emulated board: qemu-system-arm is not installed \(apt-get .*\)"):
        EmulatedBoard(tmp_path).start()


def test_an_emulator_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "qemu-system-arm"
    broken.write_text("#!/bin/sh\necho cannot set up guest memory >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(emulated, "QEMU", str(broken))
    monkeypatch.setattr(emulated, "_TIMEOUT_S", 2.0)
    with pytest.raises(FirmwareError, match=r"to start, got cannot set up guest memory; nothing runs$"):
        EmulatedBoard(tmp_path).start()


@needs_qemu
def test_a_blank_board_is_flashed_compared_and_says_what_it_runs(board: EmulatedBoard) -> None:
    done = flashed(board)
    assert done.proof is Proof.READ_BACK
    assert done.board.serial == board.serial
    link, client = client_of(board)
    hello = client.hello()
    assert (hello.board, hello.chip, hello.serial) == (reference.BOARD, reference.CHIP, board.serial)
    client.reboot()
    assert "undercity-ref r1 1.0.0 starting" in printed(link, r"starting\r\n")
    link.close()


@needs_qemu
@pytest.mark.parametrize("share", [0.0, 0.97])
def test_a_power_cut_in_the_middle_leaves_a_board_that_waits_and_is_flashed_again(
    board: EmulatedBoard, share: float
) -> None:
    flashed(board)
    link, client = client_of(board)
    client.reboot(loader=True)
    link.pause(0.5)
    link.close()
    driver = named("stm32").connect(board.url, baud=reference.BAUD, options={})
    driver.identify()

    def cut(_step: object, done: int, whole: int) -> None:
        if done > share * whole:
            board.power_cut()

    with pytest.raises(FirmwareError):
        driver.write(reference_image(), cut)
    driver.close()
    assert flashed(board).attempts == 1  # it is in its bootloader: what it held was no application


@needs_qemu
def test_a_power_cut_keeps_the_application_and_its_configuration(board: EmulatedBoard) -> None:
    flashed(board)
    link, client = client_of(board)
    commit = client.configure(configuration(1))
    link.close()
    board.power_cut()
    link, client = client_of(board)
    assert client.hello().commit_id == commit
    link.close()


@needs_qemu
def test_a_commit_that_was_cut_at_any_byte_leaves_all_of_the_old(board: EmulatedBoard) -> None:
    flashed(board)
    link, client = client_of(board)
    old, new = client.configure(configuration(1001)), client.configure(configuration(1002))
    link.close()
    board.stop()
    whole = board.flash.read_bytes()
    written = max(range(0, 2 * SLOT, SLOT), key=lambda at: whole[at + 4 : at + 8])  # its generation
    assert whole[written + 8 : written + 16] == new
    for cut in (3, 9, 40, RECORD // 2, RECORD - 4, RECORD - 1):
        board.flash.write_bytes(whole[: written + cut] + b"\xff" * (SLOT - cut) + whole[written + SLOT :])
        board.start()
        link, client = client_of(board)
        assert client.hello().commit_id == old, cut
        assert int.from_bytes(client.read_back()[Field.PORT], "big") == 1001
        link.close()
        board.stop()


@needs_qemu
def test_the_board_keeps_the_protocol_as_the_checklist_has_it(board: EmulatedBoard) -> None:
    flashed(board)
    link, _ = client_of(board)
    results = list(run(link))
    link.close()
    assert [one for one in results if one.verdict is Verdict.FAILED] == []
    assert len(results) > 20


def configuration(port: int, password: str = USERS["GW-1"], period_s: int = 1) -> Configuration:
    return Configuration(
        gateway="GW-1",
        district="pudong",
        host="127.0.0.1",
        port=port,
        tls=False,
        user="GW-1",
        password=password,
        period_s=period_s,
        children=(Child("WP-0001", "water_pressure"), Child("XX-1", "unheard_of"), Child("MC-1", "manhole_cover")),
    )


def provisioned(client: Client, link: Link, wanted: Configuration, within_s: float = 30.0) -> Provisioned:
    hello: Hello = client.hello()
    return provision(
        client,
        link,
        hello,
        wanted,
        now_ms=lambda: time.time_ns() // 1_000_000,
        told=lambda _stage, _line: None,
        connect_s=within_s,
    )


@contextmanager
def watching(port: int) -> Iterator[list[MQTTMessage]]:
    """What arrives at the broker."""
    seen: list[MQTTMessage] = []
    subscriber = Subscriber(CallbackAPIVersion.VERSION2, "watcher")
    subscriber.username_pw_set("watcher", USERS["watcher"])
    subscriber.on_connect = lambda client, *_: client.subscribe("city/#", 1)
    subscriber.on_message = lambda _client, _data, message: seen.append(message)
    subscriber.connect("127.0.0.1", port)
    subscriber.loop_start()
    try:
        until(subscriber.is_connected, "the watcher is connected")
        yield seen
    finally:
        subscriber.disconnect()
        subscriber.loop_stop()


@needs_qemu
def test_a_provisioned_board_logs_in_and_publishes_through_a_real_broker(
    board: EmulatedBoard, tmp_path: Path
) -> None:
    flashed(board)
    with running_mosquitto(tmp_path / "broker", users=USERS) as broker, watching(broker.port) as seen:
        link, client = client_of(board)
        assert provisioned(client, link, configuration(broker.port)).status.connection == Connection.MQTT
        until(lambda: len(seen) >= 3, "three reports")
        now_ms = time.time_ns() // 1_000_000
        assert {(one.topic, one.qos) for one in seen} == {("city/pudong/gateway/GW-1/up", 1)}
        reports = [json.loads(one.payload) for one in seen[:3]]
        assert [[reading["id"] for reading in one] for one in reports] == [["WP-0001", "MC-1"]] * 3
        assert [one[0]["seq"] for one in reports] == [1, 2, 3]
        assert all(abs(reading["t"] - now_ms) < 10_000 for one in reports for reading in one)
        assert 290 < reports[0][0]["m"]["pressure_kpa"] < 350
        # A broker that goes and comes back: the report it did not acknowledge is sent again.
        broker.stop()
        until(lambda: client.status().connection != Connection.MQTT, "the board notices")
        before = len(seen)
        broker.start()
        until(lambda: client.status().connection == Connection.MQTT, "the board is back", 40)
        until(lambda: len(seen) > before, "it reports again")
        numbers = [json.loads(one.payload)[0]["seq"] for one in seen]
        assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
        link.close()


@needs_qemu
@pytest.mark.soak
def test_a_wrong_password_is_named_by_the_board_and_never_printed(board: EmulatedBoard, tmp_path: Path) -> None:
    flashed(board)
    with running_mosquitto(tmp_path / "broker", users=USERS) as broker:
        link, client = client_of(board)
        with pytest.raises(FirmwareError, match="user name or password is wrong"):
            provisioned(client, link, configuration(broker.port, "not the password"), 8)
        assert client.status().trouble == Trouble.LOGIN
        assert "not the password" not in printed(link, "link: MODEM")
        link.close()


@needs_qemu
def test_no_emulator_is_left_when_whoever_started_it_is_killed(tmp_path: Path) -> None:
    code = "import sys, pathlib, time; from devices.simulator.boards.emulated import EmulatedBoard\n"
    code += "EmulatedBoard(pathlib.Path(sys.argv[1])).start(); print('started', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "started\n"
        left = psutil.Process(starter.pid).children(recursive=True)
        assert any("qemu" in one.name() for one in left)
        starter.kill()
    assert psutil.wait_procs(left, timeout=15)[1] == []


@needs_qemu
def test_a_stopped_board_is_gone(tmp_path: Path) -> None:
    board = EmulatedBoard(tmp_path)
    board.start()
    link, _ = client_of(board)
    board.stop()
    board.stop()
    with pytest.raises(LinkError):
        link.read(1, 5.0)
    link.close()
