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


def _angle(axis: str) -> Quantity:
    """Inclination of one axis of the housing against the horizontal, as three-axis tilt sensors state it."""
    return Quantity(
        name=f"angle_{axis}_deg",
        unit="deg",
        label=Text(f"{axis.upper()}轴倾角", f"Inclination of {axis}"),
        physical=(-180.0, 180.0),
        plausible=(-180.0, 180.0),
        reads=(f"angle_{axis}",),
    )


ANGLES = (_angle("x"), _angle("y"), _angle("z"))

KIND: Final = Kind(
    name="manhole_cover",
    label=Text("窨井盖", "Manhole cover"),
    prefix="MC",
    quantities=(
        TILT,
        WATER,
        radio.BATTERY,
        TEMPERATURE,
        SHOCK,
        radio.BATTERY_SHARE,
        radio.SIGNAL,
        radio.SNR,
        *ANGLES,
    ),
    cadence_s=1800.0,  # heartbeat, our judgement; each device may have its own
    lateness_s=900.0,  # our judgement
    detectors=(
        # More than 10 degrees from the installed pose is a maker's customary default; the other limits are our
        # judgement. At the event pace of one report per 5 s, a pose held over two reports alerts within 30 s, and a
        # traffic shock under 2 s is one report and alerts nobody.
        Use(
            rule="tilted",
            detector="pose",
            quantity=TILT,
            beside=ANGLES,
            params={"high": 10.0, "upto": 60.0, "hold_s": 4.0, "hysteresis": 2.0, "clear_s": 10.0},
            severity=Severity.HIGH,
            title=Text("井盖倾斜或移位", "Cover tilted or displaced"),
            version=2,
        ),
        # Hinged covers open to 90 degrees and more; beyond 90 one lies upside down beside its shaft.
        Use(
            rule="opened",
            detector="pose",
            quantity=TILT,
            beside=ANGLES,
            params={"high": 60.0, "hold_s": 4.0, "hysteresis": 20.0, "clear_s": 10.0},
            severity=Severity.HIGH,
            title=Text("井盖被打开或翻转", "Cover opened or overturned"),
            because=Text(
                "井盖翻转{observed}（限值{limit}），井口敞开，已持续{lasted}",
                "The cover is turned by {observed} (limit {limit}) and the shaft open, for {lasted}",
            ),
        ),
        Use(
            rule="missing",
            detector="vanished",
            quantity=TILT,
            beside=ANGLES,
            params={"high": 30.0, "periods": 1.5, "min_s": 900.0},
            severity=Severity.HIGH,
            title=Text("井盖打开后失联，可能丢失", "Cover opened, then silent: it may be gone"),
        ),
        # One edge of a 700 mm cover that rests 50 mm high on its frame: about 4 degrees. Thermal drift of 1 degree a
        # day stays far below; after a week the crew has looked, and how it lies is how it lies.
        Use(
            rule="unseated",
            detector="pose",
            quantity=TILT,
            beside=ANGLES,
            params={
                "high": 4.0,
                "upto": 10.0,
                "hold_s": 3600.0,
                "hysteresis": 1.0,
                "clear_s": 3600.0,
                "update_s": 86400.0,
                "accept_s": 7 * 86400.0,
            },
            severity=Severity.MEDIUM,
            title=Text("井盖未落座", "Cover rests askew in its frame"),
            because=Text(
                "井盖停在新的姿态，与安装时相差{observed}（限值{limit}），已持续{lasted}，可能未落座",
                "The cover rests {observed} away from its installed pose (limit {limit}) for {lasted}: not seated",
            ),
        ),
        Use(
            rule="rocking",
            detector="rocking",
            quantity=TILT,
            beside=ANGLES,
            params={"swing": 2.0, "most": 25.0, "swings": 6.0, "window_s": 1800.0, "clear_s": 3600.0},
            severity=Severity.MEDIUM,
            title=Text("井盖松动", "Loose cover rocks"),
        ),
        # A frame that settles by 0.05-0.3 degree a day; the warmth, 0.3-1 degree a day, goes up and down again.
        Use(
            rule="settling",
            detector="settle",
            quantity=TILT,
            beside=(*ANGLES, TEMPERATURE),
            params={"per_day": 0.03, "least": 0.6, "least_days": 7.0},
            severity=Severity.LOW,
            title=Text("井盖缓慢沉降", "Cover settles slowly"),
        ),
        Use(
            rule="water_high",
            detector="limit",
            quantity=WATER,
            params={"high": 1.5, "hold_s": 60.0, "hysteresis": 0.2, "clear_s": 300.0, "update_s": 3600.0},
            severity=Severity.MEDIUM,  # limit and hold: our judgement, it depends on the shaft
            title=Text("井下水位过高", "Water under the cover is high"),
        ),
        # A shaft that fills faster than seepage and the day's swing, long before the fixed limit: our judgement.
        Use(
            rule="water_rising",
            detector="rising",
            quantity=WATER,
            params={"rise": 0.3, "per_h": 0.1, "hold_s": 60.0, "clear_s": 1800.0},
            severity=Severity.MEDIUM,
            title=Text("井下水位快速上涨", "Water rises fast under the cover"),
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
        *(Panel(type="timeseries", quantity=angle) for angle in ANGLES),
    ),
    simulate=Profile(
        shapes={
            # Noise 0.1-0.3 degree and thermal drift 0.3-1 degree per day: our judgement. The drift follows the warmth,
            # 0.08 degree per kelvin, so weather and season move a cover too. A shock is seen in one reading of 500.
            "tilt_deg": Shape(
                level=3.0,
                noise=0.15,
                device_spread=0.3,
                follow="temperature_c",
                gain=0.08,
                spike=14.0,
                spike_share=0.002,
                clamp=(0.0, 90.0),
            ),
            "water_level_m": Shape(
                level=0.3, noise=0.005, device_spread=0.3, drift_per_day=0.04, clamp=(0.0, 8.0)
            ),
            "battery_v": radio.BATTERY_SHAPE,
            "temperature_c": Shape(
                level=16.0,
                noise=0.2,
                device_spread=0.05,
                drift_per_day=6.0,
                season=9.0,
                weather=3.0,
                clamp=(-25.0, 60.0),
            ),
            "shock_g": Shape(level=0.05, noise=0.02, spike=6.0, spike_share=0.002, clamp=(0.0, 8.0)),
            "battery_pct": radio.CHARGE_SHAPE,
            "signal_dbm": radio.SIGNAL_SHAPE,
            "snr_db": radio.SNR_SHAPE,
            "angle_x_deg": Shape(level=1.5, noise=0.1, follow="tilt_deg", axis="x"),
            "angle_y_deg": Shape(level=1.5, noise=0.1, follow="tilt_deg", axis="y"),
            "angle_z_deg": Shape(level=87.0, follow="tilt_deg", axis="z"),
        },
        faults=(
            Fault(
                name="tilted",
                label=Text("井盖被顶起", "Cover lifted by one edge"),
                effects=(Effect("tilt_deg", Change.STEP, 35.0), Effect("shock_g", Change.STEP, 2.0)),
                rules=("tilted",),
                duration_s=600.0,
                report_every_s=5.0,
            ),
            Fault(
                name="opened",
                label=Text("井盖被打开", "Cover opened"),
                effects=(Effect("tilt_deg", Change.STEP, 85.0), Effect("shock_g", Change.STEP, 3.0)),
                rules=("opened",),
                duration_s=1800.0,
                report_every_s=5.0,
            ),
            # It lies as far from level as before, but to the other side: one angle alone cannot tell.
            Fault(
                name="turned_over",
                label=Text("井盖换向倾斜", "Cover leans to the other side"),
                effects=(Effect("tilt_deg", Change.STEP, 6.0), Effect("angle_x_deg", Change.TURN, 180.0)),
                rules=("tilted", "unseated"),
                duration_s=3 * 3600.0,
                report_every_s=60.0,
            ),
            Fault(
                name="missing",
                label=Text("井盖丢失", "Cover taken away"),
                effects=(Effect("tilt_deg", Change.STEP, 75.0), Effect("shock_g", Change.STEP, 4.0)),
                silent=True,
                silent_after_s=20.0,
                rules=("missing", "opened", "silent"),
                duration_s=4 * 3600.0,
                report_every_s=5.0,
            ),
            Fault(
                name="askew",
                label=Text("井盖未落座", "Cover put back askew"),
                effects=(Effect("tilt_deg", Change.STEP, 6.5),),
                rules=("unseated",),
                duration_s=6 * 3600.0,
            ),
            Fault(
                name="flooded",
                label=Text("井下水位上涨", "Water rises under the cover"),
                effects=(Effect("water_level_m", Change.RAMP, 6.0),),
                rules=("water_high", "water_rising"),
                duration_s=2400.0,
                report_every_s=60.0,
            ),
            Fault(
                name="rocking",
                label=Text("井盖松动", "Loose cover rocks"),
                effects=(Effect("tilt_deg", Change.NOISE, 4.0), Effect("shock_g", Change.STEP, 1.5)),
                rules=("rocking",),
                duration_s=1200.0,
                report_every_s=5.0,
                seen_after_s=120.0,
            ),
            Fault(
                name="settling",
                label=Text("井圈沉降", "Frame settles"),
                effects=(Effect("tilt_deg", Change.RAMP, 0.12 / 24),),
                rules=("settling", "unseated"),
                duration_s=30 * 86400.0,
                seen_after_s=14 * 86400.0,
            ),
            Fault(
                name="settling_slowly",
                label=Text("井圈缓慢沉降", "Frame settles slowly"),
                effects=(Effect("tilt_deg", Change.RAMP, 0.05 / 24),),
                rules=("settling",),
                duration_s=40 * 86400.0,
                seen_after_s=30 * 86400.0,
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
            Fault(
                name="busy_road",
                label=Text("车流密集（无害）", "Heavy traffic (harmless)"),
                effects=(Effect("tilt_deg", Change.NOISE, 0.4), Effect("shock_g", Change.STEP, 3.0)),
                duration_s=3600.0,
                report_every_s=60.0,
            ),
            Fault(
                name="heat_wave",
                label=Text("高温天气（无害）", "A hot week (harmless)"),
                effects=(Effect("tilt_deg", Change.STEP, 0.8), Effect("temperature_c", Change.STEP, 10.0)),
                duration_s=7 * 86400.0,
            ),
            Fault(
                name="rain_seeps",
                label=Text("雨水渗入（无害）", "Rain seeps in (harmless)"),
                effects=(Effect("water_level_m", Change.RAMP, 0.05),),
                duration_s=6 * 3600.0,
            ),
        ),
    ),
)
