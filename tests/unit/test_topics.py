from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.topics import LEAVES, Topic, TopicError, format_topic, parse_topic, shared, subscriptions

LEVEL = st.text(st.sampled_from("abzAZ09-_.:,浦东"), min_size=1, max_size=20)


@given(LEVEL, LEVEL, LEVEL, st.sampled_from(LEAVES))
def test_a_topic_survives_formatting_and_parsing(district, kind, device, leaf):
    topic = Topic(district, kind, device, leaf)
    assert parse_topic(format_topic(topic)) == topic


@given(st.text())
def test_any_text_is_a_topic_or_a_topic_error(text):
    with contextlib.suppress(TopicError):
        assert format_topic(parse_topic(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "city/a/b/c",
        "city/a/b/c/up/",
        "City/a/b/c/up",
        "city/a//c/up",
        "city/a/b/c/UP",
        "city/+/b/c/up",
        "city/a/#/c/up",
        "city/a/b/c d/up",
        "city/a/b/c\x00/up",
        "city/a/b/c\u2028/up",
        "city/a/b/c\ud800/up",
        f"city/a/b/{'c' * 65}/up",
        f"city/{'浦' * 64}/{'浦' * 64}/{'浦' * 64}/up",
        "$undercity/link",
    ],
)
def test_what_is_not_exactly_ours_is_refused(text):
    with pytest.raises(TopicError, match=r"expected|up to") as caught:
        parse_topic(text)
    assert str(caught.value).isprintable()


def test_a_device_id_cannot_smuggle_in_another_level():
    with pytest.raises(TopicError, match="device"):
        format_topic(Topic("pudong", "water_pressure", "WP-1/down", "up"))


def test_subscriptions_of_a_group_are_shared():
    assert subscriptions() == ("city/+/+/+/up",)
    assert subscriptions("status", group="g") == ("$share/g/city/+/+/+/status",)
    with pytest.raises(TopicError, match="share group"):
        shared("city/#", "a/b")
    with pytest.raises(TopicError, match="expected one of"):
        subscriptions("sideways")
