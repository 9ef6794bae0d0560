"""`undercity simulate`: an example city, or the registered one, reports to any MQTT broker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.publishing import PublishSettings
    from devices.fleet import Entry
    from devices.simulator.city import City


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(  # noqa: PLR0917  each parameter is an option with a name
    broker: Annotated[str, typer.Option("--broker", help="HOST:PORT.")] = "127.0.0.1:1883",
    devices: Annotated[int, typer.Option("--devices", min=1, help="Size of the example city.")] = 200,
    database: Annotated[
        str, typer.Option("--database", help="Simulate the devices registered here instead.")
    ] = "",
    rate: Annotated[
        float, typer.Option("--rate", min=0, max=1e6, help="Readings per second in all; 0: each kind's own.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same city and faults.")] = 1,
    lasts: Annotated[
        str, typer.Option("--for", help="Real time, such as 60s or 5m; without it until Ctrl-C.")
    ] = "",
    speed: Annotated[
        float, typer.Option("--speed", min=0.01, max=3600, help="City seconds per real second.")
    ] = 1.0,
    faults: Annotated[float, typer.Option("--faults", min=0, max=1, help="Share of devices with a fault.")] = 0.05,
    username: Annotated[str, typer.Option("--username", help="MQTT user name.")] = "",
    password_env: Annotated[str, typer.Option("--password-env", help="Variable that holds the password.")] = "",
    tls_ca: Annotated[Path | None, typer.Option("--tls-ca", help="CA certificate; turns TLS on.")] = None,
    client_id: Annotated[str, typer.Option("--client-id", help="MQTT client id.")] = "undercity-simulate",
    mixed: Annotated[
        bool, typer.Option("--mixed", help="The example city speaks the field's protocols instead of our JSON.")
    ] = False,
    loggers: Annotated[
        str, typer.Option("--loggers", help="HOST:PORT for HJ 212 devices; without it they use the broker too.")
    ] = "",
) -> None:
    """Publish a simulated city at QoS 1; exit code 1 unless all of it was acknowledged.

    Time stamps are the city's: it starts now, and with a speed above 1 it runs ahead of the clock, so only a
    system under the same clock (the demo) will believe it. A rate sets every device's reporting period instead.
    """
    import threading  # noqa: PLC0415  quick help needs no layers

    from deploy.durations import seconds  # noqa: PLC0415
    from deploy.logger_pool import LoggerPool, LoggerSettings  # noqa: PLC0415
    from deploy.publishing import Publisher  # noqa: PLC0415
    from deploy.signals import passed_on  # noqa: PLC0415

    stop = threading.Event()
    settings = _settings(broker, username, password_env, tls_ca, client_id)
    listener = _address(loggers, "--loggers") if loggers else None
    for_s = seconds(lasts, "--for") if lasts else None
    start_us, city = _city(database, devices, rate, seed, faults, (for_s or 86_400.0) * speed, mixed=mixed)
    pool = LoggerPool(LoggerSettings(host=listener[0], port=listener[1])) if listener else None
    publisher = Publisher(settings, pool)
    publisher.open()
    print(
        f"{len(city.entries)} devices, {city.rate_per_s * speed:.1f} readings/s, {len(city.labels)} faults; seed {seed}"
    )
    try:
        with passed_on(stop.set):
            publisher.run(city, from_us=start_us, for_s=for_s, speed=speed, stop=stop)
    finally:
        result = publisher.close()
        pace = result.messages / result.seconds if result.seconds else 0.0
        print(
            f"{result.messages} messages ({result.readings} readings) published, {result.acknowledged} acknowledged, "
            f"{result.refused} refused, in {result.seconds:.1f} s, {pace:.0f} messages/s"
        )
    if not result.whole:
        raise typer.Exit(1)


def _settings(
    broker: str, username: str, password_env: str, tls_ca: Path | None, client_id: str
) -> PublishSettings:
    import os  # noqa: PLC0415

    from deploy.errors import DeployError  # noqa: PLC0415
    from deploy.publishing import PublishSettings  # noqa: PLC0415

    host, port = _address(broker, "--broker")
    password = os.environ.get(password_env, "") if password_env else ""
    if password_env and not password:
        raise DeployError(f"--password-env {password_env}: the variable is not set; nothing was published")
    return PublishSettings(
        host=host,
        port=port,
        username=username,
        password=password,
        tls_ca=tls_ca,
        client_id=client_id,
    )


def _address(text: str, option: str) -> tuple[str, int]:
    from deploy.errors import DeployError  # noqa: PLC0415

    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise DeployError(f"{option} {text}: expected HOST:PORT, such as 127.0.0.1:1883; nothing was published")
    return host.strip("[]"), int(port)


def _city(
    database: str, count: int, rate: float, seed: int, faults: float, lasts_s: float, *, mixed: bool
) -> tuple[int, City]:
    import time  # noqa: PLC0415

    from devices.codecs import load as load_codecs  # noqa: PLC0415
    from devices.kinds import load  # noqa: PLC0415
    from devices.simulator.city import City  # noqa: PLC0415
    from devices.simulator.example import example  # noqa: PLC0415
    from devices.simulator.faults import schedule  # noqa: PLC0415
    from devices.simulator.wire import Voices, carried  # noqa: PLC0415

    kinds = load()
    start_us = time.time_ns() // 1000
    entries = _registered(database) if database else example(kinds, count, seed=seed, mixed=mixed).entries()
    if rate:
        entries = [_paced(entry, len(entries) / rate) for entry in entries]
    by_kind: dict[str, list[str]] = {}
    for entry in entries:
        by_kind.setdefault(entry.kind, []).append(entry.id)
    cadences = {entry.id: entry.cadence_s for entry in entries if entry.cadence_s}
    labels = schedule(
        kinds,
        by_kind,
        seed=seed,
        from_us=start_us,
        to_us=start_us + int(lasts_s * 1e6),
        share=faults,
        cadence_s=cadences,
        carried=carried(Voices(load_codecs()), kinds, entries),
    )
    return start_us, City(kinds, entries, seed=seed, start_us=start_us, labels=labels)


def _registered(database: str) -> list[Entry]:
    from deploy.schema import open_existing  # noqa: PLC0415
    from devices.catalog import SqlRegistry  # noqa: PLC0415

    return SqlRegistry(open_existing(database)).entries()


def _paced(entry: Entry, cadence_s: float) -> Entry:
    from dataclasses import replace  # noqa: PLC0415

    return replace(entry, cadence_s=max(cadence_s, 0.001))
