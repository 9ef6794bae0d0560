"""Wire formats, one file each, found by looking into this folder: no list to edit.

A codec module offers `CODEC`, an object with the `Codec` surface.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from typing import Protocol

from devices.errors import SpecError
from devices.readings import Sample


class Codec(Protocol):
    """Turns payload bytes into samples and back."""

    name: str

    def decode(self, payload: bytes) -> Sequence[Sample]:
        """The samples in `payload`; PayloadError with offset and reason, and nothing else, when it has none."""
        ...

    def encode(self, samples: Sequence[Sample]) -> bytes:
        """A payload that decodes to `samples`."""
        ...


@cache
def load() -> dict[str, Codec]:
    """Every codec in this folder by name; SpecError when a file offers none."""
    codecs: dict[str, Codec] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        codec = getattr(module, "CODEC", None)
        if codec is None:
            raise SpecError(f"{module.__name__}: expected CODEC, got nothing; the file is not used")
        codecs[codec.name] = codec
    return codecs
