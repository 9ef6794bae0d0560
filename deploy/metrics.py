"""`/healthz`, `/readyz` and `/metrics`, served from the heartbeats of all roles.

From: `deploy.status` files and, for the cursors' lag, the journal. To: Prometheus, load balancers, people with
curl. One small server for all roles: a role that hangs cannot hide behind its own endpoint.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from deploy.errors import SupervisorError
from deploy.metric_names import (
    CURSOR_LAG,
    RESIDENT,
    ROLE_READY,
    ROLE_START,
    ROLE_UP,
    Metric,
    faults_of,
    metric_of,
)
from deploy.roles import role_names
from deploy.settings import Settings
from deploy.status import Seen, read_all
from ingest.errors import JournalError
from ingest.journal import Journal

Family = CounterMetricFamily | GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class Health:
    """What the endpoints know, from the files and nothing else.

    `roles`: those that should be running, asked anew each time. `lag_warn`: deliveries a cursor may lag.
    """

    status_dir: Path
    journal_path: Path
    roles: Callable[[], Iterable[str]]
    stale_s: float = 15.0
    lag_warn: int = 200_000
    now_s: Callable[[], float] = time.time

    def seen(self) -> dict[str, Seen]:
        """Every role's last status."""
        return read_all(self.status_dir, self.now_s(), stale_s=self.stale_s)

    def faults(self) -> list[str]:
        """Why the system does not do its work now, one line each; none when it does."""
        seen, faults = self.seen(), []
        for role in self.roles():
            one = seen.get(role)
            if one is None:
                faults.append(f"{role}: expected a running role, found no sign of it")
            elif not one.alive and one.age_s <= self.stale_s:
                faults.append(f"{role}: expected a running process, {one.status.pid} is gone")
            elif not one.alive:
                faults.append(
                    f"{role}: expected a heartbeat within {self.stale_s:g} s, got none for {one.age_s:.0f} s"
                )
            else:
                faults += [f"{role}: {reason}" for reason in faults_of(one)]
        for cursor, lag in self.lags().items():
            if lag > self.lag_warn:
                faults.append(f"cursor {cursor}: expected at most {self.lag_warn} deliveries behind, got {lag}")
        return faults

    def lags(self) -> dict[str, int]:
        """Deliveries each cursor is behind the journal's end; empty before there is a journal."""
        try:
            journal = Journal(self.journal_path, read_only=True)
        except JournalError:
            return {}
        try:
            stats = journal.stats()
            return {name: max(0, stats.next - offset) for name, offset in stats.cursors.items()}
        except JournalError:
            return {}
        finally:
            journal.close()


class StatusCollector(Collector):
    """Turns heartbeats into Prometheus families; nothing is kept between scrapes."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Family]:
        """One family per metric, one sample per role and label set."""
        families: dict[str, Family] = {}
        for role, seen in self._health.seen().items():
            status = seen.status
            _add(families, ROLE_UP, float(seen.alive), role)
            _add(families, ROLE_READY, float(seen.alive and not faults_of(seen)), role)
            _add(families, ROLE_START, status.started_s, role)
            _add(families, RESIDENT, float(status.rss_bytes), role)
            for name, value in status.fields.items():
                _add(families, metric_of(role, name), value, role)
        for cursor, behind in self._health.lags().items():
            _add(families, CURSOR_LAG, float(behind), cursor)
        yield from families.values()


def _add(families: dict[str, Family], metric: Metric, value: float, subject: str) -> None:
    names = [metric.subject, *(name for name, _ in metric.labels)]
    family = families.get(metric.name)
    if family is None:
        kind = CounterMetricFamily if metric.counter else GaugeMetricFamily
        family = families[metric.name] = kind(metric.name, metric.meaning, labels=names)
    family.add_metric([subject, *(label for _, label in metric.labels)], value)


def build_app(health: Health) -> Starlette:
    """The endpoints; `/healthz` answers 200 as long as it can, `/readyz` 503 with a line per reason."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatusCollector(health))

    def healthz(_request: Request) -> Response:
        return PlainTextResponse("alive\n")

    def readyz(_request: Request) -> Response:
        faults = health.faults()
        return PlainTextResponse("\n".join(faults or ["ready"]) + "\n", status_code=503 if faults else 200)

    def metrics(_request: Request) -> Response:
        # prometheus_client's own type: the text format with its version.
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(
        routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)],
    )


def serve(health: Health, listener: socket.socket, stop: threading.Event) -> None:
    """Serve the endpoints on `listener`, on this thread, until `stop`."""
    config = uvicorn.Config(
        build_app(health), log_config=None, log_level="warning", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    threading.Thread(target=_stop_when, args=(server, stop), name="health-stop", daemon=True).start()
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket for `serve`; SupervisorError when the address cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SupervisorError(
            f"metrics {host}:{port}: expected a free port, got {error.strerror}; set metrics.port to another"
        ) from error


def _stop_when(server: uvicorn.Server, stop: threading.Event) -> None:
    stop.wait()
    server.should_exit = True


def health_of(settings: Settings, roles: Callable[[], Iterable[str]] | None = None) -> Health:
    """The health of the system that `settings` describes; all its roles are expected unless `roles` says else."""
    return Health(
        status_dir=settings.status_dir,
        journal_path=settings.journal_path,
        roles=roles or (lambda: role_names(settings)),
        stale_s=settings.metrics.stale_s,
        lag_warn=settings.metrics.lag_warn,
    )
