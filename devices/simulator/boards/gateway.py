"""What a simulated gateway is built of: what is burnt into it, and its modem.

To: `application.GatewayApplication`. A modem over paho-mqtt stands in `deploy`, where real networks may be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from devices.firmware.application.configuration import Configuration
from devices.firmware.application.messages import Capability, Connection, Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What is burnt into a board and its image."""

    board: str = "gw-sim"
    revision: str = "r2"
    chip: str = "sim:1"
    serial: str = "SIM-0001"
    version: str = "1.0.0"
    security_counter: int = 1
    image_digest: bytes = b""
    capabilities: Capability = Capability.TLS | Capability.CSR


@dataclass(slots=True)
class Standing:
    """How a network's way to the broker is, and what became of the readings."""

    connection: Connection = Connection.MODEM
    trouble: Trouble = Trouble.NO_NETWORK
    text: str = ""
    acknowledged: int = 0


class Network(Protocol):
    """A modem with an MQTT client. No method waits."""

    def open(self, configuration: Configuration) -> None:
        """Begin to connect as `configuration` says; what was open before is closed."""
        ...

    def standing(self) -> Standing:
        """How far it is."""
        ...

    def publish(self, topic: str, payload: bytes, readings: int) -> None:
        """Send at QoS 1; `readings` are counted as acknowledged when the broker took it."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class NoNetwork:
    """A modem without an aerial."""

    def open(self, configuration: Configuration) -> None:
        """Nothing comes of it."""

    def standing(self) -> Standing:
        """Starting, for ever."""
        return Standing()

    def publish(self, topic: str, payload: bytes, readings: int) -> None:
        """Never asked: it never connects."""

    def close(self) -> None:
        """Nothing to hang up."""
