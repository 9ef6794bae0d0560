"""Builds payloads as an edge node would: births with everything, data with what changed, deaths.

From: samples. To: bytes. What was sent before is kept in the context's memory under `sent`, so that the sequence goes
on and aliases keep their meaning. Commands cannot be built here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any, Final

from devices.codecs import NUMBER_MAX
from devices.codecs.sparkplug.births import SEQ_COUNT
from devices.codecs.sparkplug.payload import (
    BOOLEAN,
    DOUBLE,
    INT64,
    METRICS_MAX,
    NAME_BYTES_MAX,
    PAYLOAD_MAX,
    STRING,
    TEXT_CHARS_MAX,
    Metric,
    write,
    write_metric,
)
from devices.codecs.sparkplug.readings import FROM_MS, QUALITIES, RESERVED, TO_MS, is_control
from devices.errors import PayloadError
from devices.readings import Sample
from devices.units import UNITS

REBIRTH: Final = "Node Control/Rebirth"


class Builder:
    """One message of one sender. `sent`: what this edge node sent before; `bd`: its session, `seq`: None to go on."""

    def __init__(
        self, message: str, device: str, sent: MutableMapping[str, Any], *, bd: int, seq: int | None, aliases: bool
    ) -> None:
        self._message = message
        self._device = device
        self._sent = sent
        self._bd = bd
        self._seq = seq
        self._aliases = aliases

    def payload(self, samples: Sequence[Sample], now_ms: int) -> bytes:
        """The bytes; PayloadError when the format cannot carry the samples."""
        time_ms = min((_millis(sample) for sample in samples), default=now_ms)
        if not FROM_MS <= time_ms < TO_MS:
            raise refused("expected a time from 2000 to 2099", f"{time_ms} ms")
        if self._message == "NDEATH":
            self._no_values(samples)
            return write([write_metric(_bd_seq(self._bd))], time_ms=time_ms, seq=None)
        metrics = [] if self._message == "DDEATH" else list(self._metrics(samples, time_ms))
        if self._message == "DDEATH":
            self._no_values(samples)
        if len(metrics) > METRICS_MAX:
            raise refused(f"expected at most {METRICS_MAX} metrics", str(len(metrics)))
        body = write(metrics, time_ms=time_ms, seq=self._next_seq())
        if len(body) > PAYLOAD_MAX:
            raise refused(f"expected at most {PAYLOAD_MAX} bytes", str(len(body)))
        return body

    def _no_values(self, samples: Sequence[Sample]) -> None:
        if any(sample.values for sample in samples):
            raise refused(f"expected no values in a {self._message}", "some")

    def _next_seq(self) -> int | None:
        """The next number; None where nobody knows what was sent before: a wrong one would look like a loss."""
        if self._seq is not None:
            seq = self._seq
        elif self._message == "NBIRTH":
            seq = 0
        elif "seq" in self._sent:
            seq = (int(self._sent["seq"]) + 1) % SEQ_COUNT
        else:
            return None
        self._sent["seq"] = seq
        return seq

    def _metrics(self, samples: Sequence[Sample], time_ms: int) -> Iterator[bytes]:
        if self._message == "NBIRTH":
            self._sent["names"] = {}
            yield write_metric(_bd_seq(self._bd))
            yield write_metric(Metric(0, REBIRTH, datatype=BOOLEAN, form="boolean", value=0))
        for sample in samples:
            at_ms = _millis(sample)
            own_ms = -1 if at_ms == time_ms else at_ms
            for name, value in sample.values.items():
                metric = Metric(0, name, time_ms=own_ms, datatype=DOUBLE, form="float", value=_number(name, value))
                metric.unit = (sample.units or {}).get(name, "")
                if metric.unit and metric.unit not in UNITS:
                    raise refused(f"{name!a:.80}: expected a unit that devices.units knows", repr(metric.unit))
                flag = (sample.flags or {}).get(name)
                if flag is not None and flag not in QUALITIES:
                    raise refused(f"{name!a:.80}: expected a flag good, suspect or bad", flag.name.lower())
                metric.quality = -1 if flag is None else QUALITIES[flag]
                yield self._said(metric)
            for name, words in (sample.states or {}).items():
                if name not in RESERVED:
                    _check_text(name, words)
                    yield self._said(Metric(0, name, time_ms=own_ms, datatype=STRING, form="text", value=words))

    def _said(self, metric: Metric) -> bytes:
        """The metric in full, or in short where a birth has said the rest."""
        _check_name(metric.name)
        if not self._aliases:
            return write_metric(metric)
        names: dict[str, Any] = self._sent.setdefault("names", {})
        key = f"{self._device}/{metric.name}"
        said = [metric.datatype, metric.unit]
        if self._message.endswith("BIRTH"):
            metric.alias = names.setdefault(key, [len(names) + 1, said])[0]
            names[key] = [metric.alias, said]
        elif names.get(key, (0, None))[1] == said:
            metric.alias, metric.name, metric.datatype, metric.unit = names[key][0], "", 0, ""
        return write_metric(metric)


def refused(wanted: str, got: str) -> PayloadError:
    """Why nothing was encoded."""
    return PayloadError(f"sparkplug: {wanted}, got {got}; nothing was encoded")


def _bd_seq(value: int) -> Metric:
    return Metric(0, "bdSeq", datatype=INT64, form="integer", value=value)


def _millis(sample: Sample) -> int:
    return sample.time_us // 1000


def _number(name: str, value: float) -> float:
    if not (math.isfinite(value) and abs(value) <= NUMBER_MAX):
        raise refused(f"{name!a:.80}: expected a finite number within {NUMBER_MAX:.0e} of zero", str(value))
    return float(value)


def _check_name(name: str) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= NAME_BYTES_MAX or is_control(name):
        raise refused(
            f"expected a metric's name of 1 to {NAME_BYTES_MAX} bytes that is no control", f"{name!a:.80}"
        )


def _check_text(name: str, words: str) -> None:
    try:
        words.encode()
    except UnicodeEncodeError:
        raise refused(f"{name!a:.80}: expected a text in Unicode", f"{words!a:.80}") from None
    if len(words) > TEXT_CHARS_MAX:
        raise refused(f"{name!a:.80}: expected up to {TEXT_CHARS_MAX} characters", str(len(words)))
