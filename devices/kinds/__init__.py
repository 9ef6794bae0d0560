"""Sensor kinds, one file each, found by looking into this folder: no list to edit."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from devices.errors import SpecError
from devices.spec import Kind


@cache
def load() -> dict[str, Kind]:
    """Every kind in this folder by name; SpecError when a file declares none or two share a name."""
    kinds: dict[str, Kind] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        kind = getattr(module, "KIND", None)
        if not isinstance(kind, Kind):
            raise SpecError(f"{module.__name__}: expected KIND: Kind, got {kind!r}; the file is not used")
        if kind.name in kinds:
            raise SpecError(f"{module.__name__}: kind {kind.name} is already declared by another file")
        kinds[kind.name] = kind
    return kinds
