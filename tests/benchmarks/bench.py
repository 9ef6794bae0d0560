"""`make bench`: the whole path on loopback, beside a C consumer of the same load in the same run.

Prints a table; README.md quotes one. Nothing here fails a build: these machines are noisy, so read ratios and medians.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.brokers import MosquittoBroker
from deploy.demo.count import alerts_of, stored_rows
from deploy.demo.score import percentiles
from devices.kinds import load as load_kinds
from devices.registry import Device
from tests.benchmarks import stages
from tests.benchmarks.load import DISTRICT, Publisher, packet, payload, readings
from tests.support.system import System, until

KIND = stages.KIND
ROLES = ("ingest-0", "processor")


@dataclass(slots=True)
class Rate:
    """One run: messages a second from first to last message consumed, and the consumer's CPU per message.

    `stored_per_s`: the same until the last reading was in the store, which gathers rows for up to a second.
    """

    per_s: float
    us: float
    stored_per_s: float = 0.0


def levels() -> list[tuple[str, float]]:
    """A calm device's five values."""
    kind = load_kinds()[KIND]
    return [(q.name, kind.simulate.shapes[q.name].level) for q in kind.quantities[: stages.QUANTITIES]]


def packets(devices: list[str], count: int) -> list[bytes]:
    """The load, made beforehand."""
    names, values = zip(*levels(), strict=True)
    start_ms = int(time.time() * 1000) - count // len(devices) * 1000
    return readings(devices, KIND, names, values, count=count, start_ms=start_ms)


def yardstick(port: int, load: list[bytes]) -> Rate:
    """`mosquitto_sub` at QoS 1, its output thrown away."""
    command = ["mosquitto_sub", "-p", str(port), "-q", "1", "-t", "city/#", "-C", str(len(load)), "-V", "5"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as consumer:
        time.sleep(0.5)  # no sign tells when its subscription stands
        publisher = Publisher(port, "bench-yardstick")
        started = time.perf_counter()
        sender = threading.Thread(target=publisher.send_all, args=(load,))
        sender.start()
        _, _, used = os.wait4(consumer.pid, 0)
        seconds = time.perf_counter() - started
        consumer.returncode = 0
        sender.join()
        publisher.close()
    return Rate(len(load) / seconds, (used.ru_utime + used.ru_stime) / len(load) * 1e6)


def ours(system: System, port: int, load: list[bytes]) -> Rate:
    """Broker to journal, detectors and store: the rate until detected, the CPU until stored."""
    processes = [psutil.Process(system.pid(role)) for role in ROLES]
    before = sum(sum(p.cpu_times()[:2]) for p in processes)
    offset = system.status("processor").get("deliveries", 0.0)
    publisher = Publisher(port, "bench-ours")
    started = time.time()
    sender = threading.Thread(target=publisher.send_all, args=(load,))
    sender.start()
    done = _detected(system, offset + len(load)) - started
    sender.join()
    publisher.close()
    until(system.caught_up, "the store", within_s=120)
    cpu = sum(sum(p.cpu_times()[:2]) for p in processes) - before
    stored = system.status("processor")["last_rows_s"] - started
    return Rate(len(load) / done, cpu / len(load) * 1e6, len(load) / stored)


def _detected(system: System, target: float) -> float:
    """Unix time at which the processor had taken its last message; it says so itself, once a second."""
    until(lambda: system.status("processor").get("deliveries", 0.0) >= target, "all messages", within_s=120)
    return system.status("processor")["last_delivery_s"]


def latency(
    system: System, port: int, devices: list[str], rate: float, seconds: float, first_seq: int
) -> tuple[list[float], int]:
    """Publish at `rate`; 200 covers tilt one after another. Real seconds from sending a reading to its alert.

    `first_seq`: where every device's own counter goes on.
    """
    calm, alarm = levels(), [("tilt_deg", 45.0)]
    watched = devices[-200:]
    count = int(rate * seconds)
    sent: dict[tuple[str, int], float] = {}
    seq = dict.fromkeys(devices, first_seq)

    def made() -> Iterator[bytes]:
        for i in range(count):
            now = time.time()
            if i % 50 == 0:
                device, values = watched[(i // 50) % len(watched)], alarm
            else:
                device, values = devices[i % (len(devices) - 200)], calm
            time_ms = int(now * 1000)
            sent[device, time_ms * 1000] = now
            seq[device] += 1
            body = payload(device, time_ms, seq[device], values)
            yield packet(f"city/{DISTRICT}/{KIND}/{device}/up".encode(), body, i % 65535 + 1)

    publisher = Publisher(port, "bench-latency")
    publisher.send_paced(made(), count, rate)
    publisher.close()
    until(system.caught_up, "the store", within_s=60)
    found = [
        alert.recorded_us / 1e6 - at
        for alert in alerts_of(system.settings)
        if (at := sent.get((alert.device, alert.raised_us))) is not None
    ]
    return found, count


def known_devices(folder: Path, port: int, count: int) -> tuple[float, float]:
    """Seconds until a cold start is ready with `count` devices, and the processor's memory in MB after a round."""
    folder.mkdir()
    system = System(folder, port)
    names = [f"MC-{i:06d}" for i in range(count)]
    system.register(Device(id=name, kind=KIND, district=DISTRICT) for name in names)
    started = time.perf_counter()
    system.start("processor")
    try:
        until(lambda: system.status("processor").get("devices") == count, "a start", within_s=60)
        ready = time.perf_counter() - started
        system.start("ingest-0")
        until(lambda: system.status("ingest-0").get("connected") == 1, "the link")
        publisher = Publisher(port, "bench-many")
        publisher.send_all(packets(names, count))
        publisher.close()
        until(lambda: system.status("processor").get("deliveries", 0) >= count, "all devices", within_s=60)
        until(system.caught_up, "the store", within_s=60)
        memory = psutil.Process(system.pid("processor")).memory_info().rss / 1e6
    finally:
        system.close()
    return ready, memory


def main() -> None:
    """Run all parts and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--known", type=int, default=100_000)
    given = parser.parse_args()
    if shutil.which("mosquitto_sub") is None:
        sys.exit(
            "bench: expected mosquitto and mosquitto_sub (Debian: mosquitto, mosquitto-clients); nothing was run"
        )
    with tempfile.TemporaryDirectory(prefix="undercity-bench-") as folder:
        print(f"{platform.machine()}, {os.cpu_count()} cores, {_model()}, Python {platform.python_version()}\n")
        _stage_table()
        _load_table(Path(folder), given.messages, given.rounds, given.known)
    print(
        f"\nlargest memory of the bench itself: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB"
    )


def _stage_table() -> None:
    runs = [stages.run() for _ in range(3)]
    print("CPU per message of five quantities, one process (median of 3)")
    total = 0.0
    for place, stage in enumerate(runs[0][0]):
        cost = statistics.median(run[0][place].us_per_message for run in runs)
        total += cost
        print(f"  {stage.name:28} {cost:6.2f} us")
    print(f"  {'sum':28} {total:6.2f} us")
    print(f"bytes on disk per stored value  {statistics.median(run[1] for run in runs):6.2f}\n")


def _load_table(folder: Path, messages: int, rounds: int, known: int) -> None:
    devices = [f"MC-{i:06d}" for i in range(5000)]
    sticks: list[Rate] = []
    own: list[Rate] = []
    with MosquittoBroker(folder / "broker") as broker:
        for number in range(rounds):
            sticks.append(yardstick(broker.port, packets(devices, messages)))
            system = _system(folder / f"run-{number}", broker.port, devices)
            own.append(ours(system, broker.port, packets(devices, messages)))
            if number < rounds - 1:
                system.stop()
        _print_rates(sticks, own)
        half = statistics.median(rate.per_s for rate in own) / 2
        latencies, sent = latency(system, broker.port, devices, half, 15.0, messages // len(devices))
        _print_latency(latencies, half, sent)
        system.stop()
        rows = sum(1 for _ in stored_rows(system.settings.embedded.path))
        size = system.settings.embedded.path.stat().st_size
        print(f"store after the run: {rows:,} rows, {size / rows / 5:.2f} bytes per value")
        journal = system.settings.journal_path.stat().st_size
        print(f"journal: {journal / (messages + sent):.1f} bytes per message of 200")
        ready, memory = known_devices(folder / "known", broker.port, known)
        print(f"{known:,} devices: ready after {ready:.1f} s, processor {memory:.0f} MB")


def _system(folder: Path, port: int, devices: list[str]) -> System:
    folder.mkdir()
    # A client id of its own, so that no queue of an earlier run is waiting.
    system = System(folder, port, {"mqtt": {"client_id": f"bench-{folder.name}"}})
    system.register(Device(id=device, kind=KIND, district=DISTRICT) for device in devices)
    system.start(*ROLES)
    until(lambda: system.status("ingest-0").get("connected") == 1, "the link")
    until(lambda: system.status("processor").get("devices") == len(devices), "the registry")
    return system


def _print_rates(sticks: list[Rate], own: list[Rate]) -> None:
    print("rate at QoS 1, 5,000 devices, 200-byte JSON (min / median / max)")
    _row("mosquitto_sub", [r.per_s for r in sticks], "msg/s")
    _row("undercity, until detected", [r.per_s for r in own], "msg/s")
    _row("undercity, until stored", [r.stored_per_s for r in own], "msg/s")
    pairs = list(zip(own, sticks, strict=True))
    _row("ratio, until detected", [mine.per_s / stick.per_s for mine, stick in pairs], "", digits=2)
    _row("ratio, until stored", [mine.stored_per_s / stick.per_s for mine, stick in pairs], "", digits=2)
    _row("CPU, mosquitto_sub", [r.us for r in sticks], "us/msg", digits=1)
    _row("CPU, ingest + processor", [r.us for r in own], "us/msg", digits=1)


def _row(name: str, values: list[float], unit: str, *, digits: int = 0) -> None:
    show: Callable[[float], str] = lambda value: f"{value:,.{digits}f}"  # noqa: E731  one line, used thrice
    low, middle, high = min(values), statistics.median(values), max(values)
    print(f"  {name:26} {show(low):>9} {show(middle):>9} {show(high):>9} {unit}")


def _print_latency(latencies: list[float], rate: float, sent: int) -> None:
    both = percentiles(latencies)
    if both is None:
        print("publish to alert: no alert was raised")
        return
    print(
        f"publish to alert at half load ({rate:,.0f} msg/s, {sent:,} messages, {len(latencies)} alerts): "
        f"p50 {both[0] * 1000:.0f} ms, p99 {both[1] * 1000:.0f} ms"
    )


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
