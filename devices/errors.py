"""Errors of the vocabulary layer.

UndercityError
└── DeviceError
    ├── SpecError      a kind's declaration contradicts itself
    ├── PayloadError   bytes do not decode: where, what was expected, what came
    └── RegistryError  a device, site or gateway cannot be registered or found
        └── UnknownSettingError  a codec has no such setting
"""

from __future__ import annotations

from collections.abc import Sequence


class UndercityError(Exception):
    """Root of every error this system raises on purpose; its text is one line for a person."""


class DeviceError(UndercityError):
    """Root of the errors of `devices`."""


class SpecError(DeviceError):
    """Raised when a kind's declaration contradicts itself."""


class PayloadError(DeviceError):
    """Raised when bytes do not decode; `offset` is the byte where reading stopped, -1 if unknown."""

    def __init__(self, reason: str, *, offset: int = -1) -> None:
        super().__init__(reason)
        self.offset = offset


class RegistryError(DeviceError):
    """Raised when a device, site or gateway cannot be registered or found."""


class UnknownSettingError(RegistryError):
    """Raised when a codec has no such setting; `known` are those it has."""

    def __init__(self, reason: str, known: Sequence[str]) -> None:
        super().__init__(reason)
        self.known = tuple(known)
