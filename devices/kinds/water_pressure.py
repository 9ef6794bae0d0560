"""Mains-pressure logger (供水水压): pressure every 1 to 15 minutes, 5 by default.

Where a comment says "our judgement", no standard we read fixes the number: change it here or per device.
"""

from __future__ import annotations

from typing import Final

from devices import radio
from devices.spec import Change, Effect, Fault, Kind, Panel, Profile, Quantity, Severity, Shape, Text, Use

PRESSURE = Quantity(
    name="pressure_kpa",
    unit="kPa",
    label=Text("管网压力", "Pressure"),
    physical=(-100.0, 1600.0),
    plausible=(50.0, 1000.0),
    max_rate_per_s=100.0,  # our judgement: water hammer is faster, but not between two reports
    flat_after_s=3600.0,  # our judgement: with demand noise of 5 % no hour passes at one value
    decimals=1,
    reads=("pressure",),
)
TEMPERATURE = Quantity(
    name="temperature_c",
    unit="degC",
    label=Text("水温", "Water temperature"),
    physical=(-40.0, 100.0),
    plausible=(-10.0, 45.0),
    decimals=1,
    reads=("temperature",),
)

# Pressure is highest at night, lowest in the two demand peaks. Shape: our judgement, after a city's demand curve.
_HOURS: Final = (
    1.06, 1.07, 1.08, 1.08, 1.07, 1.03, 0.97, 0.93, 0.93, 0.96, 0.98, 0.98,
    0.97, 0.99, 1.01, 1.01, 1.00, 0.97, 0.93, 0.92, 0.94, 0.97, 1.01, 1.04,
)  # fmt: skip

KIND: Final = Kind(
    name="water_pressure",
    label=Text("供水水压", "Water pressure"),
    prefix="WP",
    quantities=(PRESSURE, radio.BATTERY, TEMPERATURE, radio.SIGNAL, radio.BATTERY_SHARE, radio.SNR),
    cadence_s=300.0,
    lateness_s=1800.0,  # our judgement
    detectors=(
        # 0.14 MPa at the mains' end is the service pressure customarily asked for.
        Use(
            rule="pressure_low",
            detector="limit",
            quantity=PRESSURE,
            params={"low": 140.0, "hold_s": 300.0, "hysteresis": 15.0, "clear_s": 600.0, "update_s": 3600.0},
            severity=Severity.MEDIUM,
            title=Text("供水压力过低", "Pressure too low"),
        ),
        # What follows is our judgement: 700 kPa strains household fittings; a burst takes 60 kPa and more at once.
        Use(
            rule="pressure_high",
            detector="limit",
            quantity=PRESSURE,
            params={"high": 700.0, "hold_s": 300.0, "hysteresis": 20.0, "clear_s": 600.0, "update_s": 3600.0},
            severity=Severity.LOW,
            title=Text("供水压力过高", "Pressure too high"),
        ),
        Use(
            rule="burst",
            detector="step",
            quantity=PRESSURE,
            params={"change": 60.0, "direction": -1, "window_s": 1800.0, "hold_s": 300.0, "clear_s": 900.0},
            severity=Severity.HIGH,
            title=Text("压力骤降，疑似爆管", "Sudden fall, a burst is likely"),
        ),
        Use(
            rule="leak",
            detector="cusum",
            quantity=PRESSURE,
            params={"direction": -1, "slack": 35.0, "limit": 400.0, "learn": 288, "forget_s": 14 * 86400.0},
            severity=Severity.LOW,
            title=Text("压力持续偏低，疑似漏损", "Pressure stays below its habit, a leak is likely"),
        ),
        Use(
            rule="stuck",
            detector="flatline",
            quantity=PRESSURE,
            params={"hold_s": 3600.0, "tolerance": 0.05},
            severity=Severity.LOW,
            title=Text("压力读数不变", "Pressure reading is stuck"),
        ),
        Use(
            rule="surge",
            detector="rate",
            quantity=PRESSURE,
            params={"per_s": 1.0, "direction": 1, "clear_s": 900.0, "least_s": 60.0},
            severity=Severity.LOW,
            title=Text("压力急升", "Pressure surge"),
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
        Panel(type="timeseries", quantity=PRESSURE),
        Panel(type="stat", quantity=radio.BATTERY),
        Panel(type="timeseries", quantity=TEMPERATURE),
        Panel(type="stat", quantity=radio.SIGNAL),
        Panel(type="stat", quantity=radio.BATTERY_SHARE),
        Panel(type="stat", quantity=radio.SNR),
    ),
    simulate=Profile(
        shapes={
            "pressure_kpa": Shape(level=330.0, hours=_HOURS, noise=4.0, device_spread=0.1, clamp=(190.0, 620.0)),
            "battery_v": radio.BATTERY_SHAPE,
            "temperature_c": Shape(
                level=14.0, noise=0.1, device_spread=0.05, drift_per_day=1.0, clamp=(2.0, 30.0)
            ),
            "signal_dbm": radio.SIGNAL_SHAPE,
            "battery_pct": radio.CHARGE_SHAPE,
            "snr_db": radio.SNR_SHAPE,
        },
        faults=(
            Fault(
                name="burst",
                label=Text("爆管", "Pipe burst"),
                effects=(Effect("pressure_kpa", Change.STEP, -120.0),),
                rules=("burst", "pressure_low", "leak"),
                duration_s=5400.0,
                report_every_s=60.0,
            ),
            Fault(
                name="pressure_loss",
                label=Text("泵站停机", "Pumping station stops"),
                effects=(Effect("pressure_kpa", Change.SCALE, 0.3),),
                rules=("pressure_low", "burst", "leak"),
                duration_s=3600.0,
            ),
            Fault(
                name="overpressure",
                label=Text("减压阀失效", "Pressure reducer fails"),
                effects=(Effect("pressure_kpa", Change.STEP, 520.0),),
                rules=("pressure_high", "surge"),
                duration_s=3600.0,
            ),
            Fault(
                name="leak",
                label=Text("暗漏", "Hidden leak"),
                effects=(Effect("pressure_kpa", Change.STEP, -75.0),),
                rules=("leak", "burst"),
                duration_s=12 * 3600.0,
            ),
            Fault(
                name="stuck",
                label=Text("传感器卡死", "Sensor stuck"),
                effects=(Effect("pressure_kpa", Change.FREEZE),),
                rules=("stuck",),
                duration_s=3 * 3600.0,
            ),
            Fault(
                name="battery_flat",
                label=Text("电池耗尽", "Battery runs down"),
                effects=(Effect("battery_v", Change.SET, 3.0), Effect("battery_pct", Change.SET, 8.0)),
                rules=("battery_low", "charge_low"),
                duration_s=3 * 3600.0,
            ),
            Fault(
                name="dropout",
                label=Text("失联", "Dropout"),
                silent=True,
                rules=("silent",),
                duration_s=3600.0,
            ),
            Fault(
                name="demand_peak",
                label=Text("用水高峰（无害）", "Demand peak (harmless)"),
                effects=(Effect("pressure_kpa", Change.RAMP, -20.0),),
                duration_s=2700.0,
            ),
            Fault(
                name="sunday",
                label=Text("周日用水偏低（无害）", "Sunday's lower demand (harmless)"),
                effects=(Effect("pressure_kpa", Change.STEP, 10.0),),
                duration_s=12 * 3600.0,
            ),
        ),
    ),
)
