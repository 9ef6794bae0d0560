"""What roles need around their work."""

from __future__ import annotations

import signal
import threading

import pytest

from deploy.signals import passed_on


@pytest.mark.timeout(10)
def test_a_signal_in_the_middle_of_waiting_for_it_stops_the_role() -> None:
    """The interrupted thread holds the event's own lock then."""
    stop = threading.Event()
    with passed_on(stop.set):
        with stop._cond:  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGTERM)
        assert stop.wait(5)
