"""`undercity gateway provision` as an engineer types it: real processes, a real broker with our access list."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.brokers import CONFIGURATION, MosquittoBroker
from deploy.schema import open_existing
from devices.catalog import SqlRegistry
from devices.firmware.journal import FlashBook
from tests.support.broker import make_authority, running_mosquitto, until

pytestmark = pytest.mark.scenario
PASSWORDS = {"undercity-ingest": "ingest-words", "GW-1": "right-words"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[MosquittoBroker]:
    with running_mosquitto(
        tmp_path / "broker", users=PASSWORDS, extra=[f"acl_file {CONFIGURATION / 'acl'}"]
    ) as running:
        yield running


@contextmanager
def simulated(folder: Path, *options: str) -> Iterator[str]:
    """A simulated gateway as a process of its own; its port."""
    command = [sys.executable, "-m", "deploy", "gateway", "simulate", "--for", "90s", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(20)


class Laptop:
    """A folder with settings that name the broker, and commands run in it."""

    def __init__(self, folder: Path, port: int, *, more: str = "") -> None:
        self.folder = folder
        (folder / "ingest-password").write_text("ingest-words")
        (folder / "undercity.toml").write_text(
            f'[mqtt]\nport = {port}\nusername = "undercity-ingest"\npassword_file = "ingest-password"\n{more}'
        )
        self.port = port

    def run(self, *arguments: str, words: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deploy", "gateway", *arguments]
        environment = {**os.environ, "NO_COLOR": "1"}
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=100,
            cwd=self.folder,
            check=False,
            input=words,
            env=environment,
        )

    def provision(self, url: str, *options: str, words: str = "right-words\n") -> subprocess.CompletedProcess[str]:
        where = (
            "--district",
            "d1",
            "--broker",
            f"127.0.0.1:{self.port}",
            "--no-tls",
            "--site",
            "S-1",
            "--period",
            "1s",
        )
        password = (
            () if {"--generate", "--issue", "--csr", "--certificate"} & set(options) else ("--password-file", "-")
        )
        return self.run("provision", url, "--gateway", "GW-1", *where, *password, *options, words=words)

    @property
    def registry(self) -> SqlRegistry:
        return SqlRegistry(open_existing(f"sqlite:///{self.folder}/undercity-data/operations.db"))

    def record(self) -> str:
        book = FlashBook(self.registry.engine, lambda: 0)
        return book.newest(1, gateway="GW-1")[0].provisioned


@pytest.fixture
def laptop(tmp_path: Path, broker: MosquittoBroker) -> Laptop:
    return Laptop(tmp_path, broker.port)


CHILD = ("--child", "WP-1=water_pressure")


def test_a_gateway_is_provisioned_once_its_first_reading_is_there(laptop: Laptop) -> None:
    with simulated(laptop.folder) as url:
        done = laptop.provision(url, *CHILD, "--child", "SI-1=sewage_inflow")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "GW-1: provisioned; first reading: " in done.stdout
        held = laptop.run("config", url, "--json")
    assert laptop.record().startswith("first reading: ")
    assert {one.id for one in laptop.registry.devices(gateway="GW-1")} == {"WP-1", "SI-1"}
    assert [(one.id, one.site) for one in laptop.registry.gateways()] == [("GW-1", "S-1")]
    shown = json.loads(held.stdout)
    assert (shown["gateway id"], shown["password"], shown["link"]) == ("GW-1", "set", "connected to the broker")
    everything = (
        done.stdout + done.stderr + held.stdout + (laptop.folder / "undercity-data/flashes.jsonl").read_text()
    )
    assert "right-words" not in everything


def test_a_wrong_password_is_explained_and_the_record_says_how_far_it_came(laptop: Laptop) -> None:
    with simulated(laptop.folder) as url:
        done = laptop.provision(url, *CHILD, "--connect", "6s", words="wrong-words\n")
    assert done.returncode == 1
    assert "user name or password is wrong" in done.stderr
    assert "its configuration is stored, it goes on trying" in done.stderr
    assert laptop.record().startswith("configured, not connected")
    assert "wrong-words" not in done.stdout + done.stderr + laptop.record()


def test_without_waiting_the_record_says_so(laptop: Laptop) -> None:
    with simulated(laptop.folder) as url:
        done = laptop.provision(url, "--no-wait")
    assert done.returncode == 0, done.stderr
    assert laptop.record() == "configured; nobody waited for a reading (--no-wait)"


def test_a_reading_of_a_child_that_is_gone_from_the_registry_is_not_enough(laptop: Laptop) -> None:
    with simulated(laptop.folder) as url:
        first = laptop.provision(url, *CHILD)
        assert first.returncode == 0, first.stderr
        laptop.registry.remove(["WP-1"])
        silent = laptop.provision(url, "--child", "MC-1=no_such_kind")
    assert silent.returncode == 1
    assert "MC-1: expected a kind among" in silent.stderr
    assert silent.stderr.rstrip().endswith("nothing was sent")


def test_an_id_that_the_broker_does_not_let_publish_is_explained(laptop: Laptop) -> None:
    with simulated(laptop.folder) as url:
        where = ("--district", "d1", "--broker", f"127.0.0.1:{laptop.port}", "--no-tls", "--period", "1s")
        other = ("--gateway", "GW-2", "--user", "GW-1", "--password-file", "-", "--wait", "8s")
        done = laptop.run("provision", url, *other, *where, *CHILD, words="right-words\n")
    assert done.returncode == 1
    assert (
        "nothing came under city/+/+/GW-2/up; it says: connected to the broker; it may not publish there"
        in done.stderr
    )


def test_a_generated_password_reaches_the_password_file_and_the_gateway_alone(
    laptop: Laptop, broker: MosquittoBroker
) -> None:
    passwords = broker.folder / "passwords"
    before = passwords.read_text()
    with simulated(laptop.folder) as url:
        done = laptop.provision(url, "--no-wait", "--connect", "6s", "--generate", str(passwords))
        assert "password is wrong" in done.stderr  # the broker has not read the file yet
        after = passwords.read_text()
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGHUP)  # it reads its password file anew
        until(lambda: "connected to the broker" in laptop.run("config", url).stdout, "the gateway to come in", 40)
    assert after != before
    assert {line.partition(":")[0] for line in after.splitlines()} == set(PASSWORDS)


def test_a_monitor_shows_the_log_of_a_gateway_and_keeps_it(laptop: Laptop) -> None:
    with simulated(laptop.folder) as url:
        assert laptop.provision(url, *CHILD).returncode == 0
        done = laptop.run("monitor", url, "--for", "4s", "--output", "gateway.log")
    assert done.returncode == 0, done.stderr
    assert "published 1 readings" in done.stdout
    assert (laptop.folder / "gateway.log").read_text() == done.stdout


@pytest.mark.parametrize("where", [(), ("--pty",)])
def test_the_simulated_gateway_conforms_to_the_protocol(tmp_path: Path, where: tuple[str, ...]) -> None:
    with simulated(tmp_path, *where) as url:
        done = Laptop(tmp_path, 1883).run("conformance", url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "22 passed, 0 failed, 1 not tried" in done.stdout


def test_another_board_than_named_is_left_alone(laptop: Laptop) -> None:
    with simulated(laptop.folder) as url:
        done = laptop.provision(url, *CHILD, "--board", "gw-9")
        held = laptop.run("config", url, "--json")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("expected board gw-9, it says gw-sim; nothing was changed")
    assert "gateway id" not in json.loads(held.stdout)


def test_nobody_asks_for_a_password_where_no_person_is(laptop: Laptop) -> None:
    with simulated(laptop.folder) as url:
        where = ("--district", "d1", "--broker", "127.0.0.1:1883", "--no-tls")
        done = laptop.run("provision", url, "--gateway", "GW-1", *where)
    assert done.returncode == 1
    assert "expected a terminal to ask at, or --password-file FILE; nothing was sent" in done.stderr


def test_a_broker_that_is_not_there_is_said_before_anything_is_sent(
    laptop: Laptop, broker: MosquittoBroker
) -> None:
    broker.stop()
    with simulated(laptop.folder) as url:
        done = laptop.provision(url, *CHILD)
        held = laptop.run("config", url, "--json")
    assert "cannot listen for the first reading" in done.stderr
    assert "gateway id" not in json.loads(held.stdout)


@pytest.mark.parametrize("way", ["--issue", "--csr"])
def test_a_gateway_with_a_certificate_of_ours_reports_over_tls(tmp_path: Path, way: str) -> None:
    certificates = make_authority(tmp_path / "certs")
    words = tmp_path / "words"
    words.write_text("a long passphrase\n")
    ours = tmp_path / "ours"
    plain = Laptop(tmp_path, 1883)
    made = plain.run("ca", "init", "waterworks", "--authority", str(ours), "--passphrase-file", str(words))
    assert made.returncode == 0, made.stderr
    # Our ingest comes in with a certificate too: the broker asks everyone for one.
    ingest = (
        "undercity-ingest",
        "--authority",
        str(ours),
        "--passphrase-file",
        str(words),
        "--out",
        str(tmp_path),
    )
    assert plain.run("ca", "issue", *ingest).returncode == 0
    extra = [
        f"cafile {ours / 'ca.crt'}",
        f"certfile {certificates / 'server.crt'}",
        f"keyfile {certificates / 'server.key'}",
        f"crlfile {ours / 'crl.pem'}",
        "require_certificate true",
        "use_identity_as_username true",
        f"acl_file {CONFIGURATION / 'acl'}",
    ]
    with running_mosquitto(tmp_path / "broker", extra=extra) as broker, simulated(tmp_path) as url:
        own = f'tls_ca = "{certificates / "ca.crt"}"\ntls_cert = "{tmp_path}/undercity-ingest.crt"\n'
        laptop = Laptop(tmp_path, broker.port, more=f'{own}tls_key = "{tmp_path}/undercity-ingest.key"\n')
        options = ("--tls", way, "--authority", str(ours), "--passphrase-file", str(words))
        done = laptop.provision(url, *CHILD, *options, "--broker-ca", str(certificates / "ca.crt"))
        assert done.returncode == 0, done.stdout + done.stderr
        held = laptop.run("config", url)
    assert "first reading: WP-1" in done.stdout
    assert "client key:           set" in held.stdout
    assert "PRIVATE" not in done.stdout + done.stderr + held.stdout


def signed_by_the_city(city: Path, request: Path) -> Path:
    """What the city's own authority makes of a request: a certificate beside it."""
    made = request.with_suffix(".crt")
    words = ["-CA", str(city / "ca.crt"), "-CAkey", str(city / "ca.key"), "-CAcreateserial", "-days", "2"]
    command = ["openssl", "x509", "-req", "-in", str(request), *words, "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True, timeout=20)
    return made


def test_a_gateway_with_its_own_key_and_a_certificate_of_the_city_reports_over_tls(tmp_path: Path) -> None:
    city = make_authority(tmp_path / "certs")
    plain = Laptop(tmp_path, 1883)
    assert plain.run("ca", "csr", "undercity-ingest").returncode == 0
    ingest = signed_by_the_city(city, tmp_path / "undercity-ingest.csr")
    extra = [
        f"cafile {city / 'ca.crt'}",
        f"certfile {city / 'server.crt'}",
        f"keyfile {city / 'server.key'}",
        "require_certificate true",
        "use_identity_as_username true",
        f"acl_file {CONFIGURATION / 'acl'}",
    ]
    with running_mosquitto(tmp_path / "broker", extra=extra) as broker, simulated(tmp_path) as url:
        assert plain.run("ca", "csr", "GW-1", "--port", url).returncode == 0
        theirs = signed_by_the_city(city, tmp_path / "GW-1.csr")
        own = f'tls_ca = "{city / "ca.crt"}"\ntls_cert = "{ingest}"\ntls_key = "{ingest.with_suffix(".key")}"\n'
        laptop = Laptop(tmp_path, broker.port, more=own)
        options = ("--tls", "--certificate", str(theirs), "--broker-ca", str(city / "ca.crt"))
        done = laptop.provision(url, *CHILD, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "first reading: WP-1" in done.stdout
    assert not (tmp_path / "GW-1.key").exists()
    assert (tmp_path / "undercity-ingest.key").stat().st_mode & 0o777 == 0o600
