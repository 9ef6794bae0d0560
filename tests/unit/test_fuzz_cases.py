"""What the fuzzer once found is never true again: `tests/vectors/fuzz/CODEC-*.bin`, each under every context."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.codecs import load
from tests.fuzz.harness import CASES, Harness, senders
from tests.support.judging import LIMIT_S, judge, seconds


@pytest.mark.parametrize("case", sorted(CASES.glob("*.bin")), ids=lambda case: case.stem)
def test_what_broke_a_promise_once_gives_samples_or_a_refusal_now(case: Path) -> None:
    codec = load()[case.name.partition("-")[0]]
    payload = case.read_bytes()
    for context in senders(codec):
        judge(codec, payload, context)
    assert seconds(codec, payload, senders(codec)[0], limit_s=3 * LIMIT_S) < 3 * LIMIT_S


def test_every_seed_of_the_fuzzer_reaches_its_codec(tmp_path: Path) -> None:
    harness = Harness([], tmp_path)
    seeds = list(harness.seeds())
    for seed in seeds:
        harness.one(seed)
    assert harness.found == {}
    assert all(harness.decoded.values()), harness.decoded
