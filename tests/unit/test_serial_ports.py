"""Ports are chosen by what is known of them; a busy one says who holds it, a forbidden one which group to join."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.errors import PortError
from devices.firmware.ports import Port, chosen, explained, held_by, why_none

A = Port(device="/dev/ttyUSB0", usb="1A86:7523", location="1-1.2")
B = Port(device="/dev/ttyUSB1", usb="1A86:7523", location="1-1.3")
C = Port(device="/dev/ttyACM0", usb="0483:5740", serial="3762", location="1-2")


@pytest.mark.parametrize(
    "wanted", ["/dev/ttyACM0", "ttyACM0", "0483:5740", "3762", "1-2", "TTYacm0"], ids=lambda wanted: wanted
)
def test_a_port_is_chosen_by_whatever_names_it(wanted: str) -> None:
    assert chosen(wanted, [A, B, C]) is C


def test_two_that_match_are_named_and_none_is_guessed() -> None:
    with pytest.raises(PortError, match=r"2 match: /dev/ttyUSB0 \(at 1-1\.2\), /dev/ttyUSB1 \(at 1-1\.3\)"):
        chosen("1a86:7523", [A, B, C])


def test_one_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(PortError, match="it is not there; ports are: /dev/ttyUSB0"):
        chosen("/dev/ttyUSB7", [A])


@pytest.mark.parametrize("url", ["socket://127.0.0.1:9", "rfc2217://cabinet-4:2217"])
def test_a_url_is_taken_as_it_is(url: str) -> None:
    assert chosen(url, [A]).device == url


def test_a_folder_is_no_port(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="it is not there"):
        chosen(str(tmp_path), [])


def test_an_empty_list_says_what_to_look_at() -> None:
    assert all(why_none())


def test_an_adapter_is_known_by_its_serial_number_or_else_its_place() -> None:
    assert (A.adapter, C.adapter, Port(device="/dev/ttyS0").adapter) == ("1A86:7523 1-1.2", "0483:5740 3762", "")


@pytest.fixture
def held() -> Iterator[tuple[str, int]]:
    """A pseudo-terminal that another process has open: (its path, that process)."""
    ours, theirs = pty.openpty()
    path = os.ttyname(theirs)
    script = (
        "import sys; file = open(sys.argv[1], 'rb+', buffering=0); print('open', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    os.close(theirs)
    yield path, holder.pid
    holder.communicate()
    os.close(ours)


def test_a_busy_port_says_which_process_holds_it(held: tuple[str, int]) -> None:
    path, pid = held
    assert f"(pid {pid})" in held_by(path)
    error = explained(Port(device=path), PortError("busy"))
    assert f"(pid {pid}) has it open; end that first; nothing was sent" in str(error)


def test_a_forbidden_port_of_another_user_names_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ttyX"
    file.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert f"usermod -aG {file.group()} $USER" in str(explained(Port(device=str(file)), PortError("x")))


def test_what_has_no_better_reason_keeps_its_own() -> None:
    error = PortError("as it is")
    assert explained(Port(device="socket://127.0.0.1:9"), error) is error
