"""Names under which HJ 212 reports a factor, for `Quantity.reads`.

From: factor codes. To: the files in `devices.kinds`. A real-time packet carries `-Rtd`; minute, hour and day packets
carry `-Avg`, stamped at the start of their period. Minima, maxima and sums are not the quantity itself.
"""

from __future__ import annotations


def factors(*codes: str) -> tuple[str, ...]:
    """Every name of a quantity's factors, best first; `?` stands for any one character.

    >>> factors("w01018", "011")
    ('w01018-Rtd', '011-Rtd', 'w01018-Avg', '011-Avg')
    """
    return tuple(f"{code}-{value}" for value in ("Rtd", "Avg") for code in codes)
