"""The simulated gateway's way to a broker names each trouble as a real one would: real sockets, a real Mosquitto."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.brokers import CONFIGURATION, free_port
from deploy.gateways.modem import PahoModem
from devices.firmware.application.configuration import Configuration
from devices.firmware.application.messages import Connection, Trouble
from devices.firmware.authority import found, utc_now
from devices.simulator.boards.gateway import Standing
from tests.support.broker import make_authority, running_mosquitto, until

pytestmark = pytest.mark.scenario
PLAIN = Configuration(gateway="GW-1", district="d", host="127.0.0.1", tls=False, user="GW-1", password="right")


@contextmanager
def connecting(configuration: Configuration) -> Iterator[PahoModem]:
    modem = PahoModem()
    modem.open(configuration)
    try:
        yield modem
    finally:
        modem.close()


def settled(modem: PahoModem) -> Standing:
    """How it stands once something has come of the attempt."""
    until(
        lambda: modem.standing().trouble is not Trouble.NONE or modem.standing().connection is Connection.MQTT,
        "the attempt to end",
    )
    return modem.standing()


def test_a_port_where_nobody_listens_is_refused() -> None:
    with connecting(replace(PLAIN, port=free_port())) as modem:
        assert settled(modem).trouble is Trouble.REFUSED


def test_a_configuration_whose_certificates_are_none_is_said_to_be_wrong() -> None:
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    with connecting(replace(PLAIN, tls=True, ca=pem)) as modem:
        assert settled(modem).trouble is Trouble.CONFIGURATION


def test_password_and_access_list_are_told_apart(tmp_path: Path) -> None:
    acl = [f"acl_file {CONFIGURATION / 'acl'}"]
    with running_mosquitto(tmp_path / "broker", users={"GW-1": "right"}, extra=acl) as broker:
        here = replace(PLAIN, port=broker.port)
        with connecting(replace(here, password="wrong")) as modem:
            assert settled(modem).trouble is Trouble.LOGIN
        with connecting(here) as modem:
            assert settled(modem).connection is Connection.MQTT
            modem.publish("city/d/gateway/GW-2/up", b"[]", 3)
            until(lambda: modem.standing().trouble is Trouble.NOT_ALLOWED, "the refusal")
            assert modem.standing().acknowledged == 0
            modem.publish("city/d/gateway/GW-1/up", b"[]", 3)
            until(lambda: modem.standing().acknowledged == 3, "the acknowledgement")
            assert modem.standing().trouble is Trouble.NONE


def test_a_broker_that_goes_away_is_a_broken_connection_and_comes_back(tmp_path: Path) -> None:
    with running_mosquitto(tmp_path / "broker") as broker, connecting(replace(PLAIN, port=broker.port)) as modem:
        assert settled(modem).connection is Connection.MQTT
        broker.stop()
        until(lambda: modem.standing().trouble is not Trouble.NONE, "the loss")
        broker.start()
        until(lambda: modem.standing().connection is Connection.MQTT, "the return")


def test_whose_certificate_is_not_trusted_is_told(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    server = make_authority(tmp_path / "certs")
    words = "a long passphrase"
    ours = found(tmp_path / "ours", "waterworks", words, utc_now())
    foreign = found(tmp_path / "foreign", "waterworks", words, utc_now())
    extra = [
        f"cafile {ours.folder / 'ca.crt'}",
        f"certfile {server / 'server.crt'}",
        f"keyfile {server / 'server.key'}",
        "require_certificate true",
        "use_identity_as_username true",
    ]
    trusted = (server / "ca.crt").read_text()
    with running_mosquitto(tmp_path / "broker", extra=extra) as broker:
        secure = replace(PLAIN, port=broker.port, tls=True, user="", password="")
        for ca, authority, expected in (
            (ours.pem, ours, Trouble.SERVER_CERTIFICATE),
            (trusted, foreign, Trouble.OWN_CERTIFICATE),
            (trusted, ours, Trouble.NONE),
        ):
            made = authority.unlock(words).issue("GW-1", 2, utc_now())
            with connecting(replace(secure, ca=ca, certificate=made.certificate, key=made.key)) as modem:
                assert settled(modem).trouble is expected
