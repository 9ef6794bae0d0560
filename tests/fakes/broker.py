"""A broker that follows a script: it lets us see what a real one never shows, and send what none should."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

CONNACK = b"\x20\x03\x00\x00\x00"
SUBACK_HEAD = b"\x90\x04"
TAKEN_OVER = b"\xe0\x01\x8e"


class Peer:
    """One connection, seen from the broker's side; `received` holds what came after the subscription."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.received = bytearray()
        self.connect = self._packet()
        self.send(CONNACK)
        subscribe = self._packet()
        self.send(SUBACK_HEAD + subscribe[2:4] + b"\x00\x01")

    def _packet(self) -> bytes:
        """A packet of less than 128 bytes, as those of a client that connects are."""
        head = self._exactly(2)
        return head + self._exactly(head[1])

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._connection.recv(count - len(data))
            if not piece:
                raise ConnectionError("the client went away")
            data += piece
        return data

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def listen(self, seconds: float = 0.2) -> bytes:
        """What came until nothing came for `seconds`."""
        self._connection.settimeout(seconds)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while piece := self._connection.recv(4096):
                self.received += piece
        self._connection.settimeout(None)
        return bytes(self.received)


@contextlib.contextmanager
def scripted_broker(script: Callable[[Peer], None]) -> Iterator[int]:
    """Run `script` for each connection, one after the other; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        failed: list[BaseException] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(ConnectionError):
                        try:
                            script(Peer(connection))
                        except AssertionError as error:
                            failed.append(error)

        thread = threading.Thread(target=serve, name="scripted-broker", daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    if failed:
        raise failed[0]
