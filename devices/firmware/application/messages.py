"""What stands in a frame: request and answer types, tags, and the meaning of each answer.

From: `frames.Frame` bodies, lists of tag (u8), length (u8), value; a value of more than 255 bytes is its tag repeated,
joined in order. To: frozen records for the host. Numbers are big-endian. What a version does not know is passed over.
The tables of deploy/docs/gateways/protocol.md are made of these enums; a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from devices.errors import PayloadError
from devices.firmware.driver import Board
from devices.spec import Text

ANSWER: Final = 0x80  # answer's type: the request's and this
REFUSAL: Final = 0xC0  # a refusal's type: the request's and this
REQUESTS: Final = range(0x01, 0x40)
COMMIT_ID_SIZE: Final = 8
_PART: Final = 255


class Request(IntEnum):
    """What a host asks."""

    HELLO = 0x01
    TIME = 0x02
    GET = 0x03
    SET = 0x04
    COMMIT = 0x05
    ABORT = 0x06
    STATUS = 0x07
    REBOOT = 0x08
    ENTER_LOADER = 0x09
    CSR = 0x0A


class Tag(IntEnum):
    """What stands in bodies, besides the fields of a configuration (40 to 7F)."""

    PROTOCOLS = 0x01
    BOARD = 0x02
    REVISION = 0x03
    CHIP = 0x04
    SERIAL = 0x05
    VERSION = 0x06
    SECURITY_COUNTER = 0x07
    IMAGE_DIGEST = 0x08
    STATE = 0x09
    UTC = 0x0A
    UPTIME = 0x0B
    CAPABILITIES = 0x0C
    COMMIT_ID = 0x0D
    BODY_MAX = 0x0E
    OFFSET = 0x10
    FIELD = 0x11
    STAGED_CRC = 0x12
    LENGTH = 0x13
    FIELDS_KNOWN = 0x14
    FIELDS_SET = 0x15
    CSR_DER = 0x16
    CODE = 0x20
    ABOUT = 0x21
    TEXT = 0x22
    LINK = 0x30
    LAST_ERROR = 0x31
    PUBLISHED = 0x32
    ACKNOWLEDGED = 0x33


class Capability(IntFlag):
    """What a gateway can do beyond what every one must."""

    TLS = 1
    CSR = 2
    LOADER = 4


NOTHING: Final = Capability(0)


class Refused(IntEnum):
    """Why a gateway refuses a request."""

    MALFORMED = 1
    UNKNOWN_REQUEST = 2
    UNKNOWN_FIELD = 3
    BAD_VALUE = 4
    TOO_LONG = 5
    GAP = 6
    STAGED_DIFFERS = 7
    MISSING = 8
    SECRET = 9
    STORAGE = 10
    BUSY = 11
    UNSUPPORTED = 12
    VERSION = 13


REASONS: Final[Mapping[int, Text]] = {
    Refused.MALFORMED: Text("报文体格式不对", "the body is not a list of tag, length, value"),
    Refused.UNKNOWN_REQUEST: Text("不认识该请求", "it does not know this request"),
    Refused.UNKNOWN_FIELD: Text("没有这个配置项", "it has no such field"),
    Refused.BAD_VALUE: Text("不接受这个值", "it cannot take this value"),
    Refused.TOO_LONG: Text("值太长", "the value is longer than it can keep"),
    Refused.GAP: Text("偏移量超出已暂存的长度", "the offset lies behind what is staged"),
    Refused.STAGED_DIFFERS: Text("暂存内容与提交的校验码不符", "what it has staged is not what the commit names"),
    Refused.MISSING: Text("缺少必填配置项", "a field that must be set is not"),
    Refused.SECRET: Text("该项保密，不可读取", "the field is secret and is never answered"),
    Refused.STORAGE: Text("写入存储失败，原配置仍有效", "storing failed; the configuration before is in force"),
    Refused.BUSY: Text("正忙，请稍后再试", "it is busy"),
    Refused.UNSUPPORTED: Text("不支持该功能", "it cannot do this"),
    Refused.VERSION: Text("不支持该协议版本", "it does not speak this version"),
}


class Connection(IntEnum):
    """How far a gateway's way to the broker is."""

    UNCONFIGURED = 0
    MODEM = 1
    NETWORK = 2
    TCP = 3
    TLS = 4
    MQTT = 5


CONNECTIONS: Final[Mapping[int, Text]] = {
    Connection.UNCONFIGURED: Text("未配置", "it has no configuration"),
    Connection.MODEM: Text("正在启动模块或网口", "its modem or network port is starting"),
    Connection.NETWORK: Text("网络已通", "the network is up"),
    Connection.TCP: Text("已建立 TCP 连接", "the broker's port is open"),
    Connection.TLS: Text("已建立 TLS", "TLS is established"),
    Connection.MQTT: Text("已连接消息服务器", "connected to the broker"),
}


class Trouble(IntEnum):
    """What last went wrong on a gateway's way to the broker."""

    NONE = 0
    NO_NETWORK = 1
    NAME = 2
    REFUSED = 3
    SILENT = 4
    SERVER_CERTIFICATE = 5
    OWN_CERTIFICATE = 6
    CLOCK = 7
    LOGIN = 8
    BROKER = 9
    LOST = 10
    NOT_ALLOWED = 11
    CONFIGURATION = 12
    SENSOR = 13


TROUBLES: Final[Mapping[int, Text]] = {
    Trouble.NONE: Text("无", "nothing"),
    Trouble.NO_NETWORK: Text("没有网络：检查 SIM 卡、天线或网线", "no network: look at SIM card, aerial or cable"),
    Trouble.NAME: Text(
        "域名解析失败：检查地址与 DNS", "the broker's name was not found: look at the name and at DNS"
    ),
    Trouble.REFUSED: Text("端口拒绝连接：检查端口与防火墙", "the port refused: look at the port and the firewall"),
    Trouble.SILENT: Text("服务器无应答：检查地址与防火墙", "no answer: look at the address and the firewall"),
    Trouble.SERVER_CERTIFICATE: Text(
        "不信任服务器证书：检查 CA 证书与域名",
        "the broker's certificate is not trusted: look at the CA and the name",
    ),
    Trouble.OWN_CERTIFICATE: Text(
        "服务器拒绝设备证书：可能已吊销、过期或由他人签发",
        "the broker refused its certificate: revoked, expired or of another authority",
    ),
    Trouble.CLOCK: Text("设备时钟不对，证书尚未生效或已过期", "its clock is wrong: no certificate is valid"),
    Trouble.LOGIN: Text("用户名或密码不对", "user name or password is wrong"),
    Trouble.BROKER: Text("消息服务器拒绝连接", "the broker refused the connection"),
    Trouble.LOST: Text("连接中断", "the connection broke"),
    Trouble.NOT_ALLOWED: Text(
        "无权发布该主题：检查 ACL 与网关编号", "it may not publish there: look at the ACL and the gateway's id"
    ),
    Trouble.CONFIGURATION: Text("配置不完整或无效", "the configuration is not complete or not valid"),
    Trouble.SENSOR: Text("传感器无应答", "a sensor does not answer"),
}

Values = dict[int, bytes]


def pack(values: Iterable[tuple[int, bytes]]) -> bytes:
    """A body of these values, in their order.

    >>> pack([(Tag.FIELD, b"@"), (Tag.OFFSET, b"")]).hex()
    '1101401000'
    """
    body = bytearray()
    for tag, value in values:
        for start in range(0, max(len(value), 1), _PART):
            part = value[start : start + _PART]
            body += bytes((tag, len(part))) + part
    return bytes(body)


def unpack(body: bytes) -> Values:
    """Each tag's value, repeated tags joined; PayloadError with the offset where the body is no such list."""
    values: dict[int, bytes] = {}
    at = 0
    while at < len(body):
        end = at + 2 + (body[at + 1] if at + 1 < len(body) else 0)
        if at + 2 > len(body) or end > len(body):
            raise PayloadError(
                f"body: expected tag, length and value at byte {at}, got its end at {len(body)}", offset=at
            )
        values[body[at]] = values.get(body[at], b"") + body[at + 2 : end]
        at = end
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who a gateway is.

    `security_counter`: -1 where it does not say. `image_digest`: SHA-256 of the image that runs, empty where it cannot
    tell. `utc_ms`: its clock, epoch milliseconds, 0 when it was never set. `uptime_s`: since it started. `commit_id`:
    of the configuration in force, empty before the first. `body_max`: the largest body it takes, bytes.
    """

    protocols: tuple[int, ...]
    board: str
    revision: str
    chip: str
    serial: str
    version: str
    provisioned: bool
    uptime_s: int
    security_counter: int = -1
    image_digest: bytes = b""
    utc_ms: int = 0
    capabilities: Capability = NOTHING
    commit_id: bytes = b""
    body_max: int = 1024

    def as_board(self) -> Board:
        """The same as a bootloader's driver would say it."""
        return Board(
            chip=self.chip,
            serial=self.serial,
            board=self.board,
            revision=self.revision,
            version=self.version,
            security_counter=self.security_counter,
        )

    def pack(self) -> bytes:
        """The body of the answer to HELLO."""
        values = [
            (Tag.PROTOCOLS, bytes(self.protocols)),
            (Tag.BOARD, self.board.encode()),
            (Tag.REVISION, self.revision.encode()),
            (Tag.CHIP, self.chip.encode()),
            (Tag.SERIAL, self.serial.encode()),
            (Tag.VERSION, self.version.encode()),
            (Tag.STATE, bytes((self.provisioned,))),
            (Tag.UPTIME, self.uptime_s.to_bytes(4, "big")),
            (Tag.CAPABILITIES, bytes((self.capabilities,))),
            (Tag.UTC, self.utc_ms.to_bytes(8, "big")),
            (Tag.BODY_MAX, self.body_max.to_bytes(2, "big")),
        ]
        if self.security_counter >= 0:
            values.append((Tag.SECURITY_COUNTER, self.security_counter.to_bytes(4, "big")))
        if self.image_digest:
            values.append((Tag.IMAGE_DIGEST, self.image_digest))
        if self.commit_id:
            values.append((Tag.COMMIT_ID, self.commit_id))
        return pack(values)

    @classmethod
    def unpack(cls, body: bytes) -> Hello:
        """What an answer to HELLO says; PayloadError when it is none."""
        values = unpack(body)
        return cls(
            protocols=tuple(_must(values, Tag.PROTOCOLS)),
            board=_text(values, Tag.BOARD),
            revision=_text(values, Tag.REVISION),
            chip=_text(values, Tag.CHIP),
            serial=_text(values, Tag.SERIAL),
            version=_text(values, Tag.VERSION),
            provisioned=number(values, Tag.STATE, 1) == 1,
            uptime_s=number(values, Tag.UPTIME, 4),
            security_counter=number(values, Tag.SECURITY_COUNTER, 4, -1),
            image_digest=_sized(values, Tag.IMAGE_DIGEST, 32),
            utc_ms=number(values, Tag.UTC, 8, 0),
            capabilities=Capability(number(values, Tag.CAPABILITIES, 1, 0) & 7),
            commit_id=_sized(values, Tag.COMMIT_ID, COMMIT_ID_SIZE),
            body_max=number(values, Tag.BODY_MAX, 2, 1024),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a gateway's way to the broker is.

    `trouble`: what last went wrong, of `Trouble`; a number that version 1 does not know stays a number. `text`: in its
    own words. `published`, `acknowledged`: readings since it started, u32 that wrap.
    """

    connection: int
    trouble: int = Trouble.NONE
    text: str = ""
    published: int = 0
    acknowledged: int = 0
    utc_ms: int = 0

    def pack(self) -> bytes:
        """The body of the answer to STATUS."""
        return pack(
            [
                (Tag.LINK, bytes((self.connection,))),
                (Tag.LAST_ERROR, bytes((self.trouble,))),
                (Tag.TEXT, self.text.encode()),
                (Tag.PUBLISHED, self.published.to_bytes(4, "big")),
                (Tag.ACKNOWLEDGED, self.acknowledged.to_bytes(4, "big")),
                (Tag.UTC, self.utc_ms.to_bytes(8, "big")),
            ]
        )

    @classmethod
    def unpack(cls, body: bytes) -> Status:
        """What an answer to STATUS says; PayloadError when it is none."""
        values = unpack(body)
        return cls(
            connection=number(values, Tag.LINK, 1),
            trouble=number(values, Tag.LAST_ERROR, 1, 0),
            text=_text(values, Tag.TEXT, must=False),
            published=number(values, Tag.PUBLISHED, 4, 0),
            acknowledged=number(values, Tag.ACKNOWLEDGED, 4, 0),
            utc_ms=number(values, Tag.UTC, 8, 0),
        )


def number(values: Mapping[int, bytes], tag: Tag, size: int, default: int | None = None) -> int:
    """An unsigned number of `size` bytes; PayloadError when it is absent and has no default, or of another size."""
    if tag not in values and default is not None:
        return default
    return int.from_bytes(_sized({tag: _must(values, tag)}, tag, size), "big")


def _must(values: Mapping[int, bytes], tag: Tag) -> bytes:
    if tag not in values:
        raise PayloadError(f"body: expected {tag.name} ({tag:#04x}), got none", offset=0)
    return values[tag]


def _sized(values: Mapping[int, bytes], tag: Tag, size: int) -> bytes:
    value = values.get(tag)
    if value is None:
        return b""
    if len(value) != size:
        raise PayloadError(f"body: {tag.name}: expected {size} bytes, got {len(value)}", offset=0)
    return value


def _text(values: Mapping[int, bytes], tag: Tag, *, must: bool = True) -> str:
    value = _must(values, tag) if must else values.get(tag, b"")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise PayloadError(f"body: {tag.name}: expected UTF-8, byte {error.start} is not", offset=0) from None
    # It is shown on terminals and in records: a device does not get to move anyone's cursor.
    return "".join(one if one.isprintable() else "�" for one in text)
