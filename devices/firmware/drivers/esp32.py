"""ESP32 and its family, by Espressif's esptool as a separate program.

From: `flash.flash`. To: `devices.firmware.esptool`, which runs it. One run for each step; between them the chip stays
in its loader. Every byte of the image stays as it was signed (`keep`), so that its digest can be compared.

Proof: `verify-flash` has the chip compute the MD5 of what its flash holds, and compares.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devices.errors import BootError, ExchangeError, LinkError, PortError, RefusedError, VerifyError
from devices.firmware import esptool
from devices.firmware.driver import Board, BootLoader, Proof, Step, Told, Traits
from devices.firmware.image import Image
from devices.firmware.link import Line, Link, SerialLink
from devices.firmware.options import Options
from devices.spec import Text

OPTIONS: Final = {
    "esptool": Text("esptool 程序的路径", "path of the esptool program"),
    "stub": Text("是否先装入快速程序:yes、no", "load the fast flasher into RAM first: yes, no"),
    "before": Text(
        "进入下载模式的方式:default-reset、usb-reset、no-reset",
        "how the loader is entered: default-reset, usb-reset, no-reset",
    ),
    "after": Text(
        "结束后如何启动:hard-reset、watchdog-reset、no-reset",
        "how the image is started: hard-reset, watchdog-reset, no-reset",
    ),
}
_BACK_WITHIN_S: Final = 15.0
_PROGRESS: Final = re.compile(r"Writing at 0x[0-9a-fA-F]+\D.*?(\d+(?:\.\d+)?)%")
# Otherwise esptool may change bytes of an image's header, and the signed digest with it.
_KEEP: Final = ("--flash-mode", "keep", "--flash-freq", "keep", "--flash-size", "keep")
_SIZES: Final = {"KB": 1024, "MB": 1024 * 1024}


@dataclass(frozen=True, slots=True)
class Plan:
    """What the options ask for. `program`: empty is found by itself."""

    program: str
    stub: bool
    before: str
    after: str

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Plan:
        """Checked; RefusedError otherwise."""
        options = Options("esp32", given, OPTIONS)
        return cls(
            program=options.text("esptool", longest=300),
            stub=options.one_of("stub", ("yes", "no"), "yes") == "yes",
            before=options.one_of("before", ("default-reset", "usb-reset", "no-reset"), "default-reset"),
            after=options.one_of("after", ("hard-reset", "watchdog-reset", "no-reset"), "hard-reset"),
        )


class Esp32:
    """One board behind `url`; the port is only held while esptool runs."""

    link: Link | None = None

    def __init__(self, url: str, baud: int, plan: Plan) -> None:
        self.url = url
        self.baud = baud
        self.plan = plan
        self._program = esptool.program(plan.program)
        self._capacity = 0

    def identify(self) -> Board:
        """Enter the loader, and ask for chip, MAC and flash."""
        esptool.check_version(self._program)
        said = self._run("flash-id").said
        chip = re.search(r"Connected to (ESP[0-9A-Z-]+) on", said)
        mac = re.search(r"^(?:BASE )?MAC:\s+((?:[0-9a-f]{2}:){5}[0-9a-f]{2})", said, re.MULTILINE)
        if chip is None or mac is None:
            raise ExchangeError(
                f"{self.url}: expected chip and MAC from esptool, got neither; nothing was written"
            )
        kind = re.search(r"^Chip type:\s+(.+?)\s*$", said, re.MULTILINE)
        size = re.search(r"^Detected flash size:\s+(\d+)(KB|MB)", said, re.MULTILINE)
        self._capacity = int(size[1]) * _SIZES[size[2]] if size else 0
        return Board(
            chip=f"esp32:{chip[1].lower()}",
            serial=mac[1],
            loader=f"ROM of {kind[1] if kind else chip[1]}",
            capacity=self._capacity,
        )

    def write(self, image: Image, told: Told) -> None:
        """Erase and write at the image's base address."""
        size, base = image.manifest.size, image.manifest.base
        if self._capacity and base + size > self._capacity:
            raise RefusedError(
                f"{self.url}: image of {size} bytes at 0x{base:x} ends behind the flash of {self._capacity} bytes; "
                "nothing was written"
            )

        def heard(line: str) -> None:
            if found := _PROGRESS.search(line):
                told(Step.WRITE, min(int(float(found[1]) * size / 100), size), size)

        told(Step.ERASE, 0, 1)
        self._run("write-flash", image, heard)
        told(Step.WRITE, size, size)

    def verify(self, image: Image, told: Told) -> Proof:
        """The chip's own MD5 of what its flash holds."""
        told(Step.VERIFY, 0, image.manifest.size)
        said = self._run("verify-flash", image).said
        if "digest matched" not in said:
            raise VerifyError(f"{self.url}: expected esptool to say that digests match, it did not")
        told(Step.VERIFY, image.manifest.size, image.manifest.size)
        return Proof.DEVICE_DIGEST

    def boot(self, image: Image) -> Proof | None:  # noqa: ARG002 - the chip starts what its flash holds
        """Reset it out of its loader; with `after=no-reset` a person does."""
        if self.plan.after == "no-reset":
            return None
        # Entered anew: a port that is only opened holds DTR, and then its reset ends in the loader again.
        arguments = ["--port", self.url, "--before", self.plan.before, "--after", self.plan.after]
        ended = esptool.run(self._program, [*arguments, "--no-stub", "read-mac"])
        if ended.code:
            raise BootError(
                f"{self.url}: esptool could not reset the board: {ended.reason}; press its reset button"
            )
        return None

    def reconnect(self) -> None:
        """Wait until the port is there again."""
        deadline = time.monotonic() + _BACK_WITHIN_S
        while True:
            try:
                SerialLink(self.url, Line(self.baud)).close()
            except PortError as error:
                if time.monotonic() > deadline:
                    raise LinkError(str(error)) from None
                time.sleep(0.5)
            else:
                return

    def close(self) -> None:
        """Nothing is held between two steps."""

    def _run(
        self,
        command: str,
        image: Image | None = None,
        heard: Callable[[str], None] = lambda _line: None,
    ) -> esptool.Ended:
        arguments = ["--port", self.url, "--baud", str(self.baud), "--before", self.plan.before]
        arguments += ["--after", "no-reset", *([] if self.plan.stub else ["--no-stub"]), command]
        with tempfile.TemporaryDirectory(prefix="undercity-image-") as folder:
            if image:
                file = Path(folder) / "image.bin"
                file.write_bytes(image.payload)
                arguments += [*_KEEP, f"0x{image.manifest.base:x}", str(file)]
            ended = esptool.run(self._program, arguments, heard)
        if ended.code == 0:
            return ended
        if "Verification failed" in ended.said or "MD5 of file does not match" in ended.said:
            raise VerifyError(f"{self.url}: {command}: expected the image's digest from the chip, {ended.reason}")
        raise esptool.failed(self.url, command, ended)


def connect(url: str, *, baud: int, options: Mapping[str, str]) -> Esp32:
    """Check the options, and that there is an esptool."""
    return Esp32(url, baud, Plan.of(options))


BOOTLOADER: Final = BootLoader(
    name="esp32",
    title=Text("ESP32(esptool)", "ESP32 (esptool)"),
    traits=Traits(
        bauds=(460800, 115200, 230400, 921600),
        proves=(Proof.DEVICE_DIGEST,),
        enter=Text(
            "多数板子自动进入;否则按住 BOOT,按一下 RESET,再松开 BOOT",
            "most boards do it by themselves; otherwise hold BOOT, press RESET once, let go BOOT",
        ),
    ),
    connect=connect,
    families=("esp32",),
    options=OPTIONS,
)
