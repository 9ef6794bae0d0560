"""Which loggers may connect, and how each speaks: the listener's view of the registry.

From: registry entries whose codec is hj212; the MN stands in `address`, or is the device's id. To: the listener, which
looks every packet's MN up here. A changed registry is noticed by its revision.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from devices.codecs.hj212.dialect import dialect_of
from devices.errors import RegistryError
from devices.fleet import Entry
from ingest.topics import LOGGERS

log = structlog.get_logger(__name__)

# What can stand in a topic level: an MN is 24 hexadecimal digits by the standard, and many things in the field.
MN: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)


class Registry(Protocol):
    """The devices that are known."""

    def entries(self) -> Iterable[Entry]:
        """Every device that is expected to report."""
        ...

    def revision(self) -> int:
        """A number that changes with every change of the registry."""
        ...


@dataclass(frozen=True, slots=True)
class LoggerRule:
    """What is known of one logger.

    `device`: its id in the registry. `password`: what its packets must carry, empty for any. `crc`: the checksum
    it uses. `st`: how requests address it, empty for what it says itself. `sm4_key`: of its encrypted
    packets, None without. `strict`: take no deviation from the
    standard, of that `version` if it is not empty.
    """

    mn: str
    device: str
    password: str = field(default="", repr=False)
    crc: str = "hj212"
    st: str = ""
    sm4_key: bytes | None = field(default=None, repr=False)
    strict: bool = False
    version: str = ""

    def admits(self, password: str) -> bool:
        """Whether `password` is this logger's."""
        return not self.password or hmac.compare_digest(self.password.encode(), password.encode())


def rule_of(entry: Entry) -> LoggerRule | None:
    """The rule for one registered device; None when it is no HJ 212 logger, or its MN can never match."""
    if entry.codec != LOGGERS:
        return None
    mn = entry.address or entry.id
    if not MN.fullmatch(mn):
        log.warning("logger_unreachable", device=entry.id, mn=mn[:80], expected="1 to 64 of A-Z a-z 0-9 _ . : -")
        return None
    try:
        dialect = dialect_of(entry.settings or {})
    except RegistryError as error:
        # The registry checks settings before it takes them: those that do not fit come from elsewhere.
        log.warning("logger_settings_unusable", device=entry.id, mn=mn, reason=str(error), now="it cannot connect")
        return None
    return LoggerRule(
        mn=mn,
        device=entry.id,
        password=dialect.password,
        crc=dialect.crc,
        st=dialect.st,
        sm4_key=dialect.sm4_key,
        strict=dialect.strict,
        version=dialect.version,
    )


class Loggers:
    """Every logger's rule by MN. `refresh` may run on another thread than `find`: it replaces the whole table."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._revision: int | None = None
        self._rules: dict[str, LoggerRule] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def all(self) -> list[LoggerRule]:
        """Every rule, by MN."""
        return [rule for _, rule in sorted(self._rules.items())]

    def find(self, mn: str) -> LoggerRule | None:
        """The rule for `mn`; None for a stranger."""
        return self._rules.get(mn)

    def named(self, name: str) -> LoggerRule | None:
        """The rule of the logger with this MN, or of the device with this id."""
        rules = self._rules
        return rules.get(name) or next((rule for rule in rules.values() if rule.device == name), None)

    def refresh(self) -> bool:
        """Read the registry again if it changed; whether it did. Raises whatever the registry raises."""
        revision = self._registry.revision()
        if revision == self._revision:
            return False
        rules: dict[str, LoggerRule] = {}
        for entry in self._registry.entries():
            rule = rule_of(entry)
            if rule is not None:
                # Two devices behind one MN, such as fume and purifier of a kitchen: the first one's dialect holds.
                rules.setdefault(rule.mn, rule)
        self._rules, self._revision = rules, revision
        open_to_all = sum(not rule.password for rule in rules.values())
        log.info("loggers_read", revision=revision, loggers=len(rules), without_password=open_to_all)
        return True
