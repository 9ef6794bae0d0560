"""The AT modem of the emulated board: commands, bytes that pass, +++, and nobody beyond this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from devices.simulator.boards.modem import AtModem, dial_loopback

START = b'AT+CIPSTART="TCP","127.0.0.1","1883"\r\n'


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    far.settimeout(5)
    yield near, far
    near.close()
    far.close()


def test_bytes_pass_after_connect_until_the_connection_ends(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    modem = AtModem(lambda _host, _port: near)
    assert modem.from_board(b"AT\r\n", 0.0) == b"\r\nOK\r\n"
    assert modem.from_board(START, 0.1) == b"\r\nOK\r\n\r\nCONNECT\r\n"
    assert modem.from_board(b"AT\r\n\xff+", 0.2) == b""
    assert far.recv(99) == b"AT\r\n\xff+"
    far.sendall(b"\x20\x02")
    assert modem.from_network() == b"\x20\x02"
    far.close()
    assert modem.from_network() == b"\r\nCLOSED\r\n"
    assert modem.from_board(b"AT\r\n", 0.3) == b"\r\nOK\r\n"


def test_three_pluses_between_silences_end_the_passing(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    modem = AtModem(lambda _host, _port: near)
    modem.from_board(START, 0.0)
    for moment in (2.0, 2.01, 2.02):
        assert modem.from_board(b"+", moment) == b""
    assert modem.elapse(2.5) == b""
    assert modem.elapse(3.1) == b"\r\nOK\r\n"
    assert modem.from_board(b"AT+CIPSHUT\r\n", 3.2) == b"\r\nSHUT OK\r\n"
    assert far.recv(99) == b""


@pytest.mark.parametrize(
    "said", [((2.0, b"+++x"),), ((2.0, b"++"), (2.1, b"+y")), ((0.5, b"+++"), (0.6, b"z")), ((2.0, b"++"),)]
)
def test_pluses_in_the_middle_of_data_are_data(
    pair: tuple[socket.socket, socket.socket], said: tuple[tuple[float, bytes], ...]
) -> None:
    near, far = pair
    modem = AtModem(lambda _host, _port: near)
    modem.from_board(START, 0.0)
    for moment, data in said:
        assert modem.from_board(data, moment) == b""
    assert modem.elapse(9.0) == b""
    assert far.recv(99) == b"".join(data for _, data in said)


@pytest.mark.parametrize(
    ("host", "says"), [("192.0.2.1", "CONNECT FAIL"), ("broker.example", "DNS FAIL"), ("::2", "CONNECT FAIL")]
)
def test_nobody_beyond_this_machine_is_called(host: str, says: str) -> None:
    assert dial_loopback(host, 1883) == says


def test_a_port_that_refuses_is_told(unused_port: int) -> None:
    modem = AtModem()
    start = f'AT+CIPSTART="TCP","localhost",{unused_port}\r\n'.encode()
    assert modem.from_board(start, 0.0) == b"\r\nOK\r\n\r\nCONNECT FAIL\r\n"


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        found: int = door.getsockname()[1]
    return found


def test_what_it_does_not_know_is_an_error_and_a_line_without_end_is_dropped() -> None:
    modem = AtModem()
    assert modem.from_board(b"AT+CSQ\r\n", 0.0) == b"\r\nERROR\r\n"
    assert modem.from_board(b"x" * 600, 0.1) == b"\r\nERROR\r\n"
