"""After which rounds a run looks, and what a benchmark that was decided need not have."""

import subprocess
import sys

import pytest

from suite.results import looks


@pytest.mark.parametrize(
    ("given", "rounds", "found"),
    [((), 5, (5,)), ((5, 8), 12, (5, 8, 12)), ((8, 5, 12), 12, (5, 8, 12)), ((5, 20), 12, (5, 12)), ((), 0, ())],
)
def test_the_last_look_is_after_the_last_round(given, rounds, found):
    assert looks.in_order(given, rounds) == found


def test_a_plan_that_states_none_has_one_look_and_a_broken_one_does_no_harm():
    assert looks.of_plan({"profile": {"rounds": 7, "looks": [5]}}) == (5, 7)
    assert looks.of_plan({"profile": {"rounds": 7}}) == (7,)
    assert looks.of_plan({"profile": {"rounds": "many", "looks": "often"}}) == ()
    assert looks.of_plan({}) == ()


def test_looks_that_can_hold_no_interval_widen_none():
    assert looks.counted((3, 5, 8), least=5) == 2
    assert looks.counted((), least=5) == 1


def test_a_look_is_reached_when_no_round_before_it_is_missing():
    assert looks.reached({1, 2, 3, 4}, (5, 8)) is None
    assert looks.reached({1, 2, 3, 4, 5, 6}, (5, 8)) == 5
    assert looks.reached({1, 2, 3, 4, 6, 7, 8}, (5, 8)) is None
    assert looks.reached(set(range(1, 9)), (5, 8)) == 8


def test_what_stopped_at_a_look_is_due_up_to_it_and_what_went_on_up_to_the_next():
    assert looks.due({1, 2}, (5, 8)) == 5
    assert looks.due(set(range(1, 6)), (5, 8)) == 5
    assert looks.due(set(range(1, 7)), (5, 8)) == 8
    assert looks.due({9}, (5, 8)) is None


def test_a_plan_can_use_looks_where_there_is_no_statistics():
    """The frameworks' environments have no SciPy."""
    code = "import sys, suite.results.looks, suite.results.records, suite.run.plan; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
