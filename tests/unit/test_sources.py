"""Two sources, the broker and the TCP listener: each may be away, and nobody's silence is blamed on the other's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.codecs import load as load_codecs
from devices.fleet import Entry, build
from ingest.decode import Decoder, segments
from ingest.journal import REFUSED, TCP_LINK, TCP_TICK, Delivery
from processors.engines.local import Engine
from processors.engines.snapshots import SnapshotFolder, apply, capture
from processors.findings import Finding
from tests.fakes.codec import SpokenCodec
from tests.support.city import T0, S, block, engine_for, in_order, reading, ticks
from tests.support.kinds import WELL

# WE-0 reports by MQTT, WE-1 is a logger on the listener.
FLEET = build(
    {"well": WELL},
    [
        Entry("WE-0", "well", registered_us=T0),
        Entry("WE-1", "well", codec="hj212", address="MN1", registered_us=T0),
    ],
)
CODECS = {**load_codecs(), "hj212": SpokenCodec("hj212")}


def run(engine: Engine, deliveries: Sequence[Delivery], first: int = 0) -> list[Finding]:
    decoder = Decoder(engine.fleet, CODECS)
    own = engine.settings
    cut = segments([block(deliveries, first)], span_us=int(own.segment_s * 1e6), rows=own.segment_rows)
    return [finding for segment in cut for finding in engine.process(decoder.decode(segment)).findings]


def at(topic: str, second: float, payload: bytes = b"") -> Delivery:
    return Delivery(topic, payload, T0 + int(second * S))


def listener(*spans: tuple[int, int]) -> list[Delivery]:
    """The listener's own words while it was up."""
    return [
        delivery
        for begin, end in spans
        for delivery in (at(TCP_LINK, begin, b"up"), *(at(TCP_TICK, s) for s in range(begin + 1, end)))
    ]


def logger(second: float, level: float = 1.0, received_s: float | None = None) -> Delivery:
    part = {"t": T0 + int(second * S), "values": {"level_m": level}, "units": {"level_m": "m"}}
    when = second if received_s is None else received_s
    return at("hj212/MN1/up", when, json.dumps([part]).encode())


def loggers(begin: int, end: int) -> list[Delivery]:
    return [logger(second + 0.5) for second in range(begin, end, 60)]


def meters(begin: int, end: int) -> list[Delivery]:
    return [reading(0, second, 1.0) for second in range(begin, end, 60)]


def told(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    return [(f.device, f.rule, f.phase.value) for f in findings]


def test_a_broker_that_is_away_is_no_silence_of_its_devices_while_the_listener_goes_on():
    journal = in_order(
        listener((0, 4000)), loggers(0, 4000), meters(0, 300), ticks(0, 300), meters(3600, 4000), ticks(3600, 4000)
    )
    assert run(engine_for(FLEET), journal) == []
    begun = [d._replace(received_us=d.received_us + S // 2) if d.topic == TCP_LINK else d for d in journal]
    assert run(engine_for(FLEET), in_order(begun)) == [], "its first word is the first of no second"


def test_a_listener_that_is_away_is_no_silence_of_its_loggers_while_the_broker_goes_on():
    journal = in_order(
        listener((0, 300), (3600, 4000)),
        loggers(0, 300),
        loggers(3600, 4000),
        meters(0, 4000),
        ticks(0, 4000),
    )
    assert run(engine_for(FLEET), journal) == []


def test_a_logger_that_falls_silent_is_noticed_also_while_the_broker_is_away():
    journal = in_order(listener((0, 1200)), loggers(0, 300), meters(0, 300), ticks(0, 300))
    (finding,) = run(engine_for(FLEET), journal)
    assert told([finding]) == [("WE-1", "silent", "raise")]
    assert finding.at == "2023-11-14T22:20:20.500Z", "240.5 s + 3 x 60 s"


def test_a_meter_that_falls_silent_is_noticed_also_while_the_listener_is_away():
    journal = in_order(listener((0, 300)), loggers(0, 300), meters(0, 300), ticks(0, 1200))
    assert told(run(engine_for(FLEET), journal)) == [("WE-0", "silent", "raise")]


def test_what_the_broker_kept_while_it_was_away_is_live_although_the_listener_went_on():
    kept = [reading(0, 300 + 60 * i, 20.0, received_s=4000 + 0.01 * i) for i in range(20)]
    journal = in_order(
        listener((0, 4100)), loggers(0, 4100), meters(0, 300), ticks(0, 300), kept, ticks(4000, 4100)
    )
    assert ("WE-0", "high", "raise") in told(run(engine_for(FLEET), journal))


def test_what_a_logger_kept_while_the_listener_was_away_is_live():
    kept = [logger(300 + 60 * i, 20.0, received_s=4000 + 0.01 * i) for i in range(20)]
    journal = in_order(listener((0, 300), (3999, 4100)), loggers(0, 300), meters(0, 4100), ticks(0, 4100), kept)
    assert ("WE-1", "high", "raise") in told(run(engine_for(FLEET), journal))


def test_a_silence_from_before_the_listeners_first_word_is_told():
    journal = in_order([logger(0.5), reading(0, 180.6, 1.0)], ticks(0, 181), listener((181, 190)), meters(0, 180))
    assert told(run(engine_for(FLEET), journal)) == [("WE-1", "silent", "raise")]
    together = [d._replace(received_us=T0 + int(180.8 * S)) if d.topic == TCP_LINK else d for d in journal]
    together.sort(key=lambda d: d.received_us)
    assert told(run(engine_for(FLEET), together)) == [("WE-1", "silent", "raise")], "within one second"


def test_a_refused_packet_of_the_listener_is_no_sign_of_the_broker():
    record = json.dumps({"topic": "hj212/X/up", "size": 1, "reason": "r", "sample": ""}, separators=(",", ":"))
    refused = [at(REFUSED, second, record.encode()) for second in range(300, 3600, 5)]
    journal = in_order(
        listener((0, 4000)), loggers(0, 4000), meters(0, 300), ticks(0, 300), refused, meters(3600, 4000)
    )
    assert run(engine_for(FLEET), journal) == []


def test_without_a_listener_there_is_one_clock_and_a_logger_by_mqtt_is_noticed():
    journal = in_order(loggers(0, 300), meters(0, 1200), ticks(0, 1200))
    assert told(run(engine_for(FLEET), journal)) == [("WE-1", "silent", "raise")]


@pytest.fixture(scope="module")
def troubled() -> list[Delivery]:
    """Both sources away in turn, one device silent in each."""
    return in_order(
        listener((0, 500), (1500, 2500)),
        loggers(0, 500),
        loggers(1500, 1700),
        meters(0, 900),
        meters(2000, 2200),
        ticks(0, 900),
        ticks(2000, 2500),
    )


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_cut_and_restored_anywhere_the_findings_are_the_same_bytes(tmp_path_factory, troubled, data):
    whole = [f.line() for f in run(engine_for(FLEET), troubled)]
    assert whole
    folder = SnapshotFolder(tmp_path_factory.mktemp("snapshots"))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(troubled) - 1), max_size=20)))
    engine, lines = engine_for(FLEET), []
    for start, end in zip([0, *cuts], [*cuts, len(troubled)], strict=True):
        lines += [f.line() for f in run(engine, troubled[start:end], start)]
        folder.save(capture(engine, end))
        state, problems = folder.newest(FLEET)
        assert state is not None
        assert not problems
        engine = engine_for(FLEET)
        apply(engine, state)
    assert lines == whole
