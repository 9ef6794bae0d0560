"""U-Boot at its prompt: `loady` into memory, CRC-32 there, a store command, CRC-32 of what was stored.

From: `flash.flash`. To: U-Boot 2010 or newer over a `Link`. What travels to the prompt is made here from addresses,
numbers and names that were checked; no option is a command. Every command is typed, its echo compared, and only then
sent off: a garbled address never reaches a command that erases.

Proof: after a store, memory is filled with another pattern, read back from the store, and its CRC-32 taken by the
board; without a store (`store=none`) the CRC-32 of the image in memory, which is gone when the power goes.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from devices.errors import BootError, ExchangeError, VerifyError
from devices.firmware import ymodem
from devices.firmware.driver import Board, BootLoader, Proof, Step, Told, Traits
from devices.firmware.image import Image
from devices.firmware.link import Line, Link, SerialLink, reopen_within
from devices.firmware.options import Options
from devices.firmware.terminal import Reheard, Terminal, shown
from devices.spec import Text

OPTIONS: Final = {
    "address": Text("内存中的装载地址,十六进制", "memory address to load to, hexadecimal"),
    "store": Text("存储位置:none、nor、sf、mmc", "where it is stored: none, nor, sf, mmc"),
    "at": Text(
        "存储地址:nor 为映射地址,sf 为偏移,mmc 为块号;十六进制",
        "where in the store: nor mapped address, sf offset, mmc block; hexadecimal",
    ),
    "device": Text("sf 或 mmc 的设备号,默认 0", "number of the sf or mmc device, 0 by default"),
    "start": Text(
        "启动方式:reset、go、bootm、bootz、run:变量名、none",
        "how the image is started: reset, go, bootm, bootz, run:VARIABLE, none",
    ),
    "prompt": Text("提示符,默认 “=> ”", "the prompt, '=> ' by default"),
    "stop": Text("停止自动启动的按键文本,默认 Ctrl-C", "text that stops autoboot, Ctrl-C by default"),
    "wait": Text("等待提示符的秒数,默认 30", "seconds to wait for the prompt, 30 by default"),
}
STORES: Final = ("none", "nor", "sf", "mmc")
_STARTS: Final = r"reset|go|bootm|bootz|none|run:[A-Za-z0-9_]{1,32}"
_BLOCK: Final = 512  # bytes of an mmc block
_TYPED_AGAIN: Final = 3
_ASKED_AT_MOST: Final = 4
_COMMAND_S: Final = 10.0
_STORE_S: Final = 180.0
_CTRL_C: Final = b"\x03"
_STOP_S: Final = 0.5
_BACK_S: Final = 1.0
_REFUSED: Final = ("Unknown command", "Usage:")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the options ask for. `at`: in the store's own unit. `stop`: bytes that end the countdown."""

    address: int
    store: str
    at: int
    device: int
    start: str
    prompt: str
    stop: bytes
    wait_s: float

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Plan:
        """Checked; RefusedError otherwise."""
        options = Options("uboot", given, OPTIONS)
        store = options.one_of("store", STORES)
        return cls(
            address=options.hexadecimal("address"),
            store=store,
            at=options.hexadecimal("at", 0 if store == "none" else None),
            device=int(options.matching("device", r"[0-9]", "one digit", "0")),
            start=options.matching("start", _STARTS, "reset, go, bootm, bootz, none or run:VARIABLE", "reset"),
            prompt=options.text("prompt", "=> ", longest=30) or "=> ",
            stop=options.text("stop", longest=30).encode() or _CTRL_C,
            wait_s=options.seconds("wait", 30, most=600),
        )


class UBoot:
    """One conversation at U-Boot's prompt."""

    def __init__(self, link: Link, plan: Plan) -> None:
        self.link: Link = link
        self.plan = plan
        self._terminal = Terminal(link)
        self._loading = False  # a transfer was begun, and its end not seen
        # A prompt stands at the start of a line and nothing follows it.
        self._prompt = rf"(?:^|[\r\n]){re.escape(plan.prompt)}$"

    def identify(self) -> Board:
        """Stop the countdown, and ask for version and names."""
        self._to_prompt(self.plan.wait_s)
        said = self._command("version")
        version = re.search(r"U-Boot (\S+)", said)
        if version is None:
            raise ExchangeError(
                f"{self.link.url}: expected U-Boot's version, got {shown(said)!r}; nothing was written"
            )
        soc = self._variable("soc")
        return Board(
            chip=f"uboot:{soc}" if soc else "",
            serial=self._variable("serial#") or self._variable("ethaddr"),
            loader=f"U-Boot {version[1]}",
        )

    def write(self, image: Image, told: Told) -> None:
        """Load into memory, compare there, then store."""
        self._loading = True
        self._send_off(f"loady 0x{self.plan.address:x}", _COMMAND_S, r"[Rr]eady for binary")

        def progress(done: int, whole: int) -> None:
            told(Step.WRITE, done, whole)

        beside = ymodem.send(self.link, "image.bin", image.payload, progress)
        self._terminal.hear(beside)
        self._terminal.expect(self._prompt, _COMMAND_S, "the prompt after the transfer")
        self._loading = False
        self._compare(image, self.plan.address, "in memory")
        for command in self._storing(image.manifest.size):
            self._command(command, _STORE_S)

    def verify(self, image: Image, told: Told) -> Proof:
        """The board's own CRC-32 of what it stored."""
        told(Step.VERIFY, 0, image.manifest.size)
        if self.plan.store == "nor":
            self._compare(image, self.plan.at, "in flash")
        else:
            size = image.manifest.size
            for command in self._reading_back(size, binascii.crc32(image.payload)):
                self._command(command, _STORE_S)
            self._compare(image, self.plan.address, "in memory" if self.plan.store == "none" else "in the store")
        told(Step.VERIFY, image.manifest.size, image.manifest.size)
        return Proof.DEVICE_DIGEST

    def boot(self, image: Image) -> Proof | None:  # noqa: ARG002 - what is started was compared
        """Start it; BootError when U-Boot comes back with a complaint."""
        start = self.plan.start
        if start == "none":
            return None
        if start == "reset":
            self._restart()
            return None
        kind, _, name = start.partition(":")
        self._send_off(f"run {name}" if kind == "run" else f"{kind} 0x{self.plan.address:x}", 0.0, "")
        if self._terminal.find(self._prompt, _BACK_S):
            raise BootError(
                f"{self.link.url}: expected {start} to start the image, U-Boot came back: "
                f"{shown(self._terminal.seen)!r}; the image is written and does not run"
            )
        # The application may have begun to speak.
        self.link = Reheard(self.link, self._terminal.seen)
        return None

    def reconnect(self) -> None:
        """Open the line again; back at the prompt whatever it was doing."""
        reopen_within(self.link)

    def close(self) -> None:
        """Let go of the line."""
        self.link.close()

    def _restart(self) -> None:
        """Reset, and keep silent while the countdown runs: any byte would stop it."""
        self._send_off("reset", 0.0, "")
        if counting := self._terminal.find(r"autoboot: +(\d+)", _COMMAND_S):
            self.link.pause(int(counting[1]) + 1.0)

    def _storing(self, size: int) -> list[str]:
        plan = self.plan
        match plan.store:
            case "nor":
                return [
                    f"protect off 0x{plan.at:x} +0x{size:x}",
                    f"erase 0x{plan.at:x} +0x{size:x}",
                    f"cp.b 0x{plan.address:x} 0x{plan.at:x} 0x{size:x}",
                ]
            case "sf":
                return [f"sf probe {plan.device}", f"sf update 0x{plan.address:x} 0x{plan.at:x} 0x{size:x}"]
            case "mmc":
                return [
                    f"mmc dev {plan.device}",
                    f"mmc write 0x{plan.address:x} 0x{plan.at:x} 0x{_blocks(size):x}",
                ]
        return []

    def _reading_back(self, size: int, crc: int) -> list[str]:
        """Commands that fill memory with what is not the image, and read the store into it."""
        plan = self.plan
        if plan.store == "none":
            return []
        other = next(byte for byte in (0x00, 0xFF) if binascii.crc32(bytes([byte]) * size) != crc)
        fill = f"mw.b 0x{plan.address:x} 0x{other:02x} 0x{size:x}"
        if plan.store == "sf":
            return [fill, f"sf probe {plan.device}", f"sf read 0x{plan.address:x} 0x{plan.at:x} 0x{size:x}"]
        return [
            fill,
            f"mmc dev {plan.device}",
            f"mmc read 0x{plan.address:x} 0x{plan.at:x} 0x{_blocks(size):x}",
        ]

    def _compare(self, image: Image, address: int, where: str) -> None:
        size, expected = image.manifest.size, binascii.crc32(image.payload)
        said = self._command(f"crc32 0x{address:x} 0x{size:x}", 60.0)
        last = address + size - 1
        found = re.search(rf"crc32 for 0*{address:x} \.\.\. 0*{last:x} ==> ([0-9a-f]{{8}})\b", said, re.IGNORECASE)
        if found is None:
            raise ExchangeError(
                f"{self.link.url}: expected crc32 of {size} bytes at 0x{address:x}, got {shown(said)!r}"
            )
        if int(found[1], 16) != expected:
            raise VerifyError(
                f"{self.link.url}: {where} at 0x{address:x}: expected CRC-32 {expected:08x}, the board has {found[1]}"
            )

    def _variable(self, name: str) -> str:
        """A variable of U-Boot's environment, empty where it has none; asked until it says the same twice."""
        before: str | None = None
        for _ in range(_ASKED_AT_MOST):
            said = self._command(f"printenv {name}")
            found = re.search(rf"^{re.escape(name)}=([\x21-\x7e]{{1,64}})\s*$", said, re.MULTILINE)
            value: str = found[1] if found else ""
            if value == before:
                return value
            before = value
        raise ExchangeError(
            f"{self.link.url}: expected {name} to be the same twice, got {shown(said)!r}; the line changes what passes"
        )

    def _command(self, command: str, within_s: float = _COMMAND_S) -> str:
        """What U-Boot answered; ExchangeError when it knows no such command or does not come back."""
        self._send_off(command, within_s, self._prompt)
        said = self._terminal.seen
        if any(word in said for word in _REFUSED):
            raise ExchangeError(f"{self.link.url}: U-Boot does not take {command!r}: {shown(said)!r}")
        return said

    def _send_off(self, command: str, within_s: float, expected: str) -> None:
        """Type, compare the echo, press Enter, and wait for `expected` if there is any."""
        for _ in range(_TYPED_AGAIN):
            if self._terminal.type(command):
                break
            self._to_prompt(5.0)
        else:
            raise ExchangeError(
                f"{self.link.url}: expected the echo of {command!r}, got {shown(self._terminal.seen)!r}; "
                "the line changes what passes, the command was not given"
            )
        self._terminal.forget()
        self.link.write(b"\r")
        if expected:
            self._terminal.expect(expected, within_s, f"an answer to {command!r}")

    def _to_prompt(self, within_s: float) -> None:
        """Press what stops a countdown, a command or a transfer, until the prompt stands there."""
        deadline = self.link.now() + within_s
        # A transfer may have stopped in the middle of a block and wait for the rest in silence; it need not be ours.
        cancel_at = self.link.now() + (0 if self._loading else within_s / 3)
        while self.link.now() < deadline:
            self._terminal.forget()
            # A text that stops autoboot and is no Ctrl-C would lie on the command line.
            for key in dict.fromkeys((self.plan.stop, _CTRL_C)):
                self.link.write(key)
                if self._terminal.find(self._prompt, _STOP_S):
                    self._loading = False
                    return
            if ymodem.waits(self._terminal.seen) or self.link.now() > cancel_at:
                cancel_at = self.link.now() + within_s / 3
                ymodem.cancel(self.link, within_s=max(deadline - self.link.now(), 1.0))
        raise ExchangeError(
            f"{self.link.url}: expected U-Boot's prompt {self.plan.prompt!r} within {within_s:.0f} s, "
            f"got {shown(self._terminal.seen) or 'nothing'!r}; reset the board while this waits; nothing was sent"
        )


def _blocks(size: int) -> int:
    return -(-size // _BLOCK)


def connect(url: str, *, baud: int, options: Mapping[str, str]) -> UBoot:
    """Check the options, then open `url`."""
    plan = Plan.of(options)
    return UBoot(SerialLink(url, Line(baud)), plan)


BOOTLOADER: Final = BootLoader(
    name="uboot",
    title=Text("U-Boot(loady)", "U-Boot (loady)"),
    traits=Traits(
        bauds=(115200, 921600, 1_500_000),
        proves=(Proof.DEVICE_DIGEST,),
        enter=Text(
            "等待期间给板子复位或重新上电,倒计时会被自动打断",
            "reset or power the board while this waits; its countdown is stopped by itself",
        ),
    ),
    connect=connect,
    families=("uboot",),
    options=OPTIONS,
)
