from __future__ import annotations

import pytest

from ingest.errors import IngestError
from ingest.timeseries.retry import RetryPolicy


def test_pauses_double_up_to_the_longest() -> None:
    policy = RetryPolicy(first_s=0.5, longest_s=5, jitter=0)
    assert [policy.pause_s(failures) for failures in (1, 2, 3, 4, 5, 9999)] == [0.5, 1, 2, 4, 5, 5]


def test_chance_only_shortens_a_pause() -> None:
    policy = RetryPolicy(first_s=1, longest_s=1, jitter=0.5)
    chances = iter((0.0, 0.5, 1.0))
    assert [policy.pause_s(1, lambda: next(chances)) for _ in range(3)] == [1, 0.75, 0.5]


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first_s": 0}, {"first_s": 9, "longest_s": 1}, {"jitter": 1}])
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(IngestError, match="retry: expected attempts >= 1"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
