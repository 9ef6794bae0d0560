"""M-Bus (EN 13757) over wires: `68 L L 68 C A CI ... CS 16`, one or more frames in a payload.

From: raw frames that a level converter or DTU passes through. To: samples. The framing is ours, `frames`; the records
in it go through pyMeterBus, `records`; reading frames for the simulator are built by `building`.
"""

from __future__ import annotations

from typing import Final

from devices.codecs.mbus.codec import MBus
from devices.codecs.mbus.records import read_records

__all__ = ["CODEC", "read_records"]

CODEC: Final = MBus()
