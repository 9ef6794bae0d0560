"""Heat meter of a substation (供热计量): supply and return temperature, flow, power and energy, once an hour.

Where a comment says "our judgement", no standard we read fixes the number: change it here or per device.
"""

from __future__ import annotations

from math import nan
from typing import Final

from devices import radio
from devices.spec import Change, Effect, Fault, Kind, Panel, Profile, Quantity, Severity, Shape, Text, Use

_DAY_S: Final = 86400.0
_WATER: Final = 1.143  # kWh in a cubic metre of warm water and a kelvin

SUPPLY = Quantity(
    name="supply_c",
    unit="degC",
    label=Text("供水温度", "Supply temperature"),
    physical=(-20.0, 180.0),
    plausible=(5.0, 130.0),
    sentinels=(-39.9,),
    max_rate_per_s=1.0,
    flat_after_s=24 * 3600.0,  # our judgement: out of season a circuit may rest at one value for a day
    reads=("supply_temperature",),
)
RETURN = Quantity(
    name="return_c",
    unit="degC",
    label=Text("回水温度", "Return temperature"),
    physical=(-20.0, 180.0),
    plausible=(5.0, 95.0),
    sentinels=(-39.9,),
    max_rate_per_s=1.0,
    flat_after_s=24 * 3600.0,
    reads=("return_temperature",),
)
FLOW = Quantity(
    name="flow_m3h",
    unit="m3/h",
    label=Text("流量", "Flow"),
    physical=(-1.0, 2000.0),
    plausible=(0.0, 500.0),
    flat_after_s=24 * 3600.0,
    reads=("flow",),
)
POWER = Quantity(
    name="power_kw",
    unit="kW",
    label=Text("热功率", "Heat power"),
    physical=(-100.0, 100_000.0),
    plausible=(0.0, 20_000.0),
    decimals=1,
    reads=("power",),
)
ENERGY = Quantity(
    name="energy_mwh",
    unit="MWh",
    label=Text("累计热量", "Heat energy"),
    physical=(0.0, 10_000_000.0),
    plausible=(0.0, 1_000_000.0),
    decimals=1,
    reads=("energy",),
)

KIND: Final = Kind(
    name="heat_meter",
    label=Text("供热计量", "Heat meter"),
    prefix="HM",
    quantities=(SUPPLY, RETURN, FLOW, POWER, ENERGY, radio.SIGNAL, radio.SNR),
    cadence_s=3600.0,
    lateness_s=3 * 3600.0,  # our judgement
    detectors=(
        # A raised return temperature is the reliable sign of a fault. The substation's meter is on the primary side,
        # whose return is at 60 to 70 degC by design; a 75/50 radiator circuit of its own wants 60 here, and 85 for
        # its supply. These and every other number here are our judgement where nothing else is said.
        Use(
            rule="return_warm",
            detector="limit",
            quantity=RETURN,
            params={"high": 60.0, "hold_s": 4 * 3600.0, "hysteresis": 3.0, "clear_s": 7200.0, "update_s": 86400.0},
            severity=Severity.MEDIUM,
            title=Text("回水温度偏高", "Return too warm"),
            version=2,
        ),
        Use(
            rule="return_raised",
            detector="raised_return",
            quantity=RETURN,
            beside=(SUPPLY, POWER, FLOW),
            severity=Severity.MEDIUM,
            title=Text("回水温度高于应有水平", "Return warmer than explained"),
        ),
        Use(
            rule="low_dt",
            detector="low_dt",
            quantity=RETURN,
            beside=(SUPPLY, POWER, FLOW),
            severity=Severity.LOW,
            title=Text("供回水温差偏小", "Low temperature difference"),
        ),
        Use(
            rule="sensors_reversed",
            detector="reversed_sensors",
            quantity=RETURN,
            beside=(SUPPLY, POWER, FLOW),
            severity=Severity.MEDIUM,
            title=Text("供回水传感器接反", "Supply and return exchanged"),
        ),
        Use(
            rule="supply_high",
            detector="limit",
            quantity=SUPPLY,
            params={"high": 110.0, "hold_s": 3600.0, "hysteresis": 2.0, "clear_s": 3600.0, "update_s": 86400.0},
            severity=Severity.HIGH,
            title=Text("供水温度超限", "Supply too hot"),
            version=2,
        ),
        Use(
            rule="supply_low",
            detector="cold_supply",
            quantity=SUPPLY,
            beside=(POWER, FLOW),
            params={"low": 30.0, "hold_s": 8 * 3600.0},  # a pipe without flow cools down at night
            severity=Severity.MEDIUM,
            title=Text("用热时供水温度过低", "Supply too cold while heat is drawn"),
            version=2,
        ),
        Use(
            rule="no_flow",
            detector="no_flow_demand",
            quantity=FLOW,
            beside=(POWER, SUPPLY, RETURN),
            params={"hold_s": 4 * 3600.0},
            severity=Severity.MEDIUM,
            title=Text("需热时无流量", "No flow though heat is wanted"),
            version=2,
        ),
        Use(
            rule="balance",
            detector="heat_balance",
            quantity=POWER,
            beside=(FLOW, SUPPLY, RETURN),
            severity=Severity.LOW,
            title=Text("热量与流量、温差不符", "Power does not fit flow and temperatures"),
        ),
        Use(
            rule="register_wrong",
            detector="register",
            quantity=ENERGY,
            beside=(POWER, FLOW, SUPPLY, RETURN),
            severity=Severity.MEDIUM,
            title=Text("累计热量异常", "Energy register is wrong"),
        ),
        Use(
            rule="flow_stuck",
            detector="frozen",
            quantity=FLOW,
            beside=(POWER, SUPPLY, RETURN),
            params={"tolerance": 0.0005, "least": 0.05},
            severity=Severity.LOW,
            title=Text("流量读数不变", "Flow reading is stuck"),
            version=2,
        ),
        Use(
            rule="power_stuck",
            detector="frozen",
            quantity=POWER,
            beside=(FLOW, SUPPLY, RETURN),
            params={"tolerance": 0.0005, "least": 0.5},
            severity=Severity.LOW,
            title=Text("热功率读数不变", "Power reading is stuck"),
        ),
        Use(
            rule="supply_stuck",
            detector="frozen",
            quantity=SUPPLY,
            beside=(RETURN, POWER, FLOW),
            params={"tolerance": 0.0005, "hold_s": 20 * 3600.0},
            severity=Severity.LOW,
            title=Text("供水温度读数不变", "Supply reading is stuck"),
        ),
        Use(
            rule="return_stuck",
            detector="frozen",
            quantity=RETURN,
            beside=(SUPPLY, POWER, FLOW),
            params={"tolerance": 0.0005, "hold_s": 20 * 3600.0},
            severity=Severity.LOW,
            title=Text("回水温度读数不变", "Return reading is stuck"),
        ),
        Use(
            rule="supply_missing",
            detector="missing",
            quantity=SUPPLY,
            beside=(RETURN, FLOW, POWER, ENERGY),
            severity=Severity.LOW,
            title=Text("供水温度无读数", "No supply temperature"),
        ),
        Use(
            rule="return_missing",
            detector="missing",
            quantity=RETURN,
            beside=(SUPPLY, FLOW, POWER, ENERGY),
            severity=Severity.LOW,
            title=Text("回水温度无读数", "No return temperature"),
        ),
        Use(
            rule="flow_missing",
            detector="missing",
            quantity=FLOW,
            beside=(SUPPLY, RETURN, POWER, ENERGY),
            severity=Severity.LOW,
            title=Text("流量无读数", "No flow reading"),
        ),
        Use(
            rule="clock_jumped",
            detector="time_jump",
            quantity=SUPPLY,
            severity=Severity.LOW,
            title=Text("表计时钟突变", "Meter clock jumped"),
        ),
        Use(
            rule="silent",
            detector="silence",
            params={"periods": 3, "min_s": 60.0},
            severity=Severity.LOW,
            title=Text("设备离线", "Device silent"),
        ),
    ),
    panels=(
        Panel(type="timeseries", quantity=SUPPLY),
        Panel(type="timeseries", quantity=RETURN),
        Panel(type="timeseries", quantity=FLOW),
        Panel(type="timeseries", quantity=POWER),
        Panel(type="stat", quantity=ENERGY),
        Panel(type="stat", quantity=radio.SIGNAL),
        Panel(type="stat", quantity=radio.SNR),
    ),
    simulate=Profile(
        shapes={
            # A 75/50 radiator circuit in winter, led by the outdoor temperature.
            "supply_c": Shape(level=70.0, noise=0.4, device_spread=0.03, drift_per_day=3.0, clamp=(55.0, 82.0)),
            "return_c": Shape(
                level=46.0, noise=0.3, device_spread=0.03, follow="supply_c", gain=0.4, clamp=(35.0, 56.0)
            ),
            "flow_m3h": Shape(level=18.0, noise=0.25, device_spread=0.3, drift_per_day=1.0, clamp=(4.0, 60.0)),
            "power_kw": Shape(
                level=0.0, noise=4.0, gain=_WATER, water=("flow_m3h", "supply_c", "return_c"), clamp=(0.0, 5000.0)
            ),
            "energy_mwh": Shape(level=1800.0, device_spread=0.4, adds_up="power_kw", gain=0.001),
            "signal_dbm": radio.SIGNAL_SHAPE,
            "snr_db": radio.SNR_SHAPE,
        },
        faults=(
            Fault(
                name="return_warm",
                label=Text("换热短路，回水升温", "Short circuit, warm return"),
                effects=(Effect("return_c", Change.STEP, 20.0), Effect("power_kw", Change.SCALE, 0.17)),
                rules=("return_warm",),
                duration_s=10 * 3600.0,
            ),
            Fault(
                name="return_raised",
                label=Text("阀门关不严，回水偏高", "A valve leaks, the return is raised"),
                effects=(Effect("return_c", Change.STEP, 6.0), Effect("power_kw", Change.SCALE, 0.75)),
                rules=("return_raised", "low_dt"),
                duration_s=12 * _DAY_S,
                seen_after_s=10 * _DAY_S,
            ),
            Fault(
                name="fouling",
                label=Text("换热器结垢", "The exchanger fouls"),
                effects=(Effect("return_c", Change.RAMP, 0.02),),
                rules=("low_dt", "return_raised"),
                duration_s=21 * _DAY_S,
            ),
            Fault(
                name="supply_hot",
                label=Text("调节阀卡在全开", "Control valve stuck open"),
                effects=(Effect("supply_c", Change.SET, 118.0), Effect("power_kw", Change.SCALE, 3.0)),
                rules=("supply_high",),
                duration_s=8 * 3600.0,
            ),
            Fault(
                name="supply_cold",
                label=Text("热源中断", "Heat source fails"),
                effects=(
                    Effect("supply_c", Change.SET, 24.0),
                    Effect("return_c", Change.SET, 22.0),
                    Effect("power_kw", Change.SCALE, 0.08),
                ),
                rules=("supply_low",),
                duration_s=16 * 3600.0,
            ),
            Fault(
                name="pump_stopped",
                label=Text("循环泵停机", "Pump stops"),
                effects=(Effect("flow_m3h", Change.SET, 0.0), Effect("power_kw", Change.SET, 0.0)),
                rules=("no_flow",),
                duration_s=18 * 3600.0,
                seen_after_s=11 * 3600.0,
            ),
            Fault(
                name="sensors_reversed",
                label=Text("供回水传感器接反", "Sensors exchanged"),
                effects=(Effect("supply_c", Change.STEP, -24.0), Effect("return_c", Change.STEP, 24.0)),
                rules=("sensors_reversed",),
                duration_s=24 * 3600.0,
                seen_after_s=3 * 86400.0,
            ),
            Fault(
                name="flow_reads_high",
                label=Text("流量计偏高三成", "The flow reads a third too much"),
                effects=(Effect("flow_m3h", Change.SCALE, 1.3),),
                rules=("balance",),
                duration_s=2 * _DAY_S,
                seen_after_s=_DAY_S,
            ),
            Fault(
                name="register_stuck",
                label=Text("累计热量不走", "The energy register is stuck"),
                effects=(Effect("energy_mwh", Change.FREEZE),),
                rules=("register_wrong",),
                duration_s=2 * _DAY_S,
                seen_after_s=1.5 * _DAY_S,
            ),
            Fault(
                name="register_backwards",
                label=Text("累计热量倒走", "The energy register runs backwards"),
                effects=(Effect("energy_mwh", Change.RAMP, -1.5),),
                rules=("register_wrong",),
                duration_s=_DAY_S,
            ),
            Fault(
                name="flow_stuck",
                label=Text("流量计卡死", "Flow meter stuck"),
                effects=(Effect("flow_m3h", Change.FREEZE),),
                rules=("flow_stuck",),
                duration_s=24 * 3600.0,
                seen_after_s=3 * 86400.0,
            ),
            Fault(
                name="return_sensor_broken",
                label=Text("回水传感器断线", "The return sensor is broken"),
                effects=(Effect("return_c", Change.SET, nan),),
                rules=("return_missing",),
                duration_s=2 * _DAY_S,
                seen_after_s=3 * 86400.0,
            ),
            Fault(
                name="dropout",
                label=Text("失联", "Dropout"),
                silent=True,
                rules=("silent",),
                duration_s=8 * 3600.0,
            ),
            Fault(
                name="mild_day",
                label=Text("回暖（无害）", "A mild day (harmless)"),
                effects=(
                    Effect("supply_c", Change.STEP, -6.0),
                    Effect("return_c", Change.STEP, -2.4),
                    Effect("power_kw", Change.SCALE, 0.85),
                ),
                duration_s=10 * 3600.0,
            ),
            Fault(
                name="night_setback",
                label=Text("夜间降温运行（无害）", "Night setback (harmless)"),
                effects=(
                    Effect("supply_c", Change.STEP, -8.0),
                    Effect("return_c", Change.STEP, -5.0),
                    Effect("flow_m3h", Change.SCALE, 0.6),
                    Effect("power_kw", Change.SCALE, 0.525),
                ),
                duration_s=8 * 3600.0,
            ),
            Fault(
                name="morning_boost",
                label=Text("早间升温（无害）", "Morning boost (harmless)"),
                effects=(
                    Effect("supply_c", Change.STEP, 6.0),
                    Effect("return_c", Change.STEP, 5.0),
                    Effect("flow_m3h", Change.SCALE, 1.5),
                    Effect("power_kw", Change.SCALE, 1.5625),
                ),
                duration_s=2 * 3600.0,
            ),
            Fault(
                name="summer_stop",
                label=Text("停暖（无害）", "The season ends (harmless)"),
                effects=(
                    Effect("supply_c", Change.SET, 28.0),
                    Effect("return_c", Change.SET, 27.0),
                    Effect("flow_m3h", Change.SET, 0.0),
                    Effect("power_kw", Change.SET, 0.0),
                    Effect("energy_mwh", Change.FREEZE),
                ),
                duration_s=100 * _DAY_S,
            ),
        ),
    ),
)
