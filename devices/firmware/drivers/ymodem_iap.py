"""The usual in-application programming menu: wait for it, press a key, send the image by YMODEM.

From: `flash.flash`. To: a maker's loader over a `Link`; its words and keys come by options, all of them checked.

Proof: the CRC-32 that the loader prints of its own flash, where the option `crc32` tells the words before it.
Otherwise none: each block had a CRC on the line, which says nothing of what is in flash, and neither does "OK". The
running image has then to name its digest, or the flash is not called one.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from devices.errors import ExchangeError, VerifyError
from devices.firmware import ymodem
from devices.firmware.driver import Board, BootLoader, Proof, Step, Told, Traits
from devices.firmware.image import Image
from devices.firmware.link import Line, Link, SerialLink, reopen_within
from devices.firmware.options import Options
from devices.firmware.terminal import Terminal, shown
from devices.spec import Text

OPTIONS: Final = {
    "menu": Text("菜单中的文字,见到后才按键", "text of the menu, waited for before a key is pressed"),
    "wake": Text("唤出菜单的按键:enter、space、esc、none", "key that brings the menu: enter, space, esc, none"),
    "key": Text("开始接收的按键,默认 1", "key that starts receiving, 1 by default"),
    "start": Text("启动应用的按键;空为自行启动", "key that starts the application; empty: it starts by itself"),
    "ok": Text("烧写成功时打印的文字", "text printed after a good file"),
    "crc32": Text("打印的 CRC-32 之前的文字", "text before the CRC-32 that is printed of the flash"),
    "board": Text("菜单中板型之前的文字", "text of the menu before the board's name"),
    "revision": Text("菜单中硬件版本之前的文字", "text of the menu before the hardware revision"),
    "block": Text("块长 1024 或 128", "bytes in a block, 1024 or 128"),
    "closing": Text("是否有结束空块:yes、no", "whether it asks for the closing block: yes, no"),
    "name": Text("发送的文件名,默认 image.bin", "file name that is sent, image.bin by default"),
    "wait": Text("等待菜单的秒数,默认 30", "seconds to wait for the menu, 30 by default"),
}
_WAKES: Final = {"enter": b"\r", "space": b" ", "esc": b"\x1b", "none": b""}
_READ_AT_MOST: Final = 4
_MENU_S: Final = 2.0
_ENDS_S: Final = 30.0
_ERASES_S: Final = 30.0
_NAMED: Final = r"\s*([A-Za-z0-9_.:+-]{1,64})(?=[^A-Za-z0-9_.:+-])"


@dataclass(frozen=True, slots=True)
class Menu:
    """What the options say of one maker's loader."""

    text: str
    wake: bytes
    key: bytes
    start: bytes
    ok: str
    crc32: str
    board: str
    revision: str
    block: int
    closes: bool
    name: str
    wait_s: float

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Menu:
        """Checked; RefusedError otherwise."""
        options = Options("ymodem-iap", given, OPTIONS)
        return cls(
            text=options.matching("menu", "[ -~]{3,60}", "3 to 60 printable ASCII characters"),
            wake=_WAKES[options.one_of("wake", tuple(_WAKES), "enter")],
            key=options.matching("key", "[!-~]", "one printable character", "1").encode(),
            start=options.matching("start", "[!-~]?", "one printable character or nothing", "").encode(),
            ok=options.text("ok"),
            crc32=options.text("crc32"),
            board=options.text("board"),
            revision=options.text("revision"),
            block=int(options.one_of("block", ("1024", "128"), "1024")),
            closes=options.one_of("closing", ("yes", "no"), "yes") == "yes",
            name=options.matching("name", r"[A-Za-z0-9_.-]{1,64}", "letters, digits or _ . -", "image.bin"),
            wait_s=options.seconds("wait", 30, most=600),
        )


class YmodemIap:
    """One conversation with a loader's menu."""

    def __init__(self, link: Link, menu: Menu) -> None:
        self.link = link
        self.menu = menu
        self._terminal = Terminal(link)
        self._said = ""  # what the loader printed after the last file
        self._sending = False  # a file was begun, and its end not seen

    def identify(self) -> Board:
        """Bring up the menu, and read from it what it says of the board.

        Twice, and the same both times: a lost byte must not make GW-100 a GW-10.
        """
        before = None
        for _ in range(_READ_AT_MOST):
            self._to_menu()
            seen = self._terminal.settle()
            board = Board(
                chip="", board=self._named(self.menu.board, seen), revision=self._named(self.menu.revision, seen)
            )
            if board == before or not self.menu.wake:
                return board
            before = board
        raise ExchangeError(
            f"{self.link.url}: expected the menu to say the same board twice, got {shown(seen)!r}; the line changes "
            "what passes, nothing was written"
        )

    def write(self, image: Image, told: Told) -> None:
        """Press the key, send the file, and keep what the loader says of it."""
        self._said = ""
        self._terminal.forget()
        self._sending = True
        self.link.write(self.menu.key)
        told(Step.ERASE, 0, 1)

        def progress(done: int, whole: int) -> None:
            told(Step.WRITE, done, whole)

        receiver = ymodem.Receiver(block=self.menu.block, closes=self.menu.closes, answer_s=_ERASES_S)
        beside = ymodem.send(self.link, self.menu.name, image.payload, progress, receiver)
        self._terminal.hear(beside)
        for words in filter(None, (re.escape(self.menu.ok), self._crc_words())):
            self._terminal.expect(words, _ENDS_S, "the loader's word on the file")
        self._said = self._terminal.seen
        self._sending = False

    def verify(self, image: Image, told: Told) -> Proof | None:
        """Compare the CRC-32 that was printed; None where none is."""
        if not self.menu.crc32:
            return None
        told(Step.VERIFY, 0, image.manifest.size)
        expected = binascii.crc32(image.payload)
        found = re.search(self._crc_words(), self._said)
        if found is None:
            raise ExchangeError(f"{self.link.url}: expected a CRC-32 after the file, got {shown(self._said)!r}")
        if int(found[1], 16) != expected:
            raise VerifyError(
                f"{self.link.url}: expected CRC-32 {expected:08x} in flash, the loader has {found[1].lower()}"
            )
        told(Step.VERIFY, image.manifest.size, image.manifest.size)
        return Proof.DEVICE_DIGEST

    def boot(self, image: Image) -> Proof | None:  # noqa: ARG002 - the loader starts what it has
        """Press the key that starts the application, if there is one."""
        if self.menu.start:
            self._to_menu()
            self.link.write(self.menu.start)
        return None

    def reconnect(self) -> None:
        """Open the line again."""
        reopen_within(self.link)

    def close(self) -> None:
        """Let go of the line."""
        self.link.close()

    def _crc_words(self) -> str:
        if not self.menu.crc32:
            return ""
        return re.escape(self.menu.crc32) + r"\s*(?:0x)?([0-9A-Fa-f]{8})(?=[^0-9A-Fa-f])"

    def _named(self, words: str, seen: str) -> str:
        found = re.search(re.escape(words) + _NAMED, seen) if words else None
        return found[1] if found else ""

    def _to_menu(self) -> None:
        """Wake the menu; a receiver that is in the middle of a file is told to stop first."""
        deadline = self.link.now() + self.menu.wait_s
        patience_s = _MENU_S
        while self.link.now() < deadline:
            self._terminal.forget()
            self.link.write(self.menu.wake)
            if self._terminal.find(re.escape(self.menu.text), patience_s):
                self._sending = False
                return
            if self._sending or ymodem.waits(self._terminal.seen):
                ymodem.cancel(self.link, within_s=max(deadline - self.link.now(), 1.0))
            # Each key pressed may keep a receiver from noticing that its file has stopped.
            patience_s *= 2
        raise ExchangeError(
            f"{self.link.url}: expected the menu with {self.menu.text!r} within {self.menu.wait_s:.0f} s, "
            f"got {shown(self._terminal.seen) or 'nothing'!r}; reset the board into its loader; nothing was written"
        )


def connect(url: str, *, baud: int, options: Mapping[str, str]) -> YmodemIap:
    """Check the options, then open `url`."""
    menu = Menu.of(options)
    return YmodemIap(SerialLink(url, Line(baud)), menu)


BOOTLOADER: Final = BootLoader(
    name="ymodem-iap",
    title=Text("YMODEM 升级菜单(IAP)", "YMODEM menu (IAP)"),
    traits=Traits(
        bauds=(115200, 921600, 460800, 57600, 9600),
        proves=(Proof.DEVICE_DIGEST,),
        enter=Text(
            "按住升级键复位,或按厂家说明进入升级菜单",
            "hold the update button at reset, or do what the maker says brings up the update menu",
        ),
    ),
    connect=connect,
    options=OPTIONS,
)
