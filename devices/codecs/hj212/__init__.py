"""HJ 212 (2005, 2017, 2025), spoken by loggers of sewage inflow, cooking fume and other emissions."""

from __future__ import annotations

from typing import Final

from devices.codecs.hj212.codec import Hj212

CODEC: Final = Hj212()
