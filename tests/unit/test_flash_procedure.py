# ruff: noqa: ARG002  a double takes whatever the real one takes
"""The procedure: refused before erasing, begun anew after a failed exchange, never a success without a proof."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import pytest

from devices.errors import BootError, ExchangeError, FirmwareError, LinkError, RefusedError, VerifyError
from devices.firmware.driver import Board, Proof, Step, Told
from devices.firmware.flash import Flashed, Known, flash
from devices.firmware.image import Image, Manifest
from devices.firmware.link import Link

PAYLOAD = b"firmware"
IMAGE = Image(
    Manifest(
        board="GW-1",
        revisions=("r2", "r3"),
        version="1.2.3",
        security_counter=4,
        sha256=hashlib.sha256(PAYLOAD).hexdigest(),
        size=len(PAYLOAD),
        chip="stm32:0x413",
    ),
    PAYLOAD,
)
BOARD = Board(chip="stm32:0x413", serial="0042", board="GW-1", revision="r2", security_counter=4, capacity=1024)


@dataclass
class Script:
    """A driver that does what it is told, and notes what was asked of it."""

    board: Board = BOARD
    back: Board | None = None
    writes: list[FirmwareError | None] = field(default_factory=list)
    proof: Proof | None = Proof.READ_BACK
    started: Proof | None = None
    asked: list[str] = field(default_factory=list)
    link: Link | None = None

    def identify(self) -> Board:
        self.asked.append("identify")
        return self.back if self.back and self.asked.count("identify") > 1 else self.board

    def write(self, image: Image, told: Told) -> None:
        self.asked.append("write")
        failure = self.writes.pop(0) if self.writes else None
        if failure:
            raise failure

    def verify(self, image: Image, told: Told) -> Proof | None:
        self.asked.append("verify")
        return self.proof

    def boot(self, image: Image) -> Proof | None:
        self.asked.append("boot")
        return self.started

    def reconnect(self) -> None:
        self.asked.append("reconnect")

    def close(self) -> None:
        self.asked.append("close")


class Records:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.known = Known()

    def reached(self, step: Step, detail: str) -> None:
        self.steps.append(step)

    def identified(self, board: Board, known: Known) -> None:
        self.known = known


def run(script: Script, known: Known | None = None, image: Image = IMAGE, **more: object) -> Flashed:
    values = {"boot_check": lambda *_: None, "record": Records(), **more}
    return flash(image, script, known or Known(), told=lambda *_: None, **values)


def test_a_board_that_fits_is_written_verified_and_started_in_this_order() -> None:
    script = Script()
    assert run(script) == Flashed(board=BOARD, proof=Proof.READ_BACK, attempts=1)
    assert script.asked == ["identify", "write", "verify", "boot", "close"]


@pytest.mark.parametrize(
    ("board", "known", "says"),
    [
        ({"chip": "stm32:0x410"}, Known(), "image is for chip stm32:0x413, this board has stm32:0x410"),
        ({"board": "GW-2"}, Known(), "image is for board GW-1, this is GW-2"),
        ({"revision": "r1"}, Known(), "image is for revision r2, r3, this board is r1"),
        ({"security_counter": 5}, Known(), "security counter 4, the board already had 5"),
        ({}, Known(security_counter=9), "security counter 4, the board already had 9"),
        ({"board": "", "revision": ""}, Known(), "say --board and --revision"),
        ({"board": "", "revision": ""}, Known(board="GW-1"), "say --revision"),
        ({}, Known(board="GW-7", source="the engineer"), "expected board GW-7"),
        ({"capacity": 4}, Known(), "8 bytes, the board takes 4"),
    ],
)
def test_what_does_not_belong_together_is_refused_before_anything_is_written(
    board: dict[str, object], known: Known, says: str
) -> None:
    script = Script(board=replace(BOARD, **board))
    with pytest.raises(RefusedError, match=says) as refused:
        run(script, known)
    assert str(refused.value).endswith("nothing was written")
    assert script.asked == ["identify", "close"]


def test_a_board_without_a_name_is_what_the_engineer_says() -> None:
    script = Script(board=replace(BOARD, board="", revision="", security_counter=-1))
    assert run(script, Known(board="GW-1", revision="r3")).proof is Proof.READ_BACK


def test_what_the_journal_knows_of_this_very_board_counts_against_what_is_said() -> None:
    script = Script(board=replace(BOARD, board="", revision=""))
    with pytest.raises(RefusedError, match="the journal says it is GW-9"):
        run(
            script,
            Known(board="GW-1", source="the engineer"),
            recall=lambda _: Known(board="GW-9", source="journal"),
        )


@pytest.mark.parametrize("failure", [ExchangeError("no answer"), LinkError("gone"), VerifyError("differs")])
def test_a_failed_exchange_opens_the_line_again_and_asks_who_is_there(failure: FirmwareError) -> None:
    script = Script(writes=[failure])
    assert run(script).attempts == 2
    assert script.asked == ["identify", "write", "reconnect", "identify", "write", "verify", "boot", "close"]


def test_another_board_behind_the_same_plug_is_never_written() -> None:
    script = Script(writes=[LinkError("gone")], back=replace(BOARD, serial="0043"))
    with pytest.raises(RefusedError, match="another board answers"):
        run(script)
    assert script.asked.count("write") == 1


def test_after_the_last_attempt_the_error_says_that_the_board_may_hold_half_an_image() -> None:
    script = Script(writes=[ExchangeError("no answer")] * 3)
    with pytest.raises(ExchangeError, match="no answer; 3 attempts failed, the board may hold half an image"):
        run(script)
    assert script.asked.count("write") == 3


def test_without_any_proof_it_is_no_success() -> None:
    with pytest.raises(VerifyError, match="it is not called flashed"):
        run(Script(proof=None))


def test_the_running_application_may_be_the_proof() -> None:
    assert run(Script(proof=None), boot_check=lambda *_: Proof.APPLICATION).proof is Proof.APPLICATION


def test_an_application_that_does_not_start_is_no_success_even_when_verified() -> None:
    def silent(_image: Image, _link: Link | None) -> Proof | None:
        raise BootError("silent")

    with pytest.raises(BootError):
        run(Script(), boot_check=silent)


def test_the_line_is_let_go_whatever_happens() -> None:
    script = Script(writes=[ExchangeError("x")] * 3)
    with pytest.raises(ExchangeError):
        run(script)
    assert script.asked[-1] == "close"
