"""A straight line through daily means, for many devices at once.

From: detectors that look for change over weeks. To: slope, total change and how well the line fits. Sums go day by
day, so that they round alike for any number of devices. Source: Draper and Smith 1998, Applied Regression Analysis,
chapter 1.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from devices.readings import Bool, Float64

_TINY: Final = 1e-18


class Line(NamedTuple):
    """Per device (m,): `days` with a mean, `span` from the first to the last of them, `slope` (m, c) per day.

    `size`: (m,) length of the slope. `fit`: (m,) share of the scatter that the line explains, 0 to 1. `middle`: (m,)
    mean day, `mean`: (m, c) mean value.
    """

    days: Float64
    span: Float64
    slope: Float64
    size: Float64
    fit: Float64
    middle: Float64
    mean: Float64


def line(values: Float64) -> Line:
    """The line through `values` (m, d, c): d days, oldest first, NaN in the first component where a day has no mean."""
    count, length, width = values.shape
    there = ~np.isnan(values[:, :, 0])
    known = np.where(there[:, :, np.newaxis], values, 0.0)
    days, total = np.zeros(count), np.zeros(count)
    sums = np.zeros((count, width))
    for day in range(length):
        days += there[:, day]
        total += there[:, day] * float(day)
        sums += known[:, day]
    safe = np.maximum(days, 1.0)
    middle, mean = total / safe, sums / safe[:, np.newaxis]
    sxx, scatter, sxy = np.zeros(count), np.zeros(count), np.zeros((count, width))
    for day in range(length):
        away = (day - middle) * there[:, day]
        off = (known[:, day] - mean) * there[:, day, np.newaxis]
        sxx += away * away
        sxy += away[:, np.newaxis] * off
        scatter += _square(off)
    slope = sxy / np.maximum(sxx, _TINY)[:, np.newaxis]
    steep = _square(slope)
    fit = np.minimum(steep * sxx / np.maximum(scatter, _TINY), 1.0)
    return Line(days, _span(there), slope, np.sqrt(steep), fit, middle, mean)


def _square(vector: Float64) -> Float64:
    """(m,) squared length of `vector` (m, c), its parts added one after the other."""
    total = np.zeros(len(vector))
    for part in range(vector.shape[1]):
        total += vector[:, part] * vector[:, part]
    return total


def _span(there: Bool) -> Float64:
    length = there.shape[1]
    span = length - 1.0 - there.argmax(axis=1) - there[:, ::-1].argmax(axis=1)
    return np.where(there.any(axis=1), span, 0.0)
