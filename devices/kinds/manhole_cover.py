"""Manhole cover (窨井盖): tilt, water under the cover, shocks. Reports at once on an event, otherwise a heartbeat.

Where a comment says "our judgement", no standard we read fixes the number: change it here or per device.
"""

from __future__ import annotations

from typing import Final

from devices import radio
from devices.spec import Change, Effect, Fault, Kind, Panel, Profile, Quantity, Severity, Shape, Text, Use

TILT = Quantity(
    name="tilt_deg",
    unit="deg",
    label=Text("倾角", "Tilt"),
    physical=(0.0, 180.0),
    plausible=(0.0, 95.0),
    reads=("tilt",),
)  # No limit on its rate: a stolen cover turns 90 degrees in a second, and that must stay good data.
WATER = Quantity(
    name="water_level_m",
    unit="m",
    label=Text("井下水位", "Water level"),
    physical=(-0.2, 20.0),
    plausible=(0.0, 10.0),
    max_rate_per_s=0.2,  # our judgement: a surcharging shaft fills by centimetres per second
    reads=("water_level",),
)
TEMPERATURE = Quantity(
    name="temperature_c",
    unit="degC",
    label=Text("温度", "Temperature"),
    physical=(-50.0, 100.0),
    plausible=(-30.0, 70.0),
    decimals=1,
    reads=("temperature",),
)
SHOCK = Quantity(
    name="shock_g",
    unit="g",
    label=Text("冲击", "Shock"),
    physical=(0.0, 200.0),
    plausible=(0.0, 50.0),
    reads=("shock",),
)

KIND: Final = Kind(
    name="manhole_cover",
    label=Text("窨井盖", "Manhole cover"),
    prefix="MC",
    quantities=(TILT, WATER, radio.BATTERY, TEMPERATURE, SHOCK, radio.BATTERY_SHARE, radio.SIGNAL, radio.SNR),
    cadence_s=1800.0,  # heartbeat, our judgement; each device may have its own
    lateness_s=900.0,  # our judgement
    detectors=(
        # More than 10 degrees is a maker's customary default. At the event pace of one report per 5 s, a tilt held
        # over two reports alerts within 30 s, and a traffic shock under 2 s is one report and alerts nobody.
        Use(
            rule="tilted",
            detector="limit",
            quantity=TILT,
            params={"high": 10.0, "hold_s": 4.0, "hysteresis": 2.0, "clear_s": 10.0, "update_s": 3600.0},
            severity=Severity.HIGH,
            title=Text("井盖倾斜或移位", "Cover tilted or displaced"),
        ),
        # A frame that settles by 0.05-0.3 degree a day needs weeks of history and a rule over days: a later matter.
        Use(
            rule="water_high",
            detector="limit",
            quantity=WATER,
            params={"high": 1.5, "hold_s": 60.0, "hysteresis": 0.2, "clear_s": 300.0, "update_s": 3600.0},
            severity=Severity.MEDIUM,  # limit and hold: our judgement, it depends on the shaft
            title=Text("井下水位过高", "Water under the cover is high"),
        ),
        radio.BATTERY_LOW,
        radio.CHARGE_LOW,
        Use(
            rule="silent",
            detector="silence",
            params={"periods": 3, "min_s": 60.0},
            severity=Severity.LOW,
            title=Text("设备离线", "Device silent"),
        ),
    ),
    panels=(
        Panel(type="timeseries", quantity=TILT),
        Panel(type="timeseries", quantity=WATER),
        Panel(type="stat", quantity=radio.BATTERY),
        Panel(type="timeseries", quantity=TEMPERATURE),
        Panel(type="timeseries", quantity=SHOCK),
        Panel(type="stat", quantity=radio.BATTERY_SHARE),
        Panel(type="stat", quantity=radio.SIGNAL),
        Panel(type="stat", quantity=radio.SNR),
    ),
    simulate=Profile(
        shapes={
            # Noise 0.1-0.3 degree and thermal drift 0.3-1 degree per day: our judgement.
            "tilt_deg": Shape(level=1.5, noise=0.15, device_spread=0.3, drift_per_day=0.5, clamp=(0.0, 90.0)),
            "water_level_m": Shape(
                level=0.3, noise=0.005, device_spread=0.3, drift_per_day=0.04, clamp=(0.0, 8.0)
            ),
            "battery_v": radio.BATTERY_SHAPE,
            "temperature_c": Shape(
                level=16.0, noise=0.2, device_spread=0.05, drift_per_day=6.0, clamp=(-25.0, 60.0)
            ),
            "shock_g": Shape(level=0.05, noise=0.02, clamp=(0.0, 2.0)),
            "battery_pct": radio.CHARGE_SHAPE,
            "signal_dbm": radio.SIGNAL_SHAPE,
            "snr_db": radio.SNR_SHAPE,
        },
        faults=(
            Fault(
                name="tilted",
                label=Text("井盖被打开", "Cover opened"),
                effects=(Effect("tilt_deg", Change.STEP, 35.0), Effect("shock_g", Change.STEP, 2.0)),
                rules=("tilted",),
                duration_s=1800.0,
                report_every_s=5.0,
            ),
            Fault(
                name="flooded",
                label=Text("井下水位上涨", "Water rises under the cover"),
                effects=(Effect("water_level_m", Change.RAMP, 6.0),),
                rules=("water_high",),
                duration_s=2400.0,
                report_every_s=60.0,
            ),
            Fault(
                name="rocking",
                label=Text("井盖松动", "Loose cover rocks"),
                effects=(Effect("tilt_deg", Change.STEP, 13.0), Effect("tilt_deg", Change.NOISE, 1.0)),
                rules=("tilted",),
                duration_s=1200.0,
                report_every_s=5.0,
            ),
            Fault(
                name="battery_flat",
                label=Text("电池耗尽", "Battery runs down"),
                effects=(Effect("battery_v", Change.SET, 3.0), Effect("battery_pct", Change.SET, 8.0)),
                rules=("battery_low", "charge_low"),
                duration_s=6 * 3600.0,
            ),
            Fault(
                name="dropout",
                label=Text("失联", "Dropout"),
                silent=True,
                rules=("silent",),
                duration_s=3 * 3600.0,
            ),
            Fault(
                name="traffic_shock",
                label=Text("车辆冲击（无害）", "Traffic shock (harmless)"),
                effects=(Effect("tilt_deg", Change.STEP, 14.0), Effect("shock_g", Change.STEP, 6.0)),
                duration_s=1.5,
                report_every_s=5.0,
            ),
        ),
    ),
)
