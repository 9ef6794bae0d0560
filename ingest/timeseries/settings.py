"""Settings of both stores, apart from them: reading a setting must not load a database's library."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ingest.errors import StoreError
from ingest.timeseries.retry import RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSettings:
    """Where the store's file lives and what it may use.

    `path`: the file; a relative one lies in the data folder. `memory_limit_mb`, `threads`: what queries may use.
    `wal_mb`: the write-ahead log is folded into the file when it grows beyond this. `sort_rows`: closed days are
    sorted in pieces of about so many rows, during which a write waits. `snapshot_rows`: the newest values are
    saved after so many rows, so that a start reads no more than these.
    """

    path: Path = Path("readings.duckdb")
    memory_limit_mb: int = 256
    threads: int = 2
    wal_mb: int = 32
    sort_rows: int = 500_000
    snapshot_rows: int = 4_000_000

    def __post_init__(self) -> None:
        for name, least in (("memory_limit_mb", 64), ("threads", 1), ("wal_mb", 1), ("sort_rows", 1000)):
            if getattr(self, name) < least:
                raise StoreError(f"embedded.{name}: expected at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxSettings:
    """Where InfluxDB answers. The token is read from `token_file`, else from the variable `token_env`.

    `url`: the server. `org`, `bucket`: where readings lie in it. `timeout_s`: patience with one request.
    `request_lines`: a write is cut into requests of so many lines. `gzip_level`: 0 sends plain text.
    """

    url: str = "http://127.0.0.1:8086"
    org: str = "undercity"
    bucket: str = "raw"
    token_file: Path | None = None
    token_env: str = "INFLUX_TOKEN"  # noqa: S105  the variable's name
    timeout_s: float = 10.0
    gzip_level: int = 1
    request_lines: int = 10_000
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise StoreError(f"influx.url: expected http:// or https://, got {self.url}")
        if self.timeout_s <= 0 or self.request_lines < 1 or not 0 <= self.gzip_level <= 9:
            raise StoreError(
                "influx: expected timeout_s > 0, request_lines >= 1 and gzip_level 0 to 9, "
                f"got {self.timeout_s}, {self.request_lines} and {self.gzip_level}"
            )

    def token(self) -> str:
        """The token; StoreError when there is none."""
        if self.token_file is not None:
            try:
                return self.token_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise StoreError(
                    f"influx.token_file {self.token_file}: {error.strerror}; cannot sign in"
                ) from error
        token = os.environ.get(self.token_env, "").strip()
        if not token:
            raise StoreError(f"influx: expected a token in {self.token_env} or influx.token_file, got none")
        return token
