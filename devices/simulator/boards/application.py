"""A gateway that runs: speaks the application protocol, prints its log between frames, reports its children.

From: bytes of a host, time that passes, a `Network`. To: bytes, and readings on that network. It is what a hardware
maker's firmware does, in Python: every request in one small method, all state in a few attributes, and nothing that a
controller with 4 KB of RAM for it could not do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from devices.errors import PayloadError, ProvisionError
from devices.firmware.application.configuration import (
    RULES,
    SECRETS,
    Configuration,
    Field,
    check,
    staged_crc,
)
from devices.firmware.application.frames import VERSION, Frame, FrameReader
from devices.firmware.application.messages import (
    ANSWER,
    COMMIT_ID_SIZE,
    REFUSAL,
    REQUESTS,
    Capability,
    Connection,
    Hello,
    Refused,
    Request,
    Status,
    Tag,
    Trouble,
    Values,
    number,
    pack,
    unpack,
)
from devices.simulator.boards.gateway import Identity, Network, NoNetwork, Standing
from devices.simulator.boards.reporting import Reporting
from devices.simulator.boards.slots import PowerCutError, Slots

_REBOOT_S: Final = 0.1  # the answer must be out before the line falls silent
_PIECE_MAX: Final = 900
_TLS_FIELDS: Final = frozenset({Field.CA, Field.CERTIFICATE, Field.KEY})


class _NoError(Exception):
    """A request is refused: code, and the tag it concerns."""

    def __init__(self, code: Refused, about: int = -1) -> None:
        super().__init__(code.name)
        self.code = code
        self.about = about


class GatewayApplication:
    """A `SimulatedBoard`.

    `make_request`: makes a key and a PKCS 10 request for a name, (PEM key, DER); without it the board has no CSR.
    `enter_loader`: called when the board leaves for its bootloader; without it the board has none.
    """

    def __init__(
        self,
        identity: Identity | None = None,
        *,
        network: Network | None = None,
        slots: Slots | None = None,
        make_request: Callable[[str], tuple[str, bytes]] | None = None,
        enter_loader: Callable[[], None] | None = None,
    ) -> None:
        self.identity = identity or Identity()
        self.network: Network = network or NoNetwork()
        self.slots = slots or Slots()
        self._make_request = make_request
        self._enter_loader = enter_loader
        self._answers: Mapping[int, Callable[[Values], bytes]] = {
            Request.HELLO: self._hello,
            Request.TIME: self._time,
            Request.GET: self._get,
            Request.SET: self._set,
            Request.COMMIT: self._commit,
            Request.ABORT: self._abort,
            Request.STATUS: self._status,
            Request.REBOOT: self._reboot,
            Request.ENTER_LOADER: self._loader,
            Request.CSR: self._csr,
        }
        self._start()

    def receive(self, data: bytes) -> bytes:
        """Answer what `data` completes."""
        said = self._take_log()
        for item in self._reader.feed(data):
            if isinstance(item, Frame) and item.type in REQUESTS:
                try:
                    said += self._answered(item).wire
                except PowerCutError:
                    self.power_cut()
                    return b""
                said += self._take_log()
        return said

    def elapse(self, seconds: float) -> bytes:
        """Let time pass: clock, restarts, reports; what the log says of it."""
        self._uptime_s += seconds
        if self._restart_at is not None and self._uptime_s >= self._restart_at:
            into_loader = self._into_loader
            self.power_cut()
            if into_loader and self._enter_loader is not None:
                self._enter_loader()
        self._report()
        return self._take_log()

    def control(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """It has no use for control lines."""

    def power_cut(self) -> None:
        """Restart from what the flash holds."""
        self.network.close()
        self._start()

    @property
    def fields(self) -> dict[int, bytes]:
        """The fields in force; empty before the first commit."""
        body = self.slots.read()
        return {} if not body else unpack(body[COMMIT_ID_SIZE:])

    @property
    def utc_ms(self) -> int:
        """Its clock, 0 before somebody sets it."""
        return 0 if self._epoch_ms is None else self._epoch_ms + int(self._uptime_s * 1000)

    def _start(self) -> None:
        self._reader = FrameReader()
        self._staged: dict[Field, bytes] = {}
        self._uptime_s = 0.0
        self._epoch_ms: int | None = None
        self._restart_at: float | None = None
        self._into_loader = False
        self._log = b""
        self._reporting: Reporting | None = None
        self._told: tuple[Connection, Trouble] | None = None
        self._say(f"{self.identity.board} {self.identity.revision} {self.identity.version} starting")
        self._apply()

    def _apply(self) -> None:
        """Go on with the configuration in force."""
        self.network.close()
        self._reporting = None
        if not self.fields:
            self._say("no configuration; waiting for a host")
            return
        try:
            configuration = Configuration.of(self.fields)
        except ProvisionError as error:
            self._say(f"configuration: {error}")
            return
        self._reporting = Reporting(configuration)
        self.network.open(configuration)
        self._say(f"configuration of {configuration.gateway}, broker {configuration.host}:{configuration.port}")

    def _say(self, line: str) -> None:
        # Never a byte below 08: the host takes it for text by that.
        self._log += "".join(one if one.isprintable() else "?" for one in line).encode() + b"\r\n"

    def _take_log(self) -> bytes:
        log, self._log = self._log, b""
        return log

    def _report(self) -> None:
        standing = self.network.standing()
        if (standing.connection, standing.trouble) != self._told:
            self._told = (standing.connection, standing.trouble)
            self._say(f"link: {standing.connection.name} {standing.trouble.name} {standing.text}".rstrip())
        if self._reporting is None or standing.connection is not Connection.MQTT or not self.utc_ms:
            return
        for topic, payload, readings in self._reporting.due(self._uptime_s, self.utc_ms):
            self.network.publish(topic, payload, readings)
            self._say(f"published {readings} readings")

    def _answered(self, asked: Frame) -> Frame:
        try:
            return Frame(asked.type | ANSWER, asked.sequence, self._body(asked))
        except _NoError as no:
            refusal = [(Tag.CODE, bytes((no.code,)))] + (
                [(Tag.ABOUT, bytes((no.about,)))] if no.about >= 0 else []
            )
            return Frame(asked.type | REFUSAL, asked.sequence, pack(refusal))

    def _body(self, asked: Frame) -> bytes:
        if asked.version != VERSION:
            raise _NoError(Refused.VERSION)
        answer = self._answers.get(asked.type)
        if answer is None:
            raise _NoError(Refused.UNKNOWN_REQUEST)
        return answer(_values(asked.body))

    def _hello(self, _: Values) -> bytes:
        known = self.identity
        return Hello(
            protocols=(VERSION,),
            board=known.board,
            revision=known.revision,
            chip=known.chip,
            serial=known.serial,
            version=known.version,
            provisioned=bool(self.fields),
            uptime_s=int(self._uptime_s),
            security_counter=known.security_counter,
            image_digest=known.image_digest,
            utc_ms=self.utc_ms,
            capabilities=self._capabilities,
            commit_id=self.slots.read()[:COMMIT_ID_SIZE],
        ).pack()

    @property
    def _capabilities(self) -> Capability:
        able = self.identity.capabilities
        if self._make_request is None:
            able &= ~Capability.CSR
        return able | Capability.LOADER if self._enter_loader is not None else able

    @property
    def _known(self) -> list[Field]:
        secure = Capability.TLS in self.identity.capabilities
        return [one for one in RULES if secure or one not in _TLS_FIELDS]

    def _time(self, asked: Values) -> bytes:
        self._epoch_ms = _number(asked, Tag.UTC, 8) - int(self._uptime_s * 1000)
        return pack([(Tag.UTC, self.utc_ms.to_bytes(8, "big"))])

    def _get(self, asked: Values) -> bytes:
        held = self.fields
        if Tag.FIELD not in asked:
            return pack(
                [
                    (Tag.FIELDS_KNOWN, bytes(self._known)),
                    (Tag.FIELDS_SET, bytes(sorted(held))),
                    (Tag.COMMIT_ID, self.slots.read()[:COMMIT_ID_SIZE]),
                ]
            )
        tag, offset = self._field(_number(asked, Tag.FIELD, 1)), _number(asked, Tag.OFFSET, 2, 0)
        if tag in SECRETS:
            raise _NoError(Refused.SECRET, tag)
        value = held.get(tag, b"")
        piece = value[offset : offset + _PIECE_MAX]
        return pack([(Tag.LENGTH, len(value).to_bytes(2, "big")), (tag, piece)])

    def _set(self, asked: Values) -> bytes:
        offset = _number(asked, Tag.OFFSET, 2, 0)
        for tag, value in asked.items():
            if tag == Tag.OFFSET:
                continue
            field = self._field(tag)
            kept = self._staged.get(field, b"")[:offset]
            if len(kept) < offset:
                raise _NoError(Refused.GAP, tag)
            if offset + len(value) > RULES[field].size:
                raise _NoError(Refused.TOO_LONG, tag)
            # Keeping only what lies before the offset makes the same request harmless when it comes twice.
            self._staged[field] = kept + value
        return b""

    def _commit(self, asked: Values) -> bytes:
        commit_id = asked.get(Tag.COMMIT_ID, b"")
        if len(commit_id) != COMMIT_ID_SIZE:
            raise _NoError(Refused.BAD_VALUE, Tag.COMMIT_ID)
        if self.slots.read()[:COMMIT_ID_SIZE] == commit_id:
            return pack([(Tag.COMMIT_ID, commit_id)])  # its answer was lost
        if staged_crc(self._staged) != _number(asked, Tag.STAGED_CRC, 4):
            raise _NoError(Refused.STAGED_DIFFERS)
        fields: Values = dict((*self.fields.items(), *self._staged.items()))
        if self._staged.get(Field.CERTIFICATE) and not self._staged.get(Field.KEY):
            fields[Field.KEY] = unpack(self.slots.pending).get(Field.KEY, b"")
        fields = {tag: value for tag, value in fields.items() if value}
        self._check(fields)
        self.slots.write(commit_id + pack(sorted(fields.items())))
        self._staged = {}
        self._say("configuration stored")
        self._apply()
        return pack([(Tag.COMMIT_ID, commit_id)])

    def _check(self, fields: Mapping[int, bytes]) -> None:
        for tag, rule in RULES.items():
            if rule.must and not fields.get(tag):
                raise _NoError(Refused.MISSING, tag)
            try:
                check(tag, fields.get(tag, b""), "")
            except ProvisionError:
                raise _NoError(Refused.BAD_VALUE, tag) from None
        if fields.get(Field.CERTIFICATE) and not fields.get(Field.KEY):
            raise _NoError(Refused.MISSING, Field.KEY)
        if fields.get(Field.TLS) == b"\1" and Capability.TLS not in self.identity.capabilities:
            raise _NoError(Refused.BAD_VALUE, Field.TLS)

    def _abort(self, _: Values) -> bytes:
        self._staged = {}
        return b""

    def _status(self, _: Values) -> bytes:
        standing = self.network.standing() if self.fields else Standing(Connection.UNCONFIGURED, Trouble.NONE)
        return Status(
            connection=standing.connection,
            trouble=standing.trouble,
            text=standing.text[:120],
            published=self._reporting.published if self._reporting else 0,
            acknowledged=standing.acknowledged,
            utc_ms=self.utc_ms,
        ).pack()

    def _reboot(self, _: Values) -> bytes:
        self._restart_at = self._uptime_s + _REBOOT_S
        return b""

    def _loader(self, _: Values) -> bytes:
        if self._enter_loader is None:
            raise _NoError(Refused.UNSUPPORTED)
        self._into_loader = True
        return self._reboot({})

    def _csr(self, asked: Values) -> bytes:
        if self._make_request is None:
            raise _NoError(Refused.UNSUPPORTED)
        name = asked.get(Field.GATEWAY, b"")
        try:
            check(Field.GATEWAY, name or b" ", "")
        except ProvisionError:
            raise _NoError(Refused.BAD_VALUE, Field.GATEWAY) from None
        pending = unpack(self.slots.pending)
        if pending.get(Field.GATEWAY) != name:
            # Its certificate may take days to come: the key waits where a restart does not reach it.
            key, request = self._make_request(name.decode())
            pending = {Field.GATEWAY: name, Field.KEY: key.encode(), Tag.CSR_DER: request}
            self.slots.keep_pending(pack(pending.items()))
        return pack([(Tag.CSR_DER, pending[Tag.CSR_DER])])

    def _field(self, tag: int) -> Field:
        if tag not in self._known:
            raise _NoError(Refused.UNKNOWN_FIELD, tag)
        return Field(tag)


def _values(body: bytes) -> Values:
    try:
        return unpack(body)
    except PayloadError:
        raise _NoError(Refused.MALFORMED) from None


def _number(values: Values, tag: Tag, size: int, default: int | None = None) -> int:
    try:
        return number(values, tag, size, default)
    except PayloadError:
        raise _NoError(Refused.BAD_VALUE, tag) from None
