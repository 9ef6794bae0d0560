"""Kitchen exhaust (油烟): fume concentration behind the purifier, currents of fan and purifier, every minute.

Rules of one quantity cannot say "fan on while the purifier is off": that waits for rules over two quantities. What
is here sees the consequence, fume over the limit. Where a comment says "our judgement", no standard we read fixes
the number.
"""

from __future__ import annotations

from typing import Final

from devices.factors import factors
from devices.spec import Change, Effect, Fault, Kind, Panel, Profile, Quantity, Severity, Shape, Text, Use

FUME = Quantity(
    name="fume_mgm3",
    unit="mg/m3",
    label=Text("油烟浓度", "Fume"),
    physical=(0.0, 100.0),
    plausible=(0.0, 20.0),
    reads=factors("a34041"),  # seen in packets of fume monitors, not a code we read in the standard
)  # No flat-line bound: overnight the probe rests near zero.
FAN = Quantity(
    name="fan_a",
    unit="A",
    label=Text("风机电流", "Fan current"),
    physical=(0.0, 200.0),
    plausible=(0.0, 60.0),
)
PURIFIER = Quantity(
    name="purifier_a",
    unit="A",
    label=Text("净化器电流", "Purifier current"),
    physical=(0.0, 50.0),
    plausible=(0.0, 20.0),
)
NMHC = Quantity(
    name="nmhc_mgm3",
    unit="mg/m3",
    label=Text("非甲烷总烃", "NMHC"),
    physical=(0.0, 1000.0),
    plausible=(0.0, 100.0),
    reads=factors("a24088"),
)
TEMPERATURE = Quantity(
    name="temperature_c",
    unit="degC",
    label=Text("烟气温度", "Exhaust temperature"),
    physical=(-40.0, 300.0),
    plausible=(-20.0, 120.0),
    decimals=1,
    reads=factors("a01012"),
)

_SESSIONS: Final = ((10.5, 13.5), (16.5, 20.5))  # local hours of cooking

KIND: Final = Kind(
    name="kitchen_exhaust",
    label=Text("餐饮油烟", "Kitchen exhaust"),
    prefix="KE",
    quantities=(FUME, FAN, PURIFIER, NMHC, TEMPERATURE),
    cadence_s=60.0,
    lateness_s=600.0,  # our judgement
    detectors=(
        # GB 18483-2001: 2.0 mg/m3 for kitchens of every size. Five minutes over it outlast one cooking burst's
        # peak; that hold time and the other numbers are our judgement.
        Use(
            rule="fume_high",
            detector="limit",
            quantity=FUME,
            params={"high": 2.0, "hold_s": 300.0, "hysteresis": 0.2, "clear_s": 600.0, "update_s": 1800.0},
            severity=Severity.MEDIUM,
            title=Text("油烟排放超标", "Fume over the limit"),
        ),
        Use(
            rule="fume_extreme",
            detector="limit",
            quantity=FUME,
            params={"high": 8.0, "hold_s": 120.0, "hysteresis": 1.0, "clear_s": 600.0, "update_s": 1800.0},
            severity=Severity.HIGH,
            title=Text("油烟浓度极高", "Fume far over the limit"),
        ),
        Use(
            rule="nmhc_high",
            detector="limit",
            quantity=NMHC,
            params={"high": 10.0, "hold_s": 300.0, "hysteresis": 1.0, "clear_s": 600.0, "update_s": 1800.0},
            severity=Severity.LOW,
            title=Text("非甲烷总烃偏高", "NMHC high"),
        ),
        Use(
            rule="exhaust_hot",
            detector="limit",
            quantity=TEMPERATURE,
            params={"high": 90.0, "hold_s": 60.0, "hysteresis": 5.0, "clear_s": 300.0, "update_s": 600.0},
            severity=Severity.HIGH,
            title=Text("烟道温度过高", "Exhaust duct too hot"),
        ),
        # The fan's current always carries noise while it runs and is exactly zero while it rests, so only a value
        # that repeats for longer than the nightly pause is a fault.
        Use(
            rule="fan_stuck",
            detector="flatline",
            quantity=FAN,
            params={"hold_s": 18 * 3600.0, "tolerance": 0.001},
            severity=Severity.LOW,
            title=Text("风机电流长期不变", "Fan current unchanged for long"),
        ),
        Use(
            rule="silent",
            detector="silence",
            params={"periods": 5, "min_s": 300.0},
            severity=Severity.LOW,
            title=Text("设备离线", "Device silent"),
        ),
    ),
    panels=(
        Panel(type="timeseries", quantity=FUME),
        Panel(type="timeseries", quantity=FAN),
        Panel(type="timeseries", quantity=PURIFIER),
        Panel(type="timeseries", quantity=NMHC),
        Panel(type="timeseries", quantity=TEMPERATURE),
    ),
    simulate=Profile(
        shapes={
            # Purified fume: median 0.14 mg/m3 over a day, bursts of some minutes that are lognormal.
            "fume_mgm3": Shape(
                level=0.25,
                noise=0.02,
                device_spread=0.3,
                burst_sigma=0.8,
                on_hours=_SESSIONS,
                off_level=0.05,
                clamp=(0.01, 4.1),
            ),
            "fan_a": Shape(level=9.0, noise=0.15, device_spread=0.2, on_hours=_SESSIONS, clamp=(0.0, 40.0)),
            "purifier_a": Shape(level=2.2, noise=0.04, device_spread=0.15, on_hours=_SESSIONS, clamp=(0.0, 10.0)),
            "nmhc_mgm3": Shape(
                level=1.5,
                noise=0.1,
                device_spread=0.2,
                burst_sigma=0.4,
                on_hours=_SESSIONS,
                off_level=0.3,
                clamp=(0.05, 8.0),
            ),
            "temperature_c": Shape(
                level=42.0, noise=0.8, device_spread=0.06, on_hours=_SESSIONS, off_level=22.0, clamp=(5.0, 70.0)
            ),
        },
        faults=(
            Fault(
                name="purifier_off",
                label=Text("净化器未开", "Purifier off while cooking"),
                effects=(
                    Effect("purifier_a", Change.SET, 0.0),
                    Effect("fume_mgm3", Change.SCALE, 6.0),
                    Effect("fume_mgm3", Change.STEP, 1.9),
                ),
                rules=("fume_high", "fume_extreme"),
                duration_s=3600.0,
            ),
            Fault(
                name="efficiency_decay",
                label=Text("净化效率衰减", "Purifier fouling"),
                effects=(Effect("fume_mgm3", Change.RAMP, 2.5),),
                rules=("fume_high",),
                duration_s=7200.0,
            ),
            Fault(
                name="duct_fire",
                label=Text("烟道过热", "Duct overheats"),
                effects=(Effect("temperature_c", Change.STEP, 75.0),),
                rules=("exhaust_hot",),
                duration_s=900.0,
            ),
            Fault(
                name="solvent",
                label=Text("非甲烷总烃异常", "NMHC release"),
                effects=(Effect("nmhc_mgm3", Change.STEP, 18.0),),
                rules=("nmhc_high",),
                duration_s=1800.0,
            ),
            Fault(
                name="saturated",
                label=Text("探头饱和", "Probe saturated"),
                effects=(Effect("fume_mgm3", Change.SET, 20.0),),
                rules=("fume_extreme", "fume_high"),
                duration_s=1800.0,
            ),
            Fault(
                name="dropout",
                label=Text("失联", "Dropout"),
                silent=True,
                rules=("silent",),
                duration_s=1800.0,
            ),
            Fault(
                name="wok_burst",
                label=Text("爆炒（无害）", "A hot wok (harmless)"),
                effects=(Effect("fume_mgm3", Change.STEP, 2.5),),
                duration_s=150.0,
            ),
        ),
    ),
)
