"""What every codec promises, checked for one payload: the tests and the fuzzer judge by the same words."""

from __future__ import annotations

import contextlib
import copy
import math
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from devices.codecs import Codec, Context, load
from devices.errors import PayloadError
from devices.readings import Quality, Sample

RECEIVED_US: Final = 1_767_600_000_000_000
LIMIT_S: Final = 0.05
LIMIT_BYTES: Final = 10 * 2**20
MEMORY_BYTES: Final = 2**20
NUMBER_MAX: Final = 1e15
TEXT_MAX: Final = 1000
_TO_US: Final = 4_102_444_800_000_000  # 2100-01-01
_NODE: Final = "spBv1.0/City/{}/Edge1"

# Dialects worth trying besides none.
DIALECTS: Final[dict[str, list[dict[str, Any]]]] = {
    "hj212": [
        {"mode": "strict", "password": "123456", "version": "2017"},
        {"sm4_key": "msbE74gsiSHSEh5e", "version": "2025"},
        {"crc": "modbus"},
        {"crc": "modbus-swapped", "version": "2005"},
    ],
    "cjt188": [{"layout": "value_unit"}, {"layout": "unit_value"}, {"layout": "big_endian"}],
    "modbus": [{"unit_codes": {"1": "kPa"}}, {"unit": 5, "with_request": True}],
    "sparkplug": [{"message": "NBIRTH"}, {"message": "DDATA"}],
}
TOPICS: Final[dict[str, list[str]]] = {
    "sparkplug": [
        *(_NODE.format(message) for message in ("NBIRTH", "NDATA", "NDEATH", "NCMD")),
        *(_NODE.format(message) + "/Logger" for message in ("DBIRTH", "DDATA", "DDEATH")),
    ]
}


def contexts(codec: Codec) -> list[Context]:
    """Every model in every dialect, under every kind of topic that `codec` tells apart."""
    dialects: list[dict[str, Any]] = [{}, *DIALECTS.get(codec.name, [])]
    for settings in dialects:
        codec.check(settings)
    return [
        Context(topic=topic, model=model, received_us=RECEIVED_US, settings=settings)
        for model in (codec.models or ("",))
        for settings in dialects
        for topic in TOPICS.get(codec.name, [""])
    ]


def fresh(context: Context) -> Context:
    """The context with a memory of its own."""
    return msgspec.structs.replace(context, memory=copy.deepcopy(dict(context.memory)))


def judge(codec: Codec, payload: bytes, context: Context) -> Sequence[Sample] | None:
    """The samples, None if it was refused; AssertionError when either breaks a promise, any other error as it came."""
    context = fresh(context)
    try:
        samples = codec.decode(payload, context)
    except PayloadError as error:
        _judge_refusal(error, payload)
        return None
    finally:
        assert len(msgspec.json.encode(context.memory)) <= MEMORY_BYTES
    for sample in samples:
        _judge_sample(sample)
    return samples


def _judge_refusal(error: PayloadError, payload: bytes) -> None:
    said = str(error)
    assert said.isprintable(), said
    assert "expected" in said, said
    assert len(said) < 1000, said
    assert -1 <= error.offset <= len(payload), (error.offset, len(payload), said)


def _judge_sample(sample: Sample) -> None:
    assert len(sample.device) <= TEXT_MAX
    assert 0 <= sample.time_us < _TO_US, sample
    assert sample.seq >= -1
    for name, value in sample.values.items():
        assert isinstance(name, str), sample
        assert math.isfinite(value), sample
        assert abs(value) <= NUMBER_MAX, sample
    for name, unit in (sample.units or {}).items():
        assert name in sample.values, (name, sample)
        assert isinstance(unit, str), (name, unit)  # one that nobody knows is the decoder's to refuse
        assert len(unit) <= TEXT_MAX, (name, unit)
    for flag in (sample.flags or {}).values():
        assert isinstance(flag, Quality)
    for name, word in (sample.states or {}).items():
        assert isinstance(name, str), sample
        assert isinstance(word, str), sample


def seconds(codec: Codec, payload: bytes, context: Context, *, limit_s: float = LIMIT_S, tries: int = 3) -> float:
    """Processor time of one decoding: the first of `tries` within the limit, as the machine has others to serve."""
    took = 0.0
    for _ in range(tries):
        mine = fresh(context)
        start = time.process_time()
        _tried(codec, payload, mine)
        took = time.process_time() - start
        if took < limit_s:
            break
    return took


def peak_bytes(codec: Codec, payload: bytes, context: Context) -> int:
    """The most memory that one decoding held beside its input."""
    mine = fresh(context)
    tracemalloc.start()
    try:
        _tried(codec, payload, mine)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _tried(codec: Codec, payload: bytes, context: Context) -> None:
    with contextlib.suppress(PayloadError):
        codec.decode(payload, context)


def frames(codec: Codec) -> Iterator[tuple[bytes, Context]]:
    """Frames that `codec` builds itself, one or more for each context, with it."""
    for context in contexts(codec):
        names = dict(codec.fields(context)) or {"pressure": "kPa"}
        for values in (dict.fromkeys(names, 1.0), *({name: 1.0} for name in names)):
            if (payload := built(codec, values, context)) is not None:
                yield payload, context


# The first of these that a codec takes names the sender.
DEVICES: Final = (
    "",
    "010000A8900016F000169DC0",
    "1234567812345678",
    "88888880000001",
    "12345678",
    "City/Edge1/Logger",
)


def built(codec: Codec, values: dict[str, float], context: Context) -> bytes | None:
    """A frame of `values` from the first sender whose name the protocol can carry; None when it cannot carry them."""
    units = {name: unit for name, unit in codec.fields(context).items() if name in values}
    for device in DEVICES:
        try:
            return codec.encode((Sample(device, RECEIVED_US, values, units=units or None),), fresh(context))
        except PayloadError:
            continue
    return None


def all_codecs() -> list[Codec]:
    """Every codec, in the order of their names."""
    return [codec for _, codec in sorted(load().items())]
