"""The outbox: messages owed, in the same transaction as the alert's change, until somebody delivered them.

From: the alert book (`enqueue`). To: senders (`claim`, then `delivered` or `postpone`). A row goes
pending -> sending -> sent, back to pending after a failure, and to failed after too many of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, and_, func, not_, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from processors.findings import Finding, Phase
from processors.notify.settings import Address, NotifySettings, Where
from processors.notify.tables import OUTBOX

_RANKS: Final = {"high": 1, "medium": 2, "low": 3}


class MessageState(StrEnum):
    """What became of a message."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


class Key(NamedTuple):
    """Identity of a message: nobody is told the same thing twice at one address."""

    alert: str
    transition: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One row of the outbox; times UTC microseconds, `finding` the canonical line that caused it."""

    key: Key
    state: MessageState
    attempts: int
    next_try_us: int
    last_error: str
    created_us: int
    sent_us: int | None
    finding: bytes


def enqueue(
    connection: Connection, findings: Iterable[Finding], settings: NotifySettings, where: Where, now_us: int
) -> int:
    """Owe a message for each of `findings` to every address that wants it; how many were not owed before."""
    rows = [
        _row(finding, address, now_us)
        for finding in findings
        for address in settings.addresses
        if wants(address, finding, where)
    ]
    if not rows:
        return 0
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(OUTBOX)
    added = connection.execute(insert.on_conflict_do_nothing().returning(OUTBOX.c.alert), rows)
    return len(added.all())


def wants(address: Address, finding: Finding, where: Where) -> bool:
    """Whether `address` is to be told of `finding`."""
    if finding.phase is Phase.UPDATE and not address.updates:
        return False
    if finding.phase is Phase.CLEAR and not address.clears:
        return False
    if _RANKS.get(finding.severity, 2) > _RANKS[address.severity]:
        return False
    if address.kinds and finding.kind not in address.kinds:
        return False
    if not address.districts:
        return True
    place = where(finding.device)
    return place is None or not place.district or place.district in address.districts


def _row(finding: Finding, address: Address, now_us: int) -> dict[str, Any]:
    update_of = f"-{finding.offset}" if finding.phase is Phase.UPDATE else ""
    return {
        "alert": finding.id,
        "transition": f"{finding.phase}{update_of}",
        "address": address.name,
        "rank": _RANKS.get(finding.severity, 2),
        "state": MessageState.PENDING,
        "attempts": 0,
        "next_try_us": now_us,
        "claimed_by": "",
        "last_error": "",
        "created_us": now_us,
        "finding": finding.line(),
    }


class Outbox:
    """The sender's side; safe for several senders in several processes."""

    def __init__(self, engine: Engine, settings: NotifySettings) -> None:
        self._engine = engine
        self._settings = settings

    def claim(self, address: str, owner: str, now_us: int) -> Message | None:
        """Take the most urgent message due for `address` under a lease and count the attempt; None without one.

        A message whose lease ran out belongs to a sender that died: it is due again.
        """
        c = OUTBOX.c
        due = or_(
            and_(c.state == MessageState.PENDING, c.next_try_us <= now_us),
            and_(
                c.state == MessageState.SENDING,
                c.lease_until_us <= now_us,
                c.attempts < self._settings.max_attempts,
            ),
        )
        key = (c.alert, c.transition, c.address)
        first = (
            select(*key)
            .where(c.address == address, due, _after_its_raise())
            .order_by(c.rank, c.created_us, c.transition)
            .limit(1)
            # PostgreSQL: pass over what another sender is taking now. SQLite has one writer at a time anyway.
            .with_for_update(skip_locked=True)
            .cte("due")  # evaluated once; a plain subquery may be evaluated again and lock a second row
        )
        claim = (
            update(OUTBOX)
            .where(tuple_(*key).in_(select(first)))
            .values(
                state=MessageState.SENDING,
                attempts=c.attempts + 1,
                claimed_by=owner,
                lease_until_us=now_us + int(self._settings.lease_s * 1e6),
            )
            .returning(*OUTBOX.c)
        )
        with self._engine.begin() as connection:
            row = connection.execute(claim).mappings().one_or_none()
        return None if row is None else _message(row)

    def delivered(self, key: Key, now_us: int) -> None:
        """Record that the message arrived, whoever holds the lease by now."""
        self._set(key, None, state=MessageState.SENT, sent_us=now_us, last_error="")

    def postpone(self, key: Key, owner: str, error: str, next_try_us: int) -> None:
        """Record a failed attempt and when to try again, unless another sender took the message over."""
        self._set(key, owner, state=MessageState.PENDING, next_try_us=next_try_us, last_error=error[:200])

    def give_up(self, key: Key, owner: str, error: str) -> None:
        """Record that the message will not be tried again; it stays visible."""
        self._set(key, owner, state=MessageState.FAILED, last_error=error[:200])

    def _set(self, key: Key, owner: str | None, **values: object) -> None:
        c = OUTBOX.c
        rows = and_(c.alert == key.alert, c.transition == key.transition, c.address == key.address)
        if owner is not None:
            rows = and_(rows, c.claimed_by == owner, c.state == MessageState.SENDING)
        with self._engine.begin() as connection:
            connection.execute(update(OUTBOX).where(rows).values(lease_until_us=None, **values))

    def sweep(self, now_us: int) -> list[Key]:
        """Fail what nobody will deliver, forget what was delivered long ago; the keys of the failed."""
        c = OUTBOX.c
        names = [address.name for address in self._settings.addresses]
        stranded = and_(c.state == MessageState.PENDING, c.address.not_in(names))
        exhausted = and_(
            c.state == MessageState.SENDING,
            c.lease_until_us <= now_us,
            c.attempts >= self._settings.max_attempts,
        )
        failed: list[Key] = []
        for rows, why in (
            (stranded, "this address is no longer in the settings"),
            (exhausted, "the sender stopped during the last attempt"),
        ):
            values = {"state": MessageState.FAILED, "last_error": why, "lease_until_us": None}
            with self._engine.begin() as connection:
                done = connection.execute(
                    update(OUTBOX).where(rows).values(**values).returning(c.alert, c.transition, c.address)
                )
                failed += [Key(*row) for row in done]
        oldest = now_us - int(self._settings.keep_days * 86_400e6)
        with self._engine.begin() as connection:
            connection.execute(OUTBOX.delete().where(c.state == MessageState.SENT, c.sent_us < oldest))
        return failed

    def counts(self) -> dict[str, int]:
        """How many messages there are by state; states without any are absent."""
        query = select(OUTBOX.c.state, func.count()).group_by(OUTBOX.c.state)
        with self._engine.connect() as connection:
            return {str(state): int(count) for state, count in connection.execute(query)}

    def messages(
        self, *, alert: str | None = None, state: MessageState | None = None, limit: int = 100
    ) -> Sequence[Message]:
        """Messages, newest first; of one alert or in one state when given."""
        query = (
            select(OUTBOX).order_by(OUTBOX.c.created_us.desc(), OUTBOX.c.alert, OUTBOX.c.transition).limit(limit)
        )
        if alert is not None:
            query = query.where(OUTBOX.c.alert == alert)
        if state is not None:
            query = query.where(OUTBOX.c.state == state)
        with self._engine.connect() as connection:
            return [_message(row) for row in connection.execute(query).mappings()]


def _after_its_raise() -> ColumnElement[bool]:
    """Nobody hears that a condition ended before they heard that it began."""
    raised = OUTBOX.alias("raised")
    waits = select(raised.c.alert).where(
        raised.c.alert == OUTBOX.c.alert,
        raised.c.address == OUTBOX.c.address,
        raised.c.transition == Phase.RAISE,
        raised.c.state.in_((MessageState.PENDING, MessageState.SENDING)),
    )
    return or_(OUTBOX.c.transition == Phase.RAISE, not_(waits.exists()))


def _message(row: RowMapping) -> Message:
    return Message(
        key=Key(row["alert"], row["transition"], row["address"]),
        state=MessageState(row["state"]),
        attempts=row["attempts"],
        next_try_us=row["next_try_us"],
        last_error=row["last_error"],
        created_us=row["created_us"],
        sent_us=row["sent_us"],
        finding=row["finding"],
    )
