from __future__ import annotations

from zoneinfo import ZoneInfo

import msgspec
import pytest

from processors.findings import Evidence, Finding
from processors.notify.messages import SHORT_MAX, Composed, compose, compose_short
from processors.notify.settings import Language, Place
from tests.support.findings import finding
from tests.support.kinds import WELL

ZONE = ZoneInfo("Asia/Shanghai")
PLACE = Place(site="SITE-7", address="人民路 12 号", district="浦东")


def words(what: Finding, language: Language = "zh", place: Place | None = PLACE) -> Composed:
    return compose(what, language=language, place=place, kinds={"well": WELL}, zone=ZONE)


def short(what: Finding, place: Place | None = PLACE, language: Language = "zh") -> str:
    return compose_short(what, language=language, place=place, kinds={"well": WELL}, zone=ZONE).body


def test_a_message_says_what_where_since_when_and_by_how_much() -> None:
    assert words(finding()) == Composed(
        "[▲1 高] WP-0412 水位过高",
        "告警：水位过高 [▲1 高]\n"
        "设备：WP-0412 水井\n"
        "位置：浦东 人民路 12 号 SITE-7\n"
        "开始：2026-01-05 16:00:00\n"
        "实测：120.5 m\n"
        "限值：10 m\n"
        "数据质量：良好\n"
        "规则：high v1\n"
        f"编号：{finding().id}",
    )


def test_english_and_both_say_the_same_with_chinese_first() -> None:
    english = words(finding(), "en")
    assert english.title == "[▲1 HIGH] WP-0412 level too high"
    assert "Since: 2026-01-05 16:00:00\nObserved: 120.5 m\nLimit: 10 m" in english.body
    both = words(finding(), "both")
    assert both.title == "[▲1 高] WP-0412 水位过高 | [▲1 HIGH] WP-0412 level too high"
    assert both.body == f"{words(finding()).body}\n\n{english.body}"


def test_a_clear_says_so_first_and_how_long_it_lasted() -> None:
    cleared = words(finding(phase="clear"))
    assert cleared.title.startswith("已恢复 [▲1 高]")
    assert "恢复：2026-01-05 16:10:00 （持续 10 分 0 秒）" in cleared.body


def test_a_silent_gateway_reads_as_what_it_means() -> None:
    silent = finding("GW-9", kind="gateway", rule="gateway_silent")
    assert words(silent, place=None).title == "[▲1 高] GW-9 网关失联，其下设备状态未知"
    assert "设备：GW-9 网关" in words(silent, place=None).body


@pytest.mark.parametrize("phase", ["raise", "update", "clear"])
def test_a_short_message_fits_one_sms_and_the_place_gives_way_first(phase: str) -> None:
    long = Place(address="浦东新区世纪大道与东方路交叉口西北角人行道第三个检查井旁的绿化带内侧" * 2)
    text = short(finding(phase=phase), long)
    assert len(text) <= SHORT_MAX
    assert "▲1 高" in text
    assert "WP-0412" in text
    assert "水位过高" in text


def test_a_short_message_in_one_line() -> None:
    assert short(finding()) == "[▲1 高] WP-0412 水位过高 120.5/10m 01-05 16:00 人民路 12 号"


def test_an_unknown_kind_rule_quality_and_time_are_shown_as_they_are() -> None:
    odd = msgspec.structs.replace(
        finding(kind="rain", rule="flood"), onset="99999999999999999999us", severity="odd"
    )
    evidence: Evidence = msgspec.structs.replace(odd.evidence, quality="strange", quantity=None)
    text = words(msgspec.structs.replace(odd, evidence=evidence))
    assert text.title == "[odd] WP-0412 flood"
    assert "开始：99999999999999999999us" in text.body
    assert "数据质量：strange" in text.body
