"""Modbus frames out of bytes: which are requests, replies, refusals of the slave, or control.

From: what a DTU passed through: one frame or several behind each other, with RTU or TCP framing. To: the codec.

    RTU: unit 1 | function 1 | data ... | CRC 2, low byte first
    TCP: transaction 2 | protocol 2 = 0 | length 2 | unit 1 | function 1 | data ...

    read request:  function 01-04 | address 2 | count 2
    read reply:    function 01-04 | byte count 1 | registers, high byte first, or bits, lowest first
    exception:     function + 80 | code 1

An RTU frame does not say whether it asks or answers; where both lengths fit the bytes, the CRC tells. No function
here builds anything but reads: whatever writes to a device is recognised and refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Final, NamedTuple

from devices.codecs.modbus.crc import crc16, sealed
from devices.errors import PayloadError

PAYLOAD_MAX: Final = 4096  # sixteen of the longest frames; what a DTU buffers of its serial line is less
BIT_FUNCTIONS: Final = (1, 2)
READS: Final = (1, 2, 3, 4)
REGISTERS_MAX: Final = 125
BITS_MAX: Final = 2000
ADDRESSES: Final = 65536
_EXCEPTIONS: Final = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, still working",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target did not respond",
}
_CONTROLS: Final = {
    5: "write single coil",
    6: "write single register",
    15: "write multiple coils",
    16: "write multiple registers",
    22: "mask write register",
    23: "read and write registers",
}
_EXCEPTION_FLAG: Final = 0x80
_HEADER: Final = 6  # of Modbus TCP, before the unit


class Shape(Enum):
    """What a frame is."""

    REQUEST = auto()
    REPLY = auto()
    EXCEPTION = auto()
    CONTROL = auto()


class Frame(NamedTuple):
    """One frame. `address`, `amount`: of a request. `data`: of a reply. `code`: of an exception."""

    offset: int
    unit: int
    function: int
    shape: Shape
    address: int = 0
    amount: int = 0
    data: bytes = b""
    code: int = 0

    @property
    def words(self) -> str:
        """What an exception or a control frame says."""
        if self.shape is Shape.CONTROL:
            return _CONTROLS[self.function]
        return _EXCEPTIONS.get(self.code, "a code of its maker")


Answers = Callable[[int, int, int], bool]  # (unit, function, bytes): whether a reply of so many bytes is awaited


def split(payload: bytes, framing: str, answers: Answers) -> Iterator[Frame]:
    """The frames of `payload` in order; PayloadError with the offset where it stops being Modbus."""
    if not 0 < len(payload) <= PAYLOAD_MAX:
        raise PayloadError(
            f"modbus: expected 1 to {PAYLOAD_MAX} bytes, got {len(payload)}; nothing was used",
            offset=min(len(payload), PAYLOAD_MAX),
        )
    step = _tcp if framing == "tcp" else _rtu
    offset = 0
    while offset < len(payload):
        frame, offset = step(payload, offset, answers)
        yield frame


def request(framing: str, unit: int, function: int, address: int, count: int) -> bytes:
    """The frame that asks for a block."""
    return _framed(framing, unit, bytes((function,)) + address.to_bytes(2) + count.to_bytes(2))


def reply(framing: str, unit: int, function: int, data: bytes) -> bytes:
    """The frame that answers with `data`."""
    return _framed(framing, unit, bytes((function, len(data))) + data)


def size(function: int, count: int) -> int:
    """Data bytes of the reply to a request for `count` registers or bits."""
    return (count + 7) // 8 if function in BIT_FUNCTIONS else 2 * count


def fits(function: int, address: int, count: int) -> bool:
    """Whether a slave could be asked for this block."""
    most = BITS_MAX if function in BIT_FUNCTIONS else REGISTERS_MAX
    return 1 <= count <= most and address + count <= ADDRESSES


def _framed(framing: str, unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return bytes(4) + len(body).to_bytes(2) + body if framing == "tcp" else sealed(body)


def _rtu(payload: bytes, offset: int, answers: Answers) -> tuple[Frame, int]:
    rest = len(payload) - offset
    if rest < 5:
        raise PayloadError(
            f"modbus: expected a frame of at least 5 bytes, got {rest}; nothing was used", offset=len(payload)
        )
    unit, function = payload[offset : offset + 2]
    _refuse_unknown(function, offset + 1)
    lengths = _lengths(payload, offset)
    sealed_lengths = [
        length
        for length in dict.fromkeys(lengths)
        if length <= rest and _sum(payload, offset, offset + length) == _read_sum(payload, offset + length)
    ]
    if sealed_lengths:
        end = offset + _likelier(payload, offset, sealed_lengths)
        return _parsed(payload[offset + 1 : end - 2], offset, unit, 1, answers), end
    fitting = [length for length in lengths if length <= rest]
    if not fitting:
        raise PayloadError(
            f"modbus: unit {unit}: expected a frame of {' or '.join(map(str, lengths))} bytes, got {rest}; "
            "nothing was used",
            offset=len(payload),
        )
    end = offset + (rest if rest in fitting else fitting[-1])
    raise _bad_sum(payload, offset, end)


def _likelier(payload: bytes, offset: int, lengths: list[int]) -> int:
    """Which of the lengths with a right CRC: one reply in 65536 begins with eight bytes that check as a request."""
    address, count = struct.unpack_from(">2H", payload, offset + 2) if len(lengths) > 1 else (0, 0)
    asks = fits(payload[offset + 1], address, count)
    return lengths[0] if asks and offset + lengths[-1] != len(payload) else lengths[-1]


def _sum(payload: bytes, start: int, end: int) -> int:
    return crc16(memoryview(payload)[start : end - 2])


def _read_sum(payload: bytes, end: int) -> int:
    return int.from_bytes(payload[end - 2 : end], "little")


def _bad_sum(payload: bytes, offset: int, end: int) -> PayloadError:
    wanted = _sum(payload, offset, end).to_bytes(2, "little")
    got = payload[end - 2 : end]
    swapped = " (high byte first)" if got == wanted[::-1] else ""
    return PayloadError(
        f"modbus: unit {payload[offset]}: expected CRC {wanted.hex(' ').upper()}, "
        f"got {got.hex(' ').upper()}{swapped}; nothing was used",
        offset=end - 2,
    )


def _refuse_unknown(function: int, offset: int) -> None:
    if function & ~_EXCEPTION_FLAG not in READS and function & ~_EXCEPTION_FLAG not in _CONTROLS:
        raise PayloadError(
            f"modbus: expected a read function 01 to 04, got {function:02X}; nothing was used", offset=offset
        )


def _lengths(payload: bytes, offset: int) -> tuple[int, ...]:
    """How long the RTU frame at `offset` may be, request first, reply last."""
    function = payload[offset + 1]
    if function & _EXCEPTION_FLAG:
        return (5,)
    if function in READS:
        return (8, 5 + payload[offset + 2])
    if function in {5, 6}:
        return (8,)
    if function == 22:
        return (10,)
    if function == 23:
        return ((13 + payload[offset + 10]) if len(payload) > offset + 10 else 13, 5 + payload[offset + 2])
    return (8, (9 + payload[offset + 6]) if len(payload) > offset + 6 else 9)


def _tcp(payload: bytes, offset: int, answers: Answers) -> tuple[Frame, int]:
    rest = len(payload) - offset
    length = int.from_bytes(payload[offset + 4 : offset + _HEADER])
    if rest < _HEADER + 3 or payload[offset + 2 : offset + 4] != bytes(2) or not 3 <= length <= 254:
        raise PayloadError(
            f"modbus: expected a Modbus TCP header of protocol 0 and length 3 to 254, "
            f"got {payload[offset : offset + _HEADER].hex(' ')}; nothing was used",
            offset=offset,
        )
    if rest < _HEADER + length:
        raise PayloadError(
            f"modbus: expected {length} bytes behind the header, got {rest - _HEADER}; nothing was used",
            offset=len(payload),
        )
    start, end = offset + _HEADER, offset + _HEADER + length
    _refuse_unknown(payload[start + 1], start + 1)
    return _parsed(payload[start + 1 : end], offset, payload[start], start + 1 - offset, answers), end


def _parsed(pdu: bytes, offset: int, unit: int, lead: int, answers: Answers) -> Frame:
    """The frame at `offset` out of its PDU, which starts `lead` bytes further."""
    function = pdu[0]
    if function & _EXCEPTION_FLAG:
        return Frame(offset, unit, function & ~_EXCEPTION_FLAG, Shape.EXCEPTION, code=pdu[1])
    if function in _CONTROLS:
        return Frame(offset, unit, function, Shape.CONTROL)
    is_reply = len(pdu) == 2 + pdu[1] and pdu[1] > 0 and (function in BIT_FUNCTIONS or pdu[1] % 2 == 0)
    if len(pdu) == 5:
        address, count = int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5])
        asks = fits(function, address, count)
        # Three bytes of bits look like a request: they are a reply if one is awaited, or if nothing else fits.
        if asks and not (is_reply and answers(unit, function, pdu[1])):
            return Frame(offset, unit, function, Shape.REQUEST, address, count)
        if not is_reply:
            raise PayloadError(
                f"modbus: unit {unit}: expected a request for 1 to {REGISTERS_MAX} registers or {BITS_MAX} bits below "
                f"{ADDRESSES}, got {count} from {address}; nothing was used",
                offset=offset + lead + 1,
            )
    if not is_reply:
        raise PayloadError(
            f"modbus: unit {unit}: expected a byte count that fits {len(pdu) - 2} bytes of registers, got {pdu[1]}; "
            "nothing was used",
            offset=offset + lead + 1,
        )
    return Frame(offset, unit, function, Shape.REPLY, data=pdu[2:])
