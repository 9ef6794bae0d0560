"""A device's dialect as a person sees it: secrets masked going out, kept coming back in.

From: `Device.settings`. To: the census, the command line. What is secret is known by name, for every codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from devices.codecs import Codec
from devices.errors import RegistryError
from devices.spec import Kind
from devices.units import UNITS

SECRETS: Final = frozenset({"password", "sm4_key"})
MASK: Final = "***"
CHARS_MAX: Final = 20_000  # a long register map


def masked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with every secret as `***`."""
    return {name: MASK if name in SECRETS else value for name, value in settings.items()}


def shown(settings: Mapping[str, Any]) -> str:
    """The settings as JSON, every secret as `***`; empty without settings.

    >>> shown({"crc": "modbus", "password": "123456"})
    '{"crc":"modbus","password":"***"}'
    """
    return msgspec.json.encode(masked(settings), order="sorted").decode() if settings else ""


def parse(text: str) -> dict[str, Any]:
    """Settings out of their JSON; RegistryError when it is not an object of reasonable size. Empty text is none."""
    if not text:
        return {}
    if len(text) > CHARS_MAX:
        raise RegistryError(f"settings: expected at most {CHARS_MAX} characters, got {len(text)}; not taken")
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise RegistryError(
            f'settings: expected a JSON object such as {{"crc": "modbus"}}, got {error}; not taken'
        ) from None


def check(settings: Mapping[str, Any], codec: Codec, kind: Kind) -> None:
    """RegistryError when `codec` does not understand `settings`, or `fields` names what `kind` does not have.

    Common to all codecs: `clock`, `device` (its own time counts) or `received` (ours does, for clocks nobody keeps);
    `fields`, the device's own names: `{"a34041-Rtd": "fume_mgm3", "Ai1": "fan_a:mA"}`.
    """
    codec.check({name: value for name, value in settings.items() if value != MASK})
    clock = settings.get("clock", "device")
    if clock not in ("device", "received"):
        raise RegistryError(f"settings: clock: expected device or received, got {clock!a:.40}; not taken")
    fields = settings.get("fields", {})
    if not isinstance(fields, dict) or not all(isinstance(wanted, str) for wanted in fields.values()):
        raise RegistryError(
            'settings: fields: expected an object of names such as {"Ai1": "fan_a:mA"}, got others; not taken'
        )
    names = {quantity.name: quantity.unit for quantity in kind.quantities}
    for name, wanted in fields.items():
        quantity, _, stated = wanted.partition(":")
        if quantity not in names:
            raise RegistryError(
                f"settings: fields: {name!a:.80}: expected a quantity of {kind.name} ({', '.join(names)}), "
                f"got {quantity!a:.80}; not taken"
            )
        own = UNITS[names[quantity]]
        if stated and (stated not in UNITS or UNITS[stated].dimension != own.dimension):
            raise RegistryError(
                f"settings: fields: {name!a:.80}: expected a unit that becomes {names[quantity]}, "
                f"got {stated!a:.40}; not taken"
            )


def unmasked(settings: Mapping[str, Any], known: Mapping[str, Any], device: str) -> dict[str, Any]:
    """`settings` with each `***` replaced by what is `known`; RegistryError when nothing is."""
    whole = dict(settings)
    for name, value in settings.items():
        if name in SECRETS and value == MASK:
            if name not in known:
                raise RegistryError(
                    f"device {device}: settings: {name}: expected the secret itself, got {MASK}, and none is known; "
                    "nothing was written"
                )
            whole[name] = known[name]
    return whole
