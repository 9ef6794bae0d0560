"""The pipeline after a crash at any point: the same findings, the same rows, nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.codecs import load as load_codecs
from devices.fleet import Entry
from devices.readings import Batch
from ingest.decode import Refused
from ingest.journal import Delivery, Journal
from processors.engines.local import EngineSettings
from processors.engines.snapshots import SnapshotFolder
from processors.findings import Finding
from processors.pipeline import Pipeline
from tests.support.city import T0, in_order, reading, ticks
from tests.support.kinds import WELL, wells

LEVELS = [1.0] * 6 + [20.0] * 6 + [1.0] * 6
STREAM = in_order(
    *([reading(d, 60 * i + d, level, seq=i) for i, level in enumerate(LEVELS)] for d in range(2)),
    [Delivery("city/d/well/WE-0/up", b"{", T0 + 200_500_000)],
    ticks(0, 1100),
)


class Register:
    def __init__(self, entries: Sequence[Entry]) -> None:
        self.known, self.number = list(entries), 1

    def entries(self) -> Sequence[Entry]:
        return self.known

    def revision(self) -> int:
        return self.number


@dataclass
class Effects:
    """What is durable outside the pipeline: idempotent, as the real parts are."""

    rows: dict[tuple[str, int], float] = field(default_factory=dict)
    upto: int = 0
    takes: bool = True
    lines: dict[bytes, None] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    twice: int = 0

    def put(self, batches: Sequence[Batch], upto: int) -> None:
        if not self.takes:
            return
        for batch in batches:
            for i in range(len(batch)):
                key = (batch.fleet.ids[int(batch.device[i])], int(batch.time_us[i]))
                self.twice += key in self.rows
                self.rows[key] = float(batch.values[i, 0])
        self.upto = max(self.upto, upto)

    def flush(self, upto: int, timeout_s: float) -> bool:  # noqa: ARG002
        return self.takes and self.upto >= upto

    def findings(self, findings: Sequence[Finding], offset: int) -> None:  # noqa: ARG002
        self.lines |= {finding.line(): None for finding in findings}

    def hold(self, refused: Sequence[Refused]) -> None:
        self.refused += refused


def pipeline(folder: Path, journal: Journal, effects: Effects, register: Register | None = None) -> Pipeline:
    return Pipeline(
        journal=journal,
        kinds={"well": WELL},
        codecs=load_codecs(),
        registry=register or Register(wells(2, registered_us=T0)),
        snapshots=SnapshotFolder(folder / "snapshots"),
        sink=effects,
        on_findings=effects.findings,
        on_refused=effects.hold,
        settings=EngineSettings(segment_rows=50),
        stored_upto=effects.upto,
    )


def journal_with(folder: Path, deliveries: Sequence[Delivery]) -> Journal:
    journal = Journal(folder / "journal.db")
    for i in range(0, len(deliveries), 40):
        journal.append(deliveries[i : i + 40])
    return journal


def drain(one: Pipeline) -> None:
    while one.step():
        pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Effects:
    folder = tmp_path_factory.mktemp("whole")
    effects = Effects()
    drain(pipeline(folder, journal_with(folder, STREAM), effects))
    assert len(effects.lines) == 4, "two wells overflow and recover"
    return effects


@settings(max_examples=15, deadline=None)
@given(crashes=st.lists(st.tuples(st.integers(0, len(STREAM)), st.booleans()), max_size=3))
def test_after_crashes_anywhere_findings_and_rows_are_the_same(tmp_path_factory, whole, crashes):
    folder = tmp_path_factory.mktemp("crash")
    journal, effects = Journal(folder / "journal.db"), Effects()
    given_ = 0
    for point, saved in sorted(crashes):
        for i in range(given_, point, 40):
            journal.append(STREAM[i : min(i + 40, point)])
        given_ = max(given_, point)
        doomed = pipeline(folder, journal, effects)
        drain(doomed)
        if saved:
            doomed.save(wait=True)
    for i in range(given_, len(STREAM), 40):
        journal.append(STREAM[i : i + 40])
    drain(pipeline(folder, journal, effects))
    assert list(effects.lines) == list(whole.lines)
    assert effects.rows == whole.rows
    assert effects.twice == 0, "what the store has is not written again"


def test_no_snapshot_is_saved_before_the_store_has_everything(tmp_path):
    journal, effects = journal_with(tmp_path, STREAM), Effects(takes=False)
    one = pipeline(tmp_path, journal, effects)
    drain(one)
    one.save(wait=True)
    assert not list((tmp_path / "snapshots").glob("*"))
    assert journal.stats().cursors.get("pipeline", 0) == 0


def test_a_refused_delivery_is_handed_over_once_with_its_offset(whole):
    assert [one.delivery.payload for one in whole.refused] == [b"{"]
    assert whole.refused[0].byte_offset >= 0


def test_a_device_that_is_registered_meanwhile_is_heard(tmp_path):
    register = Register(wells(1, registered_us=T0))
    journal, effects = Journal(tmp_path / "journal.db"), Effects()
    one = pipeline(tmp_path, journal, effects, register)
    journal.append([reading(1, 0, 1.0)])
    drain(one)
    assert "not registered" in effects.refused[0].reason
    register.known, register.number = wells(2, registered_us=T0), 2
    assert one.refresh()
    assert not one.refresh()
    journal.append([reading(1, 60, 2.0)])
    drain(one)
    assert effects.rows == {("WE-1", T0 + 60_000_000): 2.0}


def test_a_journal_that_begins_after_the_snapshot_is_read_from_its_beginning(tmp_path):
    journal, effects = journal_with(tmp_path, STREAM), Effects()
    one = pipeline(tmp_path, journal, effects)
    one.step()
    one.save(wait=True)
    saved = one.offset
    fresh = Journal(tmp_path / "other.db")
    fresh.append(STREAM[:10])
    fresh.move_cursor("x", 10)
    again = pipeline(tmp_path, fresh, Effects())
    assert again.offset == 0, f"a snapshot at {saved} lies beyond this journal's end"


def test_after_a_restart_the_first_delivery_that_the_store_lacks_is_stored(tmp_path):
    stream = [reading(0, 60 * i, float(i), seq=i, received_s=100 + 0.001 * i) for i in range(10)]
    journal, effects = Journal(tmp_path / "journal.db"), Effects()
    journal.append(stream[:5])
    drain(pipeline(tmp_path, journal, effects))
    journal.append(stream[5:])
    drain(pipeline(tmp_path, journal, effects))
    assert (len(effects.rows), effects.twice) == (10, 0)
