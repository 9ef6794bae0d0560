"""Stories for the golden scenarios: who reports what, when. `python -m tests.golden.stories` writes the folders anew.

The folders are what counts: `input.jsonl` is read by the test as it stands, and `expected.jsonl` is what the engine
must say, byte for byte. Look at the difference before you commit it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

from devices.codecs import load as load_codecs
from devices.fleet import Entry, build
from devices.kinds import load as load_kinds
from ingest.decode import Decoder, segments
from ingest.journal import TICK, Block
from processors.engines.local import Engine, EngineSettings

FOLDER = Path(__file__).parent / "scenarios"
START_S = 1_767_578_400  # 2026-01-05 10:00 in Shanghai
KINDS = {
    "MC": "manhole_cover",
    "WP": "water_pressure",
    "SI": "sewage_inflow",
    "KE": "kitchen_exhaust",
    "HM": "heat_meter",
}

Line = dict[str, object]


def kind_of(device: str) -> str:
    """The kind of `device`, by its prefix."""
    return KINDS[device[:2]]


def report(
    device: str, at: float, values: dict[str, float], *, seq: int = -1, arrives: float | None = None
) -> Line:
    """One delivery; `at` is the device's time, `arrives` ours, seconds from the start."""
    body: dict[str, object] = {"v": 1, "id": device, "t": int((START_S + at) * 1000), "m": values}
    if seq >= 0:
        body["seq"] = seq
    arrived = at + 0.5 if arrives is None else arrives
    return {"at": arrived, "topic": f"city/d/{kind_of(device)}/{device}/up", "payload": body}


def series(device: str, quantity: str, every_s: float, values: Iterable[float], start: float = 0.0) -> list[Line]:
    """One quantity at a steady pace, counted."""
    return [report(device, start + i * every_s, {quantity: v}, seq=i) for i, v in enumerate(values)]


def wave(count: int, level: float, swing: float) -> list[float]:
    """A value that never stands still."""
    return [round(level + swing * ((i * 7) % 5 - 2), 2) for i in range(count)]


def meter(hours: Iterable[int], *, ahead_h: float = 0.0, **shown: float) -> list[Line]:
    """A heat meter's hourly reports, its clock ahead by `ahead_h`; `shown`: what it shows instead of the truth."""
    lines = []
    for hour in hours:
        supply, back, flow = 70.0 + hour % 5 / 2, 45.0 + hour % 3 / 2, 18.0 + hour % 7 / 100
        power = round(1.15 * flow * (supply - back), 1)
        values = {"supply_c": supply, "return_c": back, "flow_m3h": flow, "power_kw": power, **shown}
        lines.append(report("HM-1", 3600 * (hour + ahead_h), values, seq=hour, arrives=3600 * hour + 0.5))
    return lines


def stories() -> dict[str, list[Line]]:
    """Every scenario's input, by name."""
    tilt = [1.0, 1.1, 38.0, 38.1, 38.0, 37.9, 38.0, 1.0, 1.1, 1.0, 1.1, 1.0]
    jitter = [1.0, 12.0, 12.1, 12.0, *(10.3 if i % 2 else 9.7 for i in range(720)), 1.0, 1.1, 1.0, 1.1]
    flood = series("MC-1", "water_level_m", 60, [0.2] * 3 + [2.0] * 5)
    yesterday = [report("MC-1", -86_400 + 60 * i, {"tilt_deg": 45.0}, arrives=400 + 0.01 * i) for i in range(10)]
    behind = [report("MC-1", 60 * i - 86_400, {"tilt_deg": 45.0}, seq=i, arrives=60.0 * i) for i in range(6)]
    children = [
        line for i in range(3) for line in series(f"WP-{i}", "pressure_kpa", 300, wave(6, 300, 2), start=float(i))
    ]
    before = series("MC-1", "tilt_deg", 60, wave(5, 1.0, 0.1))
    after = [report("MC-1", 4000 + 60 * i, {"tilt_deg": 1.0 + i / 10}, seq=100 + i) for i in range(5)]
    return {
        "cover_tilted_and_put_back": series("MC-1", "tilt_deg", 5, tilt),
        "traffic_shock_alerts_nobody": series("MC-1", "tilt_deg", 5, [1.0, 1.1, 25.0, 1.0, 1.1, 1.0]),
        "an_hour_of_jitter_at_the_threshold_is_one_alarm": series("MC-1", "tilt_deg", 5, jitter),
        "water_rises_under_a_cover": flood,
        "burst_of_a_main": series("WP-0", "pressure_kpa", 300, [*wave(20, 320, 2), *wave(12, 180, 2)]),
        "fume_over_the_limit": series(
            "KE-1", "fume_mgm3", 60, [*wave(10, 0.5, 0.02), *wave(40, 4.0, 0.1), *wave(40, 0.5, 0.02)]
        ),
        "analyser_within_its_cycle_is_not_stuck": series(
            "SI-1", "cod_mgl", 300, [v for v in wave(6, 150, 6) for _ in range(24)]
        ),
        "analyser_stuck_beyond_its_cycle": series("SI-1", "cod_mgl", 300, [*wave(4, 150, 6), *[152.0] * 140]),
        "one_device_falls_silent_and_returns": [
            *series("WP-0", "pressure_kpa", 300, wave(4, 300, 2)),
            report("WP-0", 4000, {"pressure_kpa": 301.0}, seq=4),
            *series("WP-9", "pressure_kpa", 300, wave(16, 300, 2), start=7.0),
        ],
        "gateway_falls_silent_once_for_all_its_children": [
            *children,
            report("MC-1", 3000, {"tilt_deg": 1.0}),
        ],
        "backfill_of_yesterday_wakes_nobody": [*series("MC-1", "tilt_deg", 60, wave(10, 1.0, 0.1)), *yesterday],
        "clock_a_day_behind_still_alerts": behind,
        "our_own_outage_is_not_the_citys_silence": [*before, *after],
        "meter_clock_jumps_two_hours_and_is_set_right": [
            *meter(range(14)),
            *meter(range(14, 22), ahead_h=2.0),
            *meter(range(22, 26)),
        ],
        "meter_shows_its_sentinel_everywhere": [
            *meter(range(3)),
            *meter(range(3, 9), supply_c=-39.9, return_c=-39.9, flow_m3h=-39.9, power_kw=-1000.0),
            *meter(range(9, 12)),
        ],
        "meter_shows_a_sentinel_for_its_return": [
            *meter(range(3)),
            *meter(range(3, 9), return_c=-39.9),
            *meter(range(9, 12)),
        ],
        "meter_with_exchanged_sensors_is_no_warm_return": [
            *meter(range(3)),
            *meter(range(3, 12), supply_c=45.0, return_c=70.0),
        ],
    }


def fleet(name: str) -> list[dict[str, str]]:
    """The devices of a scenario: those that its input names."""
    gateways = {"WP": "GW-1"} if name.startswith("gateway") else {}
    names = sorted({str(line["topic"]).split("/")[3] for line in stories()[name]})
    return [{"id": device, "kind": kind_of(device), "gateway": gateways.get(device[:2], "")} for device in names]


def findings(devices: list[dict[str, str]], lines: list[Line], *, outage: bool) -> list[str]:
    """What the engine says to `lines`, with the journal's ticks between them; `outage`: none across the longest gap."""
    start_us = START_S * 1_000_000
    entries = [Entry(d["id"], d["kind"], "d", gateway=d["gateway"], registered_us=start_us) for d in devices]
    engine = Engine(build(load_kinds(), entries), EngineSettings())
    decoder = Decoder(engine.fleet, load_codecs())
    told: list[str] = []
    whole = block(lines, start_us, outage=outage)
    for segment in segments([whole], span_us=1_000_000, rows=4096):
        told += [finding.line().decode() for finding in engine.process(decoder.decode(segment)).findings]
    return told


def block(lines: list[Line], start_us: int, *, outage: bool) -> Block:
    """Deliveries and ticks by arrival."""
    arrivals = sorted(float(str(line["at"])) for line in lines)
    last = int(max(arrivals)) + 1
    silent = max(itertools.pairwise(arrivals), key=lambda pair: pair[1] - pair[0]) if outage else (0, 0)
    rows = [(s * 1_000_000, TICK, b"") for s in range(last) if not silent[0] < s < silent[1]]
    rows += [
        (int(float(str(line["at"])) * 1e6), str(line["topic"]), json.dumps(line["payload"]).encode())
        for line in lines
    ]
    rows.sort(key=lambda row: row[0])
    return Block(0, [r[1] for r in rows], [r[2] for r in rows], [start_us + r[0] for r in rows])


def outage_in(name: str) -> bool:
    """Whether we were away in this scenario."""
    return name.startswith("our_own_outage")


def main() -> None:
    """Write every folder."""
    for name, lines in stories().items():
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        devices = fleet(name)
        (folder / "fleet.json").write_text(json.dumps(devices, indent=1) + "\n")
        (folder / "input.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        told = findings(devices, lines, outage=outage_in(name))
        (folder / "expected.jsonl").write_text("".join(line + "\n" for line in told))
        print(name, [(f["device"], f["rule"], f["phase"], f["at"][11:19]) for f in map(json.loads, told)])  # noqa: T201


if __name__ == "__main__":
    main()
