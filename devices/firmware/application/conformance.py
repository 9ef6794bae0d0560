"""The checklist for a gateway that is to speak the application protocol, run against the gateway itself.

From: a maker's board on a line, on a bench. To: one result for each check, as it is known. The checks stage and commit
test configurations and put back at the end what can be read back; secrets cannot. Their names stand in the protocol's
page, which a test compares.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from devices.errors import ExchangeError, FirmwareError
from devices.firmware.application.client import Client, RefusalError
from devices.firmware.application.configuration import RULES, SECRETS, Configuration, Field, staged_crc
from devices.firmware.application.frames import Frame, FrameReader
from devices.firmware.application.messages import (
    ANSWER,
    COMMIT_ID_SIZE,
    REQUESTS,
    Capability,
    Refused,
    Request,
    Tag,
    number,
    pack,
    unpack,
)
from devices.firmware.link import Link

_ANSWER_S: Final = 0.5
_RESTART_S: Final = 12.0
_PIECE: Final = 100
_NOW_MS: Final = 1_767_600_000_000  # 2026-01-05T08:00:00Z, so that a run needs no clock
_TEST: Final = Configuration(
    gateway="GW-TEST-1",
    district="test",
    host="broker.invalid",  # RFC 2606: never resolves
    port=1883,
    tls=False,
    user="GW-TEST-1",
    password=secrets.token_hex(8),
    site="BENCH",
    period_s=60,
)


class Verdict(StrEnum):
    """What came of a check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Checked:
    """One result. `why`: expected and got, or why it was not tried."""

    name: str
    claim: str
    verdict: Verdict
    why: str = ""


class _FailedError(Exception):
    """What was expected, and what came."""


class _NotTriedError(Exception):
    """The board does not say it can."""


class Bench:
    """A board under test."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.client = Client(link)

    def raw(self, data: bytes) -> list[Frame]:
        """The frames that come within the time of an answer when `data` is sent as it is."""
        reader = FrameReader()
        self.link.discard()
        self.link.write(data)
        deadline = self.link.now() + _ANSWER_S
        found: list[Frame] = []
        while self.link.now() < deadline:
            found += [one for one in reader.feed(self.link.read(4096, 0.02)) if isinstance(one, Frame)]
        return found

    def refused(self, code: Refused, request: Request, body: bytes, about: int = -1) -> None:
        """Expect a refusal with `code`, about a tag where one is given."""
        try:
            self.client.ask(request, body)
        except RefusalError as error:
            _expect("refusal", code.name, Refused(error.code).name if error.code in set(Refused) else error.code)
            if about >= 0:
                _expect("tag it concerns", hex(about), hex(error.about) if error.about >= 0 else "none")
        else:
            raise _FailedError(f"expected a refusal {code.name}, got an answer")

    def commit(self, staged: dict[Field, bytes], commit_id: bytes) -> None:
        """Stage all of it in one frame, and commit."""
        self.client.abort()
        self.client.ask(Request.SET, pack(staged.items()))
        self.client.ask(Request.COMMIT, _commit(staged, commit_id))

    def needs(self, capability: Capability) -> None:
        """Go on only where the board says that it can."""
        if capability not in self.client.hello().capabilities:
            raise _NotTriedError(f"it does not state {capability.name}")


def run(link: Link) -> Iterator[Checked]:
    """Every check in turn; without a HELLO there is nothing to check."""
    bench = Bench(link)
    before: dict[int, bytes] = {}
    for check in CHECKS:
        result = _one(bench, check)
        yield result
        if check is _hello:
            if result.verdict is not Verdict.PASSED:
                return
            before = bench.client.read_back()
    _put_back(bench, before)


def _one(bench: Bench, check: Callable[[Bench], None]) -> Checked:
    name, _, claim = (check.__doc__ or "").partition(" ")
    verdict, why = Verdict.PASSED, ""
    try:
        check(bench)
    except _NotTriedError as reason:
        verdict, why = Verdict.NOT_TRIED, str(reason)
    except (_FailedError, FirmwareError) as reason:
        verdict, why = Verdict.FAILED, str(reason)
    return Checked(name, claim.rstrip("."), verdict, why)


def _put_back(bench: Bench, before: dict[int, bytes]) -> None:
    """The fields that could be read, if there was a configuration; a board that had none keeps the test's."""
    fields = {Field(tag): before.get(tag, b"") for tag in RULES if tag not in SECRETS}
    known, _, _ = bench.client.fields()
    staged = {tag: value for tag, value in fields.items() if tag in known}
    if before:
        bench.client.abort()
        for tag, value in staged.items():
            bench.client.stage(tag, value)
        bench.client.ask(Request.COMMIT, _commit(staged))


def _commit(staged: Mapping[Field, bytes], commit_id: bytes = b"") -> bytes:
    """The body that commits what is staged."""
    crc = staged_crc(staged).to_bytes(4, "big")
    return pack([(Tag.STAGED_CRC, crc), (Tag.COMMIT_ID, commit_id or secrets.token_bytes(COMMIT_ID_SIZE))])


def _expect(what: str, expected: object, got: object) -> None:
    if expected != got:
        raise _FailedError(f"{what}: expected {expected}, got {got}")


def _hello(bench: Bench) -> None:
    """F1 HELLO is answered with everything that must be in it."""
    hello = bench.client.hello()
    for what, value in (
        ("BOARD", hello.board),
        ("CHIP", hello.chip),
        ("SERIAL", hello.serial),
        ("VERSION", hello.version),
    ):
        if not value:
            raise _FailedError(f"{what}: expected a text, got none")


def _prompt(bench: Bench) -> None:
    """F2 HELLO is answered within 0.5 s, once, under its own sequence number."""
    answers = bench.raw(Frame(Request.HELLO, 0x5A).wire)
    got = [(one.type, one.sequence) for one in answers]
    _expect("answers", [(Request.HELLO | ANSWER, 0x5A)], got)


def _split(bench: Bench) -> None:
    """F3 Text, empty frames and half a frame in front of a frame do not matter."""
    wire = Frame(Request.HELLO, 0x5B).wire
    answers = bench.raw(b"some text\r\n\0\0\0" + wire[:4] + wire)
    _expect("answers", [0x5B], [one.sequence for one in answers])


def _crc(bench: Bench) -> None:
    """F4 A frame with a wrong CRC is not answered."""
    wire = bytearray(Frame(Request.HELLO, 0x5C).wire)
    wire[-2] ^= 0x01 if wire[-2] != 0x01 else 0x02
    _expect("answers", 0, len(bench.raw(bytes(wire))))


def _echo(bench: Bench) -> None:
    """F5 Types that are no request are not answered."""
    silent = [kind for kind in (0x40, 0x81, 0xC1, 0xFF) if kind not in REQUESTS]
    _expect("answers", 0, sum(len(bench.raw(Frame(kind, 1).wire)) for kind in silent))


def _unknown(bench: Bench) -> None:
    """F6 An unknown request is refused with UNKNOWN_REQUEST."""
    answers = bench.raw(Frame(0x3E, 0x5D).wire)
    _expect("refusals", [(0xFE, 0x5D)], [(one.type, one.sequence) for one in answers])
    _expect("code", Refused.UNKNOWN_REQUEST, number(unpack(answers[0].body), Tag.CODE, 1))


def _malformed(bench: Bench) -> None:
    """F7 A body that is no list of values is refused with MALFORMED."""
    bench.refused(Refused.MALFORMED, Request.SET, b"\x40\x09ab")


def _version(bench: Bench) -> None:
    """F8 A version that it does not speak is refused with VERSION, in version 1."""
    answers = bench.raw(Frame(Request.HELLO, 0x5E, version=7).wire)
    _expect("refusals", [(0xC1, 0x5E, 1)], [(one.type, one.sequence, one.version) for one in answers])
    _expect("code", Refused.VERSION, number(unpack(answers[0].body), Tag.CODE, 1))


def _strange_tag(bench: Bench) -> None:
    """F9 A tag that it does not know is passed over, except in SET."""
    bench.client.ask(Request.STATUS, pack([(0x3E, b"?")]))
    bench.refused(Refused.UNKNOWN_FIELD, Request.SET, pack([(0x7E, b"?")]), 0x7E)


def _time(bench: Bench) -> None:
    """T1 TIME sets the clock, and the clock goes on."""
    bench.client.set_time(lambda: _NOW_MS)
    bench.link.pause(1.5)
    gone = bench.client.hello().utc_ms - _NOW_MS
    if not 1000 <= gone <= 5000:
        raise _FailedError(f"clock: expected 1 to 5 s more after 1.5 s, got {gone / 1000:.1f} s")


def _commits(bench: Bench) -> None:
    """C1 A configuration is committed, and every field that is not secret reads back."""
    bench.client.configure(_TEST)
    if not bench.client.hello().provisioned:
        raise _FailedError("STATE: expected 1 after a commit, got 0")


def _secret(bench: Bench) -> None:
    """C2 The password is never answered, and FIELDS_SET names it."""
    bench.refused(Refused.SECRET, Request.GET, pack([(Tag.FIELD, bytes((Field.PASSWORD,)))]), Field.PASSWORD)
    _, being, _ = bench.client.fields()
    if Field.PASSWORD not in being:
        raise _FailedError("FIELDS_SET: expected 46 (PASSWORD), it is not there")


def _keeps(bench: Bench) -> None:
    """C3 A field that is not staged keeps its value."""
    bench.commit({Field.SITE: b"BENCH-2"}, secrets.token_bytes(8))
    _expect("SITE", b"BENCH-2", bench.client.field(Field.SITE))
    _expect("HOST", _TEST.host.encode(), bench.client.field(Field.HOST))


def _twice(bench: Bench) -> None:
    """C4 The same SET twice gives the same, and the same COMMIT twice is answered twice."""
    body = pack([(Tag.OFFSET, bytes(2)), (Field.SITE, b"BENCH-3")])
    bench.client.abort()
    bench.client.ask(Request.SET, body)
    bench.client.ask(Request.SET, body)
    commit_id = secrets.token_bytes(8)
    for _ in range(2):
        bench.client.ask(Request.COMMIT, _commit({Field.SITE: b"BENCH-3"}, commit_id))
    _expect("SITE", b"BENCH-3", bench.client.field(Field.SITE))


def _pieces(bench: Bench) -> None:
    """C5 A long field goes over in pieces by OFFSET; an OFFSET behind them is refused with GAP."""
    lines = "".join(f"WP-{n:04} water_pressure\n" for n in range(11)).encode()  # what every gateway must keep
    bench.client.abort()
    bench.refused(Refused.GAP, Request.SET, pack([(Tag.OFFSET, b"\0\5"), (Field.CHILDREN, b"x")]), Field.CHILDREN)
    for at in range(0, len(lines), _PIECE):
        piece = [(Tag.OFFSET, at.to_bytes(2, "big")), (Field.CHILDREN, lines[at : at + _PIECE])]
        bench.client.ask(Request.SET, pack(piece))
    bench.client.ask(Request.COMMIT, _commit({Field.CHILDREN: lines}))
    held = bench.client.field(Field.CHILDREN)
    _expect("CHILDREN, bytes", len(lines), len(held))
    _expect("CHILDREN", lines, held)


def _differs(bench: Bench) -> None:
    """C6 A COMMIT whose CRC is not that of what is staged changes nothing: STAGED_DIFFERS."""
    bench.client.abort()
    bench.client.ask(Request.SET, pack([(Field.SITE, b"WRONG")]))
    body = pack([(Tag.STAGED_CRC, b"\1\2\3\4"), (Tag.COMMIT_ID, secrets.token_bytes(8))])
    bench.refused(Refused.STAGED_DIFFERS, Request.COMMIT, body)
    _unchanged(bench, Field.SITE, b"WRONG")


def _missing(bench: Bench) -> None:
    """C7 A COMMIT that would leave a field unset that must be set changes nothing: MISSING names it."""
    bench.client.abort()
    bench.client.ask(Request.SET, pack([(Field.HOST, b"")]))
    bench.refused(Refused.MISSING, Request.COMMIT, _commit({Field.HOST: b""}), Field.HOST)
    _unchanged(bench, Field.HOST, b"")


def _long(bench: Bench) -> None:
    """C8 A value that is too long is refused with TOO_LONG, which names the field."""
    bench.client.abort()
    bench.refused(Refused.TOO_LONG, Request.SET, pack([(Field.GATEWAY, b"x" * 65)]), Field.GATEWAY)


def _aborts(bench: Bench) -> None:
    """C9 ABORT forgets what is staged."""
    bench.client.ask(Request.SET, pack([(Field.SITE, b"WRONG")]))
    bench.client.abort()
    bench.refused(Refused.STAGED_DIFFERS, Request.COMMIT, _commit({Field.SITE: b"WRONG"}))


def _restarts(bench: Bench) -> None:
    """R1 REBOOT is answered, the configuration survives it, what was staged does not."""
    in_force = bench.client.hello().commit_id
    bench.client.ask(Request.SET, pack([(Field.SITE, b"WRONG")]))
    bench.client.reboot()
    bench.link.pause(1.5)
    deadline = bench.link.now() + _RESTART_S
    while True:
        try:
            hello = bench.client.hello(attempts=1)
            break
        except ExchangeError:
            if bench.link.now() > deadline:
                raise
    if hello.uptime_s > _RESTART_S + 3:
        raise _FailedError(
            f"UPTIME: expected less than {_RESTART_S + 3:g} s after a REBOOT, got {hello.uptime_s} s"
        )
    _expect("COMMIT_ID", in_force.hex(), hello.commit_id.hex())
    bench.refused(Refused.STAGED_DIFFERS, Request.COMMIT, _commit({Field.SITE: b"WRONG"}))


def _status(bench: Bench) -> None:
    """S1 STATUS of a gateway whose broker's name cannot be found is not "connected"."""
    status = bench.client.status()
    if status.connection >= 5:
        raise _FailedError(f"LINK: expected less than 5 with host {_TEST.host}, got {status.connection}")


def _tls(bench: Bench) -> None:
    """S2 Without TLS, TLS 1 is refused with BAD_VALUE."""
    if Capability.TLS in bench.client.hello().capabilities:
        raise _NotTriedError("it can do TLS")
    bench.client.abort()
    bench.client.ask(Request.SET, pack([(Field.TLS, b"\1")]))
    bench.refused(Refused.BAD_VALUE, Request.COMMIT, _commit({Field.TLS: b"\1"}), Field.TLS)


def _request(bench: Bench) -> None:
    """S3 CSR gives a request for the gateway's id, and the same one again."""
    bench.needs(Capability.CSR)
    first, second = bench.client.signing_request("GW-TEST-1"), bench.client.signing_request("GW-TEST-1")
    _expect("the second request", "the first", "the first" if first == second else "another")


def _unchanged(bench: Bench, field: Field, wrong: bytes) -> None:
    if bench.client.field(field) == wrong:
        raise _FailedError(f"{field.name}: expected it unchanged by a refused COMMIT, it was changed")


CHECKS: Final = (
    _hello,
    _prompt,
    _split,
    _crc,
    _echo,
    _unknown,
    _malformed,
    _version,
    _strange_tag,
    _time,
    _commits,
    _secret,
    _keeps,
    _twice,
    _pieces,
    _differs,
    _missing,
    _long,
    _aborts,
    _restarts,
    _status,
    _tls,
    _request,
)
