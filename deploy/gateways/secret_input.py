"""Secrets come from a file, from standard input or from a person at a terminal; never from an argument.

Arguments stand in the shell's history and in the list of processes. To: the gateway commands.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Final

from deploy.brokers import password_line
from devices.errors import ProvisionError

_GENERATED_BYTES: Final = 18  # 24 characters that need no quoting anywhere
_SECRET_MAX: Final = 128


def secret(file: Path | None, prompt: str, option: str, *, twice: bool = False) -> str:
    """The first line of `file` (`-`: standard input), or what a person types without an echo."""
    if file is None:
        if not sys.stdin.isatty():
            raise ProvisionError(f"{prompt}: expected a terminal to ask at, or {option} FILE; nothing was sent")
        import typer  # noqa: PLC0415

        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True))
    text = sys.stdin.readline() if str(file) == "-" else _text(file, option)
    line = text.splitlines()[0] if text else ""
    if not 0 < len(line) <= _SECRET_MAX:
        raise ProvisionError(
            f"{option} {file}: expected a first line of 1 to {_SECRET_MAX} characters, got {len(line)}; "
            "nothing was sent"
        )
    return line


def generated() -> str:
    """A password nobody has to remember."""
    return secrets.token_urlsafe(_GENERATED_BYTES)


def can_write(file: Path) -> None:
    """ProvisionError now, when `put_password` could not write there later."""
    place = file if file.exists() else file.parent
    if not os.access(place, os.W_OK) or not os.access(file.parent, os.W_OK):
        raise ProvisionError(f"--generate {file}: it cannot be written; nothing was sent")


def put_password(file: Path, user: str, password: str) -> None:
    """Put `user` into Mosquitto's password file in place of its line there, if any; all of the file or none of it."""
    try:
        _put(file, user, password_line(user, password))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ProvisionError(
            f"{file}: {why}; the gateway has a new password that the broker does not know: mend that and provision it "
            "again"
        ) from None


def _put(file: Path, user: str, line: str) -> None:
    old = file.read_text(encoding="utf-8") if file.exists() else ""
    kept = [one for one in old.splitlines(keepends=True) if one.partition(":")[0] != user]
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write("".join([*kept, line]))
        if file.exists() and hasattr(os, "fchmod"):
            # The broker reads it as another user: who may read it stays as it was.
            kind = file.stat()
            os.fchmod(out.fileno(), kind.st_mode & 0o777)
            if os.geteuid() == 0:
                os.fchown(out.fileno(), kind.st_uid, kind.st_gid)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)


def _text(file: Path, option: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ProvisionError(f"{option} {file}: {why}; nothing was sent") from None
