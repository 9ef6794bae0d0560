"""What moves together, and how far it wanders by itself: learned from one stretch of several quantities.

From: sums over the rows of one device, and over blocks of a few rows, as a detector keeps them. To: weights that turn
deviations of the quantities into components, each in units of what is usual for it.

Quantities whose changes go together are taken apart into components (common course, difference); the others stay as
they are. A component that wandered while it was learned has shown few independent values: the share of its spread
that lies between blocks widens its tolerance, up to ten times. So water that warms all morning says little, a flow
that was steady says much. Sources: Jackson 1991, A User's Guide to Principal Components (components of a process);
Alexopoulos and Seila 1998, Handbook of Simulation, ch. 7 (means of blocks); weighing by the share of wander is our
judgement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from devices.readings import Float64

_UNSURE: Final = 0.5  # correlations of block changes up to this arise by chance: 40 blocks scatter by 0.16
_WANDER_MOST: Final = 0.9
_DEAD: Final = 1e-12  # share of the mean square that is rounding, not variance
_LEAST: Final = 1e-200  # smaller variances cannot be divided by


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over `count` vectors of k quantities. `total`: (k,). `cross`: (k, k) of products."""

    count: int
    total: Float64
    cross: Float64

    def covariance(self) -> Float64:
        """(k, k) about the mean."""
        mean = self.total / self.count
        covariance: Float64 = self.cross / self.count - mean[:, np.newaxis] * mean
        return covariance


def weights(rows: Sums, blocks: Sums, moves: Float64, share: float) -> Float64:
    """(k, k): column i turns deviations of the k quantities into component i, in units of its usual deviation.

    `moves`: (k, k) summed products of the changes from block to block. `share`: of a quantity's noise variance, what
    is left in the smoothed value that will be judged. A quantity that never moved has no weight.
    """
    spread, between = rows.covariance(), blocks.covariance()
    live = np.flatnonzero(np.diag(spread) > np.maximum(_DEAD * np.diag(rows.cross) / rows.count, _LEAST))
    found = np.zeros_like(spread)
    if len(live):
        inner = np.ix_(live, live)
        chance = blocks.count / rows.count  # of the variance of pure noise, so much lies between blocks
        slow = (between - chance * spread)[inner] / max(1.0 - chance, chance)
        found[inner] = _weights(spread[inner], slow, moves[inner], share)
    return found


def _weights(spread: Float64, slow: Float64, moves: Float64, share: float) -> Float64:
    scale = np.sqrt(np.diag(spread))
    unit = scale[:, np.newaxis] * scale
    axes = _axes(moves)
    whole = np.maximum(_along(axes, spread / unit), _DEAD)
    wander = np.minimum(np.maximum(_along(axes, slow / unit) / whole, 0.0), _WANDER_MOST)
    usual = np.sqrt(whole * (share + wander)) / (1.0 - wander)
    found: Float64 = axes / usual / scale[:, np.newaxis]
    return found


def _axes(moves: Float64) -> Float64:
    """(k, k) columns: the components of what changes together; quantities that do not are components themselves."""
    size = np.sqrt(np.diag(moves))
    unit = np.where(size > 0, size, 1.0)
    alike = moves / (unit[:, np.newaxis] * unit)
    alike = np.sign(alike) * np.maximum(np.abs(alike) - _UNSURE, 0.0) / (1.0 - _UNSURE)
    np.fill_diagonal(alike, 1.0)
    _, axes = np.linalg.eigh(alike)
    return np.where(np.abs(axes) > 1e-9, axes, 0.0)


def _along(axes: Float64, matrix: Float64) -> Float64:
    """(k,) variance of each component."""
    along: Float64 = ((matrix @ axes) * axes).sum(axis=0)
    return along
