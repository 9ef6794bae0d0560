"""A real InfluxDB 2.7 for tests: the one named by the environment, or an `influxd` of our own on loopback.

From: `UNDERCITY_TEST_INFLUX_URL`, `_TOKEN` and optionally `_ORG`; else `influxd` on the PATH. To: the contract suite.
Without either, `influx_server` skips and says so.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from influxdb_client import InfluxDBClient, OnboardingRequest
from influxdb_client.service.setup_service import SetupService

_START_S = 30.0


@dataclass(frozen=True, slots=True)
class InfluxServer:
    """Where a server answers, and a token that may do everything in `org`."""

    url: str
    token: str
    org: str

    def client(self) -> InfluxDBClient:
        return InfluxDBClient(self.url, self.token, org=self.org, timeout=20_000)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Influxd:
    """Our own `influxd`; it can be stopped and started again with its data."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("influxd")
        assert program is not None
        with (self.folder / "influxd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--http-bind-address=127.0.0.1:{self.port}",
                    f"--bolt-path={self.folder / 'influxd.bolt'}",
                    f"--sqlite-path={self.folder / 'influxd.sqlite'}",
                    f"--engine-path={self.folder / 'engine'}",
                    "--reporting-disabled",
                    "--log-level=warn",
                    "--store=bolt",
                ],
                stdout=log,
                stderr=log,
                env=os.environ | {"HOME": str(self.folder)},
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        with InfluxDBClient(self.url, "", timeout=1000) as client:
            while time.monotonic() < deadline:
                assert self._process is not None
                if self._process.poll() is not None:
                    break
                if client.ping():
                    return
                time.sleep(0.05)
        tail = (self.folder / "influxd.log").read_text(errors="replace")[-2000:]
        pytest.fail(f"influxd did not answer on {self.url}: {tail}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)
            self._process = None


@contextlib.contextmanager
def influx_server(folder: Path) -> Iterator[InfluxServer]:
    """A server that is set up; skips the test where there is none."""
    url, token = os.environ.get("UNDERCITY_TEST_INFLUX_URL"), os.environ.get("UNDERCITY_TEST_INFLUX_TOKEN")
    if url and token:
        yield InfluxServer(url, token, os.environ.get("UNDERCITY_TEST_INFLUX_ORG", "undercity"))
        return
    require_influxd()
    own = Influxd(folder)
    own.start()
    try:
        yield onboarded(own.url)
    finally:
        own.stop()


def require_influxd() -> None:
    """Skip unless an `influxd` of our own can be started."""
    if shutil.which("influxd") is None:
        pytest.skip(
            "InfluxDB not tested: set UNDERCITY_TEST_INFLUX_URL and UNDERCITY_TEST_INFLUX_TOKEN, "
            "or put influxd 2.7 on the PATH"
        )


def onboarded(url: str, org: str = "undercity") -> InfluxServer:
    """Set up a fresh server through its own API."""
    token = secrets.token_urlsafe(24)
    with InfluxDBClient(url, "", timeout=20_000) as client:
        request = OnboardingRequest(
            username="test", password=secrets.token_urlsafe(16), org=org, bucket="unused", token=token
        )
        SetupService(client.api_client).post_setup(request)
    return InfluxServer(url, token, org)
