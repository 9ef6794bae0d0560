"""What every maker's decoder is: a model, its ports, bytes to values and back.

From: the makers' files. To: `devices.codecs.lorawan.codec`, which finds the one for a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from devices.codecs import Settings
from devices.errors import PayloadError


@dataclass(slots=True)
class Uplink:
    """One payload's content. `device`: an identity that the payload itself states, empty in most."""

    values: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    device: str = ""

    def add(self, name: str, value: float, unit: str = "") -> None:
        """One value with its unit."""
        self.values[name] = value
        self.units[name] = unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model. `ports`: the fPorts it reports on, empty for any. `names`: other spellings, lower case.

    `decode`: payload, settings -> content; PayloadError otherwise. `encode`: values, settings -> payload; PayloadError
    when it cannot carry them. `fields`: name -> unit of what `encode` takes. `settings`: name -> what it must be.
    """

    name: str
    maker: str
    reads: str
    decode: Callable[[bytes, Settings], Uplink]
    encode: Callable[[Mapping[str, float], Settings], bytes]
    fields: Mapping[str, str]
    ports: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    settings: Mapping[str, type[Any]] = field(default_factory=dict)


def refusal(model: str, expected: str, got: str, offset: int) -> PayloadError:
    """The error for a payload of `model`."""
    return PayloadError(f"lorawan {model}: expected {expected}, got {got}; nothing was used", offset=offset)


def need(model: str, payload: bytes, size: int, what: str, offset: int = 0) -> None:
    """PayloadError unless `payload` has `size` bytes from `offset` on, which hold `what`."""
    if len(payload) < offset + size:
        left = max(len(payload) - offset, 0)
        raise refusal(model, f"{size} bytes of {what}", f"{left} before the payload ends", len(payload))


def integer(model: str, name: str, value: float, low: int, high: int) -> int:
    """`value` as a whole number that its field holds; PayloadError otherwise."""
    whole = round(value)
    if not low <= whole <= high:
        raise PayloadError(
            f"lorawan {model}: {name}: expected {low} to {high} on the wire, got {whole}; not encoded"
        )
    return whole
