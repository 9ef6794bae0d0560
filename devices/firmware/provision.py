"""A gateway gets its place in the city: who it is, the time, its configuration, and how it comes to the broker.

    HELLO -> is it the board expected -> TIME -> SET, COMMIT, GET back -> (REBOOT) -> STATUS until connected

From: a person's configuration and a gateway on a serial line. To: a `Provisioned`; the caller then waits for the first
reading, which alone shows that all of it is right. What fails ends in an error of `devices.errors` that says which
configuration is in force.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from devices.errors import ExchangeError, LinkError, ProvisionError
from devices.firmware.application.client import Client
from devices.firmware.application.configuration import Configuration, Field
from devices.firmware.application.messages import (
    CONNECTIONS,
    TROUBLES,
    Capability,
    Connection,
    Hello,
    Status,
    Trouble,
)
from devices.firmware.link import Link

CONNECT_S: Final = 120.0  # a modem may search for its network for a minute, and try again after that
_BACK_S: Final = 15.0  # after a restart
_POLL_S: Final = 1.0
_CLOCK_MS: Final = 5_000


class Stage(StrEnum):
    """Where provisioning is."""

    HELLO = "hello"
    TIME = "time"
    COMMIT = "commit"
    RESTART = "restart"
    CONNECT = "connect"
    READING = "first reading"


# Called with the stage and one line for a person.
Told = Callable[[Stage, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the person says of the board; empty: anything. `replace`: it may be another gateway already."""

    board: str = ""
    revision: str = ""
    serial: str = ""
    replace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """A gateway with its configuration in force, read back; connected to the broker by its own word."""

    hello: Hello
    commit_id: bytes
    status: Status


def greet(client: Client, expected: Expected, gateway: str) -> Hello:
    """Who is there; ProvisionError when it is not who is expected. Changes nothing."""
    hello = client.hello()
    for what, wanted, said in (
        ("board", expected.board, hello.board),
        ("revision", expected.revision, hello.revision),
        ("serial number", expected.serial, hello.serial),
    ):
        if wanted and wanted != said:
            raise ProvisionError(
                f"{hello.board} {hello.serial}: expected {what} {wanted}, it says {said or 'nothing'}; "
                "nothing was changed"
            )
    if hello.provisioned and not expected.replace:
        present = client.field(Field.GATEWAY).decode(errors="replace")
        if present != gateway:
            raise ProvisionError(
                f"{hello.board} {hello.serial}: it is gateway {present!a:.70} already, to become {gateway}; "
                "nothing was changed; --replace if that is meant"
            )
    return hello


def provision(
    client: Client,
    link: Link,
    hello: Hello,
    configuration: Configuration,
    *,
    now_ms: Callable[[], int],
    told: Told,
    committed: Callable[[], None] = lambda: None,
    restart: bool = False,
    connect_s: float = CONNECT_S,
) -> Provisioned:
    """Bring `configuration` onto the gateway that said `hello`, and see it connect.

    `committed`: called the moment the configuration is in force; the gateway may report before it was read back.

    Raises:
        ProvisionError: it refuses, holds something else, or does not come to the broker within `connect_s`.
        ExchangeError, LinkError: it does not answer any more.
    """
    if configuration.tls and Capability.TLS not in hello.capabilities:
        raise ProvisionError(
            f"{hello.board} {hello.serial}: it cannot do TLS; nothing was changed; "
            "--no-tls if the network is a closed one"
        )
    _set_time(client, hello, now_ms, told)
    told(Stage.COMMIT, configuration.gateway)
    commit_id = client.configure(configuration, stored=committed)
    if restart:
        told(Stage.RESTART, "")
        _restart(client, link, commit_id)
        _set_time(client, hello, now_ms, told)
    status = wait_connected(client, link, configuration, told, connect_s)
    return Provisioned(hello=hello, commit_id=commit_id, status=status)


def wait_connected(
    client: Client, link: Link, configuration: Configuration, told: Told, within_s: float
) -> Status:
    """Until the gateway says that it is connected; ProvisionError with its own reason when it does not come to it."""
    deadline = link.now() + within_s
    last = ""
    while True:
        status = client.status()
        if status.connection == Connection.MQTT:
            told(Stage.CONNECT, CONNECTIONS[Connection.MQTT].en)
            return status
        said = explained(status)
        if said != last:
            told(Stage.CONNECT, said)
            last = said
        if link.now() >= deadline:
            raise ProvisionError(
                f"{configuration.gateway}: expected it to connect to {configuration.host}:{configuration.port} within "
                f"{within_s:g} s; {said}; its configuration is stored, it goes on trying"
            )
        link.pause(_POLL_S)


def explained(status: Status) -> str:
    """A status as one line for a person."""
    far = CONNECTIONS[status.connection].en if status.connection in CONNECTIONS else f"link {status.connection}"
    if status.trouble == Trouble.NONE:
        return far
    why = TROUBLES[status.trouble].en if status.trouble in TROUBLES else f"error {status.trouble}"
    own = f" ({status.text:.120})" if status.text else ""
    return f"{far}; {why}{own}"


def _set_time(client: Client, hello: Hello, now_ms: Callable[[], int], told: Told) -> None:
    told(Stage.TIME, "")
    said = client.set_time(now_ms)
    ahead = said - now_ms()
    if abs(ahead) > _CLOCK_MS:
        raise ProvisionError(
            f"{hello.board} {hello.serial}: expected its clock to be right once set, it is {ahead / 1000:.1f} s off; "
            "its readings would bear wrong times; nothing else was changed"
        )


def _restart(client: Client, link: Link, commit_id: bytes) -> None:
    """Restart it and see it come back with what was committed."""
    client.reboot()
    link.pause(_POLL_S)
    deadline = link.now() + _BACK_S
    while True:
        try:
            hello = client.hello(attempts=2)
            break
        except (ExchangeError, LinkError):
            if link.now() >= deadline:
                raise
    if hello.commit_id != commit_id:
        raise ProvisionError(
            f"{hello.board} {hello.serial}: expected commit {commit_id.hex()} after its restart, it names "
            f"{hello.commit_id.hex() or 'none'}; it did not keep its configuration"
        )
