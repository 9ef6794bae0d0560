"""Roles: the processes a running system is made of, and what each of them needs around its work.

From: `undercity run --role NAME`, started by the supervisor, a systemd unit or a container. To: `deploy.wiring`,
one function per role. A role runs once per data folder; it stops on SIGTERM, SIGINT, and when its supervisor is
gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import structlog

from deploy.errors import SupervisorError
from deploy.settings import Settings
from deploy.signals import passed_on

log = structlog.get_logger(__name__)

Stop = threading.Event
Role = Callable[[Settings, Stop], None]
LIFELINE = "UNDERCITY_LIFELINE"  # number of an open pipe end; whoever started us holds the other
_PR_SET_PDEATHSIG = 1


def role_names(settings: Settings) -> tuple[str, ...]:
    """The roles of one machine, in the order they start."""
    workers = (f"ingest-{index}" for index in range(settings.run.ingest_workers if settings.mqtt.enabled else 0))
    listener = ("ingest-tcp",) if settings.tcp.port else ()
    return ("processor", *workers, *listener, "sender", "console")


def find(role: str) -> Role:
    """What runs for `role`; SupervisorError for a role there is not."""
    table: Mapping[str, Callable[[], Role]] = {
        "processor": _processor,
        "ingest-tcp": _listener,
        "sender": _sender,
        "console": _console,
        "health": _health,
    }
    kind, _, index = role.partition("-")
    if kind == "ingest" and index.isdigit():
        return _ingest(int(index))
    if role not in table:
        names = "processor, ingest-0 (-1, ...), ingest-tcp, sender, console, health"
        raise SupervisorError(f"role {role}: expected one of {names}; nothing was started")
    return table[role]()


# The wiring pulls in every layer: it is imported by the process that runs the role, not by the supervisor.
def _ingest(index: int) -> Role:
    def run(settings: Settings, stop: Stop) -> None:
        from deploy.wiring import run_ingest  # noqa: PLC0415

        run_ingest(settings, index, stop)

    return run


def _processor() -> Role:
    from deploy.wiring import run_processor  # noqa: PLC0415

    return run_processor


def _listener() -> Role:
    from deploy.wiring import run_loggers  # noqa: PLC0415

    return run_loggers


def _sender() -> Role:
    from deploy.wiring import run_sender  # noqa: PLC0415

    return run_sender


def _console() -> Role:
    from deploy.wiring import run_console  # noqa: PLC0415

    return run_console


def _health() -> Role:
    from deploy.metrics import health_of, listen, serve  # noqa: PLC0415

    def run(settings: Settings, stop: Stop) -> None:
        serve(health_of(settings), listen(settings.metrics.host, settings.metrics.port), stop)

    return run


def run_role(role: str, settings: Settings) -> None:
    """Run `role` in this process until it is told to stop; SupervisorError if it already runs elsewhere."""
    run = find(role)
    known = (*role_names(settings), "health")
    if role == "ingest-tcp" and role not in known:
        raise SupervisorError("role ingest-tcp: expected tcp.port to be set, it is 0; nothing was started")
    if role not in known:
        # A worker beyond the configured number would share nothing and receive everything again.
        raise SupervisorError(
            f"role {role}: run.ingest_workers is {settings.run.ingest_workers}; expected one of {', '.join(known)}; "
            "nothing was started"
        )
    stop = threading.Event()
    with only_one(settings.data.dir, role), passed_on(stop.set):
        live_with_parent(stop, settings.run.grace_s)
        log.info("role_started", name=role)
        run(settings, stop)
        if not stop.is_set():
            raise SupervisorError(f"role {role}: expected to run until told to stop, ended by itself")
        log.info("role_stopped", name=role)


@contextlib.contextmanager
def only_one(data_dir: Path, role: str) -> Iterator[None]:
    """Hold the right to be `role` on `data_dir`; the kernel gives it back however the process ends."""
    path = data_dir / "locks" / f"{role}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+", encoding="ascii")
    except OSError as error:
        raise SupervisorError(
            f"{path}: expected a writable data folder, got {error.strerror}; {role} not started"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise SupervisorError(
                f"{role}: already runs on {data_dir} as process {holder}; a second one was not started"
            ) from None
        with contextlib.suppress(OSError):  # the right is the lock; on a full disk nobody learns who holds it
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        yield


def live_with_parent(stop: Stop, grace_s: float) -> None:
    """Set `stop` when whoever started us is gone: Linux sends a signal, the pipe's end says it anywhere."""
    lifeline = os.environ.get(LIFELINE)
    if lifeline is None:
        return
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    threading.Thread(
        target=_watch_lifeline, args=(int(lifeline), stop, grace_s), name="lifeline", daemon=True
    ).start()


def _watch_lifeline(descriptor: int, stop: Stop, grace_s: float) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1):
            pass
    if not stop.is_set():
        log.warning("parent_gone", action="this process stops")
    stop.set()
    # Nobody is left to kill a role that does not come to its end.
    threading.Event().wait(grace_s)
    os._exit(70)
