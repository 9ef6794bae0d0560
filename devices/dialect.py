"""A device's dialect as a person sees it: secrets masked going out, kept coming back in.

From: `Device.settings`. To: the census, the command line. What is secret is known by name, for every codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from devices.errors import RegistryError

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
