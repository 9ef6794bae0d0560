"""A line that cannot be opened, or goes away: each kind of port says so in one line, as an error of ours."""

from __future__ import annotations

import os
import pty
import socket
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import serial

from devices.errors import LinkError, PortError
from devices.firmware import link as link_module
from devices.firmware.link import Line, SerialLink, gather, reopen_within
from devices.simulator.boards.serving import Served, serve_pty, serve_rfc2217, serve_tcp
from tests.unit.test_serving import Echo

SERVERS = {"socket": serve_tcp, "pty": serve_pty, "rfc2217": serve_rfc2217}


@pytest.fixture(params=SERVERS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with SERVERS[request.param](Echo()) as running:
        yield running


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A pseudo-terminal: the far end, and the name of the near one."""
    far, near = pty.openpty()
    name = os.ttyname(near)
    os.close(near)
    yield far, name
    with suppress(OSError):
        os.close(far)


def refusal(url: str, line: Line | None = None) -> str:
    """What is said when `url` is opened; one line that names it once."""
    with pytest.raises(PortError) as caught:
        SerialLink(url, line)
    said = str(caught.value)
    assert said.startswith(f"{url}: it cannot be opened: ")
    assert said.endswith("; nothing was sent")
    assert "\n" not in said
    assert said.count(url) == 1
    return said.removeprefix(f"{url}: it cannot be opened: ").removesuffix("; nothing was sent")


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def test_a_port_that_does_not_exist() -> None:
    assert refusal("/dev/ttyUSB99") == "No such file or directory"


def test_a_file_that_is_no_port(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not a port")
    assert refusal(str(tmp_path / "notes")) == "Inappropriate ioctl for device"


def test_a_port_one_may_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: str, *_: object) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(serial.serialposix.os, "open", forbidden)
    assert refusal("/dev/ttyUSB99") == "Permission denied"


def test_a_port_that_another_program_has_open(terminal: tuple[int, str]) -> None:
    with closing(SerialLink(terminal[1])):
        assert refusal(terminal[1]) == "busy, another program has it open"
    SerialLink(terminal[1]).close()


def test_parity_on_a_line_that_has_none_is_refused_rather_than_left_out(
    terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_parity(*_: object) -> None:  # what glibc says of a pseudo-terminal; not every kernel does
        raise termios.error(22, "Invalid argument")

    monkeypatch.setattr(serial.serialposix.termios, "tcsetattr", no_parity)
    assert refusal(terminal[1], Line(parity="E")) == "Invalid argument (a pseudo-terminal has no parity)"


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_nobody_listens(scheme: str) -> None:
    assert refusal(f"{scheme}://127.0.0.1:{free_port()}") == "Connection refused"


@pytest.mark.parametrize("answers", [True, False])
def test_a_terminal_server_that_does_not_speak_rfc_2217(*, answers: bool) -> None:
    class Deaf(Echo):
        def receive(self, data: bytes) -> bytes:
            return data if answers else b""

    with serve_tcp(Deaf()) as plain:
        said = refusal(plain.url.replace("socket://", "rfc2217://") + "?timeout=0.5")
    assert said == "what listens there does not speak RFC 2217"


@pytest.mark.parametrize("url", ["telepathy://3", "socket://127.0.0.1", "rfc2217://127.0.0.1:1?colour=red"])
def test_a_url_that_means_nothing(url: str) -> None:
    with pytest.raises(PortError, match=r"it cannot be opened: .*; nothing was sent$"):
        SerialLink(url)


@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_parity_and_speed_are_taken_by_urls(scheme: str) -> None:
    with SERVERS[scheme](Echo()) as far, closing(SerialLink(far.url, Line(57600, "E"))) as link:
        link.set_line(Line(19200, "E"))
        link.write(b"echo")
        assert gather(link, 4, 5.0) == b"echo"
        assert link.line == Line(19200, "E")


ACTS: dict[str, Callable[[SerialLink], object]] = {
    "read": lambda link: gather(link, 1, 5.0),
    "write": lambda link: [link.write(b"x" * 4096) or time.sleep(0.01) for _ in range(200)],
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_a_pulled_plug_is_noticed_and_the_line_can_be_opened_again(scheme: str, act: str) -> None:
    with SERVERS[scheme](Echo()) as served, closing(SerialLink(served.url)) as link:
        served.unplug(power_too=False)

        with pytest.raises(LinkError, match=r"the line is gone: .*; look at plug and cable$") as caught:
            ACTS[act](link)
        assert "\n" not in str(caught.value)

        reopen_within(link, 10.0)
        link.write(b"again")
        assert gather(link, 5, 5.0) == b"again"


@pytest.mark.parametrize("act", ACTS)
def test_a_port_that_vanishes_is_noticed(terminal: tuple[int, str], act: str) -> None:
    far, name = terminal
    with closing(SerialLink(name)) as link:
        os.close(far)
        with pytest.raises(LinkError, match=r"the line is gone: .*; look at plug and cable$"):
            ACTS[act](link)


def test_a_far_end_that_is_gone_for_good_is_waited_for_and_then_told() -> None:
    with serve_tcp(Echo()) as served:
        link = SerialLink(served.url)
    begun = link.now()
    with pytest.raises(LinkError, match="the line is gone: Connection refused; look at plug and cable"):
        reopen_within(link, 1.0)
    assert 1.0 <= link.now() - begun < 10.0
    link.close()


@pytest.mark.parametrize(
    "act", [lambda link: link.read(1, 0.1), lambda link: link.write(b"x"), SerialLink.discard]
)
def test_a_line_that_was_closed_is_gone_and_may_be_closed_again(
    served: Served, act: Callable[[SerialLink], object]
) -> None:
    link = SerialLink(served.url)
    link.close()
    link.close()
    with pytest.raises(LinkError, match="the line is gone"):
        act(link)


def test_a_board_that_takes_nothing_is_told_after_the_time_limit(
    terminal: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_WRITE_TIMEOUT_S", 0.2)
    with closing(SerialLink(terminal[1])) as link, pytest.raises(LinkError, match="Write timeout"):
        link.write(bytes(1_000_000))


def test_what_arrived_and_was_not_read_can_be_forgotten(terminal: tuple[int, str]) -> None:
    far, name = terminal
    with closing(SerialLink(name)) as link:
        os.write(far, b"old words")
        assert link.read(3, 5.0) == b"old"
        link.discard()
        os.write(far, b"new")
        assert gather(link, 3, 5.0) == b"new"


def test_a_line_without_control_lines_passes_them_over(terminal: tuple[int, str]) -> None:
    with closing(SerialLink(terminal[1])) as link:
        link.control(dtr=True, rts=True)
        link.write(b"x")


def test_a_speed_the_port_cannot_do_leaves_it_as_it_was(monkeypatch: pytest.MonkeyPatch, served: Served) -> None:
    with closing(SerialLink(served.url)) as link:
        with pytest.raises(PortError, match=r"can do -1 baud, it cannot: .*; still at 115200$"):
            link.set_line(Line(-1))
        assert link.line.baud == 115200
