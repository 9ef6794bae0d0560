"""A gateway provisioned from end to end: listener, procedure, registry, first reading, record.

From: the command line. To: the gateway, the registry and the journal of flashes. What is refused is refused before
anything is sent; what was sent and not seen to work is said and written down so.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from deploy.gateways.first_reading import First, Judge, Listener, wait_first
from devices.beijing import beijing
from devices.catalog import SqlRegistry
from devices.codecs import load as load_codecs
from devices.errors import FirmwareError, RegistryError, UndercityError
from devices.firmware.application.client import Client
from devices.firmware.application.configuration import Child, Configuration
from devices.firmware.application.messages import Hello
from devices.firmware.journal import Flash, FlashBook, Provisioned, Result
from devices.firmware.link import Link
from devices.firmware.provision import Expected, Stage, Told, explained, provision
from devices.fleet import build
from devices.kinds import load as load_kinds
from devices.registry import Device, Gateway, Site
from ingest.mqtt_settings import MqttSettings
from ingest.rules import Rule

_LOOKED_BACK: Final = 1000  # flashes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done with one gateway.

    `configuration`: without children; those come from the registry and `children`. `wait_s`: for the first reading, 0
    not at all. `certified`: puts the certificate in, once nothing else can be refused. `committed`: called when
    the gateway has its configuration, for what must not happen before.
    """

    configuration: Configuration
    expected: Expected
    who: str
    port: str
    children: Sequence[Child] = ()
    restart: bool = False
    connect_s: float = 120.0
    wait_s: float = 120.0
    certified: Callable[[Configuration], Configuration] = field(default=lambda configuration: configuration)
    committed: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True, slots=True)
class City:
    """What a gateway is provisioned into: registry, journal, and how our ingest reads."""

    registry: SqlRegistry
    book: FlashBook
    mqtt: MqttSettings
    rules: Sequence[Rule]


def run(plan: Plan, hello: Hello, client: Client, link: Link, city: City, told: Told) -> First | None:
    """Provision the gateway that said `hello`; its first reading, None where nobody waited.

    Raises:
        UndercityError: the text says how far it came, and so does the journal.
    """
    gateway = plan.configuration.gateway
    devices = planned(city.registry, gateway, plan.configuration.district, plan.configuration.site, plan.children)
    children = tuple(Child(one.id, one.kind) for one in devices)
    plan = replace(plan, configuration=replace(plan.configuration, children=children))
    if plan.wait_s and not children:
        raise RegistryError(
            f"{gateway}: expected devices behind it, the registry has none and --child names none: no reading "
            "can come; nothing was sent; name some, or say --no-wait"
        )
    with contextlib.ExitStack() as stack:
        listener = None
        if plan.wait_s:
            listener = stack.enter_context(Listener(city.mqtt, gateway, [one.id for one in children]))
        plan = replace(plan, configuration=plan.certified(plan.configuration))
        since_us = _commit(plan, hello, client, link, city, devices, told)
        if listener is None:
            record(city.book, plan, hello, Provisioned.NOT_WAITED)
            return None
        try:
            first = _first(plan, listener, client, city, since_us, told)
        except (UndercityError, KeyboardInterrupt) as error:
            record(city.book, plan, hello, f"{Provisioned.NO_READING}: {_why(error)}")
            raise
    record(
        city.book,
        plan,
        hello,
        f"{Provisioned.READING}: {first.device}, {beijing(first.time_us):%Y-%m-%d %H:%M:%S%z}",
    )
    return first


def _commit(
    plan: Plan, hello: Hello, client: Client, link: Link, city: City, devices: list[Device], told: Told
) -> int:
    """Configure it and register it; UTC microseconds of the commit."""
    at: list[int] = []

    def committed() -> None:
        at.append(time.time_ns() // 1000)
        register(city.registry, plan.configuration.gateway, plan.configuration.site, devices)
        plan.committed()

    try:
        provision(
            client,
            link,
            hello,
            plan.configuration,
            now_ms=lambda: time.time_ns() // 1_000_000,
            told=told,
            committed=committed,
            restart=plan.restart,
            connect_s=plan.connect_s,
        )
    except (UndercityError, OSError, KeyboardInterrupt) as error:
        if at:
            record(city.book, plan, hello, f"{Provisioned.NOT_CONNECTED}: {_why(error)}")
        raise
    return at[0]


def _first(plan: Plan, listener: Listener, client: Client, city: City, since_us: int, told: Told) -> First:
    fleet = build(load_kinds(), city.registry.entries())
    judge = Judge(plan.configuration.gateway, fleet, load_codecs(), city.rules)

    def status() -> str:
        try:
            return explained(client.status(attempts=2))
        except FirmwareError as error:
            return f"it does not answer on its line: {error}"

    return wait_first(
        listener,
        judge,
        since_us=since_us,
        within_s=plan.wait_s,
        status=status,
        told=lambda line: told(Stage.READING, line),
    )


def planned(
    registry: SqlRegistry, gateway: str, district: str, site: str, children: Sequence[Child]
) -> list[Device]:
    """The devices behind `gateway` as they shall be; RegistryError when one is somebody else's, or of another kind."""
    kinds = load_kinds()
    found = {one.id: one for one in registry.devices(gateway=gateway)}
    for child in children:
        if child.kind not in kinds:
            raise RegistryError(
                f"{child.id}: expected a kind among {', '.join(kinds)}, got {child.kind!r:.40}; nothing was sent"
            )
        known = found.get(child.id) or _known(registry, child.id)
        if known is None:
            known = Device(
                id=child.id,
                kind=child.kind,
                site=site,
                district=district,
                registered_us=time.time_ns() // 1000,
            )
        if known.kind != child.kind:
            raise RegistryError(
                f"{child.id}: expected kind {known.kind}, as registered, got {child.kind}; nothing was sent"
            )
        if known.gateway not in ("", gateway):
            raise RegistryError(
                f"{child.id}: registered under gateway {known.gateway}, not {gateway}; change the census first; "
                "nothing was sent"
            )
        found[child.id] = replace(known, gateway=gateway)
    return list(found.values())


def register(registry: SqlRegistry, gateway: str, site: str, devices: Sequence[Device]) -> None:
    """Write down the gateway with its site and devices; what is known and equal stays untouched."""
    sites = {one.id for one in registry.sites()}
    known = next((one for one in registry.gateways() if one.id == gateway), Gateway(id=gateway))
    registry.put(
        devices,
        sites=[Site(id=site)] if site and site not in sites else [],
        gateways=[replace(known, site=site or known.site)],
    )


def record(book: FlashBook, plan: Plan, hello: Hello, how: str) -> None:
    """Put into the journal how the gateway came to report: with its last flash, or alone if it came flashed."""
    gateway = plan.configuration.gateway
    mine = [one for one in book.newest(_LOOKED_BACK) if _same(one, hello)]
    if mine:
        book.provisioned(mine[0].id, gateway, how)
        return
    log = book.begin(
        Flash(
            id="",
            begun_us=0,
            who=plan.who,
            port=plan.port,
            chip=hello.chip,
            serial=hello.serial,
            board=hello.board,
            revision=hello.revision,
            version=hello.version,
            security_counter=max(hello.security_counter, 0),
            digest=hello.image_digest.hex(),
            step="provision",
        )
    )
    log.ended(Result.DONE, "provisioned; it was not flashed from here")
    book.provisioned(log.flash.id, gateway, how)


def _why(error: BaseException) -> str:
    return "the person did not wait" if isinstance(error, KeyboardInterrupt) else str(error)


def _same(one: Flash, hello: Hello) -> bool:
    return (
        bool(hello.serial) and one.result is Result.DONE and (one.chip, one.serial) == (hello.chip, hello.serial)
    )


def _known(registry: SqlRegistry, device: str) -> Device | None:
    with contextlib.suppress(RegistryError):
        return registry.device(device)
    return None
