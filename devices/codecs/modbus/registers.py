"""Register maps as data: which numbers stand where, how they are coded, in what unit.

From: a device's settings, or a maker's map by name. To: the codec, as a checked `Plan`. A register is a name, an
address, a type, a byte order, a scale; its unit is fixed, or the device tells it in a register of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from devices.codecs import Settings
from devices.codecs.modbus.frames import ADDRESSES, BIT_FUNCTIONS, fits, size
from devices.codecs.modbus.numbers import SIZES, TYPES
from devices.errors import RegistryError
from devices.units import UNITS

REGISTERS_IN_MAP_MAX: Final = 128
KNOWN: Final = ("unit", "function", "map", "registers", "reads", "start", "unit_codes", "framing", "with_request")


class Register(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One number of a map: value = raw * scale + offset, over ten to the decimals register where there is one.

    `order`: abcd high byte first, cdab words swapped, badc bytes swapped in each word, dcba all reversed.
    `missing`: the raw number by which the device says that it has none.
    """

    name: str
    address: int
    type: str = "uint16"
    order: Literal["abcd", "cdab", "badc", "dcba"] = "abcd"
    scale: float = 1.0
    offset: float = 0.0
    unit: str | None = None
    function: int = 0  # 0: the function of the settings
    missing: float | None = None
    unit_register: int | None = None
    decimals_register: int | None = None

    @property
    def count(self) -> int:
        """How many registers it takes; one bit of a bit function."""
        return SIZES[self.type] // 2 or 1


class Read(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A block that the DTU polls."""

    start: int
    count: int
    function: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A device's settings, checked; `registers` is empty when no map is known."""

    registers: tuple[Register, ...] = ()
    reads: tuple[Read, ...] = ()
    function: int = 3
    unit: int | None = None
    start: int | None = None
    unit_codes: Mapping[str, str] = {}
    framing: str = "rtu"
    with_request: bool = False


class _Settings(msgspec.Struct, kw_only=True):
    unit: int | None = None
    function: int | None = None
    map: str | None = None
    registers: list[Register] | None = None
    reads: list[Read] | None = None
    start: int | None = None
    unit_codes: dict[str, str] | None = None
    framing: Literal["rtu", "tcp"] = "rtu"
    with_request: bool = False


class _Map(msgspec.Struct, frozen=True, kw_only=True):
    registers: tuple[Register, ...]
    reads: tuple[Read, ...]
    unit_codes: Mapping[str, str] = {}


# Two makers' pressure transmitters. Their unit codes differ: the table below is that of `pressure-a` alone, and what we
# found of the other's contradicts itself, so a `pressure-b` says in its settings what its codes mean.
MAPS: Final[Mapping[str, _Map]] = {
    "pressure-a": _Map(
        registers=(Register(name="pressure", address=4, type="int16", unit_register=2, decimals_register=3),),
        reads=(Read(start=2, count=3),),
        unit_codes=dict(
            zip("012345678", ("MPa", "kPa", "Pa", "bar", "mbar", "kgf/cm2", "psi", "mH2O", "mmH2O"), strict=True)
        ),
    ),
    "pressure-b": _Map(
        registers=(
            # Its decimals (register 4) are for its display; the float is the pressure itself.
            Register(name="pressure", address=0x16, type="float32", unit_register=3),
            Register(name="temperature", address=0x26, type="float32", unit="degC"),  # the unit is our judgement
        ),
        reads=(Read(start=3, count=37), Read(start=0x16, count=18)),
    ),
}


def plan(settings: Settings, model: str) -> Plan:
    """The plan of `settings`; a map named there goes before `model`, registers declared there before both.

    RegistryError in one line when a setting has no meaning, or when `model` is no map and nothing else is given.
    """
    own = {name: value for name, value in settings.items() if name in KNOWN}
    return _plan(msgspec.json.encode(own), model)


@lru_cache(maxsize=4096)
def _plan(text: bytes, model: str) -> Plan:
    try:
        given = msgspec.json.decode(text, type=_Settings)
    except msgspec.ValidationError as error:
        raise RegistryError(f"codec modbus: settings: {error}; not taken") from None
    function = _within("function", 3 if given.function is None else given.function, 1, 4)
    if given.unit is not None:
        _within("unit", given.unit, 0, 255)
    if given.start is not None:
        _within("start", given.start, 0, ADDRESSES - 1)
    base = _base(given, model)
    registers = tuple(_checked(one, function) for one in (given.registers or base.registers))
    reads = tuple(_checked_read(one, function) for one in (base.reads if given.reads is None else given.reads))
    codes = base.unit_codes if given.unit_codes is None else given.unit_codes
    _check_codes(codes, registers, declared=given.registers is not None)
    return Plan(
        registers=registers,
        reads=reads or _spans(registers),
        function=function,
        unit=given.unit,
        start=given.start,
        unit_codes=codes,
        framing=given.framing,
        with_request=given.with_request,
    )


def _base(given: _Settings, model: str) -> _Map:
    if given.registers is not None:
        if given.map is not None:
            raise RegistryError("codec modbus: expected map or registers, got both; not taken")
        if not 1 <= len(given.registers) <= REGISTERS_IN_MAP_MAX:
            raise RegistryError(
                f"codec modbus: registers: expected 1 to {REGISTERS_IN_MAP_MAX}, got {len(given.registers)}; not taken"
            )
        names = [one.name for one in given.registers]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise RegistryError(
                f"codec modbus: registers: expected each name once, got {twice!a:.80} again; not taken"
            )
        return _Map(registers=(), reads=())
    name = given.map if given.map is not None else model
    if name and name not in MAPS:
        raise RegistryError(
            f"codec modbus: expected {'map' if given.map else 'model'} among {', '.join(MAPS)} "
            f"or the setting registers, got {name!a:.80}; not taken"
        )
    return MAPS[name] if name else _Map(registers=(), reads=())


def _within(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise RegistryError(f"codec modbus: {name}: expected {low} to {high}, got {value}; not taken")
    return value


def _checked(one: Register, function: int) -> Register:
    where = f"codec modbus: registers: {one.name!a:.80}"
    one = msgspec.structs.replace(one, function=one.function or function)
    _within(f"registers: {one.name!a:.80}: function", one.function, 1, 4)
    if not 1 <= len(one.name) <= 64 or not one.name.isprintable():
        raise RegistryError(f"{where}: expected a name of 1 to 64 printable characters; not taken")
    if one.type not in TYPES or (one.type == "bit") != (one.function in BIT_FUNCTIONS):
        wanted = "bit" if one.function in BIT_FUNCTIONS else ", ".join(name for name in TYPES if name != "bit")
        raise RegistryError(
            f"{where}: expected a type of function {one.function} ({wanted}), got {one.type!a:.80}; not taken"
        )
    if one.address < 0 or one.address + one.count > ADDRESSES:
        raise RegistryError(f"{where}: expected addresses from 0 to {ADDRESSES - 1}, got {one.address}; not taken")
    if one.unit is not None and one.unit not in UNITS:
        raise RegistryError(f"{where}: expected a unit that we know, got {one.unit!a:.80}; not taken")
    if not (1e-12 <= abs(one.scale) <= 1e12 and abs(one.offset) <= 1e15):
        raise RegistryError(f"{where}: expected a scale of 1e-12 to 1e12 and an offset within 1e15; not taken")
    _check_described(one, where)
    return one


def _check_described(one: Register, where: str) -> None:
    described = [at for at in (one.unit_register, one.decimals_register) if at is not None]
    for at in described:
        if not 0 <= at < ADDRESSES:
            raise RegistryError(f"{where}: expected addresses from 0 to {ADDRESSES - 1}, got {at}; not taken")
    if described and one.type == "bit":
        raise RegistryError(f"{where}: expected no unit or decimals register beside a bit; not taken")
    if one.unit is not None and one.unit_register is not None:
        raise RegistryError(f"{where}: expected unit or unit_register, got both; not taken")


def _checked_read(one: Read, function: int) -> Read:
    one = msgspec.structs.replace(one, function=one.function or function)
    _within("reads: function", one.function, 1, 4)
    if one.start < 0 or not fits(one.function, one.start, one.count):
        raise RegistryError(
            f"codec modbus: reads: expected 1 to 125 registers or 2000 bits from 0 to {ADDRESSES - 1}, "
            f"got {one.count} from {one.start}; not taken"
        )
    return one


def _check_codes(codes: Mapping[str, str], registers: tuple[Register, ...], *, declared: bool) -> None:
    for code, name in codes.items():
        if not (code.isdecimal() and code.isascii() and int(code[:6]) < ADDRESSES and name in UNITS):
            raise RegistryError(
                f'codec modbus: unit_codes: expected codes and units that we know such as {{"1": "kPa"}}, '
                f"got {code!a:.40}: {name!a:.40}; not taken"
            )
    lonely = [one.name for one in registers if one.unit_register is not None]
    if declared and lonely and not codes:
        raise RegistryError(
            f"codec modbus: registers: {lonely[0]!a:.80}: expected unit_codes beside a unit_register; not taken"
        )


def _spans(registers: tuple[Register, ...]) -> tuple[Read, ...]:
    """One block per function from the first to the last register of the map, where a slave could be asked for it."""
    reads = []
    for function in sorted({one.function for one in registers}):
        mine = [one for one in registers if one.function == function]
        places = [(one.address, one.count) for one in mine]
        places += [(at, 1) for one in mine for at in (one.unit_register, one.decimals_register) if at is not None]
        start = min(at for at, _ in places)
        count = max(at + length for at, length in places) - start
        if fits(function, start, count):
            reads.append(Read(start=start, count=count, function=function))
    return tuple(reads)


def blocks(one: Plan, function: int, data_bytes: int) -> list[Read]:
    """The polled blocks that a reply of so many bytes may answer."""
    return [read for read in one.reads if read.function == function and size(function, read.count) == data_bytes]


def checked(settings: Settings) -> Plan:
    """`settings` without a model's help; RegistryError as `plan`."""
    values: dict[str, Any] = dict(settings)
    return plan(values, "")
