"""A codec for tests of routing: the payload says in JSON what the samples shall be; it counts what each sender said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from devices.codecs import Context, Settings, refuse_unknown
from devices.errors import PayloadError
from devices.readings import Quality, Sample
from devices.spec import Text


class SpokenCodec:
    """`[{"device": "", "values": {}, "units": {}, "states": {}, "t": us}]`; `counter` in a sample is its sender's."""

    title = Text("测试", "for tests")
    models = ("X1",)

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[Context] = []

    def decode(self, payload: bytes, context: Context) -> Sequence[Sample]:
        """What the payload says."""
        self.seen.append(context)
        try:
            parts = json.loads(payload)
        except ValueError as error:
            raise PayloadError(f"{self.name}: expected JSON, got {error}", offset=0) from None
        context.memory["said"] = context.memory.get("said", 0) + 1
        return [
            Sample(
                part.get("device", ""),
                part.get("t", context.received_us),
                {
                    name: context.memory["said"] if value == "said" else value
                    for name, value in part["values"].items()
                },
                -1,
                {name: Quality[flag] for name, flag in part.get("flags", {}).items()} or None,
                part.get("units", {}),
                part.get("states"),
            )
            for part in parts
        ]

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        """Not asked for."""
        raise NotImplementedError

    def fields(self, context: Context) -> Mapping[str, str]:  # noqa: ARG002
        """Nothing of its own."""
        return {}

    def check(self, settings: Settings) -> None:
        """It has one setting."""
        refuse_unknown(self.name, settings, ("dial",))
