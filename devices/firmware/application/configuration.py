"""What a gateway keeps of its place in the city: the fields of a configuration, and what is staged of it.

From: a person's options, or a gateway's answers. To: `client` and the simulated board. Text is UTF-8. Two fields are
secret: a gateway never answers them, and no text or `repr` of ours holds them.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from devices.errors import ProvisionError
from devices.spec import Text

PEM_MAX: Final = 4096


class Field(IntEnum):
    """Tags of the fields; C0 to FF are a maker's own."""

    GATEWAY = 0x40
    DISTRICT = 0x41
    HOST = 0x42
    PORT = 0x43
    TLS = 0x44
    USER = 0x45
    PASSWORD = 0x46
    CA = 0x47
    CERTIFICATE = 0x48
    KEY = 0x49
    SITE = 0x4A
    ZONE = 0x4B
    PERIOD = 0x4C
    CHILDREN = 0x4D


class Rule(NamedTuple):
    """What a field may hold. `size`: bytes at most, exactly for a number. `must`: a commit needs it."""

    form: str  # text, name, number, pem, lines
    size: int
    title: Text
    must: bool = False
    secret: bool = False


RULES: Final[Mapping[Field, Rule]] = {
    Field.GATEWAY: Rule("name", 64, Text("网关编号", "gateway id"), must=True),
    Field.DISTRICT: Rule("text", 64, Text("区", "district"), must=True),
    Field.HOST: Rule("text", 255, Text("服务器地址", "broker host"), must=True),
    Field.PORT: Rule("number", 2, Text("服务器端口", "broker port"), must=True),
    Field.TLS: Rule("number", 1, Text("TLS", "TLS")),
    Field.USER: Rule("text", 64, Text("用户名", "user")),
    Field.PASSWORD: Rule("text", 128, Text("密码", "password"), secret=True),
    Field.CA: Rule("pem", PEM_MAX, Text("CA 证书", "CA certificate")),
    Field.CERTIFICATE: Rule("pem", PEM_MAX, Text("设备证书", "client certificate")),
    Field.KEY: Rule("pem", PEM_MAX, Text("设备私钥", "client key"), secret=True),
    Field.SITE: Rule("text", 64, Text("安装点", "site")),
    Field.ZONE: Rule("text", 64, Text("时区", "time zone")),
    Field.PERIOD: Rule("number", 4, Text("上报周期（秒）", "reporting period, s")),
    Field.CHILDREN: Rule("lines", 4096, Text("下属设备", "children")),
}
SECRETS: Final = frozenset(one for one, rule in RULES.items() if rule.secret)

_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
Fields = dict[Field, bytes]


class Child(NamedTuple):
    """A sensor behind a gateway: its id and its kind."""

    id: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A whole configuration; ProvisionError for what cannot be one.

    `certificate`, `key`, `ca`: PEM. `period_s`: 1 to 86400, 0 leaves it to the gateway. `children`: whom it reports.
    """

    gateway: str
    district: str
    host: str
    port: int = 8883
    tls: bool = True
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    site: str = ""
    zone: str = "Asia/Shanghai"
    period_s: int = 0
    children: tuple[Child, ...] = ()

    def __post_init__(self) -> None:
        for one in (self.gateway, *(name for child in self.children for name in child)):
            if not _NAME.fullmatch(one):
                raise ProvisionError(
                    f"configuration: expected 1 to 64 characters A-Z a-z 0-9 _ . : -, got {one!a:.80}; nothing was sent"
                )
        if not 0 < self.port < 65536 or not 0 <= self.period_s <= 86400:
            raise ProvisionError(
                f"{self.gateway}: expected port 1 to 65535 and period 0 to 86400 s, got {self.port} and "
                f"{self.period_s}; nothing was sent"
            )
        for tag, value in self.fields().items():
            check(tag, value, self.gateway)

    def fields(self) -> Fields:
        """Its values by tag, empty ones left out."""
        found = {
            Field.GATEWAY: self.gateway.encode(),
            Field.DISTRICT: self.district.encode(),
            Field.HOST: self.host.encode(),
            Field.PORT: self.port.to_bytes(2, "big"),
            Field.TLS: bytes((self.tls,)),
            Field.USER: self.user.encode(),
            Field.PASSWORD: self.password.encode(),
            Field.CA: self.ca.encode(),
            Field.CERTIFICATE: self.certificate.encode(),
            Field.KEY: self.key.encode(),
            Field.SITE: self.site.encode(),
            Field.ZONE: self.zone.encode(),
            Field.PERIOD: self.period_s.to_bytes(4, "big") if self.period_s else b"",
            Field.CHILDREN: "".join(f"{one.id} {one.kind}\n" for one in self.children).encode(),
        }
        return {tag: value for tag, value in found.items() if value}

    @classmethod
    def of(cls, held: Mapping[int, bytes]) -> Configuration:
        """The configuration that a gateway holds in its fields; ProvisionError when it is none."""
        for tag, rule in RULES.items():
            check(tag, held.get(tag, b""), "configuration")
            if rule.must and not held.get(tag):
                raise ProvisionError(f"configuration: expected {rule.title.en}, got none; it is not used")
        texts = {name: held.get(tag, b"").decode() for name, tag in _TEXTS.items()}
        return cls(
            **texts,
            port=int.from_bytes(held[Field.PORT], "big"),
            tls=held.get(Field.TLS, b"\0") == b"\1",
            period_s=int.from_bytes(held.get(Field.PERIOD, b""), "big"),
            children=children_of(held.get(Field.CHILDREN, b"")),
        )

    def replacing(self) -> Fields:
        """What to stage so that exactly this is in force afterwards: an empty value clears a field."""
        return {tag: self.fields().get(tag, b"") for tag in RULES}


_TEXTS: Final = {
    "gateway": Field.GATEWAY,
    "district": Field.DISTRICT,
    "host": Field.HOST,
    "user": Field.USER,
    "password": Field.PASSWORD,
    "ca": Field.CA,
    "certificate": Field.CERTIFICATE,
    "key": Field.KEY,
    "site": Field.SITE,
    "zone": Field.ZONE,
}


def check(tag: Field, value: bytes, who: str) -> None:
    """ProvisionError when `value` cannot stand in field `tag`; says nothing of a secret's content."""
    rule = RULES[tag]
    fault = _fault(rule, value)
    if fault:
        raise ProvisionError(f"{who}: {rule.title.en}: expected {fault}; nothing was sent")


def _fault(rule: Rule, value: bytes) -> str:
    """What was expected and what came; empty when `value` is right."""
    if rule.form == "number":
        return "" if len(value) in (0, rule.size) else f"{rule.size} bytes, got {len(value)}"
    if len(value) > rule.size:
        return f"at most {rule.size} bytes, got {len(value)}"
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        return f"UTF-8, byte {error.start} is not"
    expected, fits = _FORMS[rule.form]
    return "" if not text or fits(text) else f"{expected}, got others"


def _is_child(line: str) -> bool:
    names = line.split(" ")
    return len(names) == 2 and all(_NAME.fullmatch(one) for one in names)


_FORMS: Final[Mapping[str, tuple[str, Callable[[str], bool]]]] = {
    "text": ("printable characters", str.isprintable),
    "name": ("1 to 64 characters A-Z a-z 0-9 _ . : -", lambda text: _NAME.fullmatch(text) is not None),
    "pem": ("a PEM text that begins with -----BEGIN", lambda text: text.startswith("-----BEGIN ")),
    "lines": ("lines of ID KIND", lambda text: all(map(_is_child, text.splitlines()))),
}


def children_of(value: bytes) -> tuple[Child, ...]:
    """The children in a field's value, those lines that are none left out."""
    lines = value.decode(errors="replace").splitlines()
    return tuple(Child(*line.split(" ")) for line in lines if _is_child(line))


def staged_crc(staged: Mapping[Field, bytes]) -> int:
    """CRC-32 (IEEE 802.3, as in zlib) over tag u8, length u16 and value of each staged field, by rising tag.

    >>> f"{staged_crc({Field.GATEWAY: b'GW-1'}):08x}"
    '32230ea3'
    """
    crc = 0
    for tag in sorted(staged):
        crc = zlib.crc32(bytes((tag,)) + len(staged[tag]).to_bytes(2, "big") + staged[tag], crc)
    return crc


def told(tag: int, value: bytes) -> str:
    """A field's value for a person, one line; `set` for a secret."""
    rule = RULES.get(Field(tag)) if tag in RULES else None
    if rule is None:
        return value.hex()
    if rule.secret:
        return "set" if value else "not set"
    if rule.form == "number":
        return str(int.from_bytes(value, "big"))
    if rule.form == "pem":
        return f"{len(value)} bytes of PEM" if value else ""
    text = ", ".join(value.decode(errors="backslashreplace").splitlines())
    return "".join(one if one.isprintable() else "�" for one in text)
