"""What every battery-powered radio device reports beside its measurement: the same quantities for every kind.

From: this file. To: the files in `devices.kinds`. Plausible ranges and thresholds are our judgement.
"""

from __future__ import annotations

from typing import Final

from devices.spec import Quantity, Severity, Shape, Text, Use

BATTERY: Final = Quantity(
    name="battery_v",
    unit="V",
    label=Text("电池电压", "Battery"),
    physical=(0.0, 5.0),
    plausible=(2.5, 4.2),
    reads=("battery_voltage",),
)
BATTERY_SHARE: Final = Quantity(
    name="battery_pct",
    unit="%",
    label=Text("电池电量", "Battery charge"),
    physical=(0.0, 100.0),
    plausible=(1.0, 100.0),
    decimals=0,
    reads=("battery",),
)
SIGNAL: Final = Quantity(
    name="signal_dbm",
    unit="dBm",
    label=Text("信号强度", "Signal strength"),
    physical=(-160.0, 0.0),
    plausible=(-135.0, -30.0),
    decimals=0,
    reads=("rssi", "signal"),
)
SNR: Final = Quantity(
    name="snr_db",
    unit="dB",
    label=Text("信噪比", "Signal-to-noise ratio"),
    physical=(-60.0, 60.0),
    plausible=(-25.0, 20.0),
    decimals=1,
    reads=("snr",),
)
BATTERY_LOW: Final = Use(
    rule="battery_low",
    detector="limit",
    quantity=BATTERY,
    params={"low": 3.2, "hold_s": 3600.0, "hysteresis": 0.1, "clear_s": 3600.0, "update_s": 86400.0},
    severity=Severity.LOW,  # for a 3.6 V lithium cell
    title=Text("电池电量低", "Battery low"),
)
# For makers who report a share of the charge: which voltage it stands for is theirs to know.
CHARGE_LOW: Final = Use(
    rule="charge_low",
    detector="limit",
    quantity=BATTERY_SHARE,
    params={"low": 15.0, "hold_s": 3600.0, "hysteresis": 5.0, "clear_s": 3600.0, "update_s": 86400.0},
    severity=Severity.LOW,
    title=Text("电池电量不足", "Battery charge low"),
)
BATTERY_SHAPE: Final = Shape(level=3.6, noise=0.005, device_spread=0.01, clamp=(3.3, 3.8))
CHARGE_SHAPE: Final = Shape(level=90.0, noise=0.3, device_spread=0.05, clamp=(60.0, 100.0))
SIGNAL_SHAPE: Final = Shape(level=-85.0, noise=2.0, device_spread=0.08, clamp=(-125.0, -50.0))
SNR_SHAPE: Final = Shape(level=8.0, noise=1.0, device_spread=0.2, clamp=(-10.0, 13.0))
