"""Who is told what: the addresses and the patience of the outbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from devices.spec import Severity
from processors.errors import NotifyError

Language = Literal["zh", "en", "both"]


class Place(NamedTuple):
    """Where a device stands, as far as it is known; empty texts where it is not."""

    site: str = ""
    address: str = ""
    district: str = ""


Where = Callable[[str], Place | None]
"""Looks a device up; None when it is not known. Asked inside a transaction, so it must not be slow."""


def nowhere(_device: str) -> Place | None:
    """A lookup that knows no place."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One place that messages go to.

    `name`: how logs and tables call it. `url`: apprise URL, a secret as a whole; or `url_file`: a file that
    holds it. `severity`: least severity that is sent. `kinds`, `districts`: only these, empty for all; a device
    whose district is unknown is sent to everyone, since silence would be worse. `updates`, `clears`: also say that
    a condition worsened, that it ended. `language`: of the message. `short`: one line for SMS.
    """

    name: str
    url: str = field(default="", repr=False)
    url_file: Path | None = None
    severity: Severity = Severity.LOW
    kinds: tuple[str, ...] = ()
    districts: tuple[str, ...] = ()
    language: Language = "zh"
    updates: bool = False
    clears: bool = True
    short: bool = False

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 64:
            raise NotifyError(f"notify.addresses: expected a name of 1 to 64 characters, got {self.name!r}")
        if bool(self.url) == bool(self.url_file):
            raise NotifyError(
                f"notify.addresses {self.name}: expected either url or url_file; nothing is sent there"
            )
        if self.url and "://" not in self.url:
            raise NotifyError(
                f"notify.addresses {self.name}: expected an apprise URL with ://; nothing is sent there"
            )
        if self.language not in {"zh", "en", "both"}:
            raise NotifyError(
                f"notify.addresses {self.name}: expected language zh, en or both, got {self.language}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """The addresses, and how patiently each is tried.

    `addresses`: who is told, and of what. `zone`: time zone of the messages. `retry_s`, `retry_max_s`: first and
    longest pause after a failure; it doubles in between. `max_attempts`: then the message is `failed` and stays
    visible. `timeout_s`: how long one attempt may take. `lease_s`: how long a sender may hold a message before
    another takes it over. `keep_days`: how long sent messages are remembered. `zone`: time zone of every time in a
    message.
    """

    addresses: tuple[Address, ...] = ()
    retry_s: float = 5.0
    retry_max_s: float = 600.0
    max_attempts: int = 60  # about nine hours
    timeout_s: float = 30.0
    lease_s: float = 90.0
    keep_days: float = 90.0
    zone: str = "Asia/Shanghai"

    def __post_init__(self) -> None:
        names = [address.name for address in self.addresses]
        if len(set(names)) != len(names):
            raise NotifyError(f"notify.addresses: expected each name once, got {names}")
        if not 0 < self.retry_s <= self.retry_max_s:
            raise NotifyError(f"notify.retry_s: expected above 0 and at most retry_max_s, got {self.retry_s}")
        if self.max_attempts < 1:
            raise NotifyError(f"notify.max_attempts: expected at least 1, got {self.max_attempts}")
        if not 0 < self.timeout_s < self.lease_s:
            # A lease that ends during an attempt would let a second sender repeat it.
            raise NotifyError(
                f"notify.timeout_s: expected above 0 and below lease_s = {self.lease_s}, got {self.timeout_s}"
            )
