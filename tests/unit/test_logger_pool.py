"""The simulated loggers: a packet counts when it is confirmed, and goes out again until then."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from deploy.errors import DeployError
from deploy.logger_pool import LoggerPool, LoggerSettings
from devices.codecs.hj212.frame import build

MN = "990100000000000000000001"


def packet(number: int, mn: str = MN) -> bytes:
    cp = "DataTime=20260105100000;w01018-Rtd=235.3"
    return build(qn=f"20260105100000{number:03d}", st="32", cn="2011", pw="123456", mn=mn, flag=5, cp=cp)


class Listener:
    """Takes connections one after the other; `answers` decides what is sent back for a QN, None to hang up."""

    def __init__(self, answers: Callable[[int, bytes], bytes | None]) -> None:
        self.heard: list[bytes] = []
        self.connections = 0
        self._answers = answers
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                qn = re.findall(rb"QN=(\d+)", line)[0]
                self.heard.append(qn)
                answer = self._answers(self.heard.count(qn), qn)
                if answer is None:
                    return
                connection.sendall(answer)

    def close(self) -> None:
        self._server.close()


def confirmation(qn: bytes, cn: str = "9014") -> bytes:
    return build(qn=qn.decode(), st="91", cn=cn, pw="123456", mn=MN, flag=4, cp="")


@contextlib.contextmanager
def talking(
    answers: Callable[[int, bytes], bytes | None], answer_s: float = 10.0
) -> Iterator[tuple[Listener, LoggerPool]]:
    listener = Listener(answers)
    pool = LoggerPool(LoggerSettings(host="127.0.0.1", port=listener.port, window=4, answer_s=answer_s))
    try:
        yield listener, pool
    finally:
        pool.close()
        listener.close()


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_packet_is_confirmed_once_in_order_on_one_connection() -> None:
    done: list[int] = []
    with talking(lambda _, qn: confirmation(qn)) as (listener, pool):
        for number in range(20):
            pool.send(MN, packet(number), lambda number=number: done.append(number))  # type: ignore[misc]
        wait_for(lambda: len(done) == 20)
        assert done == list(range(20))
        assert (len(listener.heard), listener.connections) == (20, 1)


def test_an_unanswered_packet_goes_out_again_and_counts_once() -> None:
    done: list[int] = []
    with talking(lambda times, qn: confirmation(qn) if times > 1 else b"", answer_s=0.1) as (listener, pool):
        pool.send(MN, packet(1), lambda: done.append(1))
        wait_for(lambda: bool(done))
        assert (done, len(listener.heard), listener.connections) == ([1], 2, 1)


def test_a_broken_connection_is_opened_again_and_what_was_not_confirmed_is_sent_on_it() -> None:
    done: list[int] = []
    with talking(lambda times, qn: confirmation(qn) if times > 1 else None) as (listener, pool):
        pool.send(MN, packet(1), lambda: done.append(1))
        pool.send(MN, packet(2), lambda: done.append(2))
        wait_for(lambda: len(done) == 2)
        assert sorted(done) == [1, 2]
        assert listener.connections > 1


def test_a_request_is_no_confirmation() -> None:
    done: list[int] = []
    answers = [b"", b""]
    with talking(lambda _, qn: confirmation(qn, "1011") + answers.pop()) as (listener, pool):
        pool.send(MN, packet(1), lambda: done.append(1))
        wait_for(lambda: bool(listener.heard))
        answers.append(confirmation(b"20260105100000002"))
        pool.send(MN, packet(2), lambda: done.append(2))
        wait_for(lambda: bool(done))
        assert done == [2]


def test_each_logger_has_a_connection_of_its_own() -> None:
    done: list[str] = []
    with talking(lambda _, qn: confirmation(qn)) as (listener, pool):
        for mn in ("A1", "A2", "A3"):
            pool.send(mn, packet(1, mn), lambda mn=mn: done.append(mn))  # type: ignore[misc]
        wait_for(lambda: len(done) == 3)
        assert listener.connections == 3


def test_a_packet_that_no_answer_could_name_is_refused() -> None:
    with talking(lambda _, qn: confirmation(qn)) as (_, pool), pytest.raises(DeployError, match="with a QN"):
        pool.send(MN, b"##0000", lambda: None)
