"""Means fill the holes between finer rows and never take their place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from devices.codecs import Context, load
from devices.codecs.hj212.coverage import uncovered
from devices.readings import Sample

S = 1_000_000
T0 = 1_767_600_000 * S
CODEC = load()["hj212"]


def row(second: float, *factors: str, value: str = "Rtd") -> Sample:
    return Sample("MN", T0 + int(second * S), {f"{one}-{value}": 1.0 for one in factors or ("w01018",)})


def hear(memory: dict[str, Any], cn: str, sample: Sample) -> list[str]:
    found = uncovered(memory, cn, sample)
    return [] if found is None else list(found.values)


def test_a_mean_is_passed_over_where_finer_values_are():
    memory: dict[str, Any] = {}
    for second in range(0, 600, 30):
        assert hear(memory, "2011", row(second)) == ["w01018-Rtd"]
    assert hear(memory, "2051", row(60, value="Avg")) == []
    assert hear(memory, "2061", row(0, value="Avg")) == []


def test_a_mean_fills_the_hole_that_a_lost_connection_left():
    memory: dict[str, Any] = {}
    for second in (*range(0, 300, 30), *range(900, 1200, 30)):
        hear(memory, "2011", row(second))
    told = [second for second in range(0, 1200, 60) if not hear(memory, "2051", row(second, value="Avg"))]
    assert told == [*range(0, 300, 60), *range(900, 1200, 60)]
    assert hear(memory, "2061", row(600, value="Avg")) == [], "the minutes have told it by now"


def test_a_hole_of_a_few_reports_is_one():
    memory: dict[str, Any] = {}
    for second in (*range(0, 301, 60), *range(480, 901, 60)):
        hear(memory, "2011", row(second))
    told = [second for second in range(0, 900, 60) if hear(memory, "2051", row(second, value="Avg"))]
    assert told == [360, 420]


def test_a_mean_that_is_sent_again_goes_on_to_where_repetitions_are_dropped():
    memory: dict[str, Any] = {}
    assert [hear(memory, "2051", row(60, value="Avg")) for _ in range(2)] == [["w01018-Avg"]] * 2


def test_a_row_of_yesterday_does_not_end_the_stretch_of_today():
    memory: dict[str, Any] = {}
    for second in (0, 60, 120, -6000, 180):
        hear(memory, "2011", row(second))
    assert hear(memory, "2051", row(150, value="Avg")) == []


def test_a_logger_that_sends_only_means_is_heard():
    memory: dict[str, Any] = {}
    for hour in range(48):
        assert hear(memory, "2061", row(3600 * hour, value="Avg")) == ["w01018-Avg"]
    assert hear(memory, "2031", row(0, value="Avg")) == []


def test_each_factor_counts_by_itself():
    memory: dict[str, Any] = {}
    for second in range(0, 300, 30):
        hear(memory, "2011", row(second, "w00000"))
    assert hear(memory, "2051", row(60, "w00000", "w01018", value="Avg")) == ["w01018-Avg"]


def test_other_data_commands_are_left_alone():
    memory: dict[str, Any] = {}
    assert hear(memory, "2021", row(0, "SB1", value="RS")) == ["SB1-RS"]
    assert memory == {}


def test_on_the_desk_every_row_counts_and_live_the_memory_does():
    def packet(cn: str, suffix: str) -> bytes:
        sample = Sample("MN0000000000000000000001", T0, {f"w01018-{suffix}": 5.0})
        return CODEC.encode([sample], Context(settings={"cn": cn}))

    real_time, minute = packet("2011", "Rtd"), packet("2051", "Avg")
    desk = Context()
    assert [len(CODEC.decode(one, desk)) for one in (real_time, minute)] == [1, 1]
    live = Context(topic="hj212/MN0000000000000000000001/up")
    assert [len(CODEC.decode(one, live)) for one in (real_time, minute)] == [1, 0]


@given(
    st.lists(
        st.tuples(st.sampled_from(["2011", "2051", "2061", "2031"]), st.integers(0, 10**6), st.integers(0, 60)),
        max_size=200,
    )
)
def test_what_is_remembered_is_bounded_and_plain(rows: list[tuple[str, int, int]]):
    memory: dict[str, Any] = {}
    for cn, second, factor in rows:
        uncovered(memory, cn, row(second, f"w{factor:05d}"))
    assert json.loads(json.dumps(memory)) == memory
    tables = memory.get("heard", {}).get("MN", {})
    assert len(tables) <= 24
    assert all(len(one) <= 32 for one in tables.values())


def test_loggers_behind_one_topic_are_told_apart():
    memory: dict[str, Any] = {}
    assert hear(memory, "2011", row(0)) == ["w01018-Rtd"]
    assert hear(memory, "2051", replace(row(0, value="Avg"), device="OTHER")) == ["w01018-Avg"]
    for number in range(1000):
        hear(memory, "2011", replace(row(0), device=str(number)))
    assert len(memory["heard"]) == 256


@pytest.mark.parametrize("order", [(0, 60, 120), (120, 60, 0)])
def test_finer_rows_that_come_late_count_as_well(order: tuple[int, ...]):
    memory: dict[str, Any] = {}
    for second in order:
        hear(memory, "2011", row(second))
    assert hear(memory, "2051", row(60, value="Avg")) == []
