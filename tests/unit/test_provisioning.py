"""What becomes of a provisioning in the registry and the journal, also where it ends in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from deploy.gateways.provisioning import City, Plan, planned, register, run
from devices.catalog import SqlRegistry
from devices.errors import ProvisionError, RegistryError
from devices.firmware.application.client import Client
from devices.firmware.application.configuration import Child, Configuration
from devices.firmware.application.messages import Connection, Trouble
from devices.firmware.flash import Known
from devices.firmware.journal import Flash, FlashBook, Result
from devices.firmware.provision import Expected, Stage
from devices.registry import Device, Gateway, Site
from devices.simulator.boards.application import GatewayApplication
from devices.simulator.boards.gateway import Standing
from ingest.mqtt_settings import MqttSettings
from tests.fakes.serial_line import SerialLine
from tests.support.databases import operations, sqlite_file

CONFIGURATION = Configuration(gateway="GW-1", district="d", host="broker.example", site="S-1", password="hunter2")


class Modem:
    """Connected at once."""

    def open(self, configuration: Configuration) -> None:
        self.configuration = configuration

    def standing(self) -> Standing:
        return Standing(Connection.MQTT, Trouble.NONE)

    def publish(self, topic: str, payload: bytes, readings: int) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with operations(sqlite_file(tmp_path)) as engine:
        yield engine


@pytest.fixture
def city(engine: Engine) -> City:
    return City(SqlRegistry(engine), FlashBook(engine, lambda: 1), MqttSettings(), ())


@pytest.fixture
def line() -> SerialLine:
    return SerialLine(GatewayApplication(network=Modem()))


PLAN = Plan(
    configuration=CONFIGURATION,
    expected=Expected(),
    who="engineer",
    port="fake://board",
    children=(Child("WP-1", "water_pressure"),),
    wait_s=0,
)


def provisioned(plan: Plan, line: SerialLine, city: City, told: object = None) -> None:
    client = Client(line)
    run(plan, client.hello(), client, line, city, told or (lambda *_: None))  # type: ignore[arg-type]


def test_gateway_site_and_children_are_registered_and_the_record_says_that_nobody_waited(
    line: SerialLine, city: City
) -> None:
    provisioned(PLAN, line, city)
    assert city.registry.gateways() == [Gateway(id="GW-1", site="S-1")]
    assert [one.id for one in city.registry.sites()] == ["S-1"]
    assert [(one.id, one.gateway, one.district) for one in city.registry.devices()] == [("WP-1", "GW-1", "d")]
    (entry,) = city.book.newest(9)
    assert (entry.gateway, entry.result, entry.serial) == ("GW-1", Result.DONE, "SIM-0001")
    assert entry.provisioned == "configured; nobody waited for a reading (--no-wait)"
    assert "hunter2" not in repr(entry)


def test_doing_it_again_changes_nothing_in_the_registry(line: SerialLine, city: City) -> None:
    provisioned(PLAN, line, city)
    revision, devices = city.registry.revision(), city.registry.devices()
    provisioned(PLAN, line, city)
    assert (city.registry.revision(), city.registry.devices()) == (revision, devices)


def test_the_flash_that_came_before_is_the_record_that_is_completed(line: SerialLine, city: City) -> None:
    flash = Flash(id="", begun_us=0, chip="sim:1", serial="SIM-0001", board="gw-sim", version="1.0.0")
    log = city.book.begin(flash)
    log.identified(Client(line).hello().as_board(), Known())
    log.ended(Result.DONE, "")
    provisioned(PLAN, line, city)
    (entry,) = city.book.newest(9)
    assert (entry.id, entry.gateway) == (log.flash.id, "GW-1")
    assert entry.provisioned.startswith("configured")


def test_a_person_who_leaves_after_the_commit_leaves_a_record(line: SerialLine, city: City) -> None:
    def leave(stage: Stage, _line: str) -> None:
        if stage is Stage.CONNECT:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        provisioned(PLAN, line, city, leave)
    assert city.book.newest(1)[0].provisioned == "configured, not connected: the person did not wait"


def test_nothing_is_recorded_of_what_was_refused_before_the_commit(line: SerialLine, city: City) -> None:
    plan = replace(PLAN, children=(Child("X-1", "no_such_kind"),))
    with pytest.raises(RegistryError, match=r"expected a kind among .* nothing was sent"):
        provisioned(plan, line, city)
    assert city.book.newest(1) == []
    assert city.registry.gateways() == []


def test_a_password_file_that_cannot_be_written_after_the_commit_is_said_and_recorded(
    line: SerialLine, city: City
) -> None:
    def fail() -> None:
        raise ProvisionError("passwords: disk full; the gateway has a new password that the broker does not know")

    with pytest.raises(ProvisionError, match="disk full"):
        provisioned(replace(PLAN, committed=fail), line, city)
    assert "disk full" in city.book.newest(1)[0].provisioned


def test_waiting_for_the_reading_of_nobody_is_refused_first(line: SerialLine, city: City) -> None:
    plan = replace(PLAN, children=(), wait_s=10)
    with pytest.raises(RegistryError, match="no reading can come; nothing was sent"):
        provisioned(plan, line, city)


@pytest.mark.parametrize(
    ("child", "why"),
    [
        (Child("WP-2", "sewage_inflow"), "expected kind water_pressure, as registered, got sewage_inflow"),
        (Child("WP-3", "water_pressure"), "registered under gateway GW-9, not GW-1"),
    ],
)
def test_a_child_that_is_something_else_or_somebody_elses_is_refused(city: City, child: Child, why: str) -> None:
    city.registry.put(
        [Device(id="WP-2", kind="water_pressure"), Device(id="WP-3", kind="water_pressure", gateway="GW-9")]
    )
    with pytest.raises(RegistryError, match=f"{why}.*; nothing was sent"):
        planned(city.registry, "GW-1", "d", "", [child])


def test_a_child_without_a_gateway_gets_one_and_keeps_what_is_known_of_it(city: City) -> None:
    known = Device(id="WP-2", kind="water_pressure", district="d9", cadence_s=30, registered_us=5)
    city.registry.put([known])
    devices = planned(city.registry, "GW-1", "d", "S-1", [Child("WP-2", "water_pressure")])
    register(city.registry, "GW-1", "S-1", devices)
    assert city.registry.device("WP-2") == replace(known, gateway="GW-1")


def test_children_that_the_census_has_come_by_themselves(city: City) -> None:
    city.registry.put([Device(id="WP-2", kind="water_pressure", gateway="GW-1")])
    both = planned(city.registry, "GW-1", "d", "", [Child("WP-4", "water_pressure")])
    assert [one.id for one in both] == ["WP-2", "WP-4"]


def test_a_site_and_a_gateway_that_are_known_keep_their_names(city: City) -> None:
    city.registry.put([], sites=[Site(id="S-1", name="pump house")], gateways=[Gateway(id="GW-1", label="left")])
    register(city.registry, "GW-1", "S-1", [])
    assert city.registry.sites()[0].name == "pump house"
    assert city.registry.gateways() == [Gateway(id="GW-1", site="S-1", label="left")]
