"""The host's side of the gateway application protocol: ask, configure, read back.

From: `devices.firmware.provision`, the boot check of a flash, the commands. To: a gateway over any `Link`. A question
is repeated under the same sequence number until it is answered; every request may come twice without harm, so a lost
answer costs only time. The delimiters bring both ends back into step; a line that is gone is opened again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from devices.errors import ExchangeError, LinkError, PayloadError, ProvisionError
from devices.firmware.application.configuration import (
    RULES,
    SECRETS,
    Configuration,
    Field,
    Fields,
    staged_crc,
    told,
)
from devices.firmware.application.frames import VERSION, Frame, FrameReader, Words
from devices.firmware.application.messages import (
    ANSWER,
    COMMIT_ID_SIZE,
    REASONS,
    REFUSAL,
    Hello,
    Refused,
    Request,
    Status,
    Tag,
    Values,
    number,
    pack,
    unpack,
)
from devices.firmware.link import Link

_T = TypeVar("_T")
ANSWER_S: Final = 1.0  # a gateway answers within half of it
SLOW_S: Final[Mapping[int, float]] = {Request.COMMIT: 6.0, Request.CSR: 30.0}
ATTEMPTS: Final = 8
_ROUNDS: Final = 4  # of staging and committing: a gateway that restarts forgets what was staged
_SLICE_S: Final = 0.02
_PIECE: Final = 512
_PIECE_MIN: Final = 48  # a short frame gets through where a long one does not
_AWAY_S: Final = 15.0  # a plug that was pulled, a gateway whose USB port restarts with it
_BUSY_S: Final = 0.5


class RefusalError(ExchangeError):
    """Raised when the gateway refuses a request; `code` of `Refused`, `about` the tag it concerns, -1 for none."""

    def __init__(self, reason: str, code: int, about: int) -> None:
        super().__init__(reason)
        self.code = code
        self.about = about


class Client:
    """One conversation. `words`: gets log text that passes meanwhile.

    Every method raises RefusalError when the gateway refuses, ExchangeError when it does not answer or answers what is
    no answer, and LinkError when the line is gone and does not come back.
    """

    def __init__(self, link: Link, words: Callable[[bytes], None] = lambda _: None) -> None:
        self._link = link
        self._words = words
        self._reader = FrameReader()
        # Not always the same first number: an answer to whoever was here before is not one to us.
        self._sequence = secrets.randbelow(256)
        self._piece = _PIECE
        self._body_max = _PIECE

    def hello(self, *, attempts: int = ATTEMPTS) -> Hello:
        """Who is there."""
        found = self._understood(Hello.unpack, Request.HELLO, attempts=attempts)
        if VERSION not in found.protocols:
            spoken = ", ".join(map(str, found.protocols))
            raise ExchangeError(
                f"{self._who}: expected protocol version {VERSION}, it speaks {spoken or 'none'}; nothing was sent"
            )
        self._body_max = max(found.body_max, _PIECE_MIN + 8)
        return found

    def set_time(self, now_ms: Callable[[], int]) -> int:
        """Set its clock to `now_ms`, epoch milliseconds; what its clock says afterwards."""
        for _ in range(ATTEMPTS):
            try:
                # Each attempt states a new time and is a new request: one repeated as it was would set a past time.
                body = pack([(Tag.UTC, now_ms().to_bytes(8, "big"))])
                return number(unpack(self.ask(Request.TIME, body, attempts=1)), Tag.UTC, 8)
            except RefusalError:
                raise
            except (ExchangeError, PayloadError):
                continue
        raise ExchangeError(self._silent(Request.TIME, ATTEMPTS))

    def status(self, *, attempts: int = ATTEMPTS) -> Status:
        """How its way to the broker is."""
        return self._understood(Status.unpack, Request.STATUS, attempts=attempts)

    def fields(self) -> tuple[frozenset[int], frozenset[int], bytes]:
        """Tags of the fields it knows, of those that are set, and the id of the commit in force."""
        values = self._understood(unpack, Request.GET)
        known, being = values.get(Tag.FIELDS_KNOWN, b""), values.get(Tag.FIELDS_SET, b"")
        return frozenset(known), frozenset(being), values.get(Tag.COMMIT_ID, b"")

    def field(self, tag: int) -> bytes:
        """The whole value of one field that is not secret."""
        value = b""
        for _ in range(2 + 65536 // _PIECE_MIN):
            asked = [(Tag.FIELD, bytes((tag,))), (Tag.OFFSET, len(value).to_bytes(2, "big"))]
            values = self._understood(unpack, Request.GET, pack(asked))
            value += values.get(tag, b"")
            if len(value) >= _length(values):
                return value
            if not values.get(tag):
                break
        raise ExchangeError(f"{self._who}: field {tag:#04x}: expected its next bytes, got none; it was not read")

    def read_back(self) -> dict[int, bytes]:
        """Every field that is set, by tag; a secret is there with the one byte 01, in place of its value."""
        _, being, _ = self.fields()
        return {tag: b"\1" if tag in SECRETS else self.field(tag) for tag in sorted(being)}

    def configure(
        self, configuration: Configuration, commit_id: bytes = b"", stored: Callable[[], None] = lambda: None
    ) -> bytes:
        """Put `configuration` in force, whole, and read it back; the commit's id. `stored`: called once it is in force.

        Raises, besides the conversation's errors:
            ProvisionError: the gateway refused a field, or afterwards holds something else. The configuration before is
                in force unless the text says otherwise; a mixture of both never is.
        """
        commit_id = commit_id or secrets.token_bytes(COMMIT_ID_SIZE)
        known, _, _ = self.fields()
        staged = self._fitting(configuration, known)
        for _ in range(_ROUNDS):
            try:
                self.abort()
                for tag, value in staged.items():
                    self.stage(tag, value)
                body = [(Tag.STAGED_CRC, staged_crc(staged).to_bytes(4, "big")), (Tag.COMMIT_ID, commit_id)]
                self.ask(Request.COMMIT, pack(body))
                stored()
                break
            except RefusalError as error:
                if error.code not in (Refused.GAP, Refused.STAGED_DIFFERS):
                    raise ProvisionError(f"{error}; the configuration before is in force") from None
        else:
            raise ProvisionError(
                f"{self._who}: expected it to keep what was staged, it lost it {_ROUNDS} times; the configuration "
                "before is in force"
            )
        self._compare(configuration, staged, commit_id)
        return commit_id

    def reboot(self, *, loader: bool = False) -> None:
        """Ask it to start again, into its bootloader if `loader`; it may be gone before its answer is here."""
        self.ask(Request.ENTER_LOADER if loader else Request.REBOOT, attempts=3)

    def signing_request(self, gateway: str) -> bytes:
        """A certificate request (PKCS 10, DER) for a key that it makes and keeps."""
        values = self._understood(unpack, Request.CSR, pack([(Field.GATEWAY, gateway.encode())]))
        if not values.get(Tag.CSR_DER):
            raise ExchangeError(f"{self._who}: expected a certificate request, got none; nothing was signed")
        return values[Tag.CSR_DER]

    def abort(self) -> None:
        """Make it forget what is staged."""
        self.ask(Request.ABORT)

    def stage(self, tag: Field, value: bytes) -> None:
        """Stage one field, in pieces that become smaller when the line does not carry them."""
        at = 0
        while True:
            size = min(self._piece, self._body_max - 16)
            piece = value[at : at + size]
            body = [(Tag.OFFSET, at.to_bytes(2, "big")), (tag, piece)]
            try:
                self.ask(Request.SET, pack(body), attempts=2 if size > _PIECE_MIN else ATTEMPTS)
            except RefusalError:
                raise
            except ExchangeError:
                if size <= _PIECE_MIN:
                    raise
                self._piece = max(size // 2, _PIECE_MIN)
                continue
            at += len(piece)
            if at >= len(value):
                return

    def ask(self, request: int, body: bytes = b"", *, attempts: int = ATTEMPTS) -> bytes:
        """The body of the answer to one request, asked up to `attempts` times."""
        self._sequence = (self._sequence + 1) & 0xFF
        frame = Frame(request, self._sequence, body)
        for _ in range(attempts):
            try:
                answer = self._once(frame)
            except LinkError:
                self._return()
                continue
            if answer is None:
                continue
            if answer.type == request | ANSWER:
                return answer.body
            refused = _refusal(self._who, request, answer.body)
            if refused.code != Refused.BUSY:
                raise refused
            self._link.pause(_BUSY_S)
        raise ExchangeError(self._silent(request, attempts))

    def _once(self, frame: Frame) -> Frame | None:
        self._link.write(frame.wire)
        deadline = self._link.now() + SLOW_S.get(frame.type, ANSWER_S)
        answer: Frame | None = None
        while answer is None and self._link.now() < deadline:
            for item in self._reader.feed(self._link.read(4096, _SLICE_S)):
                if isinstance(item, Words):
                    self._words(item.data)
                elif isinstance(item, Frame) and self._answers(item, frame):
                    answer = item
        return answer

    @staticmethod
    def _answers(item: Frame, asked: Frame) -> bool:
        return item.sequence == asked.sequence and item.type in (asked.type | ANSWER, asked.type | REFUSAL)

    def _return(self) -> None:
        """Open the line again, waiting for it a while."""
        self._reader = FrameReader()
        deadline = self._link.now() + _AWAY_S
        while True:
            try:
                self._link.reopen()
            except LinkError:
                if self._link.now() >= deadline:
                    raise
                self._link.pause(_BUSY_S)
            else:
                return

    def _understood(
        self, read: Callable[[bytes], _T], request: Request, body: bytes = b"", *, attempts: int = ATTEMPTS
    ) -> _T:
        answer = self.ask(request, body, attempts=attempts)
        try:
            return read(answer)
        except PayloadError as error:
            raise ExchangeError(f"{self._who}: answer to {request.name}: {error}; it was not used") from None

    def _fitting(self, configuration: Configuration, known: frozenset[int]) -> Fields:
        """What to stage; ProvisionError when the gateway has no place for something that is to be set."""
        wanted = configuration.replacing()
        for tag, value in wanted.items():
            if value and tag not in known:
                raise ProvisionError(
                    f"{self._who}: it has no field for {RULES[tag].title.en}; nothing was changed"
                )
        return {tag: value for tag, value in wanted.items() if tag in known}

    def _compare(self, configuration: Configuration, staged: Fields, commit_id: bytes) -> None:
        _, _, in_force = self.fields()
        held = self.read_back()
        for tag, value in staged.items():
            expected, found = value, held.get(tag, b"")
            if tag in SECRETS:
                # With a certificate and no key it takes the key of its own request.
                own_key = tag == Field.KEY and bool(staged.get(Field.CERTIFICATE))
                expected = b"\1" if value or own_key else b""
            if found != expected:
                raise ProvisionError(
                    f"{configuration.gateway}: {RULES[tag].title.en}: expected {told(tag, expected)!a:.80}, the "
                    f"gateway answers {told(tag, found)!a:.80}; it is not provisioned, do it again"
                )
        if in_force != commit_id:
            raise ProvisionError(
                f"{configuration.gateway}: expected commit {commit_id.hex()} in force, it names "
                f"{in_force.hex() or 'none'}; somebody else configures it; do it again"
            )

    @property
    def _who(self) -> str:
        return f"gateway at {self._link.url}"

    def _silent(self, request: int, attempts: int) -> str:
        name = Request(request).name if request in _KNOWN else f"{request:#04x}"
        return (
            f"{self._who}: expected an answer to {name}, asked {attempts} times, got none; is the application running, "
            f"and its console at {self._link.line.baud} baud?"
        )


_KNOWN: Final = frozenset(Request)


def _length(values: Values) -> int:
    return int.from_bytes(values.get(Tag.LENGTH, b""), "big")


def _refusal(who: str, request: int, body: bytes) -> RefusalError:
    """What a gateway's refusal means."""
    try:
        values = unpack(body)
    except PayloadError:
        values = {}
    code = int.from_bytes(values.get(Tag.CODE, b"")[:1], "big")
    about = values.get(Tag.ABOUT, b"")[0] if values.get(Tag.ABOUT) else -1
    why = REASONS[code].en if code in REASONS else f"code {code}"
    field = f": {RULES[Field(about)].title.en}" if about in RULES else ""
    own = "".join(one for one in values.get(Tag.TEXT, b"").decode(errors="replace") if one.isprintable())
    name = Request(request).name if request in _KNOWN else f"{request:#04x}"
    return RefusalError(f"{who}: {name} refused{field}: {why}{f' ({own:.120})' if own else ''}", code, about)
