"""Modbus replies as DTUs pass them through: what stands in the registers, by the device's own register map.

From: raw payloads out of the journal, via `ingest.decode`. To: samples, timed by our receipt. A reply does not say
which registers it carries: the request before it does (in the same payload, or the last one of this unit on this
topic), or else the setting `reads` or `start`. Without a map every register comes as `r` and its address, or its
place in the reply where no address is known. Only reads are understood; whatever writes to a device is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from devices.codecs import Context, Settings, refuse_unknown
from devices.codecs.modbus.building import build
from devices.codecs.modbus.bus import Bus
from devices.codecs.modbus.registers import KNOWN, MAPS, checked, plan
from devices.errors import PayloadError, RegistryError
from devices.readings import Sample
from devices.spec import Text


class Modbus:
    """The codec; stateless: what was asked last stands in the context's memory."""

    name: Final = "modbus"
    title: Final = Text("Modbus RTU 应答帧（DTU 透传）", "Modbus replies passed through by a DTU")
    models: Final = tuple(MAPS)

    def decode(self, payload: bytes, context: Context) -> tuple[Sample, ...]:
        """One sample per unit (per reply without a map); none for requests alone; PayloadError otherwise."""
        try:
            return Bus(context).read(payload)
        except RegistryError as error:
            raise PayloadError(f"modbus: {error}") from None

    def encode(self, samples: Sequence[Sample], context: Context) -> bytes:
        """The replies that carry `samples`, with `with_request` each behind its request.

        Whole-number registers are rounded to what they can hold. PayloadError for names outside the map, for a number
        its register cannot hold, for two samples of one unit.
        """
        try:
            return build(samples, context)
        except RegistryError as error:
            raise PayloadError(f"modbus: {error}") from None

    def fields(self, context: Context) -> Mapping[str, str]:
        """Names of the map with their units: kPa, else its first code, where the device tells the unit itself.

        None while the device tells a unit in codes that nobody declared.
        """
        one = plan(context.settings, context.model)
        told = "kPa" if "kPa" in one.unit_codes.values() else next(iter(one.unit_codes.values()), None)
        units = {reg.name: told if reg.unit_register is not None else (reg.unit or "") for reg in one.registers}
        return {} if None in units.values() else {name: unit or "" for name, unit in units.items()}

    def check(self, settings: Settings) -> None:
        """RegistryError when a setting is unknown or has no meaning."""
        refuse_unknown(self.name, settings, KNOWN)
        checked(settings)


CODEC: Final = Modbus()
