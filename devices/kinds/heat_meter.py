"""Heat meter of a substation (供热计量): supply and return temperature, flow, power and energy, once an hour.

Where a comment says "our judgement", no standard we read fixes the number: change it here or per device.
"""

from __future__ import annotations

from typing import Final

from devices import radio
from devices.spec import Change, Effect, Fault, Kind, Panel, Profile, Quantity, Severity, Shape, Text, Use

SUPPLY = Quantity(
    name="supply_c",
    unit="degC",
    label=Text("供水温度", "Supply temperature"),
    physical=(-20.0, 180.0),
    plausible=(5.0, 130.0),
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
        # A raised return temperature is the reliable sign of a fault. 60 degC for a 75/50 radiator circuit, and
        # every other number here, is our judgement.
        Use(
            rule="return_warm",
            detector="limit",
            quantity=RETURN,
            params={"high": 60.0, "hold_s": 7200.0, "hysteresis": 3.0, "clear_s": 7200.0, "update_s": 86400.0},
            severity=Severity.MEDIUM,
            title=Text("回水温度偏高", "Return too warm"),
        ),
        Use(
            rule="supply_high",
            detector="limit",
            quantity=SUPPLY,
            params={"high": 85.0, "hold_s": 3600.0, "hysteresis": 2.0, "clear_s": 3600.0, "update_s": 86400.0},
            severity=Severity.HIGH,
            title=Text("供水温度超限", "Supply too hot"),
        ),
        Use(
            rule="supply_low",
            detector="limit",
            quantity=SUPPLY,
            params={"low": 40.0, "hold_s": 3 * 3600.0, "hysteresis": 2.0, "clear_s": 3600.0, "update_s": 86400.0},
            severity=Severity.MEDIUM,
            title=Text("供水温度过低", "Supply too cold"),
        ),
        Use(
            rule="no_flow",
            detector="limit",
            quantity=FLOW,
            params={"low": 0.5, "hold_s": 7200.0, "hysteresis": 0.5, "clear_s": 3600.0, "update_s": 86400.0},
            severity=Severity.LOW,
            title=Text("无流量", "No flow"),
        ),
        Use(
            rule="flow_stuck",
            detector="flatline",
            quantity=FLOW,
            params={"hold_s": 12 * 3600.0, "tolerance": 0.0005},
            severity=Severity.LOW,
            title=Text("流量读数不变", "Flow reading is stuck"),
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
                level=500.0, noise=8.0, device_spread=0.2, follow="flow_m3h", gain=27.8, clamp=(60.0, 2500.0)
            ),
            "energy_mwh": Shape(level=1800.0, device_spread=0.4, grows_per_hour=0.5),
            "signal_dbm": radio.SIGNAL_SHAPE,
            "snr_db": radio.SNR_SHAPE,
        },
        faults=(
            Fault(
                name="return_warm",
                label=Text("换热短路，回水升温", "Short circuit, warm return"),
                effects=(Effect("return_c", Change.STEP, 20.0),),
                rules=("return_warm",),
                duration_s=10 * 3600.0,
            ),
            Fault(
                name="supply_hot",
                label=Text("调节阀卡在全开", "Control valve stuck open"),
                effects=(Effect("supply_c", Change.STEP, 25.0),),
                rules=("supply_high",),
                duration_s=8 * 3600.0,
            ),
            Fault(
                name="supply_cold",
                label=Text("热源中断", "Heat source fails"),
                effects=(Effect("supply_c", Change.STEP, -40.0), Effect("return_c", Change.STEP, -18.0)),
                rules=("supply_low",),
                duration_s=10 * 3600.0,
            ),
            Fault(
                name="pump_stopped",
                label=Text("循环泵停机", "Pump stops"),
                effects=(Effect("flow_m3h", Change.SET, 0.0), Effect("power_kw", Change.SET, 0.0)),
                rules=("no_flow",),
                duration_s=8 * 3600.0,
            ),
            Fault(
                name="flow_stuck",
                label=Text("流量计卡死", "Flow meter stuck"),
                effects=(Effect("flow_m3h", Change.FREEZE),),
                rules=("flow_stuck",),
                duration_s=24 * 3600.0,
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
                effects=(Effect("supply_c", Change.STEP, -6.0), Effect("return_c", Change.STEP, -2.4)),
                duration_s=10 * 3600.0,
            ),
        ),
    ),
)
