"""The procedure of provisioning, against the simulated gateway with a modem that follows a script."""

from __future__ import annotations

import pytest

from devices.errors import ExchangeError, ProvisionError
from devices.firmware.application.client import Client
from devices.firmware.application.configuration import Child, Configuration
from devices.firmware.application.messages import Capability, Connection, Trouble
from devices.firmware.provision import Expected, Stage, greet, provision
from devices.simulator.boards.application import GatewayApplication
from devices.simulator.boards.gateway import Identity, Standing
from devices.simulator.boards.slots import Slots
from tests.fakes.serial_line import Faults, SerialLine

NOW_MS = 1_767_600_000_000
CONFIGURATION = Configuration(
    gateway="GW-1",
    district="d",
    host="broker.example",
    password="hunter2",
    children=(Child("WP-1", "water_pressure"),),
)


ANYBODY = Expected()


class Modem:
    """Takes each look at it one step further along `steps`, and stays at the last."""

    def __init__(self, *steps: Standing) -> None:
        self.steps = list(steps)
        self.opened: list[Configuration] = []
        self.sent: list[tuple[str, bytes]] = []

    def open(self, configuration: Configuration) -> None:
        self.opened.append(configuration)

    def standing(self) -> Standing:
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]

    def publish(self, topic: str, payload: bytes, readings: int) -> None:
        self.sent.append((topic, payload))
        assert readings == 1

    def close(self) -> None:
        pass


CONNECTED = Standing(Connection.MQTT, Trouble.NONE)


class Bench:
    """A board with its line, its client, and what was told."""

    def __init__(self, *steps: Standing, slots: Slots | None = None, **identity: object) -> None:
        self.modem = Modem(*(steps or (CONNECTED,)))
        self.board = GatewayApplication(Identity(**identity), network=self.modem, slots=slots)  # type: ignore[arg-type]
        self.line = SerialLine(self.board, Faults())
        self.client = Client(self.line)
        self.told: list[tuple[Stage, str]] = []

    def now_ms(self) -> int:
        return NOW_MS + int(self.line.now() * 1000)

    def run(
        self, configuration: Configuration = CONFIGURATION, expected: Expected = ANYBODY, **more: object
    ) -> object:
        hello = greet(self.client, expected, configuration.gateway)
        return provision(
            self.client,
            self.line,
            hello,
            configuration,
            now_ms=self.now_ms,
            told=lambda stage, line: self.told.append((stage, line)),
            **more,  # type: ignore[arg-type]
        )


def test_a_new_board_is_configured_connects_and_reports_its_children() -> None:
    bench = Bench()
    bench.run()
    bench.line.pause(1)
    assert bench.modem.opened[-1] == CONFIGURATION
    topic, payload = bench.modem.sent[0]
    assert topic == "city/d/gateway/GW-1/up"
    assert b'"id":"WP-1"' in payload
    assert [stage for stage, _ in bench.told] == [Stage.TIME, Stage.COMMIT, Stage.CONNECT]


def test_a_restart_keeps_the_configuration_and_gets_the_time_again() -> None:
    bench = Bench()
    bench.run(restart=True)
    assert [stage for stage, _ in bench.told] == [
        Stage.TIME,
        Stage.COMMIT,
        Stage.RESTART,
        Stage.TIME,
        Stage.CONNECT,
    ]
    assert bench.board.utc_ms > NOW_MS


def test_the_caller_is_told_the_moment_of_the_commit() -> None:
    bench = Bench()
    seen: list[int] = []
    bench.run(committed=lambda: seen.append(len(bench.board.fields)))
    assert seen == [len(CONFIGURATION.fields())]


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        (Expected(board="gw-other"), "expected board gw-other, it says gw-sim; nothing was changed"),
        (Expected(revision="r3"), "expected revision r3, it says r2; nothing was changed"),
        (Expected(serial="X"), "expected serial number X, it says SIM-0001"),
    ],
)
def test_another_board_than_expected_is_left_alone(expected: Expected, why: str) -> None:
    bench = Bench()
    with pytest.raises(ProvisionError, match=why):
        bench.run(expected=expected)
    assert not bench.board.fields


def test_a_gateway_that_is_another_already_is_left_alone_unless_it_is_meant() -> None:
    bench = Bench()
    bench.run()
    other = Configuration(gateway="GW-2", district="d", host="broker.example")
    with pytest.raises(ProvisionError, match="it is gateway 'GW-1' already, to become GW-2; nothing was changed"):
        bench.run(other)
    bench.run(other, Expected(replace=True))
    assert bench.modem.opened[-1] == other


def test_a_board_without_tls_is_told_before_anything_is_sent() -> None:
    bench = Bench(capabilities=Capability(0))
    with pytest.raises(ProvisionError, match="it cannot do TLS; nothing was changed"):
        bench.run()
    assert not bench.board.fields


def test_what_keeps_it_from_the_broker_is_said_in_the_boards_words() -> None:
    bench = Bench(Standing(Connection.TCP, Trouble.LOGIN, "CONNACK 5"))
    with pytest.raises(ProvisionError) as refused:
        bench.run(connect_s=20)
    assert "the broker's port is open; user name or password is wrong (CONNACK 5)" in str(refused.value)
    assert "its configuration is stored, it goes on trying" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_each_step_towards_the_broker_is_told_once() -> None:
    modem, network = Standing(Connection.MODEM, Trouble.NONE), Standing(Connection.NETWORK, Trouble.NONE)
    bench = Bench(modem, *[modem] * 30, *[network] * 30, CONNECTED)
    bench.run()
    told = [line for stage, line in bench.told if stage is Stage.CONNECT]
    assert len(told) == len(set(told)) <= 3
    assert told[-1] == "connected to the broker"


def test_a_clock_that_does_not_stay_is_named() -> None:
    bench = Bench()
    times = iter([NOW_MS, NOW_MS - 60_000])
    hello = greet(bench.client, Expected(), "GW-1")
    with pytest.raises(ProvisionError, match=r"it is 60\.\d s off"):
        provision(bench.client, bench.line, hello, CONFIGURATION, now_ms=lambda: next(times), told=lambda *_: None)
    assert not bench.board.fields


def test_a_board_that_loses_its_configuration_in_the_restart_is_not_called_provisioned() -> None:
    bench = Bench()
    cut = bench.board.power_cut

    def forget() -> None:
        bench.board.slots.pages = [b"", b""]
        cut()

    bench.board.power_cut = forget  # type: ignore[method-assign]
    with pytest.raises(ProvisionError, match="it did not keep its configuration"):
        bench.run(restart=True)


def test_a_board_that_goes_dead_is_an_exchange_error() -> None:
    bench = Bench()
    hello = greet(bench.client, Expected(), "GW-1")
    bench.board.receive = lambda data: data[:0]  # type: ignore[method-assign]
    with pytest.raises(ExchangeError, match="asked 8 times, got none"):
        provision(bench.client, bench.line, hello, CONFIGURATION, now_ms=bench.now_ms, told=lambda *_: None)
