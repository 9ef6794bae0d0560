"""Replay: the journal again, through the same code, to the same bytes.

From: a stretch of the journal and the snapshot before it. To: findings, as the live run stated them. Nothing
is stored and nobody is woken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from devices.codecs import Codec
from devices.fleet import Fleet
from ingest.decode import Decoder, segments
from ingest.errors import JournalCorrupt
from ingest.journal import Journal
from ingest.rules import BUILT_IN, Rule
from processors.engines.local import Engine, EngineSettings
from processors.engines.snapshots import SnapshotFolder, apply
from processors.findings import Finding
from processors.thresholds.history import History

_READ_BLOCKS = 256


def replay(
    *,
    journal: Journal,
    fleet: Fleet,
    codecs: Mapping[str, Codec],
    settings: EngineSettings,
    from_us: int | None = None,
    to_us: int | None = None,
    snapshots: SnapshotFolder | None = None,
    rules: Sequence[Rule] = BUILT_IN,
    history: History = History(),  # noqa: B008  frozen
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[Finding]:
    """Findings decided by deliveries received in [from_us, to_us), in order; the whole journal by default.

    Begins at the newest snapshot before `from_us`, else at the journal's beginning: every detector is warm.
    `history`: of thresholds, each change from when it held. Uses today's registry and declared rules: a device
    registered later, or a rule declared otherwise since, speaks as of today. `progress` hears before
    which offset all is read.
    """
    first = journal.offset_at(from_us) if from_us is not None else journal.start()
    last = journal.offset_at(to_us) if to_us is not None else journal.end()
    engine = Engine(fleet, settings)
    engine.follow(history)
    offset = journal.start()
    state = snapshots.newest(fleet, not_after=first)[0] if snapshots is not None else None
    if state is not None and state.offset < offset:
        state = None
    if state is not None:
        apply(engine, state)
        offset = state.offset
    decoder = Decoder(fleet, codecs, rules, state.memory if state is not None else None)
    while offset < last:
        try:
            blocks = journal.read(offset, limit=_READ_BLOCKS)
        except JournalCorrupt as error:
            offset = error.next  # as the live run did
            continue
        if not blocks:
            return
        span_us, edges = int(settings.segment_s * 1e6), engine.edges
        for segment in segments(blocks, span_us=span_us, rows=settings.segment_rows, edges=edges):
            for finding in engine.process(decoder.decode(segment)).findings:
                if first <= finding.offset < last:
                    yield finding
            offset = segment.next
            progress(offset)
