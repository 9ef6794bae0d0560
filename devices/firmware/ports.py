"""Serial ports of this machine: which there are, which one is meant, who holds it, why there is none.

From: the operating system. To: an engineer. A port is chosen by what is known of it or asked for; none is ever opened
to find out what is behind it, since that disturbs whatever is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serial.tools import list_ports

from devices.errors import PortError

# USB ids of common adapters, by their makers' published numbers: what a person sees beside a bare number.
_CHIPS: Final = {
    "0403:6001": "FTDI FT232R",
    "0403:6010": "FTDI FT2232",
    "0403:6014": "FTDI FT232H",
    "0403:6015": "FTDI FT-X",
    "10C4:EA60": "Silicon Labs CP210x",
    "1A86:7523": "WCH CH340",
    "1A86:5523": "WCH CH341",
    "1A86:55D4": "WCH CH9102",
    "067B:2303": "Prolific PL2303",
    "0483:5740": "STM32 virtual COM port",
    "0483:374B": "ST-LINK",
    "2341:0043": "Arduino Uno",
    "303A:1001": "Espressif USB JTAG/serial",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port. `usb`: VID:PID in capitals; `serial`, `location`: the adapter's; empty where it is none of USB."""

    device: str
    description: str = ""
    usb: str = ""
    serial: str = ""
    location: str = ""

    @property
    def adapter(self) -> str:
        """What names this very adapter in the journal; empty where nothing does."""
        return f"{self.usb} {self.serial or self.location}".strip() if self.usb else ""

    @property
    def chip(self) -> str:
        """The adapter's chip as a person knows it."""
        return _CHIPS.get(self.usb, "")

    def matches(self, wanted: str) -> bool:
        """Whether `wanted` names it: by device, VID:PID, serial number or USB location."""
        return bool(wanted) and wanted.casefold() in {
            one.casefold() for one in (self.device, Path(self.device).name, self.usb, self.serial, self.location)
        }


def listed() -> list[Port]:
    """The machine's ports, those of USB first; legacy ports that no driver serves are left out."""
    found = [
        Port(
            device=one.device,
            description=one.description if one.description != "n/a" else "",
            usb=f"{one.vid:04X}:{one.pid:04X}" if one.vid is not None and one.pid is not None else "",
            serial=one.serial_number or "",
            location=one.location or "",
        )
        for one in list_ports.comports()
    ]
    return sorted(found, key=lambda port: (not port.usb, port.device))


def chosen(wanted: str, ports: Sequence[Port]) -> Port:
    """The one port that `wanted` names; a path or URL that is not listed is taken as it is. PortError otherwise.

    Several that match are an error, not a guess.
    """
    found = [port for port in ports if port.matches(wanted)]
    if len(found) > 1:
        names = ", ".join(f"{port.device} (at {port.location or '?'})" for port in found)
        raise PortError(
            f"port {wanted}: expected one, {len(found)} match: {names}; name one of them; nothing was sent"
        )
    if found:
        return found[0]
    if "://" in wanted:
        return Port(device=wanted)
    path = Path(wanted)
    if path.exists() and not path.is_dir():
        return Port(device=wanted)
    there = ", ".join(port.device for port in ports) or "none"
    raise PortError(f"port {wanted}: it is not there; ports are: {there}; nothing was sent")


def why_none() -> list[str]:
    """What can be looked at when no port is there, one line each."""
    reasons = []
    if not Path("/sys/bus/usb/devices").is_dir():
        reasons.append("this machine has no USB that can be seen here (a container or virtual machine?)")
    else:
        reasons.append("is it plugged in, and is the cable one for data? A charge-only cable shows nothing at all")
        reasons.append("does the board's own adapter have power? Some take it from the board, not from USB")
    unserved = _unserved()
    if unserved:
        reasons.append(
            f"seen without a driver: {', '.join(unserved)}; load it: modprobe usbserial, cdc_acm or ch341"
        )
    return reasons


def held_by(device: str) -> str:
    """Which processes have the port open, as a phrase; empty where none can be seen."""
    try:
        target = Path(device).resolve(strict=True)
    except OSError:
        return ""
    others = (one for one in Path("/proc").glob("[0-9]*") if one.name != str(os.getpid()))
    return ", ".join(sorted(f"{_command(one)} (pid {one.name})" for one in others if _has_open(one, target)))


def explained(port: Port, error: PortError) -> PortError:
    """`error` with who holds the port, or which group to join."""
    path = Path(port.device)
    if "://" in port.device or not path.exists():
        return error
    if not os.access(path, os.R_OK | os.W_OK):
        return PortError(
            f"{port.device}: expected to read and write it, it belongs to {_owner(path)}; "
            f"join the group: sudo usermod -aG {_group(path)} $USER, then log in again; nothing was sent"
        )
    holder = held_by(port.device)
    if holder:
        return PortError(f"{port.device}: busy, {holder} has it open; end that first; nothing was sent")
    return error


def _unserved() -> list[str]:
    """Adapters we know the chip of, seen on USB, with no port of their own: the driver is missing."""
    served = {port.location.partition(":")[0] for port in listed() if port.location}
    found = []
    for device in sorted(Path("/sys/bus/usb/devices").glob("*")):
        try:
            ids = (
                f"{(device / 'idVendor').read_text().strip()}:{(device / 'idProduct').read_text().strip()}".upper()
            )
        except OSError:
            continue
        if ids in _CHIPS and device.name not in served:
            found.append(f"{_CHIPS[ids]} ({ids})")
    return found


def _has_open(process: Path, target: Path) -> bool:
    try:
        return any(link.resolve() == target for link in (process / "fd").iterdir())
    except OSError:  # it ended, or is another person's
        return False


def _command(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a process"


def _group(path: Path) -> str:
    try:
        return path.group()
    except (KeyError, OSError, NotImplementedError):
        return "dialout"


def _owner(path: Path) -> str:
    try:
        return f"{path.owner()}:{_group(path)}"
    except (KeyError, OSError, NotImplementedError):
        return "somebody else"
