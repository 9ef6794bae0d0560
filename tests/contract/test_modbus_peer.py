"""Our Modbus codec against pymodbus: a real slave answers over RTU framing, a tiny DTU passes its bytes to us."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client import ModbusTcpClient
from pymodbus.framer import FramerType
from pymodbus.framer.rtu import FramerRTU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from devices.codecs import Context
from devices.codecs.modbus import CODEC
from devices.codecs.modbus.crc import crc16, sealed
from devices.errors import PayloadError

UNIT = 17
NUMBERS = {
    "int16": (ModbusTcpClient.DATATYPE.INT16, -1234),
    "uint16": (ModbusTcpClient.DATATYPE.UINT16, 54321),
    "int32": (ModbusTcpClient.DATATYPE.INT32, -123_456_789),
    "uint32": (ModbusTcpClient.DATATYPE.UINT32, 3_456_789_012),
    "int64": (ModbusTcpClient.DATATYPE.INT64, -123_456_789_012),
    "uint64": (ModbusTcpClient.DATATYPE.UINT64, 123_456_789_012),
    "float32": (ModbusTcpClient.DATATYPE.FLOAT32, -0.15625),
    "float64": (ModbusTcpClient.DATATYPE.FLOAT64, 412.3456789),
}


def swapped(word: int) -> int:
    return (word >> 8) | (word & 0xFF) << 8


def bank() -> tuple[list[int], list[dict[str, Any]], dict[str, float]]:
    """Registers from 100 on with every type in every order, as pymodbus writes them; our map of them; the truth."""
    words: list[int] = []
    registers: list[dict[str, Any]] = []
    truth: dict[str, float] = {}
    for kind, (theirs, value) in NUMBERS.items():
        high = ModbusTcpClient.convert_to_registers(value, theirs, word_order="big")
        low = ModbusTcpClient.convert_to_registers(value, theirs, word_order="little")
        forms = {"abcd": high, "cdab": low, "badc": list(map(swapped, high)), "dcba": list(map(swapped, low))}
        for order, form in forms.items():
            name = f"{kind}-{order}"
            registers.append({"name": name, "address": 100 + len(words), "type": kind, "order": order})
            words += form
            truth[name] = value
    return words, registers, truth


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def polled(words: list[int], asks: list[bytes]) -> list[bytes]:
    """What the slave answers to each frame, byte for byte."""
    port = free_port()
    device = SimDevice(id=UNIT, simdata=[SimData(100, values=words, datatype=DataType.REGISTERS)])
    server = ModbusTcpServer(device, framer=FramerType.RTU, address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = []
        for ask in asks:
            writer.write(ask)
            async with asyncio.timeout(5):
                head = await reader.readexactly(3)
                rest = 2 if head[1] & 0x80 else head[2] + 2
                answers.append(head + await reader.readexactly(rest))
        writer.close()
        await writer.wait_closed()
        return answers
    finally:
        await server.shutdown()


def ask(function: int, start: int, count: int) -> bytes:
    return sealed(bytes((UNIT, function)) + start.to_bytes(2) + count.to_bytes(2))


def test_every_type_and_order_comes_back_from_a_real_slave() -> None:
    words, registers, truth = bank()
    (answer,) = asyncio.run(polled(words, [ask(3, 100, len(words))]))
    context = Context(settings={"unit": UNIT, "registers": registers})
    (sample,) = CODEC.decode(answer, context)
    assert sample.values == truth
    (sample,) = CODEC.decode(ask(3, 100, len(words)) + answer, context)
    assert sample.values == truth


def test_a_real_slave_refuses_what_it_lacks_and_we_say_so() -> None:
    (answer,) = asyncio.run(polled([1], [ask(3, 5000, 1)]))
    with pytest.raises(PayloadError, match=r"exception 2 \(illegal data address\)"):
        CODEC.decode(answer, Context())


@given(st.binary(max_size=256))
def test_the_check_is_that_of_pymodbus(body: bytes) -> None:
    assert crc16(body).to_bytes(2, "little") == FramerRTU.compute_CRC(body).to_bytes(2)
