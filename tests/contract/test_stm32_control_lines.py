"""A terminal server carries DTR and RTS: a board that runs its application is flashed without a hand on it."""

from __future__ import annotations

from devices.firmware.driver import Proof
from devices.firmware.drivers import named
from devices.firmware.flash import flash
from devices.simulator.boards.serving import serve_rfc2217
from devices.simulator.boards.stm32 import Rom, Stm32Board
from tests.unit.test_stm32 import FLASH, KNOWN, VECTORS, Steps, holds, image_of, program


def test_a_running_board_behind_a_terminal_server_is_reset_flashed_and_runs_again() -> None:
    board, image = Stm32Board(Rom(reset="dtr", boot0="-rts", strapped=False)), image_of(program(3_000))
    board.flash[: len(VECTORS)] = VECTORS
    board.power_cut()
    with serve_rfc2217(board, paced=True) as served:
        options = {"reset": "dtr", "boot0": "-rts"}
        driver = named("stm32").connect(served.url, baud=115200, options=options)
        done = flash(
            image, driver, KNOWN, told=lambda *_: None, record=Steps(), boot_check=lambda _image, _link: None
        )
    assert done.proof is Proof.READ_BACK
    assert holds(board, image)
    assert board.started_at == FLASH
