"""What the sensors of one pressure zone do together, learnt from themselves.

Heads in a network fall together when demand rises, and together with the level of a tank or the setting of a pump:
a few common modes explain nearly all that sensors see. They are the principal components of the sensors' hourly
means, each scaled by what no other sensor explains of it. What remains after them is noise, until water leaves the
network where it did not before. No hydraulic model, no demand measurement, no positions.

Source: principal component models of process data and their residual, Jackson and Mudholkar 1979, Technometrics
21:341-349; regressions between pressure sensors for leaks, Daniel et al. 2022, J. Water Resour. Plann. Manage. 148(6).

s sensors, k modes. Same arrays in, same bytes out.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from devices.readings import Bool, Float64

MOST: Final = 8  # modes kept at most; a zone has two to six: demand, its daily shape, tanks, pumps, known leaks
_COMMON: Final = 3.0  # a mode must carry this times the variance of one sensor's noise to be more than noise
_ROUNDS: Final = 30  # a mode of three times the noise stands out from it by then to a millionth
_FLOOR: Final = 1e-9  # of a sensor's variance: keeps the inverse finite when two sensors are exact copies


class Habit(NamedTuple):
    """What is normal. `mean`, `sigma`: (s,) the quantity's unit; `modes`: (s, k) orthonormal, of what is scaled."""

    mean: Float64
    sigma: Float64
    modes: Float64

    def scaled(self, value: Float64) -> Float64:
        """(s,) deviation of `value` (s,) from the mean in each sensor's own noise."""
        return (value - self.mean) / self.sigma

    def rest(self, scaled: Float64) -> Float64:
        """(s,) of `scaled` (s,) what the common modes do not explain."""
        rest: Float64 = scaled - self.modes @ (self.modes.T @ scaled)
        return rest

    def filled(self, value: Float64, there: Bool) -> Float64:
        """(s,) `value` with what is not `there` as the others let expect it."""
        if there.all():
            return value
        known = self.scaled(np.where(there, value, self.mean))
        modes = self.modes[there]
        share = modes.T @ modes + np.eye(modes.shape[1]) * 1e-3  # a mode that nobody left sees stays at its mean
        score = np.linalg.solve(share, modes.T @ known[there])
        return np.where(there, value, self.mean + self.sigma * (self.modes @ score))


def absorb(
    mean: Float64, spread: Float64, value: Float64, *, own: Float64, weight: float, noise: Float64
) -> tuple[Float64, Float64]:
    """Mean (s,) and covariance (s, s) with one more hour of `weight`, that of all hours so far being one.

    `value`: (s,), NaN where nothing is known: then the sensor counts as if it had not moved, which makes it look
    unsteady for a while. Leaving out its pairs instead would be worse: demand moves sensors a hundred times more than
    noise does, and a covariance of which each part saw other hours says nothing of noise. `own`: (s,) the weight for
    each sensor's mean. `noise`: (s,) variance to add where the value was filled in.
    """
    off = np.where(np.isfinite(value), value - mean, 0.0)
    spread = spread + weight * ((1.0 - weight) * (off[:, None] * off[None, :]) + np.diag(noise) - spread)
    return mean + own * off, spread


def habit(mean: Float64, spread: Float64) -> Habit:
    """The common modes of sensors with covariance `spread` (s, s), and the noise each has of its own."""
    variance = np.diag(spread)
    firm = spread + np.diag(variance * _FLOOR)
    # The inverse's diagonal is what is left of each sensor when all others have explained what they can.
    alone = np.diag(np.linalg.inv(firm))
    sigma = np.sqrt(1.0 / np.maximum(alone, 1.0 / variance))
    size, modes = _largest(firm / (sigma[:, None] * sigma[None, :]))
    common = np.flatnonzero(size > _COMMON)[: min(MOST, len(sigma) - 2)]
    return Habit(mean, sigma, modes[:, common])


def _largest(spread: Float64) -> tuple[Float64, Float64]:
    """The largest eigenvalues (m,) and their vectors (s, m) of `spread` (s, s), by orthogonal iteration.

    A full decomposition would do, but numpy's takes a hundred times longer when it finds the processor busy.
    """
    count = len(spread)
    width = min(MOST + 4, count)
    start = np.cos(np.outer(np.arange(1, count + 1), np.arange(1, width + 1)))
    vectors, size = np.linalg.qr(spread @ start)
    for _ in range(_ROUNDS):
        vectors, size = np.linalg.qr(spread @ vectors)
    return np.abs(np.diag(size)), vectors
