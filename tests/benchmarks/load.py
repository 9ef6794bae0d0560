"""A load generator that costs little: prebuilt MQTT 3.1.1 PUBLISH packets over a plain socket, QoS 1.

It shares the machine with what it measures, so it does nothing per message but count acknowledgements.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DISTRICT = "bench"


@dataclass(slots=True)
class Sent:
    """What became of a run: acknowledged messages and seconds."""

    acknowledged: int
    seconds: float


def payload(device: str, time_ms: int, seq: int, values: Sequence[tuple[str, float]], size: int = 200) -> bytes:
    """A JSON v1 payload of about `size` bytes."""
    fields = ",".join(f'"{name}":{value:.2f}' for name, value in values)
    text = f'{{"v":1,"id":"{device}","t":{time_ms},"seq":{seq},"m":{{{fields}}}}}'
    return (text[:-1] + " " * max(0, size - len(text)) + "}").encode()


def packet(topic: bytes, body: bytes, packet_id: int) -> bytes:
    """One QoS 1 PUBLISH."""
    rest = struct.pack(">H", len(topic)) + topic + struct.pack(">H", packet_id) + body
    length = len(rest)
    head = bytearray(b"\x32")
    while True:
        length, low = divmod(length, 128)
        head.append(low | (0x80 if length else 0))
        if not length:
            return bytes(head) + rest


class Publisher:
    """One connection that keeps at most `window` messages unacknowledged."""

    def __init__(self, port: int, client_id: str = "bench-load", window: int = 1000) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = client_id.encode()
        body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack(">H", len(name)) + name
        try:
            self._socket.sendall(bytes((0x10, len(body))) + body)
            if self._socket.recv(4)[3:] != b"\x00":
                raise ConnectionError("the broker refused the load generator")
        except OSError:
            self._socket.close()
            raise
        self._window = window
        self._rest = 0

    def send_all(self, packets: Sequence[bytes], chunk: int = 100) -> Sent:
        """As fast as the window allows."""
        started = time.perf_counter()
        sent = acked = 0
        while acked < len(packets):
            while sent < len(packets) and sent - acked + chunk <= self._window:
                self._socket.sendall(b"".join(packets[sent : sent + chunk]))
                sent = min(sent + chunk, len(packets))
            acked += self._acks()
        return Sent(acked, time.perf_counter() - started)

    def send_paced(self, packets: Iterator[bytes], count: int, rate: float) -> Sent:
        """`count` packets at `rate` per second, made as they are sent."""
        started = time.perf_counter()
        sent = acked = 0
        self._socket.setblocking(False)  # noqa: FBT003
        while acked < count:
            due = min(count, int((time.perf_counter() - started) * rate) + 1)
            if due > sent:
                block = b"".join(next(packets) for _ in range(due - sent))
                self._socket.setblocking(True)  # noqa: FBT003
                self._socket.sendall(block)
                self._socket.setblocking(False)  # noqa: FBT003
                sent = due
            try:
                acked += self._acks()
            except BlockingIOError:
                time.sleep(0.001)
        self._socket.setblocking(True)  # noqa: FBT003
        return Sent(acked, time.perf_counter() - started)

    def _acks(self) -> int:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the broker closed the load generator's connection")
        self._rest += len(data)  # every packet that comes back is a PUBACK of 4 bytes
        count, self._rest = divmod(self._rest, 4)
        return count

    def close(self) -> None:
        """Say goodbye."""
        try:
            self._socket.sendall(b"\xe0\x00")
        finally:
            self._socket.close()


def readings(
    devices: Sequence[str],
    kind: str,
    names: Sequence[str],
    levels: Sequence[float],
    *,
    count: int,
    start_ms: int,
    seed: int = 1,
) -> list[bytes]:
    """`count` packets of round-robin devices with a little noise, a second apart per device round."""
    chance = random.Random(seed)
    packets = []
    for i in range(count):
        round_, place = divmod(i, len(devices))
        device = devices[place]
        values = [
            (name, level + chance.gauss(0, 0.01 * abs(level) + 0.01))
            for name, level in zip(names, levels, strict=True)
        ]
        body = payload(device, start_ms + round_ * 1000 + place % 1000, round_ + 1, values)
        packets.append(packet(f"city/{DISTRICT}/{kind}/{device}/up".encode(), body, i % 65535 + 1))
    return packets
