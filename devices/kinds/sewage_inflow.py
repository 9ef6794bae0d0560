"""Sewage-plant inflow (污水处理厂进水浓度): COD, NH3-N, flow, pH, temperature, total N and P; one row a minute.

The analysers measure once in two hours and their minute rows repeat the value between: a flat line is news only
beyond that cycle. Where a comment says "our judgement", no standard we read fixes the number.
"""

from __future__ import annotations

from typing import Final

from devices.factors import factors
from devices.spec import Change, Effect, Fault, Kind, Panel, Profile, Quantity, Severity, Shape, Text, Use

CYCLE_S: Final = 7200.0  # the analysers' measuring cycle; set the flat-line rule with it

COD = Quantity(
    name="cod_mgl",
    unit="mg/L",
    label=Text("化学需氧量", "COD"),
    physical=(0.0, 20_000.0),
    plausible=(5.0, 5000.0),
    flat_after_s=3 * CYCLE_S,  # three cycles at one value, our judgement
    decimals=1,
    reads=factors("w01018", "011", "e102??"),
)
NH3N = Quantity(
    name="nh3n_mgl",
    unit="mg/L",
    label=Text("氨氮", "NH3-N"),
    physical=(0.0, 1000.0),
    plausible=(0.5, 200.0),
    flat_after_s=3 * CYCLE_S,
    reads=factors("w21003", "060", "e103??"),
)
FLOW = Quantity(
    name="flow_ls",
    unit="L/s",
    label=Text("流量", "Flow"),
    physical=(0.0, 20_000.0),
    plausible=(0.0, 10_000.0),
    flat_after_s=1800.0,
    decimals=1,
    reads=factors("w00000", "B01", "e101??"),
)
PH = Quantity(
    name="ph",
    unit="pH",
    label=Text("pH 值", "pH"),
    physical=(0.0, 14.0),
    plausible=(4.0, 11.0),
    max_rate_per_s=0.05,
    flat_after_s=3600.0,
    reads=factors("w01001", "001", "e106??"),
)
TEMPERATURE = Quantity(
    name="temperature_c",
    unit="degC",
    label=Text("水温", "Water temperature"),
    physical=(-10.0, 80.0),
    plausible=(2.0, 45.0),
    decimals=1,
    reads=factors("w01010"),
)
TN = Quantity(
    name="tn_mgl",
    unit="mg/L",
    label=Text("总氮", "Total nitrogen"),
    physical=(0.0, 1000.0),
    plausible=(0.5, 300.0),
    flat_after_s=3 * CYCLE_S,
    reads=factors("w21001", "065", "e105??"),
)
TP = Quantity(
    name="tp_mgl",
    unit="mg/L",
    label=Text("总磷", "Total phosphorus"),
    physical=(0.0, 200.0),
    plausible=(0.05, 60.0),
    flat_after_s=3 * CYCLE_S,
    reads=factors("w21011", "101", "e104??"),
)

# Hour multipliers after the ends given for the BSM2 influent (flow 0.60 at 05 h to 1.51 at 09 h, NH4 0.49 to 1.73,
# COD 0.51 at 07 h to 1.45 at 11 h); the hours between are our judgement.
_FLOW_HOURS: Final = (
    0.95, 0.85, 0.75, 0.68, 0.63, 0.60, 0.70, 1.05, 1.40, 1.51, 1.42, 1.30,
    1.20, 1.10, 1.02, 0.96, 0.94, 0.98, 1.06, 1.14, 1.18, 1.14, 1.08, 1.01,
)  # fmt: skip
_COD_HOURS: Final = (
    1.00, 0.92, 0.84, 0.75, 0.66, 0.58, 0.53, 0.51, 0.75, 1.10, 1.35, 1.45,
    1.40, 1.32, 1.24, 1.16, 1.10, 1.06, 1.06, 1.08, 1.10, 1.10, 1.08, 1.04,
)  # fmt: skip
_NH4_HOURS: Final = (
    0.95, 0.85, 0.75, 0.66, 0.58, 0.52, 0.49, 0.60, 1.05, 1.55, 1.73, 1.62,
    1.45, 1.30, 1.15, 1.05, 0.98, 0.95, 0.98, 1.02, 1.05, 1.05, 1.02, 0.98,
)  # fmt: skip

KIND: Final = Kind(
    name="sewage_inflow",
    label=Text("污水处理厂进水", "Sewage inflow"),
    prefix="SI",
    quantities=(COD, NH3N, FLOW, PH, TEMPERATURE, TN, TP),
    cadence_s=60.0,
    lateness_s=900.0,  # our judgement
    detectors=(
        # Every limit here is our judgement between published inlet series and must be set for the plant. `high` and
        # `low` hold until the plant's own day is learned; what is usual there decides from then on.
        Use(
            rule="cod_high",
            detector="slug",
            quantity=COD,
            beside=(FLOW,),
            params={"high": 1500.0, "hold_s": 1500.0},
            severity=Severity.HIGH,
            title=Text("进水 COD 冲击", "COD slug at the inlet"),
            version=2,
        ),
        # Weeks of thin inflow mean external water in the sewers; a rainy day alone is normal.
        Use(
            rule="cod_low",
            detector="dilution",
            quantity=COD,
            beside=(FLOW,),
            params={"low": 90.0, "hysteresis": 10.0},
            severity=Severity.LOW,
            title=Text("进水浓度长期偏低", "Inflow thin for days"),
            version=2,
        ),
        Use(
            rule="ph_out",
            detector="limit",
            quantity=PH,
            params={
                "low": 6.0,
                "high": 9.0,
                "hold_s": 300.0,
                "hysteresis": 0.2,
                "clear_s": 600.0,
                "update_s": 3600.0,
            },
            severity=Severity.MEDIUM,
            title=Text("进水 pH 异常", "pH out of range"),
        ),
        Use(
            rule="nh3n_high",
            detector="slug",
            quantity=NH3N,
            beside=(FLOW,),
            params={"high": 90.0, "hold_s": 1500.0},
            severity=Severity.LOW,
            title=Text("进水氨氮偏高", "NH3-N high at the inlet"),
            version=2,
        ),
        Use(
            rule="cod_drift",
            detector="analyser_drift",
            quantity=COD,
            beside=(FLOW, NH3N, TN, TP),
            severity=Severity.LOW,
            title=Text("COD 仪表漂移或污染", "COD analyser drifts or is fouled"),
        ),
        Use(
            rule="nh3n_drift",
            detector="analyser_drift",
            quantity=NH3N,
            beside=(FLOW, COD, TN, TP),
            severity=Severity.LOW,
            title=Text("氨氮仪表漂移或污染", "NH3-N analyser drifts or is fouled"),
        ),
        Use(
            rule="analysers_drift",
            detector="analyser_drift",
            quantity=COD,
            beside=(FLOW, NH3N, TN, TP),
            params={"together": 1.0, "slack": 0.07, "limit": 0.25},
            severity=Severity.MEDIUM,
            title=Text("多台仪表同步漂移", "Analysers drift together"),
            because=Text(
                "各分析仪近日同步偏离历史规律：{what}约{observed}，通常为{expected}（{share:+.0f}%），而流量不变，疑似取样或公用试剂问题",
                "the analysers left their habit together: {what} is about {observed} where {expected} is usual "
                "({share:+.0f} %) at an unchanged flow; look at sampling and shared reagents",
            ),
        ),
        Use(
            rule="cod_stuck",
            detector="cycle_stuck",
            quantity=COD,
            params={"hold_s": 3 * CYCLE_S, "least_s": 3600.0, "tolerance": 0.05},
            severity=Severity.LOW,
            title=Text("COD 读数不变", "COD reading is stuck"),
            version=2,
        ),
        Use(
            rule="nh3n_stuck",
            detector="cycle_stuck",
            quantity=NH3N,
            params={"hold_s": 3 * CYCLE_S, "least_s": 3600.0, "tolerance": 0.005},
            severity=Severity.LOW,
            title=Text("氨氮读数不变", "NH3-N reading is stuck"),
        ),
        Use(
            rule="flow_stuck",
            detector="cycle_stuck",
            quantity=FLOW,
            params={"hold_s": 1800.0, "least_s": 1800.0, "tolerance": 0.05},
            severity=Severity.LOW,
            title=Text("流量读数不变", "Flow reading is stuck"),
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
        Panel(type="timeseries", quantity=COD),
        Panel(type="timeseries", quantity=NH3N),
        Panel(type="timeseries", quantity=FLOW),
        Panel(type="timeseries", quantity=PH),
        Panel(type="timeseries", quantity=TEMPERATURE),
        Panel(type="timeseries", quantity=TN),
        Panel(type="timeseries", quantity=TP),
    ),
    simulate=Profile(
        shapes={
            "cod_mgl": Shape(
                level=320.0, hours=_COD_HOURS, noise=8.0, device_spread=0.15, hold_s=CYCLE_S, clamp=(60.0, 900.0)
            ),
            "nh3n_mgl": Shape(
                level=30.0, hours=_NH4_HOURS, noise=0.8, device_spread=0.1, hold_s=CYCLE_S, clamp=(4.0, 80.0)
            ),
            "flow_ls": Shape(level=420.0, hours=_FLOW_HOURS, noise=10.0, device_spread=0.3, clamp=(50.0, 3000.0)),
            "ph": Shape(level=7.4, noise=0.03, device_spread=0.01, drift_per_day=0.1, clamp=(6.6, 8.2)),
            "temperature_c": Shape(
                level=16.0, noise=0.05, device_spread=0.05, drift_per_day=0.6, clamp=(8.0, 28.0)
            ),
            "tn_mgl": Shape(
                level=42.0, hours=_NH4_HOURS, noise=1.0, device_spread=0.1, hold_s=CYCLE_S, clamp=(8.0, 110.0)
            ),
            "tp_mgl": Shape(
                level=5.0, hours=_COD_HOURS, noise=0.12, device_spread=0.1, hold_s=CYCLE_S, clamp=(0.8, 15.0)
            ),
        },
        faults=(
            Fault(
                name="industrial_slug",
                label=Text("工业废水冲击", "Industrial slug"),
                effects=(Effect("cod_mgl", Change.STEP, 1500.0), Effect("ph", Change.STEP, -0.6)),
                rules=("cod_high",),
                duration_s=7200.0,
            ),
            Fault(
                name="acid",
                label=Text("酸性废水", "Acid discharge"),
                effects=(Effect("ph", Change.STEP, -2.6),),
                rules=("ph_out",),
                duration_s=2700.0,
            ),
            Fault(
                name="ammonia_slug",
                label=Text("高氨氮来水", "Ammonia slug"),
                effects=(Effect("nh3n_mgl", Change.STEP, 110.0), Effect("tn_mgl", Change.STEP, 120.0)),
                rules=("nh3n_high",),
                duration_s=7200.0,
            ),
            Fault(
                name="external_water",
                label=Text("外水入渗", "External water in the sewer"),
                effects=(Effect("cod_mgl", Change.SCALE, 0.16), Effect("flow_ls", Change.SCALE, 1.6)),
                rules=("cod_low",),
                duration_s=14 * 86400.0,
                seen_after_s=9 * 86400.0,
            ),
            Fault(
                name="analyser_stuck",
                label=Text("分析仪卡死", "Analyser stuck"),
                effects=(Effect("cod_mgl", Change.FREEZE),),
                rules=("cod_stuck",),
                duration_s=12 * 3600.0,
            ),
            Fault(
                name="nh3n_stuck",
                label=Text("氨氮仪卡死", "NH3-N analyser stuck"),
                effects=(Effect("nh3n_mgl", Change.FREEZE),),
                rules=("nh3n_stuck",),
                duration_s=12 * 3600.0,
            ),
            # A habit must be learned first: these need weeks, and no demo of an hour has them.
            Fault(
                name="cod_fouling",
                label=Text("COD 探头结垢", "COD analyser fouled"),
                effects=(Effect("cod_mgl", Change.GROW, -0.0012),),
                rules=("cod_drift",),
                duration_s=14 * 86400.0,
                seen_after_s=14 * 86400.0,
            ),
            Fault(
                name="nh3n_fouling",
                label=Text("氨氮电极漂移", "NH3-N electrode drifts"),
                effects=(Effect("nh3n_mgl", Change.GROW, -0.0012),),
                rules=("nh3n_drift",),
                duration_s=14 * 86400.0,
                seen_after_s=14 * 86400.0,
            ),
            Fault(
                name="common_drift",
                label=Text("各分析仪同步漂移", "All analysers drift together"),
                effects=tuple(
                    Effect(name, Change.GROW, 0.0012) for name in ("cod_mgl", "nh3n_mgl", "tn_mgl", "tp_mgl")
                ),
                rules=("analysers_drift",),
                duration_s=14 * 86400.0,
                seen_after_s=14 * 86400.0,
            ),
            Fault(
                name="flow_stuck",
                label=Text("流量计卡死", "Flow meter stuck"),
                effects=(Effect("flow_ls", Change.FREEZE),),
                rules=("flow_stuck",),
                duration_s=5400.0,
            ),
            Fault(
                name="dropout",
                label=Text("失联", "Dropout"),
                silent=True,
                rules=("silent",),
                duration_s=1800.0,
            ),
            Fault(
                name="rain",
                label=Text("雨水稀释（正常）", "Rain dilution (normal)"),
                effects=(
                    Effect("flow_ls", Change.SCALE, 1.8),
                    Effect("cod_mgl", Change.SCALE, 0.55),
                    Effect("nh3n_mgl", Change.SCALE, 0.55),
                    Effect("tn_mgl", Change.SCALE, 0.55),
                    Effect("tp_mgl", Change.SCALE, 0.55),
                ),
                duration_s=4 * 3600.0,
            ),
            Fault(
                name="calibration",
                label=Text("校准后读数阶跃（正常）", "Step after a calibration (normal)"),
                effects=(Effect("cod_mgl", Change.SCALE, 1.08), Effect("nh3n_mgl", Change.SCALE, 0.94)),
                duration_s=86400.0,
            ),
            Fault(
                name="long_cycle",
                label=Text("仪表两周期同值（正常）", "One value over two cycles (normal)"),
                effects=(Effect("cod_mgl", Change.FREEZE), Effect("nh3n_mgl", Change.FREEZE)),
                duration_s=CYCLE_S,
            ),
        ),
    ),
)
