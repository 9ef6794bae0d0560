"""A city in memory for the console's tests; to look at it: `python -m tests.support.console_fixture --port 8400`.

It keeps what the ports promise and nothing more; `raise_alert`, `clear_alert`, `stop` and `report` make things happen.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from starlette.applications import Starlette

from dashboards.console.app import create_app
from dashboards.console.ports import DeviceFacts, GatewayFacts, Thresholds, Vitals
from dashboards.console.serve import run_console
from dashboards.console.settings import ConsoleSettings
from devices.firmware.journal import Flash
from devices.fleet import Entry, Fleet, build
from devices.spec import Kind, Panel, Profile, Quantity, Severity, Text, Use
from ingest.errors import StoreUnavailable
from ingest.timeseries.ports import History, Latest
from processors.alerts.alert import Alert, Change
from processors.alerts.states import AlertState, Step, rank
from processors.alerts.verdicts import Verdict
from processors.errors import AlertError
from processors.findings import Evidence, finding_id, iso

S = 1_000_000
PRESSURE = Quantity(
    name="pressure_kpa",
    unit="kPa",
    label=Text("水压", "pressure"),
    physical=(0, 1600),
    plausible=(100, 700),
    decimals=1,
)
BATTERY = Quantity(
    name="battery_v", unit="V", label=Text("电池电压", "battery"), physical=(0, 10), plausible=(2.8, 3.9)
)
TILT = Quantity(
    name="tilt_deg", unit="°", label=Text("倾角", "tilt"), physical=(0, 180), plausible=(0, 90), decimals=1
)
LOW = Use(
    rule="low_pressure",
    detector="limit",
    quantity=PRESSURE,
    params={"low": 140, "hold_s": 120, "hysteresis": 10},
    severity=Severity.MEDIUM,
    title=Text("水压过低", "pressure too low"),
)
SILENT = Use(rule="silent", detector="silence", severity=Severity.LOW, title=Text("设备离线", "device silent"))
MOVED = Use(
    rule="cover_moved",
    detector="limit",
    quantity=TILT,
    params={"high": 10},
    severity=Severity.HIGH,
    title=Text("井盖位移", "cover moved"),
)


def _kind(
    name: str, label: Text, quantities: tuple[Quantity, ...], uses: tuple[Use, ...], cadence_s: float
) -> Kind:
    return Kind(
        name=name,
        label=label,
        quantities=quantities,
        cadence_s=cadence_s,
        lateness_s=600,
        detectors=uses,
        panels=tuple(Panel(type="timeseries", quantity=quantity) for quantity in quantities),
        simulate=Profile(shapes={}),
        prefix=name[:2].upper(),
    )


KINDS = {
    "water_pressure": _kind(
        "water_pressure", Text("供水水压", "Water pressure"), (PRESSURE, BATTERY), (LOW, SILENT), 60
    ),
    "manhole_cover": _kind(
        "manhole_cover", Text("窨井盖", "Manhole cover"), (TILT, BATTERY), (MOVED, SILENT), 3600
    ),
}
STREETS = ("人民路", "解放路", "中山路", "建设路", "<script>alert(1)</script>")


class FakeCity:
    """Readings, alerts, registry and health of one small city, all in memory."""

    def __init__(
        self, now: Callable[[], int], *, per_kind: int = 40, kinds: Mapping[str, Kind] = KINDS, hostile: str = ""
    ) -> None:
        self.now = now
        self._kinds = dict(kinds)
        self.stopped_us: int | None = None
        self.link_up = True
        self.store_fails = False
        self.asked = 0
        self._alerts: dict[str, Alert] = {}
        self._changes: list[Change] = []
        self._offsets: dict[tuple[str, str], float] = {}
        self._lock = threading.RLock()
        start = now()
        entries = [
            Entry(
                f"{kind.prefix}-{i:04d}",
                kind.name,
                district="青山区",
                street=STREETS[i % len(STREETS)],
                site=f"S-{i:04d}",
                gateway=f"GW-{i // 20:03d}",
                registered_us=start - 86_400 * S,
            )
            for kind in self._kinds.values()
            for i in range(per_kind)
        ]
        if hostile:
            entries.append(Entry(hostile, next(iter(self._kinds)), district=hostile, site=hostile))
        self._entries = entries
        self._fleet = build(self._kinds, entries)
        rng = np.random.default_rng(7)
        self._latest = {name: self._first(kind, rng, start) for name, kind in self._kinds.items()}

    def _first(self, kind: Kind, rng: np.random.Generator, now_us: int) -> Latest:
        ids = self._fleet.kinds[kind.name].ids
        n, q = len(ids), len(kind.quantities)
        low = np.array([quantity.plausible[0] for quantity in kind.quantities])
        high = np.array([quantity.plausible[1] for quantity in kind.quantities])
        values = low + (high - low) * (0.45 + 0.08 * rng.standard_normal((n, q))).clip(0.02, 0.98)
        age = rng.uniform(1, kind.cadence_s * 0.9, n)
        age[n // 3 : n // 3 + max(1, n // 40)] = 9 * kind.cadence_s
        times = np.repeat((now_us - age * S).astype(np.int64)[:, None], q, axis=1)
        quality = (rng.uniform(size=(n, q)) > 0.97).astype(np.uint8)
        return Latest(kind, ids, times, values, quality)

    # ReadingsReader

    def kinds(self) -> Mapping[str, Kind]:
        return self._kinds

    def latest(self, kind: Kind, now_us: int) -> Latest:  # noqa: ARG002  the port's shape
        self.asked += 1
        if self.store_fails:
            raise StoreUnavailable("store: it is switched off for this test")
        with self._lock:
            found = self._latest[kind.name]
            assert found.time_us is not None
            assert found.values is not None
            assert found.quality is not None
            return Latest(kind, found.devices, found.time_us.copy(), found.values.copy(), found.quality.copy())

    def history(
        self, kind: Kind, device: str, quantity: str, start_us: int, end_us: int, every_us: int | None = None
    ) -> History:
        if self.store_fails:
            raise StoreUnavailable("store: it is switched off for this test")
        declared = kind.quantity(quantity)
        end_us = min(end_us, self.now())
        step = every_us or int(kind.cadence_s * S)
        times = np.arange(-(-start_us // step) * step, end_us, step, dtype=np.int64)
        low, high = declared.plausible
        phase = times / (86_400 * S) * 2 * np.pi
        noise = np.random.default_rng(abs(hash((device, quantity))) % 2**32).standard_normal(len(times))
        value = low + (high - low) * (0.45 + 0.12 * np.sin(phase) + 0.01 * noise)
        # An hour without readings, so that a gap can be seen.
        gap = (times > end_us - 3 * 3600 * S) & (times < end_us - 2 * 3600 * S)
        times, value = times[~gap], value[~gap]
        quality = np.zeros(len(times), dtype=np.uint8)
        if every_us is None:
            return History(times, value, quality)
        spread = (high - low) * 0.03
        return History(times, value, quality, value - spread, value + spread, np.full(len(times), 60))

    def report(self, device: str, quantity: str, value: float) -> None:
        """A new value arrives now."""
        found = self._fleet.find(device)
        assert found
        latest = self._latest[found[0].kind.name]
        assert latest.time_us is not None
        assert latest.values is not None
        with self._lock:
            latest.time_us[found[1]] = self.now()
            latest.values[found[1], found[0].kind.column(quantity)] = value

    # AlertsReader, Acknowledger

    def active(self, limit: int) -> Sequence[Alert]:
        with self._lock:
            found = [alert for alert in self._alerts.values() if alert.active]
        return sorted(found, key=lambda a: (rank(a.severity), -a.onset_us))[:limit]

    def recent(self, limit: int, *, device: str | None = None) -> Sequence[Alert]:
        with self._lock:
            found = [alert for alert in self._alerts.values() if device in {None, alert.device}]
        return sorted(found, key=lambda a: -a.onset_us)[:limit]

    def get(self, alert: str) -> Alert | None:
        return self._alerts.get(alert)

    def alert_history(self, alert: str) -> Sequence[Change]:
        return [change for change in self._changes if change.alert == alert]

    def changes_since(self, sequence: int, limit: int) -> Sequence[Alert]:
        found = [alert for alert in self._alerts.values() if alert.sequence > sequence]
        return sorted(found, key=lambda a: a.sequence)[:limit]

    def sequence(self) -> int:
        return len(self._changes)

    def acknowledge(self, alert: str, person: str, at_us: int) -> Alert:
        known = self._alerts.get(alert)
        if known is None or known.state is not AlertState.ACTIVE:
            raise AlertError(f"alert {alert}: it cannot be acknowledged; it stays as it was")
        seen = replace(known, acknowledged_by=person, acknowledged_us=at_us)
        return self._change(seen, Step.ACKNOWLEDGE, AlertState.ACKNOWLEDGED, person)

    def raise_alert(self, device: str, rule: str, *, observed: float = 120.0, ago_s: float = 300.0) -> str:
        """An alert rises now, over a condition that began `ago_s` earlier; its id."""
        found = self._fleet.find(device)
        assert found
        kind = found[0].kind
        use = next(use for use in kind.detectors if use.rule == rule)
        onset = self.now() - int(ago_s * S)
        params = dict(use.params)
        alert = Alert(
            id=finding_id(device, rule, onset),
            sequence=0,
            state=AlertState.NORMAL,
            device=device,
            kind=kind.name,
            rule=rule,
            version=use.version,
            severity=use.severity.value,
            onset_us=onset,
            raised_us=self.now(),
            updated_us=self.now(),
            cleared_us=None,
            recorded_us=self.now(),
            raised_offset=1,
            updates=0,
            evidence=Evidence(
                quantity=use.quantity.name if use.quantity else None,
                unit=use.quantity.unit if use.quantity else "s",
                observed=observed,
                expected=None,
                limit=params.get("low", params.get("high", 180.0)),
                hold_s=params.get("hold_s", 0.0),
                quality="good",
                window=(iso(onset), iso(self.now())),
                params=params,
            ),
        )
        return self._change(alert, Step.RAISE, AlertState.ACTIVE).id

    def clear_alert(self, alert: str) -> None:
        """The condition ends."""
        known = self._alerts[alert]
        after = AlertState.CLEARED if known.state is AlertState.ACTIVE else AlertState.CLOSED
        self._change(replace(known, cleared_us=self.now(), updated_us=self.now()), Step.CLEAR, after)

    def _change(self, alert: Alert, step: Step, after: AlertState, person: str = "") -> Alert:
        with self._lock:
            sequence = len(self._changes) + 1
            changed = replace(alert, sequence=sequence, state=after)
            self._alerts[alert.id] = changed
            self._changes.append(
                Change(sequence, alert.id, step, alert.state, after, self.now(), self.now(), person)
            )
        return changed

    # RegistryView

    def fleet(self) -> Fleet:
        return self._fleet

    def register(self, device: str, kind: str) -> None:
        """A new device is registered now, and has not reported yet."""
        self._entries.append(Entry(device, kind, district="青山区", site="S-NEW", registered_us=self.now()))
        self._fleet = build(self._kinds, self._entries, previous=self._fleet)

    def entries(self) -> list[Entry]:
        """Everything that is registered."""
        return list(self._entries)

    def device(self, device: str) -> DeviceFacts | None:
        found = self._fleet.find(device)
        if found is None:
            return None
        fleet, row = found
        return DeviceFacts(
            id=device,
            kind=fleet.kind.name,
            site=fleet.site[row],
            address=f"{fleet.district[row]}{fleet.street[row]} {row + 1} 号",
            district=fleet.district[row],
            street=fleet.street[row],
            latitude=31.298 + row / 1e4,
            longitude=120.583,
            departments=("市城市管理局", "市供水集团", "青山区养护一队"),
            gateway=fleet.gateway_id[row],
            grid_cell="320582110152102",
            component_code="3205820102048188",
            codec="json",
            cadence_s=float(fleet.cadence_s[row]),
            registered_us=int(fleet.registered_us[row]),
        )

    def site_name(self, site: str) -> str:
        return f"泵站 {site}"

    # Health

    def vitals(self) -> Vitals:
        last = self.stopped_us if self.stopped_us is not None else self.now() - 200_000
        return Vitals(last_event_us=last, link_up=self.link_up)

    def stop(self) -> None:
        """The pipeline stops here and now; this server goes on."""
        self.stopped_us = self.now()

    def book(self) -> FakeBook:
        """The alerts under the book's own method names."""
        return FakeBook(self)


class FakeBook:
    """`FakeCity`'s alerts; apart because readings and alerts both have a `history`."""

    def __init__(self, city: FakeCity) -> None:
        self.active = city.active
        self.recent = city.recent
        self.get = city.get
        self.history = city.alert_history
        self.changes_since = city.changes_since
        self.sequence = city.sequence
        self.acknowledge = city.acknowledge


class FakeGateways:
    """Gateways as they are told to be."""

    def __init__(self, known: list[GatewayFacts]) -> None:
        self.known = known
        self.cut: list[Flash] = []

    def gateways(self) -> list[GatewayFacts]:
        return self.known

    def unfinished(self) -> list[Flash]:
        return self.cut


class FakeVerdicts:
    """What was said of alerts, in memory."""

    def __init__(self) -> None:
        self.said: list[Verdict] = []

    def of(self, alert: str) -> Sequence[Verdict]:
        return [one for one in self.said if one.alert == alert]

    def add(self, verdict: Verdict) -> None:
        self.said.append(verdict)


def console_app(
    city: FakeCity,
    settings: ConsoleSettings,
    gateways: FakeGateways | None = None,
    thresholds: Thresholds | None = None,
    verdicts: FakeVerdicts | None = None,
) -> Starlette:
    """The console over `city`; its pages of gateways and rules, and verdicts, only where there are such."""
    book = city.book()
    return create_app(
        city,
        book,
        city,
        city,
        settings,
        city.now,
        acknowledger=book,
        thresholds=thresholds,
        gateways_view=gateways,
        verdicts=verdicts,
    )


def wall_us() -> int:
    """Our clock."""
    return time.time_ns() // 1000


def _lively(city: FakeCity, stop: threading.Event) -> None:
    rng = np.random.default_rng(3)
    while not stop.wait(0.5):
        for kind in city.kinds().values():
            ids = city.fleet().kinds[kind.name].ids
            quantity = kind.quantities[0]
            low, high = quantity.plausible
            for device in rng.choice(ids, 3):
                city.report(device, quantity.name, low + (high - low) * float(rng.uniform(0.3, 0.6)))


def main() -> None:
    """Serve a lively city until interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8400)
    parser.add_argument("--per-kind", type=int, default=120)
    parser.add_argument("--own-kinds", action="store_true")
    options = parser.parse_args()
    from devices.kinds import load  # noqa: PLC0415  the real kinds, where there are any

    city = FakeCity(wall_us, per_kind=options.per_kind, kinds=(not options.own_kinds and load()) or KINDS)
    for number, kind in enumerate(city.kinds().values()):
        ids = city.fleet().kinds[kind.name].ids
        for at, use in enumerate(kind.detectors[:4]):
            observed = (
                use.params.get("high", use.params.get("low", 0.0)) * (1.2 if "high" in use.params else 0.8)
                or 960.0
            )
            alert = city.raise_alert(
                ids[3 + 7 * at + number], use.rule, observed=observed, ago_s=240 + 1900 * at + 60 * number
            )
            if at == 1:
                city.acknowledge(alert, "李工", wall_us())
    stop = threading.Event()
    threading.Thread(target=_lively, args=(city, stop), daemon=True).start()
    settings = ConsoleSettings(port=options.port)
    try:
        run_console(console_app(city, settings), settings, stop)
    except KeyboardInterrupt:
        stop.set()


if __name__ == "__main__":
    main()
