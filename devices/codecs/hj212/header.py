"""The fields of a packet before its CP: QN, ST, CN, PW, MN, Flag, PNUM and PNO.

From: the bytes of a data segment. To: `Header`, kept by its bytes, for a logger sends the same fields again and again.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from devices.errors import PayloadError

VERSIONS: Final = {"2005": 0, "2017": 1, "2025": 2}  # bits 2 to 7 of Flag
FLAG_MAX: Final = 255
_ORDER: Final = ("QN", "ST", "CN", "PW", "MN", "Flag", "PNUM", "PNO")
_OPTIONAL: Final = {"2005": {"QN", "Flag", "PNUM", "PNO"}}
_MN: Final = re.compile(r"[^\s;,=&]{1,64}", re.ASCII)
_CN: Final = re.compile(r"[0-9]{4}", re.ASCII)
_MN_FORMS: Final = {
    "2005": (re.compile(r"[!-~]{14}"), "14 characters"),
    "": (re.compile(r"[0-9A-F]{24}"), "24 hexadecimal digits"),
}
_FORMS: Final = {
    "QN": (re.compile(r"[0-9]{17}"), "17 digits"),
    "ST": (re.compile(r"[0-9A-Z]{2}"), "2 digits"),
    "PW": (re.compile(r"[!-~]{6}"), "6 characters"),
    "PNUM": (re.compile(r"[0-9]{1,4}"), "1 to 4 digits"),
    "PNO": (re.compile(r"[0-9]{1,4}"), "1 to 4 digits"),
}
_NUMBERS: Final = {"Flag": FLAG_MAX, "PNUM": 9999, "PNO": 9999}
_HEADERS_MAX: Final = 20_000
_HEADER_BYTES: Final = 200
_known: dict[bytes, Header] = {}  # what a run of bytes says never changes


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The fields before CP. Texts are empty, numbers None, where the packet has none.

    `flag`: bit 0 wants an answer, bit 1 says that PNUM and PNO follow, bits 2 to 7 are the version. `pnum`, `pno`: how
    many parts, and which of them this is, from 1. `other`: further fields, such as RF=1 of a resend.
    """

    qn: str = ""
    st: str = ""
    cn: str = ""
    pw: str = ""
    mn: str = ""
    flag: int | None = None
    pnum: int | None = None
    pno: int | None = None
    other: dict[str, str] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        """Who says what; without the password."""
        name = type(self).__name__
        return f"{name}(mn={self.mn!r}, cn={self.cn!r}, st={self.st!r}, qn={self.qn!r}, flag={self.flag})"


def refusal(expected: str, got: object, offset: int) -> PayloadError:
    """A refusal in the form that all have; `got` is shortened."""
    return PayloadError(f"hj212: expected {expected}, got {got!a:.80}; nothing was used", offset=offset)


def read_header(fields: bytes, offset: int) -> Header:
    """The header in `fields`, which stand at `offset`; PayloadError unless MN and CN are there and all make sense."""
    header = _known.get(fields)
    if header is None:
        header = _read(fields, offset)
        if len(fields) <= _HEADER_BYTES and not header.qn:
            if len(_known) >= _HEADERS_MAX:
                _known.clear()
            _known[fields] = header
    return header


def _read(fields: bytes, offset: int) -> Header:
    texts = _texts(fields, offset)
    numbers = {name: _number(name, texts.pop(name, ""), most, offset) for name, most in _NUMBERS.items()}
    if not _CN.fullmatch(texts.get("CN", "")):
        raise refusal("CN= with 4 digits", texts.get("CN", "no CN"), offset)
    if not _MN.fullmatch(texts.get("MN", "")):
        raise refusal("MN= with 1 to 64 characters", texts.get("MN", "no MN"), offset)
    return Header(
        qn=texts.pop("QN", ""),
        st=texts.pop("ST", ""),
        cn=texts.pop("CN"),
        pw=texts.pop("PW", ""),
        mn=texts.pop("MN"),
        flag=numbers["Flag"],
        pnum=numbers["PNUM"],
        pno=numbers["PNO"],
        other=texts,
    )


def _texts(fields: bytes, offset: int) -> dict[str, str]:
    texts: dict[str, str] = {}
    at = offset
    for field in fields.split(b";"):
        if field.strip():
            name, equals, value = field.decode("utf-8", "backslashreplace").partition("=")
            if not equals:
                raise refusal("NAME=VALUE before CP", name, at)
            texts.setdefault(name, value)  # named twice: the first counts
        at += len(field) + 1
    return texts


def _number(name: str, text: str, most: int, offset: int) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
        raise refusal(f"{name}= with a number to {most}", text, offset)
    return int(text)


def check_strictly(fields: bytes, offset: int, version: str) -> None:
    """PayloadError unless `fields` have the order, the forms and the completeness the standard asks for."""
    texts = _texts(fields, offset)
    names = [field.partition(b"=")[0].decode("utf-8", "backslashreplace") for field in fields.split(b";")[:-1]]
    names = [name for name in names if name != "RF"]  # of 2025; where it stands we have not read
    optional = _OPTIONAL.get(version, {"PNUM", "PNO"})
    wanted = [name for name in _ORDER if name in texts or name not in optional]
    if names != wanted:
        raise refusal(f"the fields {', '.join(wanted)} in this order", ", ".join(names), offset)
    forms = {**_FORMS, "MN": _MN_FORMS.get(version, _MN_FORMS[""])}
    for name, (form, words) in forms.items():
        if name in texts and not form.fullmatch(texts[name]):
            # What stands under PW is nobody's business, even when it is wrong.
            raise refusal(f"{name}= with {words}", "***" if name == "PW" else texts[name], offset)
    flag = int(texts.get("Flag", "0") or 0)
    if version and flag >> 2 != VERSIONS[version]:
        raise refusal(f"Flag with version {VERSIONS[version]} in bits 2 to 7 ({version})", f"Flag={flag}", offset)
    if (flag & 2 != 0) != ("PNUM" in texts and "PNO" in texts):
        raise refusal("PNUM and PNO exactly when bit 1 of Flag is set", f"Flag={flag}", offset)
