from __future__ import annotations

import pytest

from processors.alerts.states import MOVES, AlertState, Step, move
from processors.errors import AlertError


def test_an_illegal_move_names_the_alert_its_state_and_the_step() -> None:
    with pytest.raises(AlertError) as refusal:
        move("a1", AlertState.CLEARED, "held")
    assert str(refusal.value) == (
        "alert a1 is cleared; it cannot take 'held', only 'acknowledge'; it stays as it was"
    )
    with pytest.raises(AlertError, match="alert a1 is closed; it cannot take 'raise', only nothing more"):
        move("a1", AlertState.CLOSED, Step.RAISE)


def test_no_path_leads_from_over_back_to_holding() -> None:
    over = {AlertState.CLEARED, AlertState.CLOSED}
    for state in over:
        assert set(MOVES[state].values()) <= over


def test_every_state_is_reached_and_every_state_is_in_the_table() -> None:
    assert set(MOVES) == set(AlertState)
    assert {after for moves in MOVES.values() for after in moves.values()} == set(AlertState) - {AlertState.NORMAL}
