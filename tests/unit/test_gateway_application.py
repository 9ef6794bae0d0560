"""The host's client against the simulated gateway, over a line with faults: all of a configuration, or an error."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import ExchangeError, LinkError, ProvisionError
from devices.firmware.application.client import Client, RefusalError
from devices.firmware.application.configuration import RULES, Child, Configuration, Field
from devices.firmware.application.frames import Frame
from devices.firmware.application.messages import Capability, Connection, Refused, Request, Tag, Trouble, pack
from devices.simulator.boards.application import GatewayApplication
from devices.simulator.boards.gateway import Identity
from devices.simulator.boards.slots import Slots
from tests.fakes.serial_line import Faults, SerialLine

PEM = "-----BEGIN CERTIFICATE-----\n" + "MIIB" * 300 + "\n-----END CERTIFICATE-----\n"
OLD = Configuration(gateway="GW-1", district="d1", host="old.example", password="old-secret")
NEW = Configuration(
    gateway="GW-2",
    district="浦东",
    host="new.example",
    port=1883,
    tls=False,
    user="GW-2",
    password="new-secret",
    ca=PEM,
    site="S-1",
    period_s=30,
    children=(Child("WP-1", "water_pressure"), Child("SI-1", "sewage_inflow")),
)
NEW_ID = b"new-comm"


def held(board: GatewayApplication) -> dict[int, bytes]:
    """What the board would start with after a power cut."""
    board.power_cut()
    return board.fields


PLAIN = replace(OLD, tls=False)


def configured(board: GatewayApplication, configuration: Configuration = OLD) -> GatewayApplication:
    Client(SerialLine(board)).configure(configuration)
    return board


def test_a_configuration_is_committed_and_reads_back_equal() -> None:
    board = configured(GatewayApplication())
    client = Client(SerialLine(board))
    assert client.configure(NEW, NEW_ID) == NEW_ID
    assert held(board) == NEW.fields()
    assert client.hello().commit_id == NEW_ID


def test_what_the_new_configuration_does_not_name_is_gone() -> None:
    board = GatewayApplication()
    Client(SerialLine(board)).configure(NEW)
    Client(SerialLine(board)).configure(OLD)
    assert Configuration.of(held(board)) == OLD


def test_log_text_between_frames_reaches_the_person() -> None:
    words = bytearray()
    client = Client(SerialLine(GatewayApplication()), words.extend)
    client.configure(OLD)
    assert b"configuration stored\r\n" in words
    assert b"old-secret" not in words


def test_a_secret_is_answered_as_set_only() -> None:
    client = Client(SerialLine(configured(GatewayApplication())))
    assert client.read_back()[Field.PASSWORD] == b"\1"
    with pytest.raises(RefusalError, match="secret and is never answered") as refused:
        client.field(Field.PASSWORD)
    assert refused.value.code == Refused.SECRET


def test_no_text_of_a_configuration_shows_its_secrets() -> None:
    assert "new-secret" not in repr(NEW)


@pytest.mark.parametrize("at", range(4, 4096, 97))
def test_a_plug_pulled_anywhere_leaves_the_old_or_the_new(at: int) -> None:
    board = configured(GatewayApplication())
    line = SerialLine(board, Faults(unplug_at=[at], away_s=3))
    try:
        Client(line).configure(NEW, NEW_ID)
    except (ProvisionError, ExchangeError, LinkError):
        assert held(board) in (OLD.fields(), NEW.fields())
    else:
        assert held(board) == NEW.fields()


@pytest.mark.parametrize("at", range(0, 1700, 61))
def test_power_that_goes_in_the_middle_of_storing_leaves_the_old_and_is_mended(at: int) -> None:
    slots = Slots()
    board = configured(GatewayApplication(slots=slots))
    slots.tear_at = at
    client = Client(SerialLine(board))
    seen: list[dict[int, bytes]] = []
    board_cut = board.power_cut
    board.power_cut = lambda: (board_cut(), seen.append(board.fields))[0]  # type: ignore[method-assign]
    client.configure(NEW, NEW_ID)
    assert seen[0] in (OLD.fields(), NEW.fields())
    assert held(board) == NEW.fields()


@given(
    lose=st.sampled_from([0, 0.001, 0.01, 0.05]),
    garble=st.sampled_from([0, 0.001, 0.01]),
    drip=st.sampled_from([0, 1, 7]),
    delay_s=st.sampled_from([0, 0.3, 1.2]),
    cuts=st.lists(st.integers(1, 6000), max_size=3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_whatever_the_line_does_it_is_all_or_an_error(
    lose: float, garble: float, drip: int, delay_s: float, cuts: list[int], seed: int
) -> None:
    board = configured(GatewayApplication())
    faults = Faults(lose=lose, garble=garble, drip=drip, delay_s=delay_s, unplug_at=cuts, away_s=2, seed=seed)
    try:
        Client(SerialLine(board, faults)).configure(NEW, NEW_ID)
    except (ProvisionError, ExchangeError, LinkError):
        assert held(board) in (OLD.fields(), NEW.fields())
    else:
        assert held(board) == NEW.fields()


def test_a_line_that_loses_one_byte_in_a_thousand_is_good_enough() -> None:
    board = GatewayApplication()
    Client(SerialLine(board, Faults(lose=0.001, seed=3))).configure(NEW)
    assert held(board) == NEW.fields()


def test_a_line_that_garbles_one_byte_in_fifty_is_slow_and_no_more() -> None:
    board = GatewayApplication()
    Client(SerialLine(board, Faults(garble=0.02, seed=3))).configure(OLD)
    assert held(board) == OLD.fields()


def test_a_commit_repeated_because_its_answer_was_lost_changes_nothing() -> None:
    board = configured(GatewayApplication())
    pages = list(board.slots.pages)
    client = Client(SerialLine(board))
    body = [(Tag.STAGED_CRC, bytes(4)), (Tag.COMMIT_ID, client.hello().commit_id)]
    client.ask(Request.COMMIT, pack(body))
    assert board.slots.pages == pages


def test_staging_that_somebody_else_disturbed_is_not_committed() -> None:
    board = configured(GatewayApplication())
    client = Client(SerialLine(board))
    client.ask(Request.SET, pack([(Field.HOST, b"evil.example")]))
    body = [(Tag.STAGED_CRC, bytes(4)), (Tag.COMMIT_ID, NEW_ID)]
    with pytest.raises(RefusalError, match="not what the commit names"):
        client.ask(Request.COMMIT, pack(body))
    assert held(board) == OLD.fields()


def test_a_field_that_the_board_does_not_have_is_named_before_anything_changes() -> None:
    board = configured(GatewayApplication(Identity(capabilities=Capability(0))), PLAIN)
    with pytest.raises(ProvisionError, match="no field for CA certificate; nothing was changed"):
        Client(SerialLine(board)).configure(NEW)
    assert held(board) == PLAIN.fields()


def test_a_board_without_tls_refuses_to_be_told_to_use_it() -> None:
    board = GatewayApplication(Identity(capabilities=Capability(0)))
    with pytest.raises(ProvisionError, match=r"COMMIT refused: TLS: .*the configuration before is in force"):
        Client(SerialLine(board)).configure(OLD)
    assert not held(board)


def test_silence_says_what_to_look_at() -> None:
    class Dead(GatewayApplication):
        def receive(self, data: bytes) -> bytes:
            return b"boot: no application\r\n" * bool(data)

    with pytest.raises(
        ExchangeError, match="answer to HELLO, asked 8 times, got none; is the application running"
    ):
        Client(SerialLine(Dead())).hello()


def test_an_unknown_request_and_a_broken_body_are_refused_by_name() -> None:
    client = Client(SerialLine(GatewayApplication()))
    with pytest.raises(RefusalError, match="0x3f refused: it does not know this request"):
        client.ask(0x3F)
    with pytest.raises(RefusalError, match="SET refused: the body is not a list"):
        client.ask(Request.SET, b"\x40\x05ab")


def test_the_clock_is_set_and_goes_on() -> None:
    board = GatewayApplication()
    line = SerialLine(board)
    client = Client(line)
    assert client.hello().utc_ms == 0
    assert client.set_time(lambda: 1_767_600_000_000) >= 1_767_600_000_000
    line.pause(5)
    assert 1_767_600_005_000 <= client.hello().utc_ms < 1_767_600_006_000


def test_a_reboot_is_answered_first_and_keeps_the_configuration() -> None:
    board = configured(GatewayApplication())
    line = SerialLine(board)
    client = Client(line)
    line.pause(20)
    client.reboot()
    line.pause(1)
    hello = client.hello()
    assert (hello.uptime_s < 5, hello.provisioned) == (True, True)


def test_a_board_that_cannot_make_requests_or_has_no_loader_says_so() -> None:
    client = Client(SerialLine(GatewayApplication()))
    for ask in (lambda: client.signing_request("GW-1"), lambda: client.reboot(loader=True)):
        with pytest.raises(RefusalError, match="it cannot do this"):
            ask()


def test_a_signing_request_asked_for_twice_is_the_same_and_its_key_is_used_with_its_certificate() -> None:
    made: list[str] = []

    def make(name: str) -> tuple[str, bytes]:
        made.append(name)
        return "-----BEGIN PRIVATE KEY-----\n", b"request of " + name.encode()

    board = GatewayApplication(make_request=make)
    client = Client(SerialLine(board))
    assert client.signing_request("GW-2") == client.signing_request("GW-2") == b"request of GW-2"
    board.power_cut()
    assert client.signing_request("GW-2") == b"request of GW-2"
    assert made == ["GW-2"]
    client.configure(Configuration(gateway="GW-2", district="d", host="h", certificate=PEM))
    assert board.fields[Field.KEY].startswith(b"-----BEGIN PRIVATE KEY")


def test_status_before_a_configuration_and_without_a_network() -> None:
    client = Client(SerialLine(GatewayApplication()))
    assert client.status().connection == Connection.UNCONFIGURED
    client.configure(OLD)
    status = client.status()
    assert (status.connection, status.trouble) == (Connection.MODEM, Trouble.NO_NETWORK)


@given(st.binary(max_size=400))
def test_any_bytes_reach_a_board_and_its_configuration_stays(data: bytes) -> None:
    board = configured(GatewayApplication())
    board.receive(data)
    assert held(board) == OLD.fields()


@given(st.dictionaries(st.sampled_from(list(Field)), st.binary(max_size=80), max_size=14))
def test_any_fields_are_a_configuration_or_a_provision_error(fields: dict[int, bytes]) -> None:
    try:
        configuration = Configuration.of(fields)
    except ProvisionError:
        return
    assert all(fields[tag] for tag, rule in RULES.items() if rule.must)
    assert configuration.gateway == fields[Field.GATEWAY].decode()


def test_a_certificate_without_any_key_is_not_taken() -> None:
    board = configured(GatewayApplication())
    with pytest.raises(ProvisionError, match="COMMIT refused: client key: a field that must be set is not"):
        Client(SerialLine(board)).configure(replace(OLD, certificate=PEM))
    assert held(board) == OLD.fields()


class Liar(GatewayApplication):
    """Answers every request in time, with bodies that somebody made up."""

    bodies: list[bytes]

    def _answered(self, asked: Frame) -> Frame:
        kind = asked.type | (0x80 if len(self.bodies) % 3 else 0xC0)
        return Frame(kind, asked.sequence, self.bodies.pop() if self.bodies else b"")


BODIES = st.one_of(
    st.binary(max_size=60),
    st.lists(st.tuples(st.sampled_from([*Tag, *Field]), st.binary(max_size=9)), max_size=8).map(pack),
)


@given(st.lists(BODIES, max_size=30))
@settings(deadline=None)
def test_whatever_a_gateway_answers_is_understood_or_one_of_our_errors(bodies: list[bytes]) -> None:
    board = Liar()
    board.bodies = bodies
    client = Client(SerialLine(board))
    for ask in (client.hello, client.status, client.read_back, lambda: client.configure(OLD)):
        try:
            ask()
        except (ExchangeError, ProvisionError) as error:
            assert str(error).isprintable()  # noqa: PT017  both ways are right


class Shortens(GatewayApplication):
    @property
    def fields(self) -> dict[int, bytes]:
        return {tag: value[:8] if tag == Field.HOST else value for tag, value in super().fields.items()}


class ForgetsPasswords(GatewayApplication):
    @property
    def fields(self) -> dict[int, bytes]:
        return {tag: value for tag, value in super().fields.items() if tag != Field.PASSWORD}


@pytest.mark.parametrize(
    ("maker", "why"),
    [
        (
            Shortens,
            r"broker host: expected 'new\.example', the gateway answers 'new\.exam'; it is not provisioned",
        ),
        (ForgetsPasswords, "password: expected 'set', the gateway answers 'not set'; it is not provisioned"),
    ],
)
def test_a_board_that_holds_something_else_than_it_was_sent_is_not_called_configured(
    maker: type[GatewayApplication], why: str
) -> None:
    with pytest.raises(ProvisionError, match=why) as refused:
        Client(SerialLine(maker())).configure(NEW)
    assert "new-secret" not in str(refused.value)


def test_somebody_else_who_configures_it_meanwhile_is_noticed() -> None:
    board = GatewayApplication()

    def meddle() -> None:
        board.slots.write(b"another!" + board.slots.read()[8:])

    with pytest.raises(ProvisionError, match="somebody else configures it"):
        Client(SerialLine(board)).configure(NEW, stored=meddle)


def test_what_an_earlier_session_left_staged_is_not_committed() -> None:
    board = GatewayApplication()
    board._staged[0xC0] = b"of a maker's tool"  # type: ignore[index]
    Client(SerialLine(board)).configure(NEW)
    assert held(board) == NEW.fields()
