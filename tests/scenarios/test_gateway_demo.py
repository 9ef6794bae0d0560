"""From a blank board to readings on the console: a broker, the pipeline, QEMU and a browser's view, all real."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from deploy.demo.start import plan_for
from deploy.gateways.demo import GATEWAY, demo
from devices.simulator.boards.emulated import missing

pytestmark = pytest.mark.scenario


@pytest.mark.parametrize(
    "python",
    [
        pytest.param(False, id="qemu", marks=pytest.mark.skipif(bool(missing()), reason=missing() or "-")),
        pytest.param(True, id="python", marks=[] if missing() else [pytest.mark.soak]),
    ],
)
def test_a_blank_board_becomes_a_gateway_whose_readings_are_on_the_console(tmp_path: Path, python: bool) -> None:  # noqa: FBT001
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    plan = plan_for(tmp_path / "city", devices=10, seed=1, speed=1.0, port=port, for_s=None)
    pages: dict[str, str] = {}
    said: list[str] = []

    def until(url: str) -> None:
        for path in ("/gateways", "/devices/WP-DEMO"):
            pages[path] = httpx.get(f"{url}{path}", params={"lang": "en"}).text

    shown = demo(plan, said.append, lambda *_: None, python=python, until=until)

    assert shown.flash.proof == "read back"
    assert shown.first.device in {"WP-DEMO", "MC-DEMO"}
    assert shown.stored >= 1
    gateway = pages["/gateways"].split(GATEWAY)[1].split("</tr>")[0]
    assert shown.flash.version in gateway
    assert shown.flash.serial in gateway
    assert 'data-state="reporting"' in pages["/devices/WP-DEMO"]
