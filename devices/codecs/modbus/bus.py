"""One payload of a bus: its frames matched with what was asked, per unit, into samples.

From: frames. To: samples. Memory of a topic: `requests` (unit -> function, address, count, when) and `codes` (unit and
decimals registers as last read, for maps whose unit stands in another block than the value). Both are bounded: by the
256 units of a bus and the code registers of its maps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

from devices.codecs import NUMBER_MAX, Context
from devices.codecs.modbus.frames import ADDRESSES, BIT_FUNCTIONS, Frame, Shape, size, split
from devices.codecs.modbus.numbers import read as read_number
from devices.codecs.modbus.registers import Plan, Register, blocks, plan
from devices.errors import PayloadError
from devices.readings import Sample

DECIMALS_MAX: Final = 9
REQUEST_VALID_US: Final = 60_000_000  # a later reply answers a request that we never saw


@dataclass(slots=True)
class _Unit:
    """What one unit said in this payload."""

    number: int
    device: str
    plan: Plan
    stranger: bool = False
    words: dict[tuple[int, int], bytes] = field(default_factory=dict)
    loose: list[dict[str, float]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)


class Bus:
    """The units behind one context."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._plan = plan(context.settings, context.model)
        self._units: dict[int, _Unit] = {}
        self._problems: list[PayloadError] = []

    def read(self, payload: bytes) -> tuple[Sample, ...]:
        """The samples of `payload`; PayloadError when it has replies and none of them gives one."""
        replies = 0
        for frame in split(payload, self._plan.framing, self._awaited):
            if frame.shape is Shape.CONTROL:
                raise PayloadError(
                    f"modbus: unit {frame.unit}: expected a read, got function {frame.function:02X} ({frame.words}), "
                    "a control frame: monitoring neither sends nor reads these; nothing was used",
                    offset=frame.offset,
                )
            if frame.shape is Shape.REQUEST:
                asked = [frame.function, frame.address, frame.amount, self._context.received_us]
                self._memory("requests")[str(frame.unit)] = asked
            else:
                replies += 1
                self._answer(frame)
        samples = [sample for unit in self._units.values() for sample in self._samples(unit)]
        useful = any(sample.values and not self._is_stranger(sample) for sample in samples)
        if self._problems and not useful:
            raise self._problems[0]
        return tuple(samples)

    def _is_stranger(self, sample: Sample) -> bool:
        return any(unit.stranger and unit.device == sample.device for unit in self._units.values())

    def _memory(self, part: str) -> dict[str, Any]:
        found: dict[str, Any] = self._context.memory.setdefault(part, {})
        return found

    def _pending(self, unit: int) -> list[int] | None:
        asked: list[int] | None = self._memory("requests").get(str(unit))
        if asked is None or self._context.received_us - asked[3] > REQUEST_VALID_US:
            return None
        return asked

    def _awaited(self, unit: int, function: int, data_bytes: int) -> bool:
        if asked := self._pending(unit):
            return asked[0] == function and size(function, asked[2]) == data_bytes
        return bool(blocks(self._unit(unit).plan, function, data_bytes))

    def _unit(self, number: int) -> _Unit:
        """The unit's plan: our own device's, or that of the device registered under its number."""
        unit = self._units.get(number)
        if unit is None:
            unit = self._units[number] = self._found(number)
        return unit

    def _found(self, number: int) -> _Unit:
        if self._plan.unit == number:
            return _Unit(number, "", self._plan)
        child = self._context.child(str(number))
        if child is not None:
            its = plan(child.settings, child.model)
            if its.unit in {None, number}:
                return _Unit(number, str(number), its)
        elif self._plan.unit is None:
            return _Unit(number, "", self._plan)
        return _Unit(number, str(number), Plan(framing=self._plan.framing), stranger=True)

    def _answer(self, frame: Frame) -> None:
        unit = self._unit(frame.unit)
        if unit.stranger:
            wanted = self._plan.unit if self._plan.unit is not None else "another"
            self._problems.append(
                PayloadError(
                    f"modbus: expected unit {wanted} or a registered one, got {frame.unit}; nothing was used",
                    offset=frame.offset,
                )
            )
        asked = self._pending(frame.unit)
        self._memory("requests").pop(str(frame.unit), None)  # one request has one reply
        if frame.shape is Shape.EXCEPTION:
            text = f"{frame.code} ({frame.words})"
            unit.states["exception"] = text
            self._problems.append(
                PayloadError(
                    f"modbus: unit {frame.unit}: expected a reply to function {frame.function:02X}, "
                    f"got exception {text}; nothing was used",
                    offset=frame.offset,
                )
            )
            return
        count = len(frame.data) * 8 if frame.function in BIT_FUNCTIONS else len(frame.data) // 2
        start, count = self._place(frame, unit.plan, asked, count)
        if (start or 0) + count > ADDRESSES:
            raise PayloadError(
                f"modbus: unit {frame.unit}: expected addresses below {ADDRESSES}, got {count} from {start}; "
                "nothing was used",
                offset=frame.offset,
            )
        self._take(frame, unit, start, count)

    def _place(self, frame: Frame, one: Plan, asked: list[int] | None, count: int) -> tuple[int | None, int]:
        """Where the reply begins and how much it holds; None where nothing tells and no map asks."""
        length = len(frame.data)
        if asked is not None:
            function, address, wanted = asked[:3]
            if function != frame.function or size(function, wanted) != length:
                raise PayloadError(
                    f"modbus: unit {frame.unit}: expected {size(function, wanted)} bytes of function {function:02X} "
                    f"as requested, got {length} of {frame.function:02X}; nothing was used",
                    offset=frame.offset + 2,
                )
            return address, wanted
        if one.start is not None:
            return one.start, count
        if not one.registers and not one.reads:
            return None, count
        found = blocks(one, frame.function, length)
        if len(found) != 1:
            known = ", ".join(f"{read.count} from {read.start} ({read.function:02X})" for read in one.reads)
            raise PayloadError(
                f"modbus: unit {frame.unit}: expected a reply to one of the reads [{known}], got {length} bytes "
                f"of function {frame.function:02X} that fit {len(found)}; set `reads` or `start`, or let the DTU pass "
                "its requests; nothing was used",
                offset=frame.offset + 2,
            )
        return found[0].start, found[0].count

    def _take(self, frame: Frame, unit: _Unit, start: int | None, count: int) -> None:
        data, first = frame.data, start or 0
        if frame.function in BIT_FUNCTIONS:
            parts = [bytes((data[at // 8] >> at % 8 & 1,)) for at in range(count)]
        else:
            parts = [data[at : at + 2] for at in range(0, len(data), 2)]
        if unit.plan.registers:
            unit.words.update(((frame.function, first + at), part) for at, part in enumerate(parts))
            return
        letter = "b" if frame.function in BIT_FUNCTIONS else "r"
        values = {f"{letter}{first + at}": float(int.from_bytes(part)) for at, part in enumerate(parts)}
        if unit.loose and not unit.loose[-1].keys() & values:
            unit.loose[-1].update(values)
        else:
            unit.loose.append(values)

    def _samples(self, unit: _Unit) -> list[Sample]:
        time_us, states = self._context.received_us, unit.states
        if not unit.plan.registers:
            samples = [Sample(unit.device, time_us, values, units={}) for values in unit.loose]
            return samples or ([Sample(unit.device, time_us, {}, units={}, states=states)] if states else [])
        self._remember(unit)
        values: dict[str, float] = {}
        units: dict[str, str] = {}
        for one in unit.plan.registers:
            parts = [unit.words.get((one.function, one.address + at)) for at in range(one.count)]
            known = [part for part in parts if part is not None]
            if len(known) == len(parts):
                self._number(unit, one, b"".join(known), values, units)
        if not values and not states:
            return []
        return [Sample(unit.device, time_us, values, units=units, states=states or None)]

    def _number(
        self, unit: _Unit, one: Register, data: bytes, values: dict[str, float], units: dict[str, str]
    ) -> None:
        raw = data[0] if one.type == "bit" else read_number(data, one.type, one.order)
        shown = data.hex().upper()
        if raw is None:
            raise self._unreadable(unit, one, f"digits 0 to 9, got {shown}")
        if math.isnan(raw) or raw == one.missing:
            self._without(unit, one, "no value")
            return
        decimals, code = self._code(unit, one, one.decimals_register), self._code(unit, one, one.unit_register)
        if decimals is None or code is None:
            return
        if decimals > DECIMALS_MAX:
            raise self._unreadable(unit, one, f"0 to {DECIMALS_MAX} decimals, got {decimals}")
        name = one.unit
        if one.unit_register is not None:
            name = unit.plan.unit_codes.get(str(code))
            if name is None:
                known = ", ".join(unit.plan.unit_codes) or "none"
                raise self._unreadable(unit, one, f"a unit code of the setting unit_codes ({known}), got {code}")
        value = _tidy(raw, one, decimals)
        if not (math.isfinite(value) and abs(value) <= NUMBER_MAX):
            raise self._unreadable(
                unit, one, f"a number within {NUMBER_MAX:.0e}, got {value:g} ({shown}: type, order?)"
            )
        values[one.name] = value
        if name is not None:
            units[one.name] = name

    @staticmethod
    def _unreadable(unit: _Unit, one: Register, what: str) -> PayloadError:
        return PayloadError(
            f"modbus: unit {unit.number}: {one.name!a:.80} at {one.address}: expected {what}; nothing was used"
        )

    def _without(self, unit: _Unit, one: Register, why: str) -> None:
        unit.states[one.name] = why
        self._problems.append(self._unreadable(unit, one, f"a value, got {why}"))

    def _code(self, unit: _Unit, one: Register, address: int | None) -> int | None:
        """The number in a unit or decimals register, as last read; 0 where the map has none."""
        if address is None:
            return 0
        known = self._memory("codes").get(f"{unit.number}/{one.function}/{address}")
        if known is None:
            self._without(unit, one, f"none without register {address}, never read so far")
        return known

    def _remember(self, unit: _Unit) -> None:
        for one in unit.plan.registers:
            for address in (one.unit_register, one.decimals_register):
                word = None if address is None else unit.words.get((one.function, address))
                if word is not None:
                    self._memory("codes")[f"{unit.number}/{one.function}/{address}"] = int.from_bytes(word)


def _tidy(raw: float, one: Register, decimals: int) -> float:
    """The scaled number without the last bits that scaling adds: 413 * 0.1 is 41.3."""
    if one.scale == 1 and one.offset == 0 and decimals == 0:
        return float(raw)
    return float(f"{(raw * one.scale + one.offset) / 10**decimals:.15g}")
