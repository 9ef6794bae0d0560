"""The codec HJ 212: packets to samples and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from devices.codecs import Context, Settings, refuse_unknown
from devices.codecs.hj212 import frame
from devices.errors import PayloadError
from devices.readings import Sample
from devices.spec import Text


class Hj212:
    """Being written."""

    name: Final = "hj212"
    title: Final = Text("HJ 212 污染物在线监测数据传输", "HJ 212 environmental monitoring, 2005 to 2025")
    models: Final = ()

    def decode(self, payload: bytes, context: Context) -> Sequence[Sample]:
        """None yet."""
        frame.parse(payload)
        return ()

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        """None yet."""
        raise PayloadError("hj212: not yet written; nothing was encoded")

    def fields(self, context: Context) -> Mapping[str, str]:
        """None yet."""
        return {}

    def check(self, settings: Settings) -> None:
        """RegistryError for unknown settings."""
        refuse_unknown(self.name, settings, ("mode", "crc", "st", "password", "sm4_key", "version", "cn", "pw"))
