"""One file per bootloader; each declares `BOOTLOADER`. A new one is a new file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from devices.errors import FirmwareError
from devices.firmware.driver import BootLoader


@cache
def load() -> Mapping[str, BootLoader]:
    """Every bootloader by name, in alphabetical order."""
    found: dict[str, BootLoader] = {}
    for info in pkgutil.iter_modules(__path__):
        declared = getattr(importlib.import_module(f"{__name__}.{info.name}"), "BOOTLOADER", None)
        if isinstance(declared, BootLoader):
            found[declared.name] = declared
    return dict(sorted(found.items()))


def named(name: str) -> BootLoader:
    """One bootloader; FirmwareError that lists those there are."""
    known = load()
    if name not in known:
        raise FirmwareError(f"bootloader {name!r:.40}: expected one of {', '.join(known)}; nothing was sent")
    return known[name]
