"""STM32 chips through the bootloader in their ROM, over a USART with even parity (ST AN3155).

`chips` is data, `protocol` speaks, `driver` decides. Nothing here ever lifts a protection: that erases the chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from devices.firmware.driver import BootLoader, Proof, Traits
from devices.firmware.drivers.stm32.driver import Stm32, Wire
from devices.firmware.link import Line, SerialLink
from devices.firmware.options import Options
from devices.spec import Text

_WIRES: Final = ("none", "dtr", "-dtr", "rts", "-rts")


def connect(url: str, *, baud: int, options: Mapping[str, str]) -> Stm32:
    """Open `url`; nothing is sent yet. Options: see `BOOTLOADER`."""
    given = Options("stm32", options, BOOTLOADER.options)
    reset, boot0 = (Wire.parse(given.one_of(name, _WIRES, "none")) for name in ("reset", "boot0"))
    erase_all = given.one_of("erase", ("needed", "all"), "needed") == "all"
    return Stm32(SerialLink(url, Line(baud, "E")), reset=reset, boot0=boot0, erase_all=erase_all)


BOOTLOADER: Final = BootLoader(
    name="stm32",
    families=("stm32",),
    title=Text("STM32 片内 ROM 引导程序（USART，AN3155）", "STM32 bootloader in ROM (USART, AN3155)"),
    traits=Traits(
        # Lines from before 2015 are specified up to 115200 only.
        bauds=(115200, 57600, 230400, 460800, 921600, 38400, 19200, 9600),
        parity="E",
        proves=(Proof.READ_BACK,),
        enter=Text(
            "BOOT0 接高电平后按复位键；或用选项 reset、boot0 让串口控制线代劳",
            "set BOOT0 high and press reset; or let control lines do it, by the options reset and boot0",
        ),
    ),
    connect=connect,
    options={
        "reset": Text(
            "使芯片复位的控制线：dtr、rts，前加 - 表示反相；none（默认）：由人复位",
            "control line that holds the chip in reset: dtr, rts, with - before it inverted; none (usual): by hand",
        ),
        "boot0": Text(
            "使 BOOT0 为高的控制线，写法同上；none（默认）：由人设置",
            "control line that sets BOOT0 high, written likewise; none (usual): by hand",
        ),
        "erase": Text(
            "needed（默认）：只擦除镜像所占扇区；all：整片擦除",
            "needed (usual): only the sectors under the image; all: the whole chip",
        ),
    },
)
