"""pyMeterBus, imported without what it does on the way: it sets up logging for the whole process."""

from __future__ import annotations

import logging

_ROOT = logging.getLogger()
_before = _ROOT.handlers[:], _ROOT.level

from meterbus import (  # type: ignore[import-untyped]  # it ships none  # noqa: E402
    DataEncoding,
    FunctionType,
    MeasureUnit,
    TelegramBody,
    VIFUnit,
    VIFUnitExt,
    VIFUnitSecExt,
)

_ROOT.handlers[:] = _before[0]
_ROOT.setLevel(_before[1])

__all__ = [
    "DataEncoding",
    "FunctionType",
    "MeasureUnit",
    "TelegramBody",
    "VIFUnit",
    "VIFUnitExt",
    "VIFUnitSecExt",
]
