"""How fast the broker's messages reach the journal, and what each costs us, beside mosquitto_sub.

Run: `python -m tests.benchmarks.ingest_rate [--messages N]`. On loopback, QoS 1, payloads of 200 bytes from 5,000
devices, live: the load generator is a process of its own and sends as fast as the broker acknowledges, or at a
steady rate. A row is one consumer of the same load: messages per second from the first one sent, CPU microseconds
per message of the consuming process, and messages per commit.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import structlog

from deploy.brokers import HOST, MosquittoBroker, free_port
from ingest.journal import Journal
from ingest.mqtt import IngestWorker
from ingest.mqtt_settings import MqttSettings
from tests.benchmarks.load import Publisher, packet, payload
from tests.support.broker import make_authority

DEVICES = 5_000
VALUES = (("pressure_kpa", 412.5), ("battery_v", 3.58))
STEADY_RATE = 10_000.0  # messages per second


@dataclass(frozen=True, slots=True)
class Row:
    """One consumer's result."""

    name: str
    messages: int
    seconds: float
    cpu_s: float
    commits: int = 0

    def __str__(self) -> str:
        shared = f"{self.messages / self.commits:10.0f}" if self.commits else f"{'-':>10}"
        rate, cost = self.messages / self.seconds, self.cpu_s / self.messages * 1e6
        return f"{self.name:<28} {rate:9.0f} {cost:10.2f} {shared}"


def packets(count: int) -> list[bytes]:
    """`count` packets, devices in turn."""
    topics = [f"city/bench/water_pressure/WP-{i:05d}/up".encode() for i in range(DEVICES)]
    return [
        packet(
            topics[i % DEVICES], payload(f"WP-{i % DEVICES:05d}", 1_767_600_000_000 + i, i, VALUES), i % 65535 + 1
        )
        for i in range(count)
    ]


def load(port: int, count: int, rate: float) -> None:
    """Send; says "go" when the first message is about to leave."""
    made = packets(count)
    publisher = Publisher(port, f"load-{os.getpid()}")
    print("go", flush=True)
    if rate:
        publisher.send_paced(itertools.chain(made, itertools.repeat(made[0])), count, rate)
    else:
        publisher.send_all(made)


def start_load(port: int, count: int, rate: float = 0.0) -> subprocess.Popen[bytes]:
    """The load generator in a process of its own, once it is under way."""
    command = [sys.executable, "-m", "tests.benchmarks.ingest_rate", "--load", str(port)]
    command += ["--messages", str(count), "--rate", str(rate)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def measure_worker(
    name: str, settings: MqttSettings, folder: Path, plain_port: int, count: int, rate: float = 0.0
) -> Row:
    """Our worker; the rest of this process only waits."""
    stop = threading.Event()
    journal = Journal(folder / f"{settings.client_id}.db")
    worker = IngestWorker(settings, journal, stop=stop)
    thread = threading.Thread(target=worker.run)
    thread.start()
    while not worker.stats.connected:
        time.sleep(0.01)
    cpu, commits = time.process_time(), worker.stats.commits
    with start_load(plain_port, count, rate):
        started = time.perf_counter()
        while worker.stats.acked < count:
            time.sleep(0.02)
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    row = Row(name, count, seconds, cpu_s, worker.stats.commits - commits)
    stop.set()
    thread.join()
    journal.close()
    return row


def measure_mosquitto_sub(port: int, count: int) -> Row:
    """The yardstick: a consumer in C that throws away what it gets."""
    command = ["mosquitto_sub", "-V", "5", "-h", HOST, "-p", str(port), "-q", "1", "-t", "city/+/+/+/up"]
    command += ["-C", str(count), "-D", "connect", "receive-maximum", "5000", "-i", "bench-sub"]
    consumer = psutil.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    cpu = 0.0
    with start_load(port, count):
        started = time.perf_counter()
        while consumer.poll() is None:
            times = consumer.cpu_times()
            cpu = max(cpu, times.user + times.system)
            time.sleep(0.005)
        return Row("mosquitto_sub", count, time.perf_counter() - started, cpu)


def report(count: int) -> None:
    """Print the table."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    print(f"{count} messages of {len(packets(1)[0])} bytes, {os.cpu_count()} cores")
    print(f"{'consumer':<28} {'msg/s':>9} {'us CPU/msg':>10} {'per commit':>10}")
    with tempfile.TemporaryDirectory() as name:
        folder, tls_port = Path(name), free_port()
        certs = make_authority(folder / "certs")
        extra = [f"listener {tls_port} {HOST}", f"cafile {certs}/ca.crt"]
        extra += [f"certfile {certs}/server.crt", f"keyfile {certs}/server.key"]
        with MosquittoBroker(folder / "broker", extra=extra) as broker:
            port = broker.port
            print(measure_mosquitto_sub(port, count))
            plain = MqttSettings(port=port, client_id="plain", session_expiry_s=0)
            print(measure_worker("worker", plain, folder, port, count))
            steady = MqttSettings(port=port, client_id="steady", session_expiry_s=0)
            print(measure_worker("worker, 10,000/s offered", steady, folder, port, count // 2, STEADY_RATE))
            tls = MqttSettings(port=tls_port, client_id="tls", tls_ca=certs / "ca.crt", session_expiry_s=0)
            print(measure_worker("worker over TLS", tls, folder, port, count))
            stock = MqttSettings(port=port, client_id="stock", bulk=False, session_expiry_s=0)
            print(measure_worker("worker, paho unchanged", stock, folder, port, count // 4))


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--load", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=0.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(arguments.load, arguments.messages, arguments.rate)
    else:
        report(arguments.messages)


if __name__ == "__main__":
    main()
