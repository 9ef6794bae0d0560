"""AVR boards for tests: Debian's bootloaders in libsimavr, as a program of its own.

From: `emulated_avr.c`, compiled with gcc against Debian's libsimavr when a test first needs it. To: our driver and
avrdude, over a pseudo-terminal or, with control lines and a plug that can be pulled, over `serving`. libsimavr and
the bootloaders are under the GPL: they run as programs and are neither imported nor kept here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LOADERS = Path("/usr/share/arduino/hardware/arduino/avr/bootloaders")
OPTIBOOT = LOADERS / "optiboot"
SIMAVR = Path("/usr/include/simavr/sim_avr.h")
HZ = 16_000_000


@dataclass(frozen=True)
class Model:
    """One kind of board. `flash`, `boot`: bytes, the latter what the bootloader keeps at the end.

    `loader`: Debian's unmodified file; empty: compiled from Debian's source. `version`: as the bootloader has it.
    """

    name: str
    part: str
    signature: str
    avrdude: str
    flash: int
    boot: int
    loader: str = ""
    version: str = "4.4"
    baud: int = 115200


MEGA8 = Model("optiboot-atmega8", "atmega8", "1e9307", "m8", 8192, 512, "optiboot/optiboot_atmega8.hex")
# Debian's optiboot_atmega328.hex has 532 bytes from 0x7e00 on: 20 more than there is flash. The same source, compiled
# the same way, is whole in a boot section of 1 KiB.
MEGA328P = Model("optiboot-atmega328p", "atmega328p", "1e950f", "m328p", 32768, 1024)
OLD = "atmega/ATmegaBOOT_168_atmega328.hex"
OLD328P = Model("atmegaboot", "atmega328p", "1e950f", "m328p", 32768, 2048, OLD, "1.16", 57600)
MODELS = (MEGA8, MEGA328P, OLD328P)


def missing() -> str:
    """Why no board can be emulated here; empty when one can."""
    lacks = [
        package
        for package, there in (
            ("gcc", shutil.which("gcc")),
            ("libc6-dev", Path("/usr/include/stdlib.h").exists()),
            ("libsimavr-dev", SIMAVR.exists()),
            ("arduino-core-avr", OPTIBOOT.exists() and shutil.which("avr-gcc")),
        )
        if not there
    ]
    return f"no AVR can be emulated: {', '.join(lacks)} not installed" if lacks else ""


needs_avr = pytest.mark.skipif(bool(missing()), reason=missing() or "present")
needs_avrdude = pytest.mark.skipif(shutil.which("avrdude") is None, reason="avrdude is not installed")


class Workshop:
    """The compiled emulator and bootloaders, made once in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "emulated_avr"
        source = HERE / "emulated_avr.c"
        flags = ("-O2", "-Wall", "-Wextra", "-Werror")
        _run("gcc", *flags, "-o", self.program, source, "-lsimavr")

    def loader(self, model: Model) -> Path:
        """The bootloader's .hex for `model`."""
        return LOADERS / model.loader if model.loader else self._built()

    def _built(self) -> Path:
        made = self.folder / "optiboot_atmega328_1k.hex"
        if not made.exists():
            compiled, linked = self.folder / "optiboot.o", self.folder / "optiboot.elf"
            avr = (
                "-mmcu=atmega328p",
                "-Os",
                "-fno-inline-small-functions",
                "-fno-split-wide-types",
                "-mshort-calls",
            )
            defines = (f"-DF_CPU={HZ}L", "-DBAUD_RATE=115200", "-DLED_START_FLASHES=3")
            places = ("-Wl,--section-start=.text=0x7c00", "-Wl,--section-start=.version=0x7ffe")
            _run("avr-gcc", "-w", *avr, *defines, "-c", OPTIBOOT / "optiboot.c", "-o", compiled)
            _run("avr-gcc", *avr, *places, "-Wl,--relax", "-nostartfiles", "-nostdlib", compiled, "-o", linked)
            keep = ("-j", ".text", "-j", ".version", "--set-section-flags", ".version=alloc,load")
            _run("avr-objcopy", *keep, "-O", "ihex", linked, made)
        return made


class EmulatedAvr:
    """One board, running in real time; also a `SimulatedBoard` for `devices.simulator.boards.serving`.

    `pty`: its UART; opening it anew resets the board, as DTR does on a board with such a capacitor.
    """

    def __init__(self, workshop: Workshop, model: Model) -> None:
        self.model = model
        self._folder = workshop.folder
        self._errors = workshop.folder / f"emulated_avr.{os.urandom(4).hex()}.log"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [workshop.program, model.part, str(HZ), str(model.baud), workshop.loader(model)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.pty = self._line(b"pty ").decode()
        self._uart = -1
        self._dtr = False

    def close(self) -> None:
        """End the program; closing twice is fine."""
        if self._uart >= 0:
            os.close(self._uart)
            self._uart = -1
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
            self._process.wait(10)
            self._process.stdout.close()

    def reset(self) -> None:
        """Pull the reset pin."""
        self._tell("reset")

    def off(self) -> None:
        """Power goes and stays away."""
        self._tell("off")

    def on(self) -> None:
        """Power returns."""
        self._tell("on")

    def cut_after(self, count: int) -> None:
        """Power goes by itself once `count` more bytes have come from the host."""
        self._tell(f"cut {count}")

    def flash(self) -> bytes:
        """What flash holds, bootloader and all."""
        path = self._folder / f"{self._errors.stem}.bin"
        self._tell(f"dump {path}")
        return path.read_bytes()

    def receive(self, data: bytes) -> bytes:
        """Bytes for the UART."""
        rest = memoryview(data)
        while rest:
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._opened(), rest) :]
        return self.elapse(0.0)

    def elapse(self, seconds: float) -> bytes:  # noqa: ARG002
        """What the UART said meanwhile; time passes by itself."""
        try:
            return os.read(self._opened(), 4096)
        except BlockingIOError:
            return b""

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:  # noqa: ARG002
        """An edge on DTR resets."""
        if dtr and not self._dtr:
            self.reset()
        self._dtr = self._dtr if dtr is None else dtr

    def power_cut(self) -> None:
        """Power goes and returns."""
        self.off()
        self.on()

    def _opened(self) -> int:
        if self._uart < 0:
            self._uart = os.open(self.pty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        return self._uart

    def _tell(self, command: str) -> None:
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()
        self._line(b"ok")

    def _line(self, begins: bytes) -> bytes:
        """The rest of the next line that begins so; what libsimavr says by itself is passed over."""
        for line in self._process.stdout:
            if line.startswith(begins):
                return line[len(begins) :].strip()
        raise AssertionError(self._errors.read_text(errors="replace"))


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Compiled once for all tests of this process."""
    return Workshop(tmp_path_factory.mktemp("avr"))


@contextmanager
def emulated(workshop: Workshop, model: Model) -> Iterator[EmulatedAvr]:
    """A board with power, until the end of the `with`."""
    board = EmulatedAvr(workshop, model)
    try:
        yield board
    finally:
        board.close()


def application(text: str, size: int, model: Model = MEGA328P) -> bytes:
    """A program of `size` bytes that says `text` on the UART at the bootloader's speed, again and again.

    Assembled here, so that no compiler is needed; what is left of `size` is filled with bytes that differ.
    """
    ucsra, ucsrb, ucsrc, ubrrl, ubrrh, udr = _UART[model.part]
    begin, loop_size = 0x34, 12
    setup: list[int] = []
    # UCSRC shares the ATmega8's address of UBRRH, and is chosen by the topmost bit.
    for register, value in (
        (ubrrh, 0),
        (ubrrl, HZ // 8 // model.baud),
        (ucsra, 0x02),
        (ucsrb, 0x08),
        (ucsrc, 0x86),
    ):
        setup += [_ldi(16, value), 0x9300, register]  # ldi r16, value; sts register, r16
    text_at = 2 * (begin + len(setup) + loop_size)
    loop = [
        _ldi(30, text_at & 0xFF),
        _ldi(31, text_at >> 8),
        0x9105,  # next: lpm r16, Z+
        0x2300,  # tst r16
        0xF001 | (-5 & 0x7F) << 3,  # breq: from the beginning
        *(0x9110, ucsra),  # wait: lds r17, UCSRA
        0xFF15,  # sbrs r17, UDRE
        0xC000 | (-4 & 0xFFF),  # rjmp wait
        *(0x9300, udr),  # sts UDR, r16
        0xC000 | (-10 & 0xFFF),  # rjmp next
    ]
    words = [0xC000 | (begin - 1), *[0] * (begin - 1), *setup, *loop]  # rjmp over where vectors would be
    code = b"".join(word.to_bytes(2, "little") for word in words) + text.encode() + b"\0"
    return code + bytes((i * 7 + i // 251) % 256 for i in range(size - len(code)))


# Addresses of UCSRA, UCSRB, UCSRC, UBRRL, UBRRH, UDR.
_UART = {
    "atmega8": (0x2B, 0x2A, 0x40, 0x29, 0x40, 0x2C),
    "atmega328p": (0xC0, 0xC1, 0xC2, 0xC4, 0xC5, 0xC6),
}


def _ldi(register: int, value: int) -> int:
    return 0xE000 | (value & 0xF0) << 4 | (register - 16) << 4 | value & 0x0F


def _run(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words[0]}: {done.stderr}"
