"""Replies out of samples, as a slave would send them.

From: the simulator. To: payloads that `devices.codecs.modbus.bus` reads. Reads only: nothing here can build a frame
that writes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from devices.codecs import Context
from devices.codecs.modbus.frames import BIT_FUNCTIONS, READS, fits, reply, request
from devices.codecs.modbus.numbers import SIZES, write
from devices.codecs.modbus.registers import Plan, Read, Register, plan
from devices.errors import PayloadError
from devices.readings import Sample

_DECIMALS_SHOWN = 4


def build(samples: Sequence[Sample], context: Context) -> bytes:
    """The reply frames of `samples`; PayloadError when the map cannot carry them."""
    own = plan(context.settings, context.model)
    devices = [sample.device for sample in samples]
    if not samples or len(set(devices)) != len(devices):
        raise _refusal("expected one sample per unit, got none or several")
    parts = []
    for sample in samples:
        one, unit = own, own.unit if own.unit is not None else 1
        if sample.device.isdecimal() and sample.device != str(own.unit):
            child = context.child(sample.device)
            unit = int(sample.device[:4])
            one = own if child is None else plan(child.settings, child.model)
        if unit > 255:
            raise _refusal(f"expected a unit of 0 to 255, got {unit}")
        parts.append(_frames(sample, one, unit, own))
    return b"".join(parts)


def _frames(sample: Sample, one: Plan, unit: int, own: Plan) -> bytes:
    words = _words(sample, one) if one.registers else _loose(sample, one)
    reads = _blocks(one, words)
    frames = []
    for read in reads:
        cells = [words.get((read.function, read.start + at), b"\0\0") for at in range(read.count)]
        data = b"".join(cells)
        if read.function in BIT_FUNCTIONS:
            data = sum(cell[-1] << at for at, cell in enumerate(cells)).to_bytes((read.count + 7) // 8, "little")
        if own.with_request:
            frames.append(request(own.framing, unit, read.function, read.start, read.count))
        frames.append(reply(own.framing, unit, read.function, data))
    return b"".join(frames)


def _blocks(one: Plan, words: dict[tuple[int, int], bytes]) -> list[Read]:
    """The fewest polled blocks, in their order, that hold all of `words`; PayloadError when none do."""
    left = set(words)
    chosen = []
    for read in one.reads or _runs(words):
        held = {(read.function, read.start + at) for at in range(read.count)} & left
        if held:
            chosen.append(read)
            left -= held
    if left:
        raise _refusal(f"expected registers within the reads, got {min(left)[1]} outside")
    return chosen


def _runs(words: dict[tuple[int, int], bytes]) -> list[Read]:
    function = min(words)[0]
    places = [at for _, at in words]
    start, count = min(places), max(places) - min(places) + 1
    if not fits(function, start, count):
        raise _refusal(f"expected one block of 125 registers, got {count} from {start}")
    return [Read(start=start, count=count, function=function)]


def _loose(sample: Sample, one: Plan) -> dict[tuple[int, int], bytes]:
    words = {}
    for name, value in sample.values.items():
        if not (name[:1] == "r" and name[1:].isdecimal() and len(name) <= 6 and value == value // 1):
            raise _refusal(f"expected r0, r1, ... with whole numbers, got {name!a:.80}")
        words[one.function if one.function in READS[2:] else 3, int(name[1:])] = _cell(
            name, value, "uint16", "abcd"
        )
    if not words:
        raise _refusal("expected values, got none")
    return words


def _words(sample: Sample, one: Plan) -> dict[tuple[int, int], bytes]:
    """Every register of the map; what the sample lacks is a missing value, where its type has one."""
    names = {reg.name for reg in one.registers}
    if strangers := sorted(set(sample.values) - names):
        raise _refusal(f"expected names of the map ({', '.join(sorted(names))}), got {strangers[0]!a:.80}")
    if not sample.values:
        raise _refusal("expected values, got none")
    words: dict[tuple[int, int], bytes] = {}
    for reg in one.registers:
        _put(reg, sample, one, words)
    return words


def _put(reg: Register, sample: Sample, one: Plan, words: dict[tuple[int, int], bytes]) -> None:
    value = sample.values.get(reg.name)
    if value is None:
        raw = reg.missing if reg.missing is not None else math.nan
        if math.isnan(raw) and not reg.type.startswith("float"):
            raise _refusal(f"expected a value of {reg.name!a:.80}, which has no mark for a missing one; got none")
    else:
        if not math.isfinite(value):
            raise _refusal(f"{reg.name!a:.80}: expected a finite number, got {value}")
        raw = (value - reg.offset) / reg.scale
    if reg.unit_register is not None:
        words[reg.function, reg.unit_register] = _unit_code(reg, sample, one).to_bytes(2)
    if reg.decimals_register is not None:
        decimals = 0 if value is None else _decimals(raw, reg)
        words[reg.function, reg.decimals_register] = decimals.to_bytes(2)
        raw *= 10**decimals
    if reg.type == "bit":
        words[reg.function, reg.address] = bytes((0, bool(raw)))
        return
    data = _cell(reg.name, raw, reg.type, reg.order)
    for at in range(reg.count):
        words[reg.function, reg.address + at] = data[2 * at : 2 * at + 2]


def _cell(name: str, raw: float, kind: str, order: str) -> bytes:
    data = write(raw, kind, order)
    if data is None:
        raise _refusal(f"{name!a:.80}: expected a number that fits {kind}, got {raw:g}")
    return data


def _unit_code(reg: Register, sample: Sample, one: Plan) -> int:
    default = "kPa" if "kPa" in one.unit_codes.values() else next(iter(one.unit_codes.values()), "")
    wanted = (sample.units or {}).get(reg.name, default)
    for code, name in one.unit_codes.items():
        if name == wanted:
            return int(code)
    raise _refusal(f"{reg.name!a:.80}: expected a unit of unit_codes, got {wanted!a:.40}")


def _decimals(raw: float, reg: Register) -> int:
    """As many decimals as the number has and its register holds, at most four."""
    decimals = 0
    while decimals < _DECIMALS_SHOWN and round(raw, decimals) != raw:
        if write(raw * 10 ** (decimals + 1), reg.type, reg.order) is None:
            break
        decimals += 1
    return decimals if SIZES[reg.type] else 0


def _refusal(what: str) -> PayloadError:
    return PayloadError(f"modbus: {what}; nothing was encoded")
