"""Errors of the vocabulary layer.

UndercityError
└── DeviceError
    ├── SpecError      a kind's declaration contradicts itself
    ├── PayloadError   bytes do not decode: where, what was expected, what came
    ├── RegistryError  a device, site or gateway cannot be registered or found
    │   └── UnknownSettingError  a codec has no such setting
    └── FirmwareError  a gateway cannot be flashed or provisioned
        ├── PortError       a serial port cannot be chosen or opened
        ├── LinkError       the line went away in the middle
        ├── ExchangeError   the device answered otherwise than its protocol says, or not at all
        ├── ImageError      an image, a bundle or a key is not what it must be
        ├── RefusedError    image and board do not belong together; nothing was written
        ├── VerifyError     what the device holds is not the image
        ├── BootError       the device does not run what was written
        ├── AuthorityError  a certificate cannot be issued, signed or used
        └── ProvisionError  the device did not take its configuration, or nothing came of it
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


class FirmwareError(DeviceError):
    """Root of what can go wrong between us and a gateway on a serial line."""


class PortError(FirmwareError):
    """Raised when a serial port cannot be chosen or opened: none, several, busy, not permitted."""


class LinkError(FirmwareError):
    """Raised when the line went away in the middle: unplugged, a closed socket, a write that never ends."""


class ExchangeError(FirmwareError):
    """Raised when the device answered otherwise than its protocol says, or not at all."""


class ImageError(FirmwareError):
    """Raised when an image, a bundle or a key is not what it must be: altered, unsigned, unknown, malformed."""


class RefusedError(FirmwareError):
    """Raised before anything is erased: image and board do not belong together."""


class VerifyError(FirmwareError):
    """Raised when what the device holds after writing is not the image."""


class BootError(FirmwareError):
    """Raised when the device does not run what was written."""


class ProvisionError(FirmwareError):
    """Raised when the device did not take its configuration, or nothing came of it."""


class AuthorityError(FirmwareError):
    """Raised when a certificate cannot be issued, signed, revoked or used."""
