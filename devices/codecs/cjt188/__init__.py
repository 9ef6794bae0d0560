"""CJ/T 188-2004: heat, water and gas meters' replies, `[FE ...] 68 T A0..A6 C L DI0 DI1 SER ... CS 16`.

From: raw frames that a concentrator or DTU passes through. To: samples. `frames` finds and checks the frames,
`layouts` finds out which dialect a maker speaks, `clock` reads the meter's time, `building` builds readings (and only
readings) for the simulator.
"""

from __future__ import annotations

from typing import Final

from devices.codecs.cjt188.codec import CjT188

__all__ = ["CODEC"]

CODEC: Final = CjT188()
