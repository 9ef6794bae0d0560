"""How one logger speaks: its settings in the registry, checked. What deviates from the standard is never guessed.

From: `Context.settings`. To: the codec.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from devices.codecs import Settings, refuse_unknown
from devices.codecs.hj212.checksum import DIALECTS
from devices.codecs.hj212.cipher import key_of
from devices.codecs.hj212.header import VERSIONS
from devices.errors import RegistryError

_ST: Final = re.compile(r"[0-9A-Z]{2,3}", re.ASCII)
_CN: Final = re.compile(r"2[0-9]{3}", re.ASCII)
_PASSWORD: Final = re.compile(r"[!-~]{1,32}", re.ASCII)
_MARKS: Final = re.compile(r"[;&#]")
_MODES: Final = ("tolerant", "strict")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One logger's settings.

    `crc`: hj212, modbus or modbus-swapped. `st`: what data packets must carry, empty for any. `password`: what every
    packet must carry, empty for any. `version`: 2005, 2017 or 2025, for strict reading and for what is built.
    `cn`: the data commands that are read, empty for all; the first is the one that is built.
    """

    strict: bool = False
    crc: str = "hj212"
    st: str = ""
    password: str = field(default="", repr=False)
    sm4_key: bytes | None = field(default=None, repr=False)
    version: str = ""
    cn: tuple[str, ...] = ()

    def reads(self, cn: str) -> bool:
        """Whether packets of command `cn` carry readings that are wanted: 2000 to 2999, or those of `cn`."""
        return cn[0] == "2" and (not self.cn or cn in self.cn)


PLAIN: Final = Dialect()


def _text(name: str, form: re.Pattern[str], words: str) -> Callable[[Any], str]:
    def take(value: Any) -> str:
        if isinstance(value, str) and form.fullmatch(value) and not _MARKS.search(value):
            return value
        raise _refused(name, words, "another text" if name == "password" else value)

    return take


def _one_of(name: str, known: Iterable[str]) -> Callable[[Any], str]:
    def take(value: Any) -> str:
        if isinstance(value, str) and value in known:
            return value
        raise _refused(name, f"one of {', '.join(known)}", value)

    return take


def _commands(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if (
        isinstance(values, list | tuple)
        and values
        and all(isinstance(cn, str) and _CN.fullmatch(cn) for cn in values)
    ):
        return tuple(values)
    raise _refused("cn", "a data command such as 2011, or a list of them", value)


def _refused(name: str, wanted: str, got: object) -> RegistryError:
    return RegistryError(f"hj212: {name}: expected {wanted}, got {got!a:.80}; not taken")


_TAKE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "mode": _one_of("mode", _MODES),
    "crc": _one_of("crc", DIALECTS),
    "st": _text("st", _ST, "a system code of 2 or 3 digits"),
    "password": _text("password", _PASSWORD, "1 to 32 characters"),
    "sm4_key": key_of,
    "version": _one_of("version", VERSIONS),
    "cn": _commands,
}
NAMES: Final = tuple(_TAKE)  # of the settings there are


def dialect_of(settings: Settings) -> Dialect:
    """The dialect in `settings`; RegistryError when one of them is unknown or has no meaning."""
    refuse_unknown("hj212", settings, NAMES)
    taken = {name: take(settings[name]) for name, take in _TAKE.items() if name in settings}
    strict = taken.pop("mode", "") == "strict"
    return Dialect(strict=strict, **taken)
