"""An engineer's bench: signed images, simulated boards behind ports, and the commands run as processes."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.cli import main
from devices.firmware.bundle import sealed
from devices.firmware.image import Image
from devices.firmware.keys import Keyring, SigningKey, save_keyring
from devices.simulator.boards.stk500 import Stk500Board

KEY = SigningKey("maker", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
BANNER = b"undercity gateway 1.2.3\r\n"
PAYLOAD = bytes((7 * at + at // 256) & 0xFF for at in range(6000))


class Ended(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


class Bench:
    """A folder with trusted keys, images and a data folder; commands run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        save_keyring(folder / "undercity-keys", Keyring((KEY.public,)))

    def bundle(self, name: str = "app.ucb", payload: bytes = PAYLOAD, **values: object) -> str:
        """A signed bundle for an AVR board; its file name."""
        facts = {"board": "GW-AVR", "revisions": ("r1",), "version": "1.2.3", "security_counter": 2}
        facts |= {"chip": "avr:1e950f", "boot": f"text:{BANNER[:17].decode()}", **values}
        (self.folder / name).write_bytes(sealed(Image.of(payload, **facts), KEY))
        return name

    def run(self, *words: str) -> Ended:
        """A gateway command from beginning to end, in this process: what a person sees, and the exit code."""
        out, error = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            mock.patch.object(sys, "argv", ["undercity", "gateway", *words]),
            mock.patch.dict(os.environ, self._environment()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
        ):
            code = main._run()
        return Ended(code, out.getvalue(), error.getvalue())

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A gateway command under way."""
        return subprocess.Popen(
            [sys.executable, "-m", "deploy", "gateway", *words],
            cwd=self.folder,
            env={**os.environ, **self._environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environment(self) -> dict[str, str]:
        return {"UNDERCITY_DATA__DIR": str(self.folder / "data"), "COLUMNS": "200"}


def board(signature: str = "1e950f") -> Stk500Board:
    """An AVR board whose application prints `BANNER`."""
    return Stk500Board(signature, banner=BANNER)
