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
_DAYS: Final = (1.0, 1.0, 1.0, 1.0, 1.0, 1.01, 1.02)  # Monday first

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
        # Mains below 0.14 MPa for more than 3 % of the time: the compliance customarily asked for is 97 %.
        Use(
            rule="compliance",
            detector="compliance",
            quantity=PRESSURE,
            params={"low": 140.0, "share": 0.97},
            severity=Severity.LOW,
            title=Text("压力合格率不足", "Pressure compliance missed"),
        ),
        # What follows is our judgement: 700 kPa strains household fittings.
        Use(
            rule="pressure_high",
            detector="limit",
            quantity=PRESSURE,
            params={"high": 700.0, "hold_s": 300.0, "hysteresis": 20.0, "clear_s": 600.0, "update_s": 3600.0},
            severity=Severity.LOW,
            title=Text("供水压力过高", "Pressure too high"),
        ),
        # 60 kPa at once is a burst wherever it is; of a known point 10 kPa are, if beyond its own scatter.
        Use(
            rule="burst",
            detector="burst",
            quantity=PRESSURE,
            params={"change": 60.0, "least": 10.0, "hold_s": 300.0, "clear_s": 900.0},
            severity=Severity.HIGH,
            title=Text("压力骤降，疑似爆管", "Sudden fall, a burst is likely"),
            version=2,
        ),
        # A metre of head less at night than ever in weeks: fire mains and valves are opened by day.
        Use(
            rule="leak",
            detector="night_minimum",
            quantity=PRESSURE,
            params={"change": 10.0},
            severity=Severity.LOW,
            title=Text("夜间压力持续走低，疑似漏损", "Pressure at night sinks, a leak is likely"),
            version=2,
        ),
        # A centimetre of head beside what the zone's other sensors let expect: below that a sensor's own drift begins.
        Use(
            rule="leak_area",
            detector="area",
            quantity=PRESSURE,
            params={"least": 0.1},
            severity=Severity.MEDIUM,
            title=Text("分区出现新漏点，疑似漏损", "A new leak in the zone is likely"),
        ),
        # Four swings of 3 m within an hour; one valve or pump makes one.
        Use(
            rule="transient",
            detector="transient",
            quantity=PRESSURE,
            params={"least": 30.0, "window_s": 3600.0, "clear_s": 3600.0},
            severity=Severity.MEDIUM,
            title=Text("压力反复波动，疑似水锤", "Pressure swings to and fro, water hammer is likely"),
        ),
        Use(
            rule="stuck",
            detector="rest_stuck",
            quantity=PRESSURE,
            params={"hold_s": 3600.0, "tolerance": 0.05},
            severity=Severity.LOW,
            title=Text("压力读数不变", "Pressure reading is stuck"),
            version=2,
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
            # Demand's noise of 5.5 % at 5 minutes moves some 40 kPa of head loss by 4; Sunday's demand is 8 % lower;
            # summers draw more.
            "pressure_kpa": Shape(
                level=330.0,
                hours=_HOURS,
                days=_DAYS,
                noise=4.0,
                season=-5.0,
                device_spread=0.1,
                clamp=(190.0, 620.0),
            ),
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
                rules=("burst", "pressure_low"),
                duration_s=5400.0,
                report_every_s=60.0,
            ),
            Fault(
                name="pressure_loss",
                label=Text("泵站停机", "Pumping station stops"),
                effects=(Effect("pressure_kpa", Change.SCALE, 0.3),),
                rules=("pressure_low", "burst"),
                duration_s=3600.0,
            ),
            Fault(
                name="undersupply",
                label=Text("连续多日供水压力不足", "Pressure too low for days"),
                effects=(Effect("pressure_kpa", Change.SCALE, 0.4),),
                rules=("compliance", "pressure_low", "burst"),
                duration_s=3 * 86400.0,
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
                label=Text("接口突然漏水", "Joint gives way"),
                effects=(Effect("pressure_kpa", Change.STEP, -75.0),),
                rules=("burst", "leak", "leak_area"),
                duration_s=12 * 3600.0,
            ),
            Fault(
                name="slow_leak",
                label=Text("暗漏逐日加重", "Hidden leak grows"),
                effects=(Effect("pressure_kpa", Change.RAMP, -0.25),),
                rules=("leak", "leak_area"),
                duration_s=14 * 86400.0,
            ),
            Fault(
                name="transients",
                label=Text("水锤", "Water hammer"),
                effects=(Effect("pressure_kpa", Change.NOISE, 60.0),),
                rules=("transient", "burst", "surge"),
                duration_s=4 * 3600.0,
                report_every_s=60.0,
                seen_after_s=3600.0,
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
            Fault(
                name="pump_switching",
                label=Text("水泵启停（无害）", "Pumps switch on and off (harmless)"),
                effects=(Effect("pressure_kpa", Change.CYCLE, -18.0),),
                duration_s=3600.0,
            ),
            Fault(
                name="holiday",
                label=Text("长假用水偏低（无害）", "A holiday's lower demand (harmless)"),
                effects=(Effect("pressure_kpa", Change.STEP, 12.0),),
                duration_s=8 * 86400.0,
            ),
            Fault(
                name="season",
                label=Text("用水随季节增加（无害）", "Demand grows with the season (harmless)"),
                effects=(Effect("pressure_kpa", Change.RAMP, -0.01),),
                duration_s=20 * 86400.0,
            ),
        ),
    ),
)
