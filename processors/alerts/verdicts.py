"""What crews found when they went there: whether an alert was true.

From: people, on the command line and in the console. To: the backtest, which counts how many of a rule's alerts were
true. A later verdict on an alert stands beside the earlier ones; the newest counts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Boolean, Column, Engine, Index, Integer, String, Table, insert, select

from devices.database import METADATA
from processors.alerts.tables import ALERT
from processors.errors import AlertError

VERDICT: Final = Table(
    "verdict",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("alert", String(40), nullable=False),
    Column("true", Boolean, nullable=False),
    Column("by", String(128), nullable=False),
    Column("at_us", BigInteger, nullable=False),  # our clock
    Column("note", String(500), nullable=False),
    Index("ix_verdict_alert", "alert", "number"),
)


class Verdict(NamedTuple):
    """One person's finding on the spot. `at_us`: when it was written down, UTC microseconds."""

    alert: str
    true: bool
    by: str
    at_us: int
    note: str = ""


class VerdictBook:
    """All verdicts, in the operations database; safe for several processes and threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, verdict: Verdict) -> None:
        """Write `verdict` down; AlertError for an alert that does not exist, or without a name."""
        by, note = " ".join(verdict.by.split()), " ".join(verdict.note.split())
        if not 0 < len(by) <= 128 or len(note) > 500:
            raise AlertError(
                f"alert {verdict.alert}: expected a name of 1 to 128 characters and a note of at most 500, got "
                f"{len(by)} and {len(note)}; nothing was written down"
            )
        with self._engine.begin() as connection:
            if connection.execute(select(ALERT.c.id).where(ALERT.c.id == verdict.alert)).first() is None:
                raise AlertError(
                    f"alert {verdict.alert:.60}: there is none with this id; nothing was written down"
                )
            connection.execute(insert(VERDICT), [verdict._replace(by=by, note=note)._asdict()])

    def of(self, alert: str) -> list[Verdict]:
        """The verdicts on one alert, oldest first."""
        c = VERDICT.c
        query = select(c.alert, c.true, c.by, c.at_us, c.note).where(c.alert == alert).order_by(c.number)
        with self._engine.connect() as connection:
            return [Verdict(*row) for row in connection.execute(query)]

    def newest(self) -> dict[str, bool]:
        """Whether each alert that was judged was true, by the alert's id."""
        query = select(VERDICT.c.alert, VERDICT.c.true).order_by(VERDICT.c.number)
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}
