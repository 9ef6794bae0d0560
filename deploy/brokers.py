"""A broker of our own on this machine, for the demo and the tests: loopback only.

Mosquitto where it is installed, with the same limits as in production; else the broker of the `iotcore` package,
which lives in a wheel (deploy/docs/decisions/0003-embedded-broker.md says what it cannot do).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, Self

from deploy.errors import DeployError

CONFIGURATION: Final = Path(__file__).parent / "mosquitto"
HOST: Final = "127.0.0.1"
_START_S: Final = 15.0
_STOP_S: Final = 10.0
_POLL_S: Final = 0.02
_LOG_TAIL_CHARS: Final = 400
_PASSWORD_ROUNDS: Final = 101  # what mosquitto_passwd itself uses


class BrokerStartError(DeployError):
    """Raised when the local broker cannot be started; says what its log says."""


class LocalBroker(Protocol):
    """A broker at 127.0.0.1:`port`, whose files are in a folder that the caller owns.

    `kind`: its name for a person. `log_path`: what it said. `durable`: whether sessions, and what is queued for
    them, survive `stop` and `start`.
    """

    kind: str
    port: int
    log_path: Path
    durable: bool

    def start(self) -> Self:
        """Return once the port answers; BrokerStartError with the reason when it does not."""
        ...

    def stop(self) -> None:
        """End it in good order; once more changes nothing."""
        ...


def local_broker(folder: Path, *, port: int = 0, users: Mapping[str, str] | None = None) -> LocalBroker:
    """The best broker this machine has, not yet started.

    `port` 0 picks a free one. `users`: names and passwords; without them anybody on this machine may connect.
    BrokerStartError when there is neither.
    """
    if mosquitto_path() is not None:
        return MosquittoBroker(folder, port=port, users=users)
    if importlib.util.find_spec("iotcore") is not None:
        return EmbeddedBroker(folder, port=port, users=users)
    raise BrokerStartError(
        "broker: expected mosquitto on the PATH or the iotcore package, found neither; "
        "install one (Debian: apt install mosquitto); nothing was started"
    )


def mosquitto_path() -> str | None:
    """Where Mosquitto is; Debian keeps it in a folder that not every user's PATH has."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class _ProcessBroker:
    """What both have in common: a process of ours, a folder, a port, a log file."""

    kind = ""
    durable = False

    def __init__(self, folder: Path, *, port: int = 0, users: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.users = dict(users or {})
        self.log_path = folder / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Return once the port answers; BrokerStartError with the reason when it does not."""
        if self._process is not None:
            return self
        if _answers(self.port):
            raise BrokerStartError(f"broker: port {self.port} is taken by another program; nothing was started")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = self._prepare()
        with self.log_path.open("ab") as output:
            # A session of its own: Ctrl-C in the terminal is for us; the broker must outlive our last messages.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
            )
        # However we end, the pipe closes and the broker ends too: no demo leaves one behind.
        self._guard = subprocess.Popen(
            ["sh", "-c", 'read _; kill "$0"', str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_until_it_answers()
        return self

    def stop(self) -> None:
        """End it in good order; once more changes nothing."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare(self) -> Sequence[str]:
        """Write the configuration; the command that uses it."""
        raise NotImplementedError

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None  # noqa: S101  for the type checker
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            code = self._process.poll()
            if code is not None:
                self._forget()
                raise BrokerStartError(f"{self.kind}: ended with code {code} at its start: {self._log_tail()}")
            if _answers(self.port):
                return
            time.sleep(_POLL_S)
        self.kill()
        raise BrokerStartError(
            f"{self.kind}: port {self.port} did not answer in {_START_S:.0f} s: {self._log_tail()}"
        )

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    def _forget(self) -> None:
        if self._guard is not None:
            self._guard.kill()  # before the number of the broker's process can become another's
            self._guard.wait()
        for process in (self._process, self._guard):
            if process is not None and process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        self._process = self._guard = None

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            lines = self.log_path.read_text(errors="replace").strip()[-_LOG_TAIL_CHARS:].splitlines()
            tail = "; ".join(lines)
            return f"{tail or 'it said nothing'} (log: {self.log_path})"
        return "it left no log"


class MosquittoBroker(_ProcessBroker):
    """Mosquitto with our production limits. `extra`: further lines of its configuration file."""

    kind = "Mosquitto"
    durable = True

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        users: Mapping[str, str] | None = None,
        extra: Sequence[str] = (),
    ) -> None:
        super().__init__(folder, port=port, users=users)
        self._extra = tuple(extra)

    def _prepare(self) -> Sequence[str]:
        path = mosquitto_path()
        if path is None:
            raise BrokerStartError("broker: expected mosquitto on the PATH, found none; nothing was started")
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text("\n".join(self._lines()) + "\n", encoding="utf-8")
        return [path, "-c", str(configuration)]

    def _lines(self) -> list[str]:
        lines = [
            f"listener {self.port} {HOST}",
            f"allow_anonymous {'false' if self.users else 'true'}",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_interval 60",
            "log_dest stderr",  # not buffered: what a dying broker said must be there
            "log_type error",
            "log_type warning",
            "log_type notice",
        ]
        if os.geteuid() == 0:
            # Started by root it would become user mosquitto, who may not write into our folder.
            lines.append("user root")
        if self.users:
            passwords = self.folder / "passwords"
            passwords.touch(mode=0o600)
            passwords.write_text("".join(password_line(*one) for one in self.users.items()), encoding="utf-8")
            lines.append(f"password_file {passwords}")
        return [*lines, *self._extra, (CONFIGURATION / "limits.conf").read_text(encoding="utf-8")]


class EmbeddedBroker(_ProcessBroker):
    """The broker in the `iotcore` wheel, MQTT v5 on one port; ends by itself when we do."""

    kind = "iotcore"
    durable = False

    def _prepare(self) -> Sequence[str]:
        if importlib.util.find_spec("iotcore") is None:
            raise BrokerStartError("broker: expected the iotcore package, found none; nothing was started")
        configuration = self.folder / "iotcore.toml"
        configuration.touch(mode=0o600)
        configuration.write_text(self._toml(), encoding="utf-8")
        return [sys.executable, "-c", _EMBEDDED_CHILD, str(configuration)]

    def _toml(self) -> str:
        names = "".join(f"{json.dumps(name)} = {json.dumps(password)}\n" for name, password in self.users.items())
        auth = f"[v5.1.connections.auth]\n{names}" if names else ""
        return _EMBEDDED_TOML.format(host=HOST, port=self.port) + auth


# Bounds in bytes and pieces: 16 pieces of 16 MB for each topic filter; beyond them the oldest data is overwritten.
_EMBEDDED_TOML: Final = """id = 0
[router]
id = 0
max_connections = 1024
max_outgoing_packet_count = 200
max_segment_size = 16777216
max_segment_count = 16
[v5.1]
name = "v5-1"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 10000
max_payload_size = 1048576
max_inflight_count = 1000
dynamic_filters = true
"""

# It ends with us, however we end: the pipe closes. Its own log would hold a line for every packet.
_EMBEDDED_CHILD: Final = """
import logging, os, sys, threading
def leave():
    sys.stdin.buffer.read()
    os._exit(0)
sys.path[:] = [entry for entry in sys.path if entry not in ("", ".")]
from iotcore.iotcore import IotCoreBroker
logging.basicConfig(level="WARNING")
logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
logging.getLogger("tracing").setLevel(logging.CRITICAL)
threading.Thread(target=leave, daemon=True).start()
IotCoreBroker(config_path=sys.argv[1]).run_forever()
"""


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def password_line(user: str, password: str, salt: bytes | None = None) -> str:
    """A line of Mosquitto's password file: PBKDF2 with SHA-512, as mosquitto_passwd writes it."""
    if not user or ":" in user or "\n" in user:
        raise DeployError(f"broker user: expected a name without colon or line break, got {user!r}; not written")
    salt = secrets.token_bytes(12) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _PASSWORD_ROUNDS)
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"{user}:$7${_PASSWORD_ROUNDS}${'$'.join(encoded)}\n"


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=0.5):
        return True
    return False
