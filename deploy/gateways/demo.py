"""`undercity gateway demo`: a blank board becomes a gateway of a running city, and its readings are on the console.

Everything is real but the board: a broker, the pipeline, a key, a signed bundle, the STM32 driver, the gateway
protocol, MQTT from the board to the broker, the journal of flashes. The steps are those of the first-board page.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.demo.publisher import CityPublisher
from deploy.demo.system import DemoSystem, Plan
from deploy.gateways.demo_board import DemoBoard, board
from deploy.gateways.first_reading import First
from deploy.gateways.laptop import LINES, person
from deploy.gateways.provisioning import City
from deploy.gateways.provisioning import Plan as Provisioning
from deploy.gateways.provisioning import run as provisioned
from deploy.gateways.single import Job, bootloader_for, run
from deploy.wiring import open_database
from devices.catalog import SqlRegistry
from devices.errors import FirmwareError
from devices.firmware.application.client import Client
from devices.firmware.application.configuration import Child, Configuration
from devices.firmware.bundle import opened, sealed
from devices.firmware.driver import Told
from devices.firmware.flash import Known
from devices.firmware.journal import Flash, FlashBook
from devices.firmware.keys import Keyring, generate
from devices.firmware.link import Line, SerialLink
from devices.firmware.ports import Port
from devices.firmware.provision import Expected

GATEWAY: Final = "GW-DEMO"
SITE: Final = "S-DEMO"
DISTRICT: Final = "410100"
CHILDREN: Final = (Child("WP-DEMO", "water_pressure"), Child("MC-DEMO", "manhole_cover"))
_PERIOD_S: Final = 5
_READY_S: Final = 30.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the demo showed. `stored`: readings of the gateway's devices that were found in the store."""

    flash: Flash
    first: First
    stored: int


def demo(plan: Plan, say: Say, told: Told, *, python: bool, until: Callable[[str], None]) -> Shown:
    """The whole way from a blank board to readings on the console; `until` is called with the console's address."""
    with DemoSystem(plan) as system, board(plan.folder, python=python) as blank:
        stop = threading.Event()
        publisher = CityPublisher(system.broker.port, system.city, system.clock, system.start_us, system.loggers())
        around = threading.Thread(target=publisher.run, args=(None, stop), name="city", daemon=True)
        around.start()
        try:
            url = f"http://127.0.0.1:{plan.console_port}"
            say(f"city: {plan.devices} devices, broker {system.broker.kind} on port {system.broker.port}")
            say(f"board: {blank.what} at {blank.url}, blank")
            database = open_database(system.settings)
            book = FlashBook(database, lambda: time.time_ns() // 1000, lines=system.settings.data.dir / LINES)
            flash = _flashed(blank, plan.folder, book, say, told)
            city = City(SqlRegistry(database), book, system.settings.mqtt, system.settings.topics.all())
            first = _provisioned(blank, system, city, say)
            stored = _stored(system, first)
            say(f"console: {url}/gateways and {url}/devices/{first.device}")
            until(url)
            database.dispose()
        finally:
            stop.set()
            around.join()
            publisher.finish()
        return Shown(flash, first, stored)


def _flashed(blank: DemoBoard, folder: Path, book: FlashBook, say: Say, told: Told) -> Flash:
    """Sign the image with a key made for this demo, and flash it by the procedure of every board."""
    key = generate(folder / "undercity-keys", "demo", secrets.token_urlsafe(16))
    file = folder / "gateway.ucb"
    file.write_bytes(sealed(blank.image, key))
    image = opened(
        file.read_bytes(), Keyring((key.public,)), name=file.name, today=time.strftime("%Y-%m-%d", time.gmtime())
    )
    manifest = image.manifest
    say(f"image: {manifest.board} {manifest.version}, {manifest.size} bytes, signed with key {manifest.key}")
    job = Job(
        port=Port(device=blank.url),
        image=image,
        file=file,
        bootloader=bootloader_for("", image),
        who=person(""),
        known=Known(board=manifest.board, revision=manifest.revisions[0], source="the demo"),
    )
    entry, flashed = run(job, book, told)
    say(f"flashed: chip {entry.chip} {entry.serial}, shown by {flashed.proof}, runs; {entry.seconds:.1f} s")
    return entry


def _provisioned(blank: DemoBoard, system: DemoSystem, city: City, say: Say) -> First:
    """Give it its place in the city, and wait for its first valid reading on the broker."""
    configuration = Configuration(
        gateway=GATEWAY,
        district=DISTRICT,
        host="127.0.0.1",
        port=system.broker.port,
        tls=False,
        user=GATEWAY,
        password=secrets.token_urlsafe(12),
        site=SITE,
        zone=system.settings.notify.zone,
        period_s=_PERIOD_S,
    )
    link = SerialLink(blank.url, Line())
    try:
        client = Client(link)
        plan = Provisioning(
            configuration=configuration,
            expected=Expected(board=blank.image.manifest.board),
            who=person(""),
            port=blank.url,
            children=CHILDREN,
            connect_s=_READY_S,
            wait_s=_READY_S,
        )
        first = provisioned(plan, client.hello(), client, link, city, lambda stage, line: _say(say, stage, line))
    finally:
        link.close()
    if first is None:
        raise FirmwareError(f"{GATEWAY}: expected a first reading, nobody waited for it; the demo is at fault")
    values = ", ".join(f"{name} {value:g}" for name, value in first.values.items())
    say(f"provisioned: {GATEWAY} reports; first reading: {first.device} {values}")
    return first


def _say(say: Say, stage: str, line: str) -> None:
    if line:
        say(f"{stage}: {line}")


def _stored(system: DemoSystem, first: First) -> int:
    """Readings of the device that the store holds: the console shows the same ones."""
    from deploy.storelink import StoreClient, store_socket  # noqa: PLC0415

    kind = system.city.kinds[first.kind]
    quantity, deadline = next(iter(first.values)), time.monotonic() + _READY_S
    with closing(StoreClient(store_socket(system.settings.socket_path))) as store:
        while time.monotonic() < deadline:
            history = store.history(kind, first.device, quantity, first.time_us - 1, time.time_ns() // 1000)
            if len(history.time_us):
                return len(history.time_us)
            time.sleep(0.2)
    raise FirmwareError(
        f"{first.device}: expected its readings in the store within {_READY_S:g} s, none is there; see the log of "
        f"{system.plan.folder}"
    )
