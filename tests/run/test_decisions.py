"""Which rounds are needless is told from results alone, and only at looks."""

from pathlib import Path

import pytest

import tests.support.results as make
import tests.support.turns as turned
from suite.results import records
from suite.run import decisions
from suite.run.plan import Plan
from tests.support import runs


@pytest.fixture
def made(tmp_path: Path) -> Plan:
    """Eight rounds with a look at the fifth, of the spec that synthetic records have."""
    whole = runs.make(tmp_path, runners=turned.MODES, rounds=8, looks=(5, 8), half_width=1.01)
    spec = make.spec()
    entries = tuple(
        entry.model_copy(update={"cells": tuple(c.model_copy(update={"spec": spec.id}) for c in entry.cells)})
        for entry in whole.entries
    )
    return whole.model_copy(update={"specs": (spec,), "entries": entries})


def write(folder: Path, rounds: int, **fields: object) -> None:
    """A run's records up to a round."""
    for number, record in enumerate(turned.run(rounds=rounds, **fields)):  # type: ignore[arg-type]
        records.write(folder / "results" / f"{number:03}.json", record)


def waived_rounds(folder: Path, made: Plan) -> list[int]:
    needless = decisions.waived(folder, made)
    return sorted({made.entry(name).round for name in needless})


def test_nothing_is_needless_before_the_first_look(tmp_path: Path, made: Plan) -> None:
    assert waived_rounds(tmp_path, made) == []
    write(tmp_path, 4)
    assert waived_rounds(tmp_path, made) == []


def test_what_is_decided_at_a_look_goes_on_no_more(tmp_path: Path, made: Plan) -> None:
    write(tmp_path, 5)
    assert waived_rounds(tmp_path, made) == [6, 7, 8]


def test_what_is_open_at_a_look_goes_on(tmp_path: Path, made: Plan) -> None:
    def erratic(runner: str, mode: str, number: int) -> float:
        return 1.0 if runner == "torch" else (0.6, 1.7)[number % 2]

    write(tmp_path, 5, draw=erratic)
    assert waived_rounds(tmp_path, made) == []


def test_one_look_waives_nothing(tmp_path: Path, made: Plan) -> None:
    fixed = made.model_copy(update={"profile": made.profile.model_copy(update={"looks": ()})})
    write(tmp_path, 5)
    assert waived_rounds(tmp_path, fixed) == []
