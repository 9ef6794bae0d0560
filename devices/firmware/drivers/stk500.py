"""STK500 version 1 as bootloaders speak it: optiboot, and the older ATmegaBOOT, on AVR boards.

    host   command, arguments, 0x20            every command ends with a space
    board  0x14, data if any, 0x10             INSYNC ... OK

Source: Atmel AVR061 (commands); optiboot's own behaviour, seen on Debian's builds in emulated CPUs.
What optiboot does otherwise than AVR061:

- It is entered by an external reset alone; after power-on the application starts at once.
- About a second without a byte, or one byte out of place, and its watchdog starts the application. So a line that
  is out of step is never talked back into step: bytes meant as a question could be written as a page. The board is
  reset, which drops a page that was not complete.
- It has no erase command: each page is erased as it is written. It answers 3 to parameters it does not know, ignores
  programming mode, and cannot read fuses, so how large its boot section is stands in `devices.firmware.avr`.

Nothing on the wire has a checksum: identity is asked twice, and every byte is read back. Page 0 is written first
as a jump to itself and last as it shall be, after all others were read back and found right: a board whose flash was
cut short waits for the next one instead of running half an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from devices.errors import ExchangeError, RefusedError, VerifyError
from devices.firmware.avr import PARTS, Part
from devices.firmware.driver import Board, BootLoader, Proof, Step, Told, Traits
from devices.firmware.image import Image
from devices.firmware.link import Line, Link, SerialLink, gather, reopen_within
from devices.firmware.options import Options
from devices.spec import Text

_EOP: Final = b"\x20"
_INSYNC, _OK = b"\x14", b"\x10"
_GET_SYNC: Final = b"\x30"
_GET_PARAMETER: Final = b"\x41"
_ENTER_PROGMODE: Final = b"\x50"
_LEAVE_PROGMODE: Final = b"\x51"
_LOAD_ADDRESS: Final = b"\x55"
_PROG_PAGE: Final = b"\x64"
_READ_PAGE: Final = b"\x74"
_READ_SIGN: Final = b"\x75"
_FLASH: Final = b"F"
_MAJOR, _MINOR = 0x81, 0x82

# Whoever is silent for longer than the watchdog's second is no longer the bootloader.
_ANSWER_S: Final = 1.0
_SYNC_S: Final = 0.2
_LATE_S: Final = 0.6  # well below the watchdog's second
_TRIES: Final = 5
_RESETS: Final = 3
# The capacitor between DTR and reset has to unload before an edge gets through it again.
_UNLOAD_S: Final = 0.25
_START_S: Final = 0.05
_HAND_S: Final = 30.0  # for a person to press reset
_LEAVES_BY_ITSELF_S: Final = 1.2
# The length on the wire is 16 bits, of which optiboot reads the lower 8: 0 means 256 to it, and 0x0100 to the others.
_READ_BLOCK: Final = 256
_HOLD: Final = b"\xff\xcf"  # rjmp . : a reset vector that leads to itself
_BLANK: Final = b"\xff"
# Versions up to 1.x are ATmegaBOOT, which takes more room than optiboot.
_OLD_MAJOR: Final = 1
_OLD_BOOT, _OLD_BOOT_LARGE = 2048, 4096
_BOOTS: Final = (256, 512, 1024, 2048, 4096, 8192)


class Stk500:
    """One conversation with one bootloader. `by_hand`: a person presses reset. `boot`: bytes kept, 0: by part."""

    def __init__(self, link: Link, *, by_hand: bool = False, boot: int = 0) -> None:
        self._link = link
        self._by_hand = by_hand
        self._boot = boot
        self._signature = ""
        self._part: Part | None = None
        self._capacity = 0
        # Digest of the image whose pages, but for page 0, were read back since they were written.
        self._compared = ""

    @property
    def link(self) -> Link:
        """The line as it is."""
        return self._link

    def identify(self) -> Board:
        """Reset the board into its bootloader and ask version and signature."""
        self._enter()
        major, minor = (
            self._ask_twice("version", _GET_PARAMETER + bytes([one]), 1)[0] for one in (_MAJOR, _MINOR)
        )
        self._signature = self._ask_twice("signature", _READ_SIGN, 3).hex()
        self._part = PARTS.get(self._signature)
        if self._part is None:
            raise RefusedError(
                f"{self._link.url}: signature {self._signature} is no AVR this driver knows, so its page size is "
                "unknown; nothing was written"
            )
        self._capacity = self._part.flash - (self._boot or _boot_section(self._part, major))
        return Board(chip=f"avr:{self._signature}", loader=f"{major}.{minor}", capacity=self._capacity)

    def write(self, image: Image, told: Told) -> None:
        """Write every page and read all but the first back; then the first. RefusedError before anything is sent."""
        part = self._fits(image)
        self._compared = ""
        self._in_step()
        pages = _pages(image.payload, part.page)
        self._ask("ENTER_PROGMODE", _ENTER_PROGMODE)
        for number, page in enumerate([_HOLD.ljust(part.page, _BLANK), *pages[1:]]):
            self._program(number * part.page, page)
            told(Step.WRITE, min((number + 1) * part.page, len(image.payload)), len(image.payload))
        self._compare(image, range(part.page, len(image.payload)), told)
        self._compared = image.digest
        self._program(0, pages[0])

    def verify(self, image: Image, told: Told) -> Proof | None:
        """Read back what `write` has not; VerifyError at the first byte that differs."""
        page = self._fits(image).page
        self._in_step()
        size = len(image.payload)
        self._compare(image, range(min(page, size) if self._compared == image.digest else size), told)
        return Proof.READ_BACK

    def boot(self, image: Image) -> Proof | None:  # noqa: ARG002
        """Let the bootloader go; it starts the application by a reset of its own."""
        try:
            self._ask("LEAVE_PROGMODE", _LEAVE_PROGMODE)
        except ExchangeError:
            # What was lost here costs a second: without further bytes its watchdog starts the application.
            self._link.pause(_LEAVES_BY_ITSELF_S)
        return None

    def reconnect(self) -> None:
        """Open the line again once the plug is back; `identify` then resets the board."""
        self._compared = ""
        reopen_within(self._link)

    def close(self) -> None:
        """Let go of the line."""
        self._link.close()

    def _enter(self) -> None:
        """Reset until the bootloader answers; ExchangeError with what to look at."""
        for _ in range(1 if self._by_hand else _RESETS):
            if not self._by_hand:
                self._pulse()
            if self._synced(round(_HAND_S / _SYNC_S) if self._by_hand else _TRIES):
                return
        asked = f"{_HAND_S:.0f} s of asking" if self._by_hand else f"{_RESETS} resets"
        raise ExchangeError(
            f"{self._link.url}: expected an STK500 bootloader at {self._link.line.baud} baud, no answer in {asked}; "
            "look at port, speed and cable; where the line carries no DTR, give the option reset=hand and press reset"
        )

    def _pulse(self) -> None:
        self._link.control(dtr=False, rts=False)
        self._link.pause(_UNLOAD_S)
        self._link.control(dtr=True, rts=True)
        self._link.pause(_START_S)
        self._link.discard()

    def _synced(self, tries: int) -> bool:
        """Ask until it answers, then let late answers to earlier questions pass."""
        self._link.discard()
        for attempt in range(tries):
            self._link.write(_GET_SYNC + _EOP)
            if self._hears(_INSYNC + _OK, _SYNC_S):
                gather(self._link, 2 * attempt, _LATE_S)
                return True
        return False

    def _hears(self, answer: bytes, within_s: float) -> bool:
        """Whether `answer` comes, be it behind the last words of an application or after half a lost one."""
        deadline = self._link.now() + within_s
        heard = b""
        while (left_s := deadline - self._link.now()) > 0:
            heard = (heard + self._link.read(1, left_s))[-len(answer) :]
            if heard == answer:
                return True
        return False

    def _in_step(self) -> None:
        """The bootloader still listens, or is entered again: whoever keeps records may have taken a second."""
        if self._synced(1):
            return
        self._compared = ""
        self._enter()
        found = self._ask_twice("signature", _READ_SIGN, 3).hex()
        if found != self._signature:
            raise ExchangeError(
                f"{self._link.url}: expected signature {self._signature}, got {found}; nothing is written"
            )

    def _ask_twice(self, name: str, command: bytes, size: int) -> bytes:
        """What decides where may be written, which nothing on the wire protects."""
        first, second = (self._ask(name, command, size) for _ in range(2))
        if first != second:
            raise ExchangeError(
                f"{self._link.url}: {name} {first.hex()}, asked again {second.hex()}; the line is not clean, nothing "
                "is believed"
            )
        return first

    def _program(self, address: int, page: bytes) -> None:
        self._load(address)
        self._ask(f"PROG_PAGE 0x{address:05x}", _PROG_PAGE + len(page).to_bytes(2, "big") + _FLASH + page)

    def _compare(self, image: Image, addresses: range, told: Told) -> None:
        """Read flash at `addresses`; VerifyError at the first byte that is not the image's."""
        size = len(image.payload)
        # Page 0 comes last, whether alone or with all others: what is left then is what was compared before.
        before = size - addresses.stop if addresses.start == 0 else -addresses.start
        for address in addresses[::_READ_BLOCK]:
            right = image.payload[address : min(address + _READ_BLOCK, addresses.stop)]
            self._load(address)
            ask = _READ_PAGE + len(right).to_bytes(2, "big") + _FLASH
            held = self._ask(f"READ_PAGE 0x{address:05x}", ask, len(right))
            if held != right:
                at = next(i for i, (one, other) in enumerate(zip(held, right, strict=True)) if one != other)
                raise VerifyError(
                    f"{self._link.url}: address 0x{address + at:05x}: expected {right[at]:02x}, the board holds "
                    f"{held[at]:02x}; it is not called flashed"
                )
            told(Step.VERIFY, before + address + len(right), size)

    def _load(self, address: int) -> None:
        # Addresses count words of 16 bits, and travel with the lower byte first.
        self._ask(f"LOAD_ADDRESS 0x{address:05x}", _LOAD_ADDRESS + (address // 2).to_bytes(2, "little"))

    def _ask(self, name: str, command: bytes, size: int = 0) -> bytes:
        """One command, the `size` bytes of its answer; ExchangeError when it is not whole and framed."""
        self._link.write(command + _EOP)
        on_the_wire_s = (len(command) + size) * self._link.line.byte_s
        answer = gather(self._link, size + 2, _ANSWER_S + on_the_wire_s)
        if len(answer) != size + 2 or answer[:1] != _INSYNC or answer[-1:] != _OK:
            got = f"{len(answer)} bytes {answer[:8].hex(' ')}" if answer else "nothing"
            raise ExchangeError(
                f"{self._link.url}: {name}: expected 14, {size} bytes and 10, got {got}; the exchange was given up"
            )
        return answer[1:-1]

    def _fits(self, image: Image) -> Part:
        if self._part is None:
            raise RefusedError(f"{self._link.url}: expected to be asked who it is first; nothing was written")
        if image.manifest.base:
            raise RefusedError(
                f"{self._part.name}: image begins at 0x{image.manifest.base:x}, an AVR starts at 0; nothing was written"
            )
        if len(image.payload) > self._capacity:
            raise RefusedError(
                f"{self._part.name}: image ends at 0x{len(image.payload):05x}, the bootloader begins at "
                f"0x{self._capacity:05x}; nothing was written"
            )
        return self._part


def _boot_section(part: Part, major: int) -> int:
    if major > _OLD_MAJOR:
        return part.boot
    return _OLD_BOOT_LARGE if part.flash > 2**16 else _OLD_BOOT


def _pages(payload: bytes, size: int) -> list[bytes]:
    return [payload[at : at + size].ljust(size, _BLANK) for at in range(0, len(payload), size)]


def connect(url: str, *, baud: int, options: Mapping[str, str]) -> Stk500:
    """Open `url`; nothing is sent yet. Options: see `BOOTLOADER`."""
    given = Options("stk500", options, BOOTLOADER.options)
    by_hand = given.one_of("reset", ("dtr", "hand"), "dtr") == "hand"
    boot = int(given.one_of("boot", ("0", *map(str, _BOOTS)), "0"))
    return Stk500(SerialLink(url, Line(baud)), by_hand=by_hand, boot=boot)


BOOTLOADER: Final = BootLoader(
    name="stk500",
    families=("avr",),
    title=Text("AVR 板上的 STK500 引导程序（optiboot）", "STK500 bootloader on AVR boards (optiboot)"),
    traits=Traits(
        bauds=(115200, 57600, 19200),
        proves=(Proof.READ_BACK,),
        enter=Text(
            "DTR 脉冲自动复位；线路没有 DTR 时，用选项 reset=hand，并在询问时按一下复位键",
            "a pulse on DTR resets it; on a line without DTR give the option reset=hand and press reset while it asks",
        ),
    ),
    connect=connect,
    options={
        "reset": Text("dtr（默认）或 hand：由人按复位键", "dtr (usual) or hand: a person presses reset"),
        "boot": Text(
            "引导区字节数，0（默认）：按芯片和引导程序版本",
            "bytes of the boot section; 0 (usual): by part and bootloader version",
        ),
    },
)
