"""Sparkplug messages for tests, made by Google's encoder and another project's description of the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pysparkplug import _protobuf as peer

from devices.codecs import Context
from devices.codecs.sparkplug import CODEC
from devices.errors import PayloadError
from devices.readings import Sample

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sparkplug.json").read_text(encoding="utf-8"))
NOW_US = VECTORS["received_us"]
T_MS = 1_767_600_000_000
T_US = T_MS * 1000
NODE = "City/Edge"
PUMP = "City/Edge/Pump"


def topic(message: str) -> str:
    return f"spBv1.0/City/{message}/Edge" + ("/Pump" if message.startswith("D") else "")


def context(message: str, memory: dict[str, Any] | None = None, **more: Any) -> Context:
    return Context(topic=topic(message), memory={} if memory is None else memory, received_us=NOW_US, **more)


def decode(message: str, payload: bytes, memory: dict[str, Any] | None = None, **more: Any) -> list[Sample]:
    return list(CODEC.decode(payload, context(message, memory, **more)))


def refusal(message: str, payload: bytes, memory: dict[str, Any] | None = None) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        decode(message, payload, memory)
    assert "\n" not in str(caught.value)
    assert "nothing was used" in str(caught.value)
    return caught.value


def made(*metrics: dict[str, Any], seq: int | None = 0, time_ms: int | None = T_MS) -> bytes:
    """A payload of `metrics`: fields by name, properties as {key: (field, content)}."""
    payload = peer.Payload()
    if time_ms is not None:
        payload.timestamp = time_ms
    if seq is not None:
        payload.seq = seq
    for one in metrics:
        metric = payload.metrics.add()
        for name, value in one.items():
            if name == "properties":
                for key, (field, content) in value.items():
                    metric.properties.keys.append(key)
                    setattr(metric.properties.values.add(), field, content)
            else:
                setattr(metric, name, value)
    return payload.SerializeToString()


def born(memory: dict[str, Any], bd: int = 3, *metrics: dict[str, Any]) -> None:
    """The node's birth, and the pump's with the given metrics."""
    decode("NBIRTH", made({"name": "bdSeq", "datatype": 4, "long_value": bd}), memory)
    decode("DBIRTH", made(*metrics, seq=1), memory)


PRESSURE = {
    "name": "Pressure",
    "alias": 7,
    "datatype": 10,
    "double_value": 400.0,
    "properties": {"engUnit": ("string_value", "kPa")},
}
COUNT = {"name": "Count", "alias": 8, "datatype": 1, "int_value": 5}
