"""What a simulated gateway publishes: its children's readings, as one JSON v1 array a period.

From: its configuration and its clock. To: topic, payload and number of readings; nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from devices.codecs.json_v1 import SAMPLES_MAX, JsonV1
from devices.firmware.application.configuration import Configuration
from devices.kinds import load
from devices.readings import Sample
from devices.simulator.profiles import KindModel

_PERIOD_S: Final = 60
_SEED: Final = 1


class Reporting:
    """Readings of the children of one gateway. Children of a kind that nobody knows are passed over."""

    def __init__(self, configuration: Configuration) -> None:
        kinds = load()
        self._topic = f"city/{configuration.district}/gateway/{configuration.gateway}/up"
        self._children = [child for child in configuration.children if child.kind in kinds][:SAMPLES_MAX]
        self._models: dict[str, KindModel] = {}
        self._kinds = kinds
        self._period_s = configuration.period_s or _PERIOD_S
        self._next_s = 0.0
        self._sequence = 0
        self._codec = JsonV1()
        self.published = 0

    def due(self, uptime_s: float, utc_ms: int) -> Iterator[tuple[str, bytes, int]]:
        """The report of this period, once."""
        if uptime_s < self._next_s or not self._children:
            return
        self._next_s = uptime_s + self._period_s
        samples = [self._sample(row, utc_ms) for row in range(len(self._children))]
        self._sequence += 1
        self.published += len(samples)
        yield self._topic, self._codec.encode(samples), len(samples)

    def _sample(self, row: int, utc_ms: int) -> Sample:
        child = self._children[row]
        kind = self._kinds[child.kind]
        model = self._models.setdefault(child.kind, KindModel(kind, seed=_SEED, start_us=utc_ms * 1000))
        moment = np.array([utc_ms * 1000], dtype=np.int64)
        values = model.rounded(model.values(np.array([row], dtype=np.int64), moment))[0]
        measured = {q.name: float(v) for q, v in zip(kind.quantities, values, strict=True) if not np.isnan(v)}
        return Sample(child.id, utc_ms * 1000, measured, self._sequence)
