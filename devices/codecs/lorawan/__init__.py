"""LoRaWAN payloads by maker's model, bare or inside a network server's envelope.

From: payload bytes and fPort (`context.port`), via `ingest.decode` or the envelopes `chirpstack` and `ttn`. To:
samples. A payload does not say what made it: the registry's `model` does. One file per maker beside this one.
"""

from __future__ import annotations

from typing import Final

from devices.codecs.lorawan.codec import Lorawan

CODEC: Final = Lorawan()
"""Stateless."""
