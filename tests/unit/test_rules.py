from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import IngestError
from ingest.rules import BUILT_IN, TopicSettings, parse


def test_names_in_braces_stand_for_one_level_each():
    rule = parse("application/+/device/{address}/event/{leaf} chirpstack")
    assert rule.codec == "chirpstack"
    assert rule.match(["application", "7", "device", "ab01", "event", "up"]) == {"address": "ab01", "leaf": "up"}
    assert rule.match(["application", "7", "device", "ab01", "event"]) is None
    assert rule.match(["application", "7", "device", "ab01", "event", "up", "more"]) is None
    assert rule.match(["application", "7", "device", "", "event", "up"]) is None, "nobody has no address"


def test_a_hash_lets_anything_follow():
    rule = parse("senml/# senml")
    assert rule.match(["senml"]) == {}
    assert rule.match(["senml", "a", "b"]) == {}
    assert rule.match(["other"]) is None


def test_the_filters_let_in_what_the_rules_match_and_are_told_to_the_broker():
    settings = TopicSettings(rules=("dtu/{address}/up modbus",))
    assert settings.filters()[0] == "dtu/+/up"
    assert "spBv1.0/+/+/+" in settings.filters()
    assert TopicSettings(built_in=False).filters() == ()


def test_a_rule_of_the_city_comes_before_the_built_in_ones():
    settings = TopicSettings(rules=("hj212/{device}/up hj212",))
    first = next(rule for rule in settings.all() if rule.match(["hj212", "SI-1", "up"]) is not None)
    assert first.names == {"device": 1}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "a topic and a codec"),
        ("onlyatopic", "a topic and a codec"),
        ("dtu/{serial}/up modbus", "a name among device, address"),
        ("dtu/#/up modbus", "# as the last"),
        ("dtu/a+/up modbus", r"\+ as a whole level"),
        ("dtu/x{address}/up modbus", "as a whole level"),
        ("# json", "a plain first level"),
        ("+/a json", "a plain first level"),
        ("$SYS/# json", "a plain first level"),
        ("city/{district}/x json", "other than city"),
        ("{address}/up json", "a plain first level"),
        ("a/{address}/{device} json", "one of"),
    ],
)
def test_a_line_that_is_no_rule_is_refused_with_what_was_expected(line: str, reason: str):
    with pytest.raises(IngestError, match=reason):
        parse(line)


@given(st.lists(st.text(max_size=6), max_size=7))
def test_no_topic_breaks_a_rule(levels: list[str]):
    for rule in BUILT_IN:
        names = rule.match(levels)
        assert names is None or set(names) == set(rule.names)
