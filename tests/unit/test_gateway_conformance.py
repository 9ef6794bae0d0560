"""The checklist for makers: our reference passes it, and each way of getting it wrong is found by a check."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from devices.firmware.application.client import Client
from devices.firmware.application.configuration import Configuration, Field
from devices.firmware.application.conformance import Verdict, run
from devices.firmware.application.frames import Frame
from devices.firmware.application.messages import Capability, Refused, Tag, pack, unpack
from devices.firmware.authority import make_request
from devices.simulator.boards.application import GatewayApplication
from devices.simulator.boards.gateway import Identity
from tests.fakes.serial_line import SerialLine


def failures(board: GatewayApplication) -> set[str]:
    return {one.name for one in run(SerialLine(board)) if one.verdict is Verdict.FAILED}


def test_the_reference_passes_every_check_it_can_be_tried_with() -> None:
    results = list(run(SerialLine(GatewayApplication(make_request=make_request))))
    assert [(one.name, one.why) for one in results if one.verdict is Verdict.FAILED] == []
    assert [one.name for one in results if one.verdict is Verdict.NOT_TRIED] == ["S2"]


def test_a_board_without_tls_passes_too() -> None:
    assert failures(GatewayApplication(Identity(capabilities=Capability(0)))) == set()


def test_what_could_be_read_is_put_back() -> None:
    board = GatewayApplication()
    mine = Configuration(gateway="GW-7", district="d7", host="mine.example", site="S-7")
    Client(SerialLine(board)).configure(mine)
    assert failures(board) == set()
    assert Client(SerialLine(board)).read_back()[Field.GATEWAY] == b"GW-7"
    assert Client(SerialLine(board)).read_back()[Field.HOST] == b"mine.example"


class AnswersSecrets(GatewayApplication):
    def _get(self, asked: dict[int, bytes]) -> bytes:
        if asked.get(Tag.FIELD) == bytes((Field.PASSWORD,)):
            return pack([(Tag.LENGTH, b"\0\1"), (Field.PASSWORD, b"x")])
        return super()._get(asked)


class AppendsToStaged(GatewayApplication):
    def _set(self, asked: dict[int, bytes]) -> bytes:
        for tag, value in asked.items():
            if tag in self._known:
                self._staged[Field(tag)] = self._staged.get(Field(tag), b"") + value
        return b""


class NeverChecksTheCommit(GatewayApplication):
    def _commit(self, asked: dict[int, bytes]) -> bytes:
        self.slots.write(asked[Tag.COMMIT_ID] + pack(sorted({**self.fields, **self._staged}.items())))
        self._staged = {}
        return pack([(Tag.COMMIT_ID, asked[Tag.COMMIT_ID])])


class ReplacesEverything(GatewayApplication):
    @property
    def fields(self) -> dict[int, bytes]:
        return super().fields if not self._staged else {}


class AnswersTwice(GatewayApplication):
    def _answered(self, asked: Frame) -> Frame:
        self._log += super()._answered(asked).wire
        return super()._answered(asked)


class ForgetsTheClock(GatewayApplication):
    @property
    def utc_ms(self) -> int:
        return self._epoch_ms or 0


class NeverRestarts(GatewayApplication):
    def _reboot(self, _: dict[int, bytes]) -> bytes:
        return b""


class RefusesWithoutATag(GatewayApplication):
    def _answered(self, asked: Frame) -> Frame:
        answer = super()._answered(asked)
        if answer.type < 0xC0:
            return answer
        return Frame(answer.type, answer.sequence, pack([(Tag.CODE, unpack(answer.body)[Tag.CODE])]))


class AnotherSequence(GatewayApplication):
    def _answered(self, asked: Frame) -> Frame:
        answer = super()._answered(asked)
        return Frame(answer.type, answer.sequence + 1 & 0xFF, answer.body)


@pytest.mark.parametrize(
    ("maker", "found"),
    [
        (AnswersSecrets, {"C2"}),
        (AppendsToStaged, {"F9", "C4", "C5", "C8"}),
        (NeverChecksTheCommit, {"C6", "C7", "C9", "R1"}),
        (ReplacesEverything, {"C3"}),
        (AnswersTwice, {"F2"}),
        (ForgetsTheClock, {"T1"}),
        (NeverRestarts, {"R1"}),
        (RefusesWithoutATag, {"C2", "C5", "C7", "C8", "F9"}),
        (AnotherSequence, {"F1"}),
    ],
)
def test_a_makers_mistake_fails_its_check(maker: Callable[[], GatewayApplication], found: set[str]) -> None:
    assert found <= failures(maker())


def test_a_dead_board_fails_the_first_check_and_no_other_is_tried() -> None:
    class Dead(GatewayApplication):
        def receive(self, data: bytes) -> bytes:
            return data[:0]

    results = list(run(SerialLine(Dead())))
    assert [(one.name, one.verdict) for one in results] == [("F1", Verdict.FAILED)]


def test_codes_are_named_in_the_reasons() -> None:
    class Wrong(GatewayApplication):
        def _abort(self, _: dict[int, bytes]) -> bytes:
            return b""

        def _answered(self, asked: Frame) -> Frame:
            answer = super()._answered(asked)
            if answer.type < 0xC0:
                return answer
            return Frame(answer.type, answer.sequence, pack([(Tag.CODE, bytes((Refused.BUSY - 1,)))]))

    whys = {one.name: one.why for one in run(SerialLine(Wrong()))}
    assert "refusal: expected MALFORMED, got STORAGE" in whys["F7"]
