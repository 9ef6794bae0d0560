"""Kitchen exhaust (油烟): fume concentration behind the purifier, currents of fan and purifier, every minute.

Where a comment says "our judgement", no standard we read fixes the number: change it here or per device.
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
_OPEN_H: Final = 0.4  # simulated kitchens begin earlier and end later by up to so much, each day otherwise
_FAN_ON_A: Final = 1.0  # a running exhaust fan draws more, a resting one nothing: our judgement

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
        # The purifier starts with the fan. One that draws next to nothing, or a fifth of what it usually does, is off;
        # five minutes for whoever switches it on later.
        Use(
            rule="purifier_idle",
            detector="linked",
            quantity=PURIFIER,
            beside=(FAN,),
            params={"running": _FAN_ON_A, "low": 0.1, "share": 0.2, "hold_s": 300.0, "clear_s": 300.0},
            severity=Severity.MEDIUM,
            title=Text("风机开而净化器未开", "Fan on, purifier off"),
            because=Text(
                "风机运行（{lead:.1f} A）而净化器电流只有{observed}（限值{limit}），已持续{lasted}",
                "The fan runs ({lead:.1f} A) while the purifier draws {observed} (limit {limit}), for {lasted}",
            ),
        ),
        # At most 0.02 mg/m3 while the fan draws current: the probe is blocked, or draws in fresh air. An hour, as some
        # kitchens run their fan long before the first wok.
        Use(
            rule="probe_blocked",
            detector="linked",
            quantity=FUME,
            beside=(FAN,),
            params={"running": _FAN_ON_A, "low": 0.02, "hold_s": 3600.0, "clear_s": 600.0},
            severity=Severity.LOW,
            title=Text("油烟探头疑似堵塞", "Fume probe blocked"),
            because=Text(
                "风机运行（{lead:.1f} A）而油烟读数接近零（{observed}），已持续{lasted}，探头可能堵塞或被稀释",
                "The fan runs ({lead:.1f} A) and the probe reads {observed}, for {lasted}: blocked or diluted",
            ),
        ),
        # Fume over the limit moves from minute to minute; a number that stands still up there is the end of the range.
        Use(
            rule="probe_saturated",
            detector="clipped",
            quantity=FUME,
            params={"least": 3.0, "tolerance": 0.005, "hold_s": 600.0, "clear_s": 300.0},
            severity=Severity.LOW,
            title=Text("油烟探头饱和", "Fume probe saturated"),
        ),
        # Weeks against the kitchen's own past; a busy season shows in the vapours, which a purifier does not hold back.
        Use(
            rule="efficiency_low",
            detector="session_drift",
            quantity=FUME,
            beside=(FAN, NMHC),
            params={"direction": 1.0, "running": _FAN_ON_A, "slack": 0.2, "limit": 2.0, "floor": 0.03},
            severity=Severity.LOW,
            title=Text("净化效率下降", "Purifier lets more through"),
        ),
        Use(
            rule="probe_diluted",
            detector="session_drift",
            quantity=FUME,
            beside=(FAN,),
            params={"direction": -1.0, "running": _FAN_ON_A, "slack": 0.4, "limit": 1.5, "floor": 0.03},
            severity=Severity.LOW,
            title=Text("油烟读数长期偏低", "Fume reads far lower than it used to"),
        ),
        # What the probe reads while the kitchen rests is its zero.
        Use(
            rule="probe_fouled",
            detector="session_drift",
            quantity=FUME,
            beside=(FAN,),
            params={
                "direction": 1.0,
                "while_on": 0.0,
                "running": _FAN_ON_A,
                "slack": 0.5,
                "limit": 2.0,
                "floor": 0.03,
            },
            severity=Severity.LOW,
            title=Text("油烟探头污染", "Fume probe fouled"),
            because=Text(
                "停炉时{what}日均{observed}，以往只有{expected}，探头可能被油污污染",
                "While the kitchen rests, {what} is {observed}, in the past {expected}: the probe may be fouled",
            ),
        ),
        # Opening hours are the owner's: set them per device. An hour more on either side for preparing and cleaning.
        Use(
            rule="off_hours",
            detector="off_hours",
            quantity=FAN,
            params={
                "running": _FAN_ON_A,
                "from_1": 10.5,
                "to_1": 13.5,
                "from_2": 16.5,
                "to_2": 20.5,
                "tolerance_h": 1.0,
                "hold_s": 1200.0,
                "clear_s": 600.0,
            },
            severity=Severity.LOW,
            title=Text("营业时间外运行", "Runs outside opening hours"),
        ),
        # The fan's current carries noise while it runs and is zero while it rests, on a day of rest as well: it is the
        # purifier's that shows whether the kitchen works. Six hours are longer than any session.
        Use(
            rule="fan_stuck",
            detector="frozen",
            quantity=FAN,
            beside=(PURIFIER,),
            params={"hold_s": 6 * 3600.0, "tolerance": 0.001, "least": -1.0},
            severity=Severity.LOW,
            title=Text("风机电流长期不变", "Fan current unchanged for long"),
            version=2,
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
                device_spread=0.2,  # more, and some healthy kitchens would be over the limit for minutes
                burst_sigma=0.8,
                on_hours=_SESSIONS,
                open_h=_OPEN_H,
                off_level=0.05,
                clamp=(0.01, 4.1),
            ),
            "fan_a": Shape(
                level=9.0, noise=0.15, device_spread=0.2, on_hours=_SESSIONS, open_h=_OPEN_H, clamp=(0.0, 40.0)
            ),
            "purifier_a": Shape(
                level=2.2, noise=0.04, device_spread=0.15, on_hours=_SESSIONS, open_h=_OPEN_H, clamp=(0.0, 10.0)
            ),
            "nmhc_mgm3": Shape(
                level=1.5,
                noise=0.1,
                device_spread=0.2,
                burst_sigma=0.4,
                on_hours=_SESSIONS,
                open_h=_OPEN_H,
                off_level=0.3,
                clamp=(0.05, 8.0),
            ),
            "temperature_c": Shape(
                level=42.0,
                noise=0.8,
                device_spread=0.06,
                on_hours=_SESSIONS,
                open_h=_OPEN_H,
                off_level=22.0,
                clamp=(5.0, 70.0),
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
                rules=("purifier_idle", "fume_high", "fume_extreme"),
                duration_s=3600.0,
            ),
            Fault(
                name="efficiency_decay",
                label=Text("净化效率衰减", "Purifier fouling"),
                effects=(Effect("fume_mgm3", Change.GROW, 0.06 / 24),),
                rules=("efficiency_low", "fume_high"),
                duration_s=22 * 86400.0,
                seen_after_s=20 * 86400.0,
            ),
            Fault(
                name="probe_blocked",
                label=Text("探头堵塞", "Probe blocked"),
                effects=(Effect("fume_mgm3", Change.SET, 0.01),),
                rules=("probe_blocked",),
                duration_s=36 * 3600.0,
                seen_after_s=17 * 3600.0,
            ),
            Fault(
                name="probe_diluted",
                label=Text("探头被稀释", "Probe draws in fresh air"),
                effects=(Effect("fume_mgm3", Change.SCALE, 0.15),),
                rules=("probe_diluted", "probe_blocked"),
                duration_s=20 * 86400.0,
                seen_after_s=8 * 86400.0,
            ),
            Fault(
                name="probe_fouled",
                label=Text("探头油污漂移", "Probe drifts as it fouls"),
                effects=(Effect("fume_mgm3", Change.RAMP, 0.006 / 24),),
                rules=("probe_fouled", "efficiency_low"),
                duration_s=22 * 86400.0,
                seen_after_s=15 * 86400.0,
            ),
            Fault(
                name="night_run",
                label=Text("夜间违规运行", "Runs through the night"),
                effects=(Effect("fan_a", Change.SET, 9.0), Effect("purifier_a", Change.SET, 2.2)),
                rules=("off_hours",),
                duration_s=14 * 3600.0,
                seen_after_s=6 * 3600.0,
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
                rules=("probe_saturated", "fume_extreme", "fume_high"),
                duration_s=1800.0,
            ),
            Fault(
                name="over_the_limit",
                label=Text("净化器开着仍超标", "Over the limit with the purifier on"),
                effects=(Effect("fume_mgm3", Change.STEP, 3.2),),
                rules=("fume_high",),
                duration_s=1800.0,
            ),
            Fault(
                name="fan_sensor_dead",
                label=Text("风机电流互感器断线", "The fan's current sensor is dead"),
                effects=(Effect("fan_a", Change.SET, 0.0),),
                rules=("fan_stuck",),
                duration_s=24 * 3600.0,
                seen_after_s=12 * 3600.0,
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
            Fault(
                name="busy_dinner",
                label=Text("客流高峰（无害）", "A busy dinner (harmless)"),
                effects=(
                    Effect("fume_mgm3", Change.SCALE, 1.2),
                    Effect("nmhc_mgm3", Change.SCALE, 1.2),
                    Effect("temperature_c", Change.STEP, 6.0),
                ),
                duration_s=3 * 3600.0,
            ),
            Fault(
                name="busy_season",
                label=Text("旺季（无害）", "A busy season (harmless)"),
                effects=(Effect("fume_mgm3", Change.SCALE, 1.2), Effect("nmhc_mgm3", Change.SCALE, 1.2)),
                duration_s=14 * 86400.0,
            ),
            Fault(
                name="day_of_rest",
                label=Text("歇业一天（无害）", "A day of rest (harmless)"),
                effects=(
                    Effect("fan_a", Change.SET, 0.0),
                    Effect("purifier_a", Change.SET, 0.0),
                    Effect("fume_mgm3", Change.SET, 0.05),
                    Effect("nmhc_mgm3", Change.SET, 0.3),
                    Effect("temperature_c", Change.SET, 22.0),
                ),
                duration_s=24 * 3600.0,
            ),
            Fault(
                name="deep_clean",
                label=Text("打烊后清洗（无害）", "Cleaning after hours (harmless)"),
                effects=(Effect("fan_a", Change.SET, 8.0), Effect("purifier_a", Change.SET, 2.0)),
                duration_s=4500.0,
            ),
        ),
    ),
)
