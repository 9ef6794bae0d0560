"""What a change of a threshold would have done to the last days.

From: `deploy.preview`, which judges the journal twice. To: the command line and the console.
"""

from __future__ import annotations

from dataclasses import dataclass

from processors.backtest.run import Span
from processors.thresholds.change import Change


@dataclass(frozen=True, slots=True)
class Preview:
    """Alerts of the changed rule between two moments, UTC microseconds: without the change, with it, and what differs.

    `months`: device-months looked at.
    """

    change: Change
    start_us: int
    end_us: int
    before: int
    after: int
    gained: list[Span]
    lost: list[Span]
    months: float
