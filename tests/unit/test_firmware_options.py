from __future__ import annotations

import pytest

from devices.errors import LinkError, RefusedError
from devices.firmware.link import reopen_within
from devices.firmware.options import Options
from devices.simulator.boards.iap import IapBoard
from devices.spec import Text
from tests.fakes.serial_line import Faults, SerialLine

KNOWN = {"address": Text("", ""), "key": Text("", "")}


def options(**given: str) -> Options:
    return Options("loader", given, KNOWN)


def test_an_unknown_option_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        RefusedError, match="loader: option 'adress': expected one of address, key; nothing was sent"
    ):
        options(adress="0")


@pytest.mark.parametrize("wrong", ["", "0x", "40200000; reset", "-1", "0x123456789", "zz", "1\n"])
def test_an_address_that_is_more_than_a_number_is_refused(wrong: str) -> None:
    with pytest.raises(RefusedError, match="option address: expected a hexadecimal number"):
        options(address=wrong).hexadecimal("address")


def test_an_address_reads_with_and_without_its_prefix() -> None:
    assert options(address="0x40200000").hexadecimal("address") == options(address="40200000").hexadecimal(
        "address"
    )
    assert options().hexadecimal("address", 7) == 7


def test_what_must_be_given_is_asked_for() -> None:
    with pytest.raises(RefusedError, match="option key: expected one of a, b, got nothing"):
        options().one_of("key", ("a", "b"))
    with pytest.raises(RefusedError, match="option key: expected a word, got nothing"):
        options().matching("key", "[a-z]+", "a word")


def test_a_line_end_in_a_text_is_refused() -> None:
    with pytest.raises(RefusedError, match="printable ASCII"):
        options(key="a\rreset").text("key")


@pytest.mark.parametrize("wrong", ["0", "-1", "61", "nan", "inf", "soon"])
def test_a_time_outside_its_range_is_refused(wrong: str) -> None:
    with pytest.raises(RefusedError, match="option key: expected seconds, above 0 and up to 60"):
        options(key=wrong).seconds("key", 1, most=60)


def test_a_plug_that_comes_back_in_time_is_waited_for() -> None:
    line = SerialLine(IapBoard(), Faults(unplug_at=[1], away_s=9))
    with pytest.raises(LinkError):
        line.write(b"1")
    with pytest.raises(LinkError):
        reopen_within(line, 3)
    reopen_within(line, 15)
    assert 9 <= line.now() < 10
