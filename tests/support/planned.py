"""A planned load: covers that report every five seconds of event time, some of which tilt at known moments.

What must come of it is known beforehand: every reading once, and an alert for each planned tilt. Decoys show what goes
wrong on the way: a cover that jumps for one reading alerts nobody, unless the reading after it is lost; a device whose
readings overtake each other must be put in order, unless the pipeline drops what waits.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from devices.registry import Device
from tests.benchmarks.load import DISTRICT, Publisher, packet, payload

KIND = "manhole_cover"
RULE = "tilted"
_CALM: Mapping[str, float] = {
    "tilt_deg": 1.5,
    "water_level_m": 0.3,
    "battery_v": 3.6,
    "temperature_c": 16.0,
    "shock_g": 0.05,
}
_STEP_MS = 5_000
_TILTED_DEG = 30.0
_AT_ONCE = 25  # packets between two looks at the clock


@dataclass(slots=True)
class Plan:
    """What is sent, in order, and what must come of it: (device, event time us) and (device, onset us)."""

    devices: list[str]
    packets: list[bytes] = field(default_factory=list)
    readings: set[tuple[str, int]] = field(default_factory=set)
    alerts: set[tuple[str, int]] = field(default_factory=set)
    last: bytes = b""

    def registered(self) -> list[Device]:
        """The devices, for the registry."""
        return [Device(id=name, kind=KIND, district=DISTRICT) for name in self.devices]


def reading(device: str, time_ms: int, seq: int, **values: float) -> bytes:
    """A cover's payload; calm but for `values`."""
    return payload(device, time_ms, seq, list({**_CALM, **values}.items()))


def publish_packet(device: str, body: bytes, number: int, kind: str = KIND) -> bytes:
    """A QoS 1 PUBLISH of `body` as `device`; `number` makes the packet id."""
    return packet(f"city/{DISTRICT}/{kind}/{device}/up".encode(), body, number % 65535 + 1)


def plan(count: int = 200, rounds: int = 24, seed: int = 1, start_ms: int = 0, first: int = 0) -> Plan:
    """`rounds` readings of each of `count` covers that end about now, or begin at `start_ms`.

    Of ten covers in turn one tilts twice, one jumps once, and three send each pair of readings in the wrong order.
    """
    chance = random.Random(seed)
    start_ms = start_ms or int(time.time() * 1000) - rounds * _STEP_MS
    made = Plan([f"MC-{first + i:06d}" for i in range(count)])
    tilts = {place: _tilts(place, rounds, chance) for place in range(count)}
    for slot in range(rounds):
        for place, device in enumerate(made.devices):
            swapped = place % 10 in (3, 5, 7) and 2 <= slot < rounds - rounds % 2
            number = slot ^ 1 if swapped else slot
            time_ms = start_ms + number * _STEP_MS + place
            tilted = number in tilts[place]
            made.last = reading(device, time_ms, number + 1, tilt_deg=_TILTED_DEG if tilted else 1.5)
            made.packets.append(publish_packet(device, made.last, len(made.packets)))
            made.readings.add((device, time_ms * 1000))
            if tilted and number + 1 in tilts[place] and number - 1 not in tilts[place]:
                made.alerts.add((device, time_ms * 1000))
    return made


def _tilts(place: int, rounds: int, chance: random.Random) -> set[int]:
    """The readings for which a cover is tilted: three in a row make an alert, one is a decoy."""
    half = rounds // 2
    if place % 10 == 0:
        begin = [chance.randrange(1, half - 7), half + chance.randrange(0, half - 7)]
        return {one + i for one in begin for i in range(3)}
    return {chance.randrange(1, rounds - 1)} if place % 10 == 1 else set()


class Feed(threading.Thread):
    """Sends packets as a patient device does: what was not acknowledged is sent again, on a new connection.

    `acknowledged`: how many the broker has taken for good. `repeated`: how many were sent more than once.
    """

    def __init__(self, port: int, packets: Sequence[bytes], rate: float = 2_000.0) -> None:
        super().__init__(name="feed", daemon=True)
        self.acknowledged = 0
        self.repeated = 0
        self._port = port
        self._packets = packets
        self._rate = rate
        self._halted = threading.Event()

    def run(self) -> None:
        while self.acknowledged < len(self._packets) and not self._halted.is_set():
            try:
                self._send()
            except OSError:
                self.repeated += _AT_ONCE
                self._halted.wait(0.05)

    def _send(self) -> None:
        link = Publisher(self._port, client_id="feed")
        try:
            self._send_over(link)
        finally:
            link.close()

    def _send_over(self, link: Publisher) -> None:
        began, before = time.monotonic(), self.acknowledged
        while self.acknowledged < len(self._packets) and not self._halted.is_set():
            part = self._packets[self.acknowledged : self.acknowledged + _AT_ONCE]
            link.send_all(part, chunk=len(part))
            self.acknowledged += len(part)
            self._halted.wait(max(0.0, began + (self.acknowledged - before) / self._rate - time.monotonic()))

    def halt(self) -> None:
        """End early, when a test fails."""
        self._halted.set()
        self.join(10)
