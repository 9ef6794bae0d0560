"""HJ 212 packets for tests: the published ones, and ones written by hand so that they may be wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from devices.codecs import Context
from devices.codecs.hj212 import CODEC
from devices.codecs.hj212.checksum import DIALECTS
from devices.errors import PayloadError
from devices.readings import Sample

DOCUMENT = json.loads((Path(__file__).parents[1] / "vectors" / "hj212.json").read_text())
VECTORS: list[dict[str, Any]] = DOCUMENT["vectors"]
RIGHT = [v for v in VECTORS if v["crc_verified"]]
WRONG = [v for v in VECTORS if not v["crc_verified"]]
RECEIVED_US = 1_767_600_000_000_000
MN = "010000A8900016F000169DC0"
T = "20210412154500"
T_US = 1_618_213_500_000_000


def context(**dialect: Any) -> Context:
    """A sender with these settings."""
    return Context(received_us=RECEIVED_US, settings=dialect)


def packet(cp: str, *, head: str = "", crc: str = "hj212", end: bytes = b"\r\n", **fields: str) -> bytes:
    """A packet written here, not by `frame.build`, so that it may be wrong."""
    named = {"QN": "20210412154520280", "ST": "32", "CN": "2011", "PW": "123456", "MN": MN, "Flag": "5", **fields}
    head = head or "".join(f"{name}={value};" for name, value in named.items() if value)
    segment = f"{head}CP=&&{cp}&&".encode()
    return b"##%04d%b%04X%b" % (len(segment), segment, DIALECTS[crc](segment), end)


def decode(payload: bytes, **dialect: Any) -> Sequence[Sample]:
    """What `payload` decodes to, now that its names are new and again when they are known."""
    first = CODEC.decode(payload, context(**dialect))
    assert CODEC.decode(payload, context(**dialect)) == first
    return first


def only(payload: bytes, **dialect: Any) -> Sample:
    """The one sample in `payload`."""
    (sample,) = decode(payload, **dialect)
    return sample


def refusal(payload: bytes, **dialect: Any) -> PayloadError:
    """Why `payload` is refused."""
    with pytest.raises(PayloadError) as caught:
        decode(payload, **dialect)
    text = str(caught.value)
    assert re.fullmatch(r"hj212: expected .*, got .*; nothing was used", text), text
    return caught.value
