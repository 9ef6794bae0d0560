"""InfluxDB 2.7 as a time-series store.

From: the sink directly, or the spool's thread. To: one bucket: measurement = kind, tags = the device's places,
fields = quantities.

The server may store a part of a block and refuse the rest. Its answer tells the first reason and a number that
covers one shard only, so a refused block is halved until each part is stored whole or refused whole; writing a
line twice changes nothing.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from urllib3.exceptions import HTTPError

from devices.readings import Batch
from devices.spec import Kind
from ingest.errors import StoreUnavailable
from ingest.timeseries import influx_reads
from ingest.timeseries.lines import LineBuilder, line_time_ns, refused
from ingest.timeseries.ports import History, Latest, Rejected, Written
from ingest.timeseries.rows import admit, merged
from ingest.timeseries.settings import InfluxSettings

CURSOR = "undercity_cursor"
_EPOCH = datetime.fromtimestamp(0, UTC)
_HOUR_NS = 3_600_000_000_000
_DROPPED = re.compile(r"dropped=(\d+)")
_BOUND = re.compile(r"Retention Policy Lower Bound at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z")
# Codes that say what is wrong with us, not with the points: trying the same again at once is pointless.
_OURS = {
    401: "the token was refused",
    403: "the token may not do this",
    404: "the bucket or organisation does not exist",
}


class InfluxStore:
    """A `TimeSeriesStore` in an InfluxDB bucket.

    The cursor is a point of its own, written after the rows: a crash between the two repeats rows, which changes
    nothing. A device whose tags changed is a new series there; reads join its series again.
    """

    def __init__(
        self,
        settings: InfluxSettings,
        *,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.settings = settings
        self._now = now
        self._wait = wait
        self._client = InfluxDBClient(
            settings.url,
            settings.token(),
            org=settings.org,
            timeout=int(settings.timeout_s * 1000),
            retries=False,
        )
        self._service = WriteService(self._client.api_client)  # type: ignore[no-untyped-call]
        self._lines = LineBuilder(now())
        self._upto: int | None = None

    def write(self, batches: Sequence[Batch], upto: int) -> Written:
        """See `TimeSeriesStore.write`."""
        count, rejected = 0, []
        for batch in batches:
            rows, refusals = admit(batch)
            turned_down = self.write_block(self._lines.block(merged(rows)))
            count += len(rows) - len(turned_down)
            rejected += [*refusals, *turned_down]
        self._move_cursor(upto)
        return Written(count, tuple(rejected))

    def _move_cursor(self, upto: int) -> None:
        known = self.cursor() if self._upto is None else self._upto
        # One point per hour, overwritten: the cursor takes no room to speak of.
        hour = self._now() * 1000 // _HOUR_NS * _HOUR_NS
        self.write_block(b"%s next=%di %d\n" % (CURSOR.encode(), max(upto, known), hour))
        self._upto = max(upto, known)

    def write_block(self, block: bytes) -> tuple[Rejected, ...]:
        """Write lines, in order; what the server refuses for good comes back. StoreUnavailable as for `write`."""
        lines = block.splitlines()
        rejected: list[Rejected] = []
        for first in range(0, len(lines), self.settings.request_lines):
            rejected += self._write_lines(lines[first : first + self.settings.request_lines])
        return tuple(rejected)

    def _write_lines(self, lines: list[bytes]) -> list[Rejected]:
        reason = self._post(b"\n".join(lines))
        if reason is None:
            return []
        found = _DROPPED.search(reason)
        if len(lines) == 1 or (found and int(found[1]) >= len(lines)):
            return [refused(line, reason) for line in lines]
        bound_ns = _bound_ns(reason)
        old = [line for line in lines if line_time_ns(line) < bound_ns]
        if old:
            rest = [line for line in lines if line_time_ns(line) >= bound_ns]
            return [refused(line, reason) for line in old] + (self._write_lines(rest) if rest else [])
        half = len(lines) // 2
        return self._write_lines(lines[:half]) + self._write_lines(lines[half:])

    def _post(self, body: bytes) -> str | None:
        """None when all of it was stored, else why not; StoreUnavailable after all attempts."""
        failures = 0
        while True:
            try:
                return self._post_once(body)
            except _Again as again:
                failures += 1
                if failures >= self.settings.retry.attempts:
                    raise StoreUnavailable(
                        f"influx {self.settings.url}: {again.reason}; nothing is known to be stored; "
                        "try again later"
                    ) from again
                self._wait(max(self.settings.retry.pause_s(failures), again.after_s))

    def _post_once(self, body: bytes) -> str | None:
        level = self.settings.gzip_level
        sent = gzip.compress(body, level, mtime=0) if level else body
        try:
            self._service.post_write(  # type: ignore[no-untyped-call]
                org=self.settings.org,
                bucket=self.settings.bucket,
                body=sent,
                precision="ns",
                content_encoding="gzip" if level else "identity",
                content_type="text/plain; charset=utf-8",
            )
        except ApiException as error:
            return self._refusal(error)
        except (HTTPError, OSError) as error:
            raise _Again(_short(error)) from error
        return None

    def _refusal(self, error: ApiException) -> str:
        text = influx_reads.message(error)
        if error.status in {400, 413, 422} or "partial write" in text:
            return text
        if error.status in _OURS:
            raise StoreUnavailable(self._ours(error)) from error
        after = str(error.headers.get("Retry-After", "")) if error.headers else ""
        raise _Again(f"HTTP {error.status}: {text}", float(after) if after.isdigit() else 0.0) from error

    def _ours(self, error: ApiException) -> str:
        return (
            f"influx {self.settings.url}: {_OURS[error.status]} "
            f"(HTTP {error.status}: {influx_reads.message(error)}); nothing was done; set it right and it goes on"
        )

    @contextlib.contextmanager
    def _reading(self) -> Iterator[influx_reads.Query]:
        try:
            yield influx_reads.Query(self._client, self.settings.bucket)
        except ApiException as error:
            if error.status in _OURS:
                raise StoreUnavailable(self._ours(error)) from error
            text = f"HTTP {error.status}: {influx_reads.message(error)}"
            raise StoreUnavailable(f"influx {self.settings.url}: {text}; nothing was read") from error
        except (HTTPError, OSError) as error:
            raise StoreUnavailable(f"influx {self.settings.url}: {_short(error)}; nothing was read") from error

    def cursor(self) -> int:
        """See `TimeSeriesStore.cursor`."""
        with self._reading() as query:
            return query.cursor(CURSOR)

    def history(
        self, kind: Kind, device: str, quantity: str, start_us: int, end_us: int, every_us: int | None = None
    ) -> History:
        """See `TimeSeriesStore.history`."""
        kind.column(quantity)
        with self._reading() as query:
            return query.history(kind, device, quantity, (start_us, end_us), every_us)

    def latest(self, kind: Kind, now_us: int) -> Latest:
        """See `TimeSeriesStore.latest`."""
        with self._reading() as query:
            return query.latest(kind, now_us)

    def retain(self, before_us: int) -> None:
        """See `TimeSeriesStore.retain`; the bucket's own retention does the same in the long run."""
        with self._reading():
            # The server deletes up to and including `stop`.
            stop = _EPOCH + timedelta(microseconds=before_us - 1)
            self._client.delete_api().delete(
                "1677-09-21T00:12:44Z",
                stop.isoformat().replace("+00:00", "Z"),
                "",
                bucket=self.settings.bucket,
                org=self.settings.org,
            )

    def close(self) -> None:
        """See `TimeSeriesStore.close`."""
        self._client.close()  # type: ignore[no-untyped-call]


class _Again(Exception):  # noqa: N818  it never leaves this file
    """A failure that may pass; `after_s`: when the server asked to be left alone."""

    def __init__(self, reason: str, after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s


def _short(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _bound_ns(reason: str) -> int:
    """What is older than this was refused, by the server's own words; 0 when it does not say."""
    found = _BOUND.search(reason)
    if not found:
        return 0
    whole = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    return int(whole.timestamp()) * 1_000_000_000 + int((found[2] or "").ljust(9, "0"))
