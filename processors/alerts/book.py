"""The alert book: findings in, alerts out, each exactly once however often the journal is read.

From: the pipeline (`apply`) and operators (`acknowledge`). To: the console, the command line, the outbox.

One call of `apply` is one transaction: findings that are new go into the evidence, move their alerts, owe their
messages and take numbers in the order of changes; those already there are passed over. A crash before the commit
leaves nothing, one after it leaves nothing to do.

Writers take turns on the `$sequence` row of `progress`, in every process. So the numbers of changes become visible
in their own order, and a reader that remembers the last number it saw misses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, Select, Table, bindparam, func, insert, select, update
from sqlalchemy import tuple_ as sql_tuple
from sqlalchemy.dialects import postgresql, sqlite

from processors.alerts.alert import Alert, Change, acknowledged, applied, from_row, to_row
from processors.alerts.states import HOLDING, UNSEEN, AlertState, Step
from processors.alerts.tables import ALERT, CHANGE, FINDING, PROGRESS
from processors.errors import AlertError
from processors.findings import Finding
from processors.notify.outbox import enqueue
from processors.notify.settings import NotifySettings, Where, nowhere

PIPELINE: Final = "pipeline"
_SEQUENCE: Final = "$sequence"
_IDS_AT_ONCE: Final = 500  # well below both databases' limits on parameters
_LINE: Final = msgspec.json.Decoder(Finding)
_Item = TypeVar("_Item")


class AlertBook:
    """All alerts, in the operations database; safe for several processes, and for several threads."""

    def __init__(
        self,
        engine: Engine,
        settings: NotifySettings | None = None,
        *,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        where: Where = nowhere,
    ) -> None:
        self._engine = engine
        self._settings = settings or NotifySettings()
        self._now = now
        self._where = where

    def apply(self, findings: Sequence[Finding], offset: int) -> list[Change]:
        """Take the findings of the journal before `offset`, all or nothing; what changed, in order.

        Idempotent: a finding taken before changes nothing, in whatever order it comes again.
        """
        if not findings:
            return []
        now_us = self._now()
        with self._writing() as (connection, sequence):
            fresh = _record(connection, findings)
            alerts = _load(connection, {finding.id for finding in fresh})
            changes: list[Change] = []
            spoken: list[Finding] = []
            before = set(alerts)
            touched: dict[str, Alert] = {}
            for finding in fresh:
                outcome = applied(alerts.get(finding.id), finding, sequence + len(changes) + 1, now_us)
                if outcome is None:
                    continue
                touched[finding.id] = alerts[finding.id] = outcome[0]
                changes.append(outcome[1])
                if outcome[1][3:5] != (AlertState.NORMAL, AlertState.CLOSED):
                    spoken.append(finding)
            _store(connection, touched.values(), before)
            _note(connection, changes, sequence)
            enqueue(connection, spoken, self._settings, self._where, now_us)
            _advance(connection, PIPELINE, offset)
        return changes

    def acknowledge(self, alert: str, person: str, at_us: int, note: str = "") -> Alert:
        """Record that `person` has seen `alert`; repeating it changes nothing.

        AlertError for an unknown alert, or one that was over before anybody could see it.
        """
        if not person.strip():
            raise AlertError(f"alert {alert}: expected the name of who acknowledges it; it stays as it was")
        with self._writing() as (connection, sequence):
            known = _load(connection, {alert}).get(alert)
            if known is None:
                raise AlertError(f"alert {alert}: there is none with this id; nothing was acknowledged")
            if known.acknowledged_us is not None:
                return known
            changed, change = acknowledged(known, person.strip(), at_us, note, sequence + 1)
            _store(connection, [changed], {alert})
            _note(connection, [change], sequence)
        return changed

    @contextmanager
    def _writing(self) -> Iterator[tuple[Connection, int]]:
        """A transaction that no other writer of the book overlaps, and the last change's number."""
        with self._engine.begin() as connection:
            # Writing first takes the lock in both databases, before anything is read.
            take = _upsert(connection, PROGRESS).values(name=_SEQUENCE, next=0)
            take = take.on_conflict_do_update(index_elements=["name"], set_={"next": PROGRESS.c.next})
            yield connection, connection.execute(take.returning(PROGRESS.c.next)).scalar_one()

    def active(self, limit: int = 100) -> list[Alert]:
        """Alerts whose condition holds, most severe first, then newest first."""
        query = select(ALERT).where(ALERT.c.state.in_(HOLDING))
        return self._alerts(query.order_by(ALERT.c.rank, ALERT.c.onset_us.desc(), ALERT.c.id).limit(limit))

    def unacknowledged(self, limit: int = 100) -> list[Alert]:
        """Alerts nobody has seen yet, over or not, most severe first, then newest first."""
        query = select(ALERT).where(ALERT.c.state.in_(UNSEEN))
        return self._alerts(query.order_by(ALERT.c.rank, ALERT.c.onset_us.desc(), ALERT.c.id).limit(limit))

    def recent(
        self, limit: int = 100, *, device: str | None = None, before: tuple[int, str] | None = None
    ) -> list[Alert]:
        """Alerts of any state, newest onset first; of one device when given.

        `before`: (onset_us, id) of the last alert of the page before this one.
        """
        query = select(ALERT)
        if device is not None:
            query = query.where(ALERT.c.device == device)
        if before is not None:
            query = query.where(sql_tuple(ALERT.c.onset_us, ALERT.c.id) < before)
        return self._alerts(query.order_by(ALERT.c.onset_us.desc(), ALERT.c.id.desc()).limit(limit))

    def get(self, alert: str) -> Alert | None:
        """The alert with this id, None when there is none."""
        return next(iter(self._alerts(select(ALERT).where(ALERT.c.id == alert))), None)

    def changes_since(self, sequence: int, limit: int = 1000) -> list[Alert]:
        """Alerts that changed after `sequence`, as they are now, in order of their last change."""
        query = select(ALERT).where(ALERT.c.sequence > sequence)
        return self._alerts(query.order_by(ALERT.c.sequence).limit(limit))

    def history(self, alert: str) -> list[Change]:
        """Every step of one alert, in order."""
        query = select(CHANGE).where(CHANGE.c.alert == alert).order_by(CHANGE.c.sequence)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [Change(r[0], r[1], Step(r[2]), AlertState(r[3]), AlertState(r[4]), *r[5:]) for r in rows]

    def sequence(self) -> int:
        """The last change's number, 0 in an empty book; cheap, to be asked often."""
        return self.progress(_SEQUENCE)

    def progress(self, name: str = PIPELINE) -> int:
        """The journal offset before which `name` has taken everything; 0 when it never did."""
        with self._engine.connect() as connection:
            query = select(PROGRESS.c.next).where(PROGRESS.c.name == name)
            return connection.execute(query).scalar_one_or_none() or 0

    def counts(self) -> dict[str, int]:
        """How many alerts hold now, by severity; severities without any are absent."""
        query = select(ALERT.c.severity, func.count()).where(ALERT.c.state.in_(HOLDING)).group_by(ALERT.c.severity)
        with self._engine.connect() as connection:
            return dict(connection.execute(query).all())

    def findings(self, start: int = 0, end: int | None = None) -> Iterator[Finding]:
        """What was stated in journal offsets [start, end), in the engine's order, to compare with a replay."""
        query = (
            select(FINDING.c.offset, FINDING.c.line).where(FINDING.c.offset >= start).order_by(FINDING.c.offset)
        )
        if end is not None:
            query = query.where(FINDING.c.offset < end)
        with self._engine.connect() as connection:
            rows = connection.execution_options(yield_per=1000).execute(query)
            for _, group in groupby(rows, key=lambda row: row[0]):
                yield from sorted((_LINE.decode(line) for _, line in group), key=_order)

    def evidence(self, alert: str) -> list[Finding]:
        """Every finding about one alert, in the order of their offsets."""
        query = select(FINDING.c.line).where(FINDING.c.id == alert)
        with self._engine.connect() as connection:
            lines = connection.execute(query).scalars().all()
        return sorted((_LINE.decode(line) for line in lines), key=_order)

    def _alerts(self, query: Select[Any]) -> list[Alert]:
        with self._engine.connect() as connection:
            return [from_row(row) for row in connection.execute(query).mappings()]


def _order(finding: Finding) -> tuple[int, str, str, str, bool, str]:
    """The order in which the engine states findings."""
    return (finding.offset, finding.device, finding.rule, finding.onset, finding.phase != "raise", finding.at)


def _upsert(connection: Connection, table: Table) -> sqlite.Insert:
    """An INSERT that takes ON CONFLICT; both dialects spell it alike."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)  # type: ignore[return-value]
    return sqlite.insert(table)


def _record(connection: Connection, findings: Sequence[Finding]) -> list[Finding]:
    """Put `findings` into the evidence; those that were not there yet, in their order."""
    rows = [
        {"id": f.id, "phase": f.phase.value, "offset": f.offset, "at": f.at, "line": f.line()} for f in findings
    ]
    c = FINDING.c
    statement = _upsert(connection, FINDING).on_conflict_do_nothing().returning(c.id, c.phase, c.offset, c.at)
    added = {tuple(row) for row in connection.execute(statement, rows)}
    fresh = []
    for finding in findings:
        key = (finding.id, finding.phase.value, finding.offset, finding.at)
        if key in added:
            added.remove(key)  # the same finding twice in one batch counts once
            fresh.append(finding)
    return fresh


def _load(connection: Connection, ids: set[str]) -> dict[str, Alert]:
    found = {}
    for part in _parts(sorted(ids), _IDS_AT_ONCE):
        for row in connection.execute(select(ALERT).where(ALERT.c.id.in_(part))).mappings():
            found[row["id"]] = from_row(row)
    return found


def _parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _store(connection: Connection, alerts: Iterable[Alert], known: set[str]) -> None:
    new: list[dict[str, Any]] = []
    old: list[dict[str, Any]] = []
    for alert in alerts:
        (old if alert.id in known else new).append(to_row(alert))
    if new:
        connection.execute(insert(ALERT), new)
    if old:
        moving = ("sequence", "state", "severity", "rank", "updated_us", "cleared_us", "updates", "evidence",
                  "acknowledged_by", "acknowledged_us", "note")  # fmt: skip
        statement = update(ALERT).where(ALERT.c.id == bindparam("key"))
        statement = statement.values({name: bindparam(f"new_{name}") for name in moving})
        rows = [{"key": row["id"], **{f"new_{name}": row[name] for name in moving}} for row in old]
        connection.execute(statement, rows)


def _note(connection: Connection, changes: Sequence[Change], sequence: int) -> None:
    if changes:
        connection.execute(insert(CHANGE), [change._asdict() for change in changes])
        last = update(PROGRESS).where(PROGRESS.c.name == _SEQUENCE).values(next=sequence + len(changes))
        connection.execute(last)


def _advance(connection: Connection, name: str, offset: int) -> None:
    """Remember that everything before `offset` was taken; reading the journal again does not take it back."""
    statement = _upsert(connection, PROGRESS).values(name=name, next=offset)
    newer = statement.excluded.next > PROGRESS.c.next
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"next": statement.excluded.next}, where=newer
        )
    )
