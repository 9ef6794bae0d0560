"""Which stretches of time a logger has told in finer rows: a mean must not take the place of what it was made from.

From: `devices.codecs.hj212.codec`. To: `Context.memory`. A logger may send the same factor in real time, by the minute,
hour and day; a row of a period is stamped at its start, where a finer value stands as well. So means are used where
nothing finer was heard, which is what a back-fill is for, and by loggers that send nothing else.

    real time   x x x x x x . . . . x x x      heard: [from, to, step], two of them
    minutes     -   -   -   M   M   -   -      M fills the hole, - is passed over
"""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, Final

from devices.readings import Sample

RANKS: Final = {"2011": 0, "2051": 1, "2061": 2, "2031": 3}
_STEP_MAX_US: Final = 2 * 86_400_000_000  # rows further apart are no series
_STRETCHES_MAX: Final = 32
_TABLES_MAX: Final = 24
_LOGGERS_MAX: Final = 256  # behind one topic
_HEARD: Final = "heard"

Stretch = list[int]  # from, to, step in microseconds; 0 for a single row


def uncovered(memory: MutableMapping[str, Any], cn: str, sample: Sample) -> Sample | None:
    """What of `sample`, of data command `cn`, nothing finer has told; None when that is nothing. Remembers it."""
    rank = RANKS.get(cn)
    if rank is None:
        return sample
    loggers: dict[str, dict[str, list[Stretch]]] = memory.setdefault(_HEARD, {})
    if sample.device not in loggers and len(loggers) >= _LOGGERS_MAX:
        del loggers[next(iter(loggers))]
    heard = loggers.setdefault(sample.device, {})
    found: Sample | None = sample
    if rank:
        told = _told(heard, rank, sample.time_us)
        if told:
            found = _without(sample, told)
    if found is not None:
        _remember(heard, f"{rank} {' '.join(found.values)}", found.time_us)
    return found


def _told(heard: dict[str, list[Stretch]], rank: int, time_us: int) -> set[str]:
    """The factors that a finer row told about `time_us`."""
    told: set[str] = set()
    for key, stretches in heard.items():
        finer, factors = _table(key)
        if finer < rank and any(begin <= time_us <= end for begin, end, _ in stretches):
            told |= factors
    return told


@lru_cache(maxsize=4096)
def _table(key: str) -> tuple[int, frozenset[str]]:
    rank, _, names = key.partition(" ")
    return int(rank), frozenset(name.partition("-")[0] for name in names.split(" "))


def _without(sample: Sample, told: set[str]) -> Sample | None:
    values = {name: value for name, value in sample.values.items() if name.partition("-")[0] not in told}
    if not values:
        return None
    flags = {name: flag for name, flag in (sample.flags or {}).items() if name in values}
    return Sample(sample.device, sample.time_us, values, sample.seq, flags or None, sample.units, sample.states)


def _remember(heard: dict[str, list[Stretch]], key: str, time_us: int) -> None:
    stretches = heard.get(key)
    if stretches is None:
        if len(heard) >= _TABLES_MAX:
            del heard[next(iter(heard))]
        heard[key] = [[time_us, time_us, 0]]
        return
    last = stretches[-1]
    _, end, step = last
    ahead = time_us - end
    if ahead > 0:
        if (step and ahead <= 2 * step) or (not step and ahead <= _STEP_MAX_US):
            last[1], last[2] = time_us, min(step or ahead, ahead)
        else:
            stretches.append([time_us, time_us, step])
    elif not any(begin <= time_us <= other for begin, other, _ in stretches):
        stretches.append([time_us, time_us, step])
        stretches.sort()
    if len(stretches) > _STRETCHES_MAX:
        del stretches[0]
