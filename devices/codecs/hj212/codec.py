"""The codec HJ 212: packets to samples and back.

From: raw payloads out of the journal, by TCP or MQTT, one packet or several. To: samples named as on the wire, such as
w01018-Rtd, whose device is the packet's MN. Times: real-time rows at their instant; minute, hour and day rows at the
START of their period, which is what DataTime says. Without a DataTime the QN's time counts, else that of the receipt.

A table that did not fit one packet (PNUM, PNO) comes in parts with one DataTime. Each part's values come out at once,
for a part may never come; downstream, rows of one device and moment become one. What is remembered of a logger is
which stretches of time it has told in finer rows (`coverage`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from devices.codecs import Context, Settings
from devices.codecs.hj212.building import build_packets
from devices.codecs.hj212.coverage import uncovered
from devices.codecs.hj212.dialect import NAMES, PLAIN, Dialect, dialect_of
from devices.codecs.hj212.factors import offered
from devices.codecs.hj212.frame import Frame, read
from devices.codecs.hj212.header import refusal
from devices.codecs.hj212.moments import request_us
from devices.codecs.hj212.stream import BLANK
from devices.codecs.hj212.values import Readings, read_values
from devices.errors import PayloadError, RegistryError
from devices.readings import Quality, Sample
from devices.spec import Text

PAYLOAD_MAX: Final = 64 * 1024  # six of the longest packets, hundreds of usual ones
_DIALECTS_MAX: Final = 20_000
_OF_PERIODS: Final = ("Avg", "Min", "Max")


class Hj212:
    """The codec; it keeps what it worked out before (dialects, names). What a logger said stays in its context."""

    name: Final = "hj212"
    title: Final = Text("HJ 212 污染物在线监测数据传输", "HJ 212 environmental monitoring, 2005 to 2025")
    models: Final = ()

    def __init__(self) -> None:
        self._dialects: dict[tuple[Any, ...], Dialect] = {}

    def decode(self, payload: bytes, context: Context) -> tuple[Sample, ...]:
        """The samples in the packets of `payload`; PayloadError with offset and reason unless all are well-formed.

        Packets that carry no readings (requests, answers, heartbeats) give none.
        """
        if len(payload) > PAYLOAD_MAX:
            raise refusal(f"at most {PAYLOAD_MAX} bytes", len(payload), PAYLOAD_MAX)
        dialect = self._dialect(context.settings)
        # An end of line left over from before is no reason to lose a packet.
        start = 0 if dialect.strict else len(payload) - len(payload.lstrip(BLANK))
        frame = _frame(payload, start, dialect)
        samples = _samples(frame, dialect, context)
        if frame.end == len(payload) or payload[frame.end :] == b"\r\n":
            return samples
        return _merged(_all_samples(payload, frame, samples, dialect, context))

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        """Packets that decode to `samples`, their times cut to the second; PayloadError when they cannot carry them.

        Real-time data (2011) unless the setting `cn` says otherwise. A sample too large for one packet goes in parts.
        """
        dialect = self._dialect(context.settings)
        return b"".join(build_packets(sample, sample.device or context.device, dialect) for sample in samples)

    def fields(self, context: Context) -> Mapping[str, str]:
        """Every factor we know, with the values the device's data command carries, and their units."""
        dialect = self._dialect(context.settings)
        real_time = not dialect.cn or dialect.cn[0] == "2011"
        return offered(("Rtd",) if real_time else (*_OF_PERIODS, "Cou"))

    def check(self, settings: Settings) -> None:
        """RegistryError when a setting is unknown or has no meaning."""
        dialect_of(settings)

    def _dialect(self, settings: Settings) -> Dialect:
        """The dialect in `settings`; PayloadError when they were never checked, and are wrong."""
        if not settings:
            return PLAIN
        key = tuple([settings.get(name) for name in NAMES])
        try:
            dialect = self._dialects.get(key)
        except TypeError:  # a list of data commands: nothing to look up by
            dialect = None
        if dialect is None:
            try:
                dialect = dialect_of(settings)
            except RegistryError as error:
                raise PayloadError(f"{error}; nothing was used") from None
            if len(self._dialects) >= _DIALECTS_MAX:
                self._dialects.clear()
            if isinstance(settings.get("cn", ""), str):
                self._dialects[key] = dialect
        return dialect


def _frame(payload: bytes, start: int, dialect: Dialect) -> Frame:
    """The packet at `start`, if it is of the device's dialect and carries its password."""
    frame = read(
        payload,
        start,
        crc_dialect=dialect.crc,
        strict=dialect.strict,
        sm4_key=dialect.sm4_key,
        version=dialect.version,
    )
    header = frame.header
    if dialect.password and header.pw != dialect.password:
        raise refusal("the device's password in PW", "another" if header.pw else "none", start)
    if dialect.st and header.st != dialect.st and header.cn[0] == "2":
        raise refusal(f"ST={dialect.st}", f"ST={header.st}", start)
    return frame


def _samples(frame: Frame, dialect: Dialect, context: Context) -> tuple[Sample, ...]:
    header, cp = frame.header, frame.cp
    if not cp or not dialect.reads(header.cn):
        return ()
    found = read_values(cp, frame.cp_offset, strict=dialect.strict)
    samples = [_sample(header.mn, frame.qn, readings, context) for readings in found if readings.values]
    if not context.topic:  # on the desk every row counts
        return tuple(samples)
    fresh = [uncovered(context.memory, header.cn, sample) for sample in samples]
    return tuple([sample for sample in fresh if sample is not None])


def _sample(device: str, qn: str, readings: Readings, context: Context) -> Sample:
    time_us = readings.time_us
    if time_us is None:
        time_us = request_us(qn) or context.received_us
    if not readings.letters:
        return Sample(device, time_us, readings.values, -1, None, readings.units)
    return Sample(device, time_us, readings.values, -1, readings.flags(), readings.units, readings.words())


def _all_samples(
    payload: bytes, frame: Frame, samples: tuple[Sample, ...], dialect: Dialect, context: Context
) -> Iterator[Sample]:
    """`samples` of the first packet, which is `frame`, then those of all others."""
    yield from samples
    while rest := len(payload[frame.end :].lstrip(BLANK)):
        start = len(payload) - rest
        if dialect.strict and payload[frame.end : start] != b"\r\n":
            break
        frame = _frame(payload, start, dialect)
        yield from _samples(frame, dialect, context)
    if dialect.strict and payload[frame.end :] not in (b"", b"\r\n"):
        raise refusal("CR LF behind the checksum", payload[frame.end : frame.end + 12], frame.end)


def _merged(samples: Iterator[Sample]) -> tuple[Sample, ...]:
    """`samples`, those of one device and moment as one if they share no value: the parts of one table."""
    groups: dict[tuple[str, int], list[Sample]] = {}
    names: dict[tuple[str, int], set[str]] = {}
    others = []
    for sample in samples:
        key = sample.device, sample.time_us
        seen = names.setdefault(key, set())
        if seen.isdisjoint(sample.values):
            seen.update(sample.values)
            groups.setdefault(key, []).append(sample)
        else:
            others.append(sample)
    return (*map(_joined, groups.values()), *others)


def _joined(parts: list[Sample]) -> Sample:
    if len(parts) == 1:
        return parts[0]
    values: dict[str, float] = {}
    flags: dict[str, Quality] = {}
    units: dict[str, str] = {}
    states: dict[str, str] = {}
    for part in parts:
        values.update(part.values)
        flags.update(part.flags or {})
        units.update(part.units or {})
        states.update(part.states or {})
    return Sample(parts[0].device, parts[0].time_us, values, -1, flags or None, units, states or None)
