"""Runs the demo from first to last: start, publish, watch, settle, stop, count."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from deploy.demo import count
from deploy.demo.publisher import CityPublisher
from deploy.demo.score import Delivery, Detection, delivery, detection, percentiles, receipts, together
from deploy.demo.slow import Slow
from deploy.demo.system import DemoSystem, Plan
from devices.simulator.faults import AFTERMATH_S
from devices.simulator.mixed import spoken

_SETTLE_S = 60.0
_GRACE_S = 120.0
_RECEIVED_S = 20.0  # a reading stamped with its receipt counts as lost when that comes so many real seconds later


@dataclass(slots=True)
class Result:
    """What the demo measured; `latency_s`: real seconds from publishing a reading to the alert it raised."""

    messages: int
    delivery: Delivery
    detection: Detection
    quarantined: int
    latency_s: list[float] = field(default_factory=list)
    settled: bool = True
    live: frozenset[tuple[str, str]] = frozenset()  # (kind, fault) of what the city had

    @property
    def passed(self) -> bool:
        """Whether every acknowledged reading is in the store, once."""
        kept = self.delivery
        return self.settled and not (kept.lost or kept.duplicated or kept.strange)


def run(plan: Plan, for_s: float | None, console: Console) -> Result:
    """The demo; ends after `for_s` real seconds, or on Ctrl-C."""
    stop, up = threading.Event(), threading.Event()
    with _until_interrupted(stop, up), DemoSystem(plan) as system:
        up.set()
        url = f"http://127.0.0.1:{plan.console_port}"
        console.print(
            f"broker {system.broker.kind} on port {system.broker.port}, console {url}, files {plan.folder}"
        )
        if plan.mixed:
            console.print(f"{spoken(system.city.entries)}; listener for loggers on port {system.logger_port}")
        console.print(f"{plan.devices} devices, {len(system.labels)} faults ahead, {plan.speed:g} x real time")
        publisher = CityPublisher(system.broker.port, system.city, system.clock, system.start_us, system.loggers())
        worker = threading.Thread(target=publisher.run, args=(for_s, stop), name="city", daemon=True)
        worker.start()
        _watch(system, publisher, worker, console)
        ended_us = system.clock()
        publisher.finish()
        console.print("the city is quiet; waiting for the last readings to be stored")
        settled = _settle(system)
        system.stop()
        return _count(system, publisher, ended_us, settled=settled)


@contextlib.contextmanager
def _until_interrupted(stop: threading.Event, up: threading.Event) -> Iterator[None]:
    """The first signal ends the city and counts, the second ends everything; before `up` the first already does."""
    ending = threading.Event()

    def tell(_number: int, _frame: object) -> None:
        if up.is_set() and not stop.is_set():
            stop.set()
        elif not ending.is_set():
            ending.set()
            raise KeyboardInterrupt

    told = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asked to live on
        told.append(signal.SIGHUP)
    before = {number: signal.signal(number, tell) for number in told}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(system: DemoSystem, publisher: CityPublisher, worker: threading.Thread, console: Console) -> None:
    """A live table on a terminal, a line now and then elsewhere."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=2) as live:
            while worker.is_alive():
                live.update(_table(system, publisher))
                worker.join(0.5)
        return
    said = time.monotonic()
    while worker.is_alive():
        worker.join(0.5)
        if time.monotonic() - said >= 10:
            said = time.monotonic()
            seen = system.status("processor")
            console.print(
                f"published {publisher.messages}, stored {seen.get('rows_written', 0):.0f}, "
                f"findings {seen.get('findings', 0):.0f}"
            )


def _table(system: DemoSystem, publisher: CityPublisher) -> Table:
    seen = system.status("processor")
    table = Table(show_header=False, box=None)
    rows = {
        "city time": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(system.clock() / 1e6 + 8 * 3600)),
        "messages published": f"{publisher.messages:,}",
        "acknowledged": f"{publisher.acknowledged:,}",
        "readings stored": f"{seen.get('rows_written', 0):,.0f}",
        "journal behind": f"{max(0, seen.get('journal_next', 0) - seen.get('offset', 0)):,.0f}",
        "quarantined": f"{seen.get('refused', 0):,.0f}",
        "findings": f"{seen.get('findings', 0):,.0f}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _settle(system: DemoSystem) -> bool:
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline and system.alive():
        if system.settled():
            return True
        time.sleep(0.2)
    return False


def _count(system: DemoSystem, publisher: CityPublisher, ended_us: int, *, settled: bool) -> Result:
    # When the city stops reporting everything falls silent; that is not its fault.
    alerts = [alert for alert in count.alerts_of(system.settings) if alert.raised_us <= ended_us]
    speed = system.plan.speed
    kept, sent_us = _delivered(system, publisher)
    latencies = [
        (alert.recorded_us - at) / 1e6 / speed
        for alert in alerts
        if (at := sent_us.get((alert.device, alert.raised_us))) is not None
    ]
    return Result(
        messages=publisher.acknowledged,
        delivery=kept,
        detection=detection(
            system.labels,
            [count.noticed(alert) for alert in alerts],
            grace_s=_GRACE_S,
            end_us=ended_us,
            aftermath_s=AFTERMATH_S,
        ),
        quarantined=count.quarantined(system.settings),
        latency_s=latencies,
        settled=settled,
        live=frozenset((label.kind, label.fault) for label in system.labels if label.start_us < ended_us),
    )


def _delivered(system: DemoSystem, publisher: CityPublisher) -> tuple[Delivery, Mapping[tuple[str, int], int]]:
    """What became of the readings, and when the one stored for a device at a time was sent."""
    store = system.settings.embedded.path
    without_time = system.city.clockless
    timed = (row for row in count.stored_rows(store) if row[0] not in without_time)
    kept = delivery(publisher.published, timed)
    if not without_time:
        return kept, publisher.published
    rows = count.stored_values(store, without_time)
    found = receipts(publisher.clockless, rows, within_us=int(_RECEIVED_S * system.plan.speed * 1e6))
    return together(kept, found.delivery), {**publisher.published, **found.at_us}


def _details(seen: Detection, console: Console) -> None:
    for name, (hits, total) in seen.by_fault.items():
        console.print(f"  {name}: {hits} of {total}", highlight=False)
    for fault in seen.missed:
        console.print(f"missed: {fault.fault} on {fault.device}", highlight=False)
    for alert in seen.false:
        console.print(f"false: {alert.rule} on {alert.device}", highlight=False)


def report(result: Result, console: Console, slow: Slow | None = None) -> None:
    """Print the score; `slow`: of the faults that take weeks."""
    kept, seen = result.delivery, result.detection
    table = Table(title="Score", show_header=False)
    table.add_row("messages acknowledged", f"{result.messages:,}")
    table.add_row("readings published / stored", f"{kept.published:,} / {kept.stored:,}")
    table.add_row("lost / duplicated / never published", f"{kept.lost} / {kept.duplicated} / {kept.strange}")
    table.add_row("quarantined", str(result.quarantined))
    table.add_row("faults injected / detected / missed", f"{seen.injected} / {seen.detected} / {len(seen.missed)}")
    table.add_row("harmless disturbances", str(seen.harmless))
    table.add_row("false alerts", str(len(seen.false)))
    if both := percentiles(result.latency_s):
        table.add_row("publish to alert, p50 / p99", f"{both[0] * 1000:.0f} ms / {both[1] * 1000:.0f} ms")
    console.print(table)
    _details(seen, console)
    if slow is not None:
        later = slow.score()
        console.print(
            f"faults the city had no time for, in {slow.days:.0f} simulated device-days: {later.detected} of "
            f"{later.injected} found, {later.harmless} harmless, {len(later.false)} false alerts",
            highlight=False,
        )
        _details(later, console)
    if not result.settled:
        console.print("not everything was stored in time; the journal still has it")
    console.print("nothing was lost" if result.passed else "READINGS WERE LOST OR COUNTED TWICE")
