"""Intel HEX becomes a payload and its address; a damaged file is refused in one line."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intelhex import IntelHex

from devices.errors import ImageError
from devices.firmware.hexfile import is_hex, read_hex

EXAMPLE = b":0300300002337A1E\n:00000001FF\n"  # Intel, Hexadecimal Object File Format Specification, 1988


def test_the_records_of_the_specification_are_read() -> None:
    assert is_hex(EXAMPLE)
    assert read_hex(EXAMPLE, "a.hex") == (0x30, bytes.fromhex("02337A"))


@given(st.integers(0, 2**20), st.binary(min_size=1, max_size=700))
def test_what_was_written_is_read_with_its_address(address: int, payload: bytes) -> None:
    image, text = IntelHex(), io.StringIO()
    image.frombytes(payload, address)
    image.write_hex_file(text)
    assert read_hex(text.getvalue().encode(), "a.hex") == (address, payload)


def test_a_gap_reads_as_erased_flash() -> None:
    image, text = IntelHex(), io.StringIO()
    image[0x10], image[0x13] = 1, 2
    image.write_hex_file(text)
    assert read_hex(text.getvalue().encode(), "a.hex") == (0x10, b"\x01\xff\xff\x02")


@pytest.mark.parametrize(
    "content",
    [EXAMPLE.replace(b"1E", b"1F"), b":00000001FF\n", b":0300300002337A", b":\xff\xff", EXAMPLE[:-12] + b"zz"],
)
def test_a_damaged_file_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(ImageError, match=r"^a\.hex: expected [^\n]*; nothing was signed$"):
        read_hex(content, "a.hex")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_payload_or_refused(content: bytes) -> None:
    try:
        read_hex(b":" + content, "a.hex")
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("content", [b"", b":", b"\x7fELF", b":\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a"])
def test_raw_bytes_are_not_taken_for_hex(content: bytes) -> None:
    assert not is_hex(content)
