"""A whole system under a planned load, and the account that must balance after whatever was done to it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
from sqlalchemy import select

from deploy.brokers import MosquittoBroker
from deploy.demo.count import alerts_of, stored_rows
from deploy.settings_loader import load
from deploy.status import Status
from deploy.wiring import open_database
from ingest.journal import Journal
from processors.notify.tables import OUTBOX
from tests.support.broker import running_mosquitto
from tests.support.planned import Feed, Plan
from tests.support.system import System, until

# Often, so that a kill meets every stage: gathering, writing, saving.
_BUSY: Mapping[str, Mapping[str, object]] = {"engine": {"snapshot_s": 0.4}, "sink": {"every_s": 0.15}}
ADDRESS = "desk"
_NOTIFY = f'\n[[notify.addresses]]\nname = "{ADDRESS}"\nurl_file = "desk.url"\n'


class WholeCity:
    """Ingest and processor on a broker of our own; messages are owed to one address, which nobody serves."""

    def __init__(self, folder: Path, broker: MosquittoBroker, extra: Mapping[str, Mapping[str, object]]) -> None:
        self.broker = broker
        self.system = System(folder, broker.port, {**_BUSY, **extra})
        (folder / "desk.url").write_text("json://127.0.0.1:9/\n")
        with self.system.config.open("a") as config:
            config.write(_NOTIFY)
        self.system.settings = load(self.system.config, {})
        self._feeds: list[Feed] = []

    def start(self, *roles: str) -> None:
        """Start roles, ingest and processor when none is named, and wait until they work."""
        chosen = roles or ("ingest-0", "processor")
        ups = self.said("ingest-0", "broker_link_up")
        self.system.start(*chosen)
        if "ingest-0" in chosen:
            until(lambda: self.said("ingest-0", "broker_link_up") > ups, "ingest to reach the broker")
        if "processor" in chosen:
            until(self.processing, "the processor to read the journal")

    def processing(self) -> bool:
        """Whether the present processor has begun to read; a dead one's heartbeat does not count."""
        path = self.system.settings.status_dir / "processor.json"
        with contextlib.suppress(OSError, msgspec.DecodeError):
            status = msgspec.json.decode(path.read_bytes(), type=Status)
            return status.pid == self.system.pid("processor") and "offset" in status.fields
        return False

    def said(self, role: str, event: str) -> int:
        """How many log lines `role` wrote for `event`."""
        return sum(entry.get("event") == event for entry in self.entries(role))

    def entries(self, role: str) -> Iterator[dict[str, object]]:
        """The log lines of `role`; one that a kill cut short is passed over."""
        for line in self.system.log(role).splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry

    def feed(self, packets: list[bytes], rate: float = 2_000.0) -> Feed:
        """Begin to send `packets`."""
        feed = Feed(self.broker.port, packets, rate)
        self._feeds.append(feed)
        feed.start()
        return feed

    def send(self, packets: list[bytes]) -> None:
        """Send `packets` and return when the broker has taken them all."""
        feed = self.feed(packets, rate=20_000.0)
        feed.join(30)
        assert feed.acknowledged == len(packets)

    def reached(self, last: bytes) -> bool:
        """Whether the delivery `last`, sent last of all, is in the journal and all before it in the store."""
        where = self.place(last)
        # The heartbeat of a processor that was killed says nothing untrue: what it stored is stored.
        return where is not None and self.system.status("processor").get("stored_upto", -1) > where

    def place(self, body: bytes) -> int | None:
        """Journal offset of the first delivery `body`; None while it is not there."""
        if not self.system.settings.journal_path.exists():
            return None
        journal = Journal(self.system.settings.journal_path, read_only=True)
        try:
            offset = max(journal.start(), journal.end() - 20_000)
            while blocks := journal.read(offset, limit=1000):
                for block in blocks:
                    if body in block.payloads:
                        return block.first + list(block.payloads).index(body)
                offset = blocks[-1].next
        finally:
            journal.close()
        return None

    def settle(self, last: bytes) -> None:
        """Wait until everything is stored, then stop in good order."""
        until(lambda: self.reached(last), "the last reading to be stored")
        self.system.stop()

    def replay(self, *options: str) -> subprocess.CompletedProcess[bytes]:
        """`undercity replay`, as a person calls it."""
        command = [sys.executable, "-m", "deploy", "replay", *options, "--config", str(self.system.config)]
        return subprocess.run(command, check=False, capture_output=True, timeout=60)

    def owed(self) -> Counter[tuple[str, str]]:
        """Rows of the outbox by (alert, phase)."""
        database = open_database(self.system.settings)
        try:
            with database.connect() as connection:
                rows = connection.execute(select(OUTBOX.c.alert, OUTBOX.c.transition)).all()
        finally:
            database.dispose()
        return Counter((alert, transition) for alert, transition in rows)

    def close(self) -> None:
        """End whatever still runs."""
        for feed in self._feeds:
            feed.halt()
        self.system.close()


@contextlib.contextmanager
def whole_city(folder: Path, extra: Mapping[str, Mapping[str, object]] | None = None) -> Iterator[WholeCity]:
    """A city of its own in `folder`, nothing started but the broker."""
    with running_mosquitto(folder / "broker") as broker:
        city = WholeCity(folder, broker, extra or {})
        try:
            yield city
        finally:
            city.close()


def assert_alerts(city: WholeCity, plans: Iterable[Plan]) -> None:
    """Every planned alert once, no other; for each its beginning and its end owed once."""
    alerts = alerts_of(city.system.settings)
    planned = Counter(one for plan in plans for one in plan.alerts)
    assert Counter((alert.device, alert.onset_us) for alert in alerts) == planned
    assert {alert.rule for alert in alerts} <= {"tilted"}
    assert city.owed() == Counter((alert.id, phase) for alert in alerts for phase in ("raise", "clear"))


def assert_balanced(city: WholeCity, *plans: Plan) -> None:
    """Published = stored, nothing twice; alerts as planned; a replay of the journal states the same."""
    stored = Counter(stored_rows(city.system.settings.embedded.path))
    planned = Counter(one for plan in plans for one in plan.readings)
    assert not planned - stored, f"{len(planned - stored)} readings are missing"
    assert stored == planned
    assert_alerts(city, plans)
    replayed = city.replay("--compare")
    assert replayed.returncode == 0, replayed.stdout[:2000]
    assert b", 0 differ" in replayed.stderr
