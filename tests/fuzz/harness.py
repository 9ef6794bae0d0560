"""One input of the fuzzer after the other, judged: any bytes give samples or a refusal, within 50 ms and 10 MB.

An input's first byte chooses the codec, its second the sender's model, topic and dialect; the rest is the payload,
which gets its checksum right, or an envelope, where the first byte's top bit is set.
What broke a promise is kept in `tests/vectors/fuzz`, once for each place in the code, and tried with every test run.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from devices.codecs import Codec, Context
from devices.errors import PayloadError
from tests.fuzz.mending import mended
from tests.support.judging import (
    LIMIT_BYTES,
    LIMIT_S,
    all_codecs,
    contexts,
    frames,
    fresh,
    judge,
    peak_bytes,
    seconds,
)
from tests.support.vectors import vectors

CASES: Final = Path(__file__).parent.parent / "vectors" / "fuzz"
LONGEST: Final = 4096  # mutating short inputs finds more; long ones are the unit tests' affair
MEMORY_EVERY: Final = 2000  # measuring memory is slow
SENDERS_MAX: Final = 128
_MEND: Final = 0x80


class Harness:
    """Judges inputs and counts what each codec did with them.

    `names` limits it to these codecs, none to all; `cases` is the folder that findings go to.
    """

    def __init__(self, names: list[str], cases: Path = CASES) -> None:
        self._cases = cases
        self.codecs = [codec for codec in all_codecs() if not names or codec.name in names]
        self.senders = {codec.name: senders(codec) for codec in self.codecs}
        self.decoded = dict.fromkeys(self.senders, 0)
        self.refused = dict.fromkeys(self.senders, 0)
        self.found: dict[str, str] = {}
        self._count = 0

    def chosen(self, data: bytes) -> tuple[Codec, Context, bytes]:
        """Whose bytes `data` are."""
        codec = self.codecs[data[0] % _MEND % len(self.codecs)]
        some = self.senders[codec.name]
        payload = data[2:]
        if data[0] & _MEND:
            payload = mended(codec.name, payload)
        return codec, some[data[1] % len(some)], payload

    def one(self, data: bytes) -> None:
        """Judge one input; what broke a promise is kept, once for each place in the code."""
        if len(data) < 2:
            return
        codec, context, payload = self.chosen(data)
        try:
            self._judge(codec, context, payload)
        except Exception as error:  # noqa: BLE001  whatever a codec lets out is a finding
            self._keep(codec, context, payload, error)

    def _judge(self, codec: Codec, context: Context, payload: bytes) -> None:
        self._count += 1
        start = time.process_time()
        samples = judge(codec, payload, context)
        if time.process_time() - start >= LIMIT_S:
            took = seconds(codec, payload, context)
            assert took < LIMIT_S, f"{took:.3f} s"
        (self.refused if samples is None else self.decoded)[codec.name] += 1
        if self._count % MEMORY_EVERY == 0:
            peak = peak_bytes(codec, payload, context)
            assert peak < LIMIT_BYTES, f"{peak} bytes"

    def _keep(self, codec: Codec, context: Context, payload: bytes, error: Exception) -> None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{codec.name} {type(error).__name__} {Path(frame.filename).name}:{frame.lineno}"
        if place in self.found:
            return
        name = f"{codec.name}-{hashlib.sha256(payload).hexdigest()[:10]}.bin"
        self._cases.mkdir(parents=True, exist_ok=True)
        (self._cases / name).write_bytes(payload)
        self.found[place] = f"{place}: {error}; {name}, model {context.model!r}, topic {context.topic!r}"
        print(self.found[place], flush=True)  # noqa: T201  whoever waits ten minutes wants to know

    def seeds(self) -> Iterator[bytes]:
        """Well-formed frames, each under the context that it was made for."""
        for place, codec in enumerate(self.codecs):
            some = self.senders[codec.name]
            published = [(one.payload, one.context) for one in vectors() if one.codec == codec.name]
            for payload, context in [*published, *frames(codec)]:
                for first in (place, place | _MEND):
                    yield bytes([first, nearest(some, context)]) + payload[: LONGEST - 2]


def senders(codec: Codec) -> list[Context]:
    """The contexts of `codec`; where packets were published in series, also as remembered after half of them."""
    published = [one.context for one in vectors() if one.codec == codec.name and one.context.settings]
    blank = [*published, *contexts(codec)][:SENDERS_MAX]
    series = [one for one in vectors() if one.codec == codec.name and one.context.topic]
    memory: dict[str, Any] = {}
    for one in series[: len(series) // 2]:
        context = fresh(one.context)
        context.memory = memory
        with contextlib.suppress(PayloadError):
            codec.decode(one.payload, context)
    if not memory:
        return blank
    told = [fresh(one) for one in blank]
    for one in told:
        one.memory = memory
    return [*blank, *told]


def nearest(some: list[Context], context: Context) -> int:
    """The place of the first of `some` that is most like `context`."""
    likeness = [
        sum(getattr(one, name) == getattr(context, name) for name in ("model", "topic", "port", "settings"))
        for one in some
    ]
    return likeness.index(max(likeness))
