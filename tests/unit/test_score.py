from __future__ import annotations

from deploy.demo.score import Noticed, Row, Sent, delivery, detection, percentiles, receipts
from devices.simulator.faults import Labelled

S = 1_000_000
TILT = Labelled("MC-1", "manhole_cover", "opened", 100 * S, 200 * S, ("tilted",))
SHOCK = Labelled("MC-2", "manhole_cover", "shock", 100 * S, 200 * S, ())


def alert(device: str, rule: str, at_s: int) -> Noticed:
    return Noticed(device, "manhole_cover", rule, at_s * S, at_s * S)


def score(*noticed: Noticed, injected=(TILT, SHOCK), end_s: int = 1000):
    return detection(injected, noticed, grace_s=30, end_us=end_s * S)


def test_an_alert_of_the_faults_rule_in_time_is_a_detection_with_its_delay():
    result = score(alert("MC-1", "tilted", 112))
    assert (result.injected, result.detected, result.missed, result.false) == (1, 1, [], [])
    assert result.delays_s == [12.0]
    assert result.by_fault == {"opened": (1, 1)}


def test_an_alert_before_the_fault_or_on_another_device_is_false_and_the_fault_is_missed():
    result = score(alert("MC-1", "tilted", 99), alert("MC-3", "tilted", 120))
    assert result.missed == [TILT]
    assert len(result.false) == 2


def test_an_alert_about_a_harmless_disturbance_is_false():
    assert [a.device for a in score(alert("MC-2", "tilted", 120)).false] == ["MC-2"]


def test_another_rule_on_a_faulty_device_is_neither_detection_nor_false():
    result = score(alert("MC-1", "battery_low", 120))
    assert (result.detected, result.false) == (0, [])


def test_a_fault_that_the_end_cut_short_is_not_counted():
    assert score(end_s=120).injected == 0


def test_lost_duplicated_and_strange_rows_are_told_apart():
    result = delivery([("a", 1), ("a", 2), ("b", 1)], [("a", 1), ("a", 1), ("b", 1), ("c", 9)])
    assert (result.published, result.stored, result.lost, result.duplicated, result.strange) == (3, 3, 1, 1, 1)


def test_no_latencies_have_no_percentiles():
    assert percentiles([]) is None
    assert percentiles([1.0, 1.0, 3.0]) == (1.0, 2.96)


def sent(at_s: int, value: float, device: str = "WP-1") -> Sent:
    return Sent(device, at_s * S, {"pressure_kpa": value})


def row(at_s: float, value: float, device: str = "WP-1") -> Row:
    return Row(device, int(at_s * S), {"pressure_kpa": value})


def counted(messages: list[Sent], rows: list[Row]) -> tuple[int, int, int, int]:
    result = receipts(messages, rows, within_us=20 * S).delivery
    return result.published, result.lost, result.duplicated, result.strange


def test_readings_without_a_time_are_found_again_by_their_values_after_they_were_sent():
    messages = [sent(0, 410.1), sent(60, 409.8), sent(120, 410.1)]
    rows = [row(0.1, 410.1), row(60.2, 409.80000000000001), row(120.1, 410.1)]
    found = receipts(messages, rows, within_us=20 * S)
    assert counted(messages, rows) == (3, 0, 0, 0)
    assert found.at_us == {("WP-1", 100_000): 0, ("WP-1", 60_200_000): 60 * S, ("WP-1", 120_100_000): 120 * S}


def test_a_lost_reading_is_not_made_good_by_another_that_came_twice():
    messages = [sent(0, 410.1), sent(60, 409.8)]
    assert counted(messages, [row(0.1, 410.1), row(0.2, 410.1)]) == (2, 1, 1, 0)


def test_a_row_from_before_the_sending_or_long_after_it_or_of_another_device_does_not_count():
    assert counted([sent(60, 410.1)], [row(59.9, 410.1)]) == (1, 1, 1, 0)
    assert counted([sent(60, 410.1)], [row(80.1, 410.1)]) == (1, 1, 1, 0)
    assert counted([sent(60, 410.1)], [row(60.1, 410.1, "WP-2")]) == (1, 1, 0, 1)


def test_a_value_that_repeats_counts_as_often_as_it_was_sent():
    messages = [sent(at, 5.0) for at in range(0, 50, 10)]
    assert counted(messages, [row(at + 0.1, 5.0) for at in range(0, 50, 10)]) == (5, 0, 0, 0)
    assert counted(messages, [row(at + 0.1, 5.0) for at in range(0, 40, 10)]) == (5, 1, 0, 0)
    assert counted(messages, [row(at + 0.1, 5.0) for at in (0, 10, 10.5, 20, 30, 40)]) == (5, 0, 1, 0)
