"""One anomaly score for each row of a single series.

From: a run, whose detectors say how odd each row is where they know: a state column `score` in [0, 1] per device, alert
at 0.5. To: a file. A rule without such a score counts 1 while its alert stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np

from devices.readings import Float64, Int64
from processors.backtest.run import Backtest, Span
from processors.detectors import Detector, Hits, Step
from processors.engines.telling import Rule

_SCORE: Final = "score"


class Tap:
    """Listens to the scores of one run's detectors; made before the run, read after it."""

    def __init__(self, run: Backtest) -> None:
        self._heard: dict[str, list[tuple[Int64, Float64]]] = {}
        self._silent: set[str] = set()
        for rule in run.engine.kinds[run.kind.name].rules:
            if hasattr(rule.detector, _SCORE):
                heard = self._heard[rule.use.rule] = []
                _listen(rule, heard)
            else:
                self._silent.add(rule.use.rule)

    def scores(self, time_us: Int64, spans: Sequence[Span]) -> Float64:
        """(n,) in [0, 1] at the times `time_us` (n,) of a file's rows, in any order.

        The worst of all rules; a row that was not judged (no value, no time) has 0, one that repeats a time has the
        same as the row it repeats.
        """
        found = np.zeros(len(time_us))
        for heard in self._heard.values():
            if heard:
                at, score = (np.concatenate(part) for part in zip(*heard, strict=True))
                place = np.minimum(np.searchsorted(at, time_us), len(at) - 1)
                found = np.maximum(found, np.where(at[place] == time_us, score[place], 0.0))
        for span in spans:
            if span.rule in self._silent:
                end = span.end_us if span.end_us is not None else np.iinfo(np.int64).max
                found[(time_us >= span.raised_us) & (time_us < end)] = 1.0
        return found


def _listen(rule: Rule, heard: list[tuple[Int64, Float64]]) -> None:
    rule.detector = cast("Detector", _Tapped(rule.detector, heard))


class _Tapped:
    """A detector whose scores are written down after every step; otherwise itself."""

    def __init__(self, detector: Detector, heard: list[tuple[Int64, Float64]]) -> None:
        self._detector = detector
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def step(self, step: Step) -> list[Hits]:
        hits = self._detector.step(step)
        score = np.asarray(getattr(self._detector, _SCORE), dtype=np.float64)[step.device]
        self._heard.append((step.time_us, np.clip(np.nan_to_num(score, nan=0.0), 0.0, 1.0)))
        return hits
