"""Published packets: `tests/vectors/NAME.json`, one file per codec, each packet with its source.

A packet stands there as `hex`, `text`, `json` or `payload`; `model` (or `device`), `port` (or `fPort`), `topic` and
`settings` say what the registry would. One that is `refused`, that `is` a control frame, or whose checksum its file
calls wrong must not decode.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from devices.codecs import Context
from tests.support.judging import RECEIVED_US

FOLDER: Final = Path(__file__).parent.parent / "vectors"


class Vector(NamedTuple):
    """One packet: the codec's name, what it is called, its bytes, the sender, and whether it must be refused."""

    codec: str
    name: str
    payload: bytes
    context: Context
    wrong: bool


@cache
def vectors() -> tuple[Vector, ...]:
    """Every packet of every file, in their order."""
    return tuple(one for file in sorted(FOLDER.glob("*.json")) for one in _file(file))


def _file(file: Path) -> list[Vector]:
    content = json.loads(file.read_text(encoding="utf-8"))
    listed = content["vectors"] if isinstance(content, dict) else content
    return [_vector(file.stem, place, one) for place, one in enumerate(listed)]


def _vector(codec: str, place: int, one: dict[str, Any]) -> Vector:
    context = Context(
        topic=one.get("topic", ""),
        model=one.get("model", one.get("device", "")) or "",
        port=one.get("port", one.get("fPort", -1)),
        received_us=RECEIVED_US,
        settings=one.get("settings", {}),
    )
    name = str(one.get("name") or one.get("note") or one["source"])
    controls = one.get("is") == "control" or "CONTROL" in one.get("note", "")
    wrong = controls or bool(one.get("refused")) or one.get("crc_verified") is False
    return Vector(one.get("codec", codec), f"{codec} {place}: {name:.60}", _payload(one), context, wrong)


def _payload(one: dict[str, Any]) -> bytes:
    if "hex" in one:
        return bytes.fromhex(one["hex"])
    if "text" in one:
        return str(one["text"]).encode()
    body = one.get("json", one.get("payload"))
    return body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()
