"""A rule's parameters, one number for all devices until somebody sets another for some of them.

From: the kind's declaration, then whoever changes a rule. To: detectors, which ask for the devices of a step. A number
that is the same for all stays a number: most rules never pay for the few devices that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from devices.readings import Float64, Int64

_LONGEST_S = 3e12  # 100,000 years: what is longer never ends


class Parameters(Mapping[str, float]):
    """Named numbers over n devices; as a mapping: those that hold where nothing else was set."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._common = dict(values)
        self._own: dict[str, Float64] = {}
        self._count = 0

    def grow(self, count: int) -> None:
        """Make room for `count` devices; new ones get the common numbers."""
        for name, own in self._own.items():
            more = np.full(count - len(own), self._common[name])
            self._own[name] = np.concatenate([own, more])
        self._count = count

    def of(self, name: str, device: Int64) -> Float64 | float:
        """`name` for `device` (m,): one number while it is the same for all devices, else (m,)."""
        own = self._own.get(name)
        return self._common[name] if own is None else own[device]

    def us(self, name: str, device: Int64) -> Int64 | int:
        """A duration in seconds, as `of`, in whole microseconds."""
        own = self._own.get(name)
        if own is None:
            return int(min(self._common[name], _LONGEST_S) * 1e6)
        return (np.minimum(own[device], _LONGEST_S) * 1e6).astype(np.int64)

    def at(self, name: str, device: int) -> float:
        """`name` for one device."""
        own = self._own.get(name)
        return self._common[name] if own is None else float(own[device])

    def changed(self, device: int) -> list[str]:
        """Names of what is not as declared for `device`."""
        return [name for name, own in self._own.items() if own[device] != self._common[name]]

    def put(self, name: str, values: Float64) -> None:
        """Set `name` for all n devices: `values` (n,)."""
        if len(values) and (values != self._common[name]).any():
            self._own[name] = values.copy()
        else:
            self._own.pop(name, None)

    def __getitem__(self, name: str) -> float:
        return self._common[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._common)

    def __len__(self) -> int:
        return len(self._common)
