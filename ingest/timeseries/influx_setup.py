"""Makes an InfluxDB 2.7 server ours: buckets, the hourly task and tokens; a second run changes nothing.

    raw      90 days   measurement = kind, as written; `alerts`: one point per alert raised or cleared, for
                       annotations, with tags device, kind, rule, severity and fields title_zh, title_en, phase
    hourly   5 years   as raw, values only, with a tag stat = mean, min, max or count; filled by the task

From: `undercity influx setup`. Tokens go to files that only their owner can read, never to a log or the screen.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.domain.onboarding_request import OnboardingRequest
from influxdb_client.domain.permission import Permission
from influxdb_client.domain.permission_resource import PermissionResource
from influxdb_client.domain.task_create_request import TaskCreateRequest
from influxdb_client.domain.task_update_request import TaskUpdateRequest
from influxdb_client.rest import ApiException
from influxdb_client.service.setup_service import SetupService
from urllib3.exceptions import HTTPError

from ingest.errors import StoreError, StoreUnavailable
from ingest.timeseries.influx_reads import message

RAW: Final = "raw"
HOURLY: Final = "hourly"
TASK: Final = "undercity hourly"
PIPELINE: Final = "undercity pipeline"
GRAFANA: Final = "undercity grafana"
_DAY_S = 86_400

# Two hours back, so that readings that came late are in; writing an hour again replaces it. What is BAD or MISSING
# (3 and above) stays out, as it does from every other mean.
HOURLY_FLUX: Final = """import "date"
import "strings"

option task = {name: "undercity hourly", every: 1h, offset: 5m}

stop = date.truncate(t: now(), unit: 1h)
start = date.sub(d: 2h, from: stop)
data = from(bucket: "raw")
  |> range(start: start, stop: stop)
  |> filter(fn: (r) => r._measurement != "alerts" and r._measurement != "undercity_cursor" and r._field != "quality")
values = data
  |> filter(fn: (r) => r._field !~ /^quality_/)
  |> toFloat()
  |> set(key: "role", value: "value")
bad = data
  |> filter(fn: (r) => r._field =~ /^quality_/)
  |> filter(fn: (r) => r._value >= 3)
  |> toFloat()
  |> map(fn: (r) => ({r with _field: strings.trimPrefix(v: r._field, prefix: "quality_"), role: "bad"}))
usable = union(tables: [values, bad])
  |> group(columns: ["role", "_time", "_value"], mode: "except")
  |> pivot(rowKey: ["_time"], columnKey: ["role"], valueColumn: "_value")
  |> filter(fn: (r) => exists r.value and not exists r.bad)
  |> map(fn: (r) => ({r with _value: r.value}))
  |> drop(columns: ["value", "bad"])
hour = (stat, fn) => usable
  |> aggregateWindow(every: 1h, fn: fn, createEmpty: false, timeSrc: "_start")
  |> toFloat()
  |> set(key: "stat", value: stat)
  |> to(bucket: "hourly")
hour(stat: "mean", fn: mean) |> yield(name: "mean")
hour(stat: "min", fn: min) |> yield(name: "min")
hour(stat: "max", fn: max) |> yield(name: "max")
hour(stat: "count", fn: count) |> yield(name: "count")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxSetupSettings:
    """What the server shall hold, and where the tokens are written."""

    url: str
    secrets_dir: Path
    org: str = "undercity"
    raw_days: int = 90
    hourly_days: int = 5 * 365
    timeout_s: float = 20.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise StoreError(
                f"influx setup: expected an address like http://host:8086, got {self.url!r}; not set up"
            )
        if self.raw_days < 1 or self.hourly_days < self.raw_days:
            raise StoreError(
                f"influx setup: expected 1 <= raw_days <= hourly_days, "
                f"got {self.raw_days} and {self.hourly_days}; not set up"
            )


@dataclass(slots=True)
class InfluxSetup:
    """One run. `done`: a line per thing made or changed; nothing of what was as it should be."""

    settings: InfluxSetupSettings
    done: list[str] = field(default_factory=list)

    def run(self, token: str) -> list[str]:
        """Set the server up with an operator's `token`; on a new server it becomes the operator's, made up if empty.

        StoreUnavailable when the server cannot be reached, StoreError when it refuses.
        """
        settings = self.settings
        try:
            token = self._onboard(token) or token
            if not token:
                raise StoreError(
                    f"influx {settings.url}: it is set up already; expected an operator's token, got none; "
                    "nothing was changed"
                )
            with self._client(token) as client:
                self._fill(client)
        except ApiException as error:
            raise StoreError(
                f"influx {settings.url}: HTTP {error.status}: {message(error)}; what was done before stays: "
                f"{'; '.join(self.done) or 'nothing'}"
            ) from error
        except (HTTPError, OSError) as error:
            reason = " ".join(str(error).split())
            raise StoreUnavailable(f"influx setup {settings.url}: {reason}; try again when it runs") from error
        return self.done

    def _client(self, token: str) -> InfluxDBClient:
        timeout_ms = int(self.settings.timeout_s * 1000)
        return InfluxDBClient(self.settings.url, token, org=self.settings.org, timeout=timeout_ms, retries=False)

    def _onboard(self, token: str) -> str:
        """On a server nobody has set up: do so; the operator's token, empty when somebody had."""
        with self._client("") as client:
            service = SetupService(client.api_client)  # type: ignore[no-untyped-call]
            if not service.get_setup().allowed:  # type: ignore[no-untyped-call]
                return ""
            operator, password = token or secrets.token_urlsafe(48), secrets.token_urlsafe(24)
            # On the disk before the server knows them: nobody is locked out by a crash between.
            self._keep("operator.token", operator)
            self._keep("operator.password", password)
            request = OnboardingRequest(  # type: ignore[no-untyped-call]
                username="undercity",
                password=password,
                org=self.settings.org,
                bucket=RAW,
                retention_period_seconds=self.settings.raw_days * _DAY_S,
                token=operator,
            )
            service.post_setup(request)  # type: ignore[no-untyped-call]
        self.done.append(f"server set up: user undercity, organisation {self.settings.org}")
        return operator

    def _fill(self, client: InfluxDBClient) -> None:
        org = self._organisation(client)
        raw = self._bucket(client, org, RAW, self.settings.raw_days)
        hourly = self._bucket(client, org, HOURLY, self.settings.hourly_days)
        self._task(client, org)
        both = [("read", raw), ("read", hourly)]
        self._token(client, org, PIPELINE, "pipeline.token", [("write", raw), *both])
        self._token(client, org, GRAFANA, "grafana.token", both)

    def _organisation(self, client: InfluxDBClient) -> str:
        name = self.settings.org
        api: Any = client.organizations_api()
        found = _named(lambda: api.find_organizations(org=name), name)
        if found is None:
            found = api.create_organization(name=name)
            self.done.append(f"organisation {name} made")
        return str(found.id)

    def _bucket(self, client: InfluxDBClient, org: str, name: str, days: int) -> str:
        buckets: Any = client.buckets_api()
        rule = BucketRetentionRules(type="expire", every_seconds=days * _DAY_S)  # type: ignore[no-untyped-call]
        found = _named(lambda: buckets.find_buckets(name=name, org_id=org).buckets, name)
        if found is None:
            found = buckets.create_bucket(bucket_name=name, org=org, retention_rules=rule)
            self.done.append(f"bucket {name} made, {days} days")
        elif [known.every_seconds for known in found.retention_rules] != [days * _DAY_S]:
            # The shard length follows from the retention; the one known would be refused with a shorter one.
            found.retention_rules = [rule]
            buckets.update_bucket(found)
            self.done.append(f"bucket {name} now keeps {days} days")
        return str(found.id)

    def _task(self, client: InfluxDBClient, org: str) -> None:
        tasks: Any = client.tasks_api()
        found = [task for task in tasks.find_tasks(name=TASK, org_id=org) if task.name == TASK]
        if not found:
            tasks.create_task(
                task_create_request=TaskCreateRequest(org_id=org, flux=HOURLY_FLUX, status="active")  # type: ignore[no-untyped-call]
            )
            self.done.append(f"task {TASK} made")
            return
        if found[0].flux != HOURLY_FLUX or found[0].status != "active":
            request = TaskUpdateRequest(flux=HOURLY_FLUX, status="active")  # type: ignore[no-untyped-call]
            tasks.update_task_request(found[0].id, request)
            self.done.append(f"task {TASK} brought up to date")
        for surplus in found[1:]:
            tasks.delete_task(surplus.id)
            self.done.append(f"task {TASK}: a second one removed")

    def _token(
        self, client: InfluxDBClient, org: str, what: str, file: str, grants: Iterable[tuple[str, str]]
    ) -> None:
        api: Any = client.authorizations_api()
        found = [known for known in api.find_authorizations(org_id=org) if known.description == what]
        path = self.settings.secrets_dir / file
        if found and path.exists() and path.read_text(encoding="utf-8").strip() == found[0].token:
            return
        if found:
            self._keep(file, found[0].token)
            self.done.append(f"token of {what} written to {path}")
            return
        made = api.create_authorization(authorization=_authorization(org, what, grants))
        self._keep(file, made.token)
        self.done.append(f"token of {what} made and written to {path}")

    def _keep(self, file: str, secret: str) -> None:
        folder = self.settings.secrets_dir
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Never readable by others, not even for a moment: a new file, then moved into place.
        new = folder / f".{file}.new"
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(secret + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(folder / file)


def _named(find: Callable[[], Iterable[Any]], name: str) -> Any | None:
    """The one called `name`; None when the server knows none, which it says by 404 or an empty list."""
    try:
        return next((known for known in find() or () if known.name == name), None)
    except ApiException as error:
        if error.status == 404:
            return None
        raise


def _authorization(org: str, what: str, grants: Iterable[tuple[str, str]]) -> Any:
    from influxdb_client.domain.authorization import Authorization  # noqa: PLC0415

    permissions = [
        Permission(  # type: ignore[no-untyped-call]
            action=action,
            resource=PermissionResource(type="buckets", id=bucket, org_id=org),  # type: ignore[no-untyped-call]
        )
        for action, bucket in grants
    ]
    made = Authorization(org_id=org, permissions=permissions)  # type: ignore[no-untyped-call]
    made.description = what
    return made
