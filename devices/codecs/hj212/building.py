"""Packets out of samples, for the simulator.

From: samples named as on the wire. To: payload bytes. A table too long for one packet goes in parts (PNUM, PNO), each
with the DataTime they share and a QN of its own, as the standard has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from math import isfinite
from typing import Final

from devices.codecs import NUMBER_MAX
from devices.codecs.hj212.dialect import Dialect
from devices.codecs.hj212.factors import unit_of
from devices.codecs.hj212.frame import build
from devices.codecs.hj212.header import VERSIONS
from devices.codecs.hj212.moments import request_number, stamp
from devices.errors import PayloadError, SpecError
from devices.readings import Quality, Sample
from devices.units import convert

_NAME: Final = re.compile(
    r"[A-Za-z0-9_.]{1,32}-(?!(?:Flag|EFlag|SampleTime|Info|SN)\Z)[A-Za-z0-9_]{1,16}", re.ASCII
)
_MN: Final = re.compile(r"[^\s;,=&#]{1,64}", re.ASCII)
_LETTERS: Final = {Quality.MAINTENANCE: "M", Quality.BAD: "D", Quality.SUSPECT: "H"}
_CP_MAX: Final = 900  # bytes: the standard has 950, and 1024 with the fields before it
_ANSWER: Final = 1
_PARTS: Final = 2
_FROM_US: Final = 946_684_800_000_000  # 2000-01-01
_TO_US: Final = 4_102_444_800_000_000  # 2100-01-01


def build_packets(sample: Sample, device: str, dialect: Dialect) -> bytes:
    """`sample` of `device` (the MN) as one packet, or as many as it needs; PayloadError when it cannot be carried.

    A flag GOOD goes as N, MAINTENANCE as M, BAD as D, SUSPECT as H.
    """
    if not _MN.fullmatch(device):
        raise _refused("an MN of 1 to 64 characters without ; , = & #", device)
    if not _FROM_US <= sample.time_us < _TO_US:
        raise _refused("a time from 2000 to 2099", f"{sample.time_us} us")
    contents = list(_contents(sample))
    version = VERSIONS[dialect.version or "2017"]
    flag = version << 2 | _ANSWER | (_PARTS if len(contents) > 1 else 0)
    packets = [
        build(
            qn=request_number(sample.time_us + 1000 * part),
            st=dialect.st or "32",
            cn=dialect.cn[0] if dialect.cn else "2011",
            pw=dialect.password or "123456",
            mn=device,
            flag=flag,
            cp=content,
            pnum=len(contents) if len(contents) > 1 else None,
            pno=part + 1 if len(contents) > 1 else None,
            crc_dialect=dialect.crc,
            sm4_key=dialect.sm4_key,
        )
        for part, content in enumerate(contents)
    ]
    return b"".join(packets)


def _contents(sample: Sample) -> Iterator[str]:
    """CP contents of at most 900 bytes, each with the DataTime."""
    head = content = f"DataTime={stamp(sample.time_us)}"
    for item in _items(sample):
        if len(content) + 1 + len(item) > _CP_MAX and content != head:
            yield content
            content = head
        content += f";{item}"
    if content == head:
        raise _refused("at least one value", "none")
    yield content


def _items(sample: Sample) -> Iterator[str]:
    """One item for each factor: its values, then its flag."""
    factors: dict[str, list[str]] = {}
    for name, value in sample.values.items():
        if not _NAME.fullmatch(name):
            raise _refused("names such as w01018-Rtd", name)
        factor, _, kind = name.partition("-")
        number = _in_wire_unit(sample, name, unit_of(factor, kind), value)
        if not isfinite(number) or abs(number) > NUMBER_MAX:
            raise _refused(f"{name} within {NUMBER_MAX:.0e} of zero", number)
        factors.setdefault(factor, []).append(f"{name}={_written(number)}")
    for factor, items in factors.items():
        yield (
            ",".join(items)
            if _is_state(sample, factor)
            else ",".join((*items, f"{factor}-Flag={_letter(sample, factor)}"))
        )


def _in_wire_unit(sample: Sample, name: str, wire_unit: str, value: float) -> float:
    unit = (sample.units or {}).get(name, wire_unit)
    if unit == wire_unit or not wire_unit:
        return value
    try:
        return convert(value, unit, wire_unit)
    except SpecError as error:
        raise _refused(f"{name} in {wire_unit}", str(error)) from None


def _is_state(sample: Sample, factor: str) -> bool:
    """Whether `factor` is a device's state (SB1-RS), which has no data flag."""
    return all(name.endswith(("-RS", "-RT")) for name in sample.values if name.partition("-")[0] == factor)


def _letter(sample: Sample, factor: str) -> str:
    """The flag of a factor; the standard has one for all its values, so the worst counts."""
    flags = [flag for name, flag in (sample.flags or {}).items() if name.partition("-")[0] == factor]
    return _LETTERS.get(max(flags, default=Quality.GOOD), "N")


def _written(number: float) -> str:
    """`number` in plain digits, which read back to the same.

    >>> _written(235.29), _written(3.0), _written(1e-7)
    ('235.29', '3', '0.0000001')
    """
    return str(int(number)) if number.is_integer() else f"{Decimal(repr(number)):f}"


def _refused(expected: str, got: object) -> PayloadError:
    return PayloadError(f"hj212: expected {expected}, got {got!a:.80}; nothing was encoded")
