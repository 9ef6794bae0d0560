from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from devices.fleet import Entry
from devices.readings import Quality
from ingest.timeseries.lines import LineBuilder, line_time_ns, mark_lines, refused, tag_prefix, tag_text
from ingest.timeseries.ports import Mark
from ingest.timeseries.rows import admit, merged
from tests.support.series import HOUR, SECOND, Row, batch_of, fleet_of, kind_of

WELL = kind_of("well", "level_m", "battery_v")
T = 1_767_600_000 * SECOND
STARTED = T - HOUR
STAMP = T * 1000


def lines(builder: LineBuilder, devices: list[str | Entry], *rows: Row) -> list[str]:
    return builder.block(merged(admit(batch_of(fleet_of(WELL, devices), rows))[0])).decode().splitlines()


def test_a_row_is_one_line_with_its_places_its_values_and_its_worst_quality() -> None:
    entry = Entry("WE-1", "well", district="d", street="", site="s 1", gateway="g")
    assert lines(LineBuilder(STARTED), [entry], ("WE-1", T, {"level_m": 1.25, "battery_v": 3})) == [
        f"well,device=WE-1,district=d,site=s\\ 1,gateway=g level_m=1.25,battery_v=3,quality=0i {STAMP}"
    ]


def test_absent_values_are_left_out_and_only_doubtful_ones_carry_their_quality() -> None:
    assert lines(
        LineBuilder(STARTED),
        ["A"],
        ("A", T, {"battery_v": 3.5}),
        ("A", T + 1, {"level_m": (7, Quality.BAD), "battery_v": 3.5}),
    ) == [
        f"well,device=A,district=d,site=s battery_v=3.5,quality=0i {STAMP}",
        f"well,device=A,district=d,site=s level_m=7,quality_level_m=3i,battery_v=3.5,quality=3i {STAMP + 1000}",
    ]


def test_a_time_that_may_have_been_written_before_carries_good_quality_too() -> None:
    builder, fleet = LineBuilder(STARTED), fleet_of(WELL, ["A"])

    def one(time_us: int) -> str:
        batch = batch_of(fleet, [("A", time_us, {"level_m": 1})])
        return builder.block(admit(batch)[0]).decode().split()[1]

    plain, explicit = "level_m=1,quality=0i", "level_m=1,quality_level_m=0i,quality=0i"
    assert [one(T), one(T), one(T + 1), one(T - 1), one(STARTED)] == [plain, explicit, plain, explicit, explicit]


def test_no_rows_are_no_bytes() -> None:
    assert lines(LineBuilder(STARTED), ["A"], ("A", T, {})) == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [("a\nb\r\tc\0d", "a b  c d"), ("ends\\\\", "ends＼＼"), ("mid\\dle", "mid\\dle"), ("\\", "＼")],
)
def test_what_a_tag_cannot_carry_is_replaced(text: str, kept: str) -> None:
    assert tag_text(text) == kept


@given(st.text(min_size=1, max_size=12), st.text(max_size=12), st.integers(-(2**62), 2**62))
def test_a_refused_line_names_its_device_again_whatever_its_name(device: str, site: str, stamp: int) -> None:
    fleet = fleet_of(WELL, [Entry(device, "well", site=site)])
    line = f"{tag_prefix(fleet, 0)} level_m=1 {stamp}".encode("utf-8", "surrogatepass")
    assert b"\n" not in line
    found = refused(line, "why")
    assert (found.device, found.kind, found.time_us) == (tag_text(device), "well", stamp // 1000)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_values_come_back_exactly(values: list[float]) -> None:
    rows: list[Row] = [("A", T + i, {"level_m": v}) for i, v in enumerate(values)]
    fields = [line.split()[1].split(",")[0] for line in lines(LineBuilder(STARTED), ["A"], *rows)]
    assert [float(field.removeprefix("level_m=")) for field in fields] == values


def test_a_line_without_a_time_has_none() -> None:
    assert (line_time_ns(b"garbage"), line_time_ns(b"a b=1 x")) == (0, 0)


def test_rows_of_one_device_and_time_become_one_with_the_last_of_each_value() -> None:
    given_rows: list[Row] = [
        ("A", T, {"level_m": 1, "battery_v": (3, Quality.BAD)}),
        ("B", T, {"level_m": 9}),
        ("A", T, {"level_m": (2, Quality.SUSPECT)}),
    ]
    rows = merged(admit(batch_of(fleet_of(WELL, ["A", "B"]), given_rows))[0])
    assert rows.device.tolist() == [0, 1]
    np.testing.assert_array_equal(rows.values, [[2, 3], [9, math.nan]])
    assert rows.quality[0].tolist() == [Quality.SUSPECT, Quality.BAD]


def test_infinite_values_and_impossible_times_are_refused_by_name() -> None:
    batch = batch_of(
        fleet_of(WELL, ["A", "B"]),
        [("A", T, {"level_m": math.inf}), ("B", -(2**63), {"level_m": 1}), ("B", T, {"level_m": 1})],
    )
    rows, rejected = admit(batch)
    assert rows.device.tolist() == [1]
    assert [(r.device, r.reason.split(",")[0]) for r in rejected] == [
        ("A", "expected finite values"),
        ("B", "expected a time between 1677 and 2262"),
    ]


RISEN = Mark(
    kind="well",
    device="WE 1",
    rule="high",
    severity="high",
    phase="raise",
    title_zh="水位高",
    title_en="level high",
    time_us=T,
)


def test_a_mark_is_one_line_and_the_same_mark_the_same_line() -> None:
    tags = "alerts,kind=well,device=WE\\ 1,rule=high,severity=high"
    line = f'{tags} title_zh="水位高",title_en="level high",phase="raise" {STAMP}\n'
    assert mark_lines([RISEN]).decode() == line
    assert mark_lines([RISEN, RISEN]).decode() == line * 2
    assert mark_lines([]) == b""


def test_a_title_with_quotes_backslashes_and_line_breaks_stays_one_field() -> None:
    (line,) = mark_lines([replace(RISEN, title_en='say "no"\\\n,x=1 2')]).decode().splitlines()
    assert 'title_en="say \\"no\\"\\\\ ,x=1 2",phase' in line


@example("\\ ", "", "")
@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_a_refused_mark_names_its_device_again_whatever_it_says(device: str, rule: str, title: str) -> None:
    mark = replace(RISEN, device="d" + device, rule=rule, title_zh=title)
    (line,) = mark_lines([mark]).splitlines()
    found = refused(line, "why")
    assert (found.device, found.kind, found.time_us) == (tag_text(mark.device), "alerts", T)
