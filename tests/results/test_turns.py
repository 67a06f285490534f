"""Costs of what is least disturbed, the choice of the best mode, and which benchmarks a run goes on with."""

from __future__ import annotations

import math

import pytest

import tests.support.results as make
import tests.support.turns as turned
from suite.results import turns
from suite.results.questions import Question, QuestionKind
from suite.stats import Ratio, TooFew

TRAINING = Question(QuestionKind.TRAINING)
BOTH = ("torch", "tf")
LOOKS = (5, 8)
WIDEST = 1.25


def ratio(first, second):
    return turns.ratios({"compile": {1: first}}, {"graph": {1: second}}, TRAINING)[1]


def test_a_disturbance_of_most_laps_that_one_framework_suffers_more_from_moves_nothing():
    """As on a shared machine: for some seconds one program takes 1.9 times as long, and the other 1.3 times."""
    first = turned.timed("torch", slow=1.0, lapse=(1.3, 1.3, 1.3, 1.3, 1, 1))
    second = turned.timed("tf", "graph", slow=2.0, lapse=(1.9, 1.9, 1.9, 1.9, 1, 1))
    assert ratio(first, second) == pytest.approx(2.0, rel=1e-6)


def test_one_lucky_lap_does_not_decide():
    lucky = turned.timed("torch", slow=1.0, lapse=(1, 1, 1, 0.5, 1, 1, 1, 1, 1))
    assert ratio(lucky, turned.timed("tf", "graph", slow=1.0)) == pytest.approx(2 ** (1 / 3), rel=1e-6)


def test_the_cheapest_third_counts_of_however_many_laps():
    assert turns.undisturbed([7.0]) == pytest.approx(7.0)
    assert turns.undisturbed([4.0, 3.0, 2.0, 1.0]) == pytest.approx(1.0)
    assert turns.undisturbed([9.0, 4.0, 9.0, 1.0, 9.0, 9.0]) == pytest.approx(2.0), "the geometric mean of 1 and 4"


def test_what_was_not_asked_or_took_no_time_has_no_cost():
    found = turned.timed("torch")
    assert turns.cost(found, Question(QuestionKind.LATENCY, 7)) is None
    assert turns.cost(turned.timed("torch", lapse=(0.0, 1.0, 1.0)), TRAINING) is None


def test_one_mode_stands_for_its_framework_in_every_round():
    """Each mode is lucky in one round; the median over all rounds decides, and one round does not."""
    costs = {"a": {1: 0.5, 2: 1.0, 3: 1.0}, "b": {1: 1.01, 2: 0.4, 3: 1.01}}
    assert turns.best_mode(costs) == "a"
    assert turns.best_mode({}) is None
    assert turns.eligible({**costs, "c": {1: 0.1}}) == costs, "a mode that lacks a round is not chosen"


def test_the_interval_decides_or_its_width_does():
    near = Ratio(1.0, 0.99, 1.06, 5, 0.95)
    assert turns.settled(Ratio(1.2, 1.1, 1.3, 5, 0.95), 1.01, 1.25), "decided, and not too wide"
    assert not turns.settled(Ratio(2.0, 1.2, 4.0, 5, 0.95), 1.01, 1.25), "decided, but who knows by how much"
    assert turns.settled(Ratio(2.0, 1.8, 2.2, 5, 0.95), 1.3, 1.05), "what is precise enough is not too wide"
    assert turns.settled(near, 1.05, 1.25), "undecided, but precise"
    assert not turns.settled(near, 1.01, 1.25)
    assert math.sqrt(near.high / near.low) == pytest.approx(1.0348, abs=1e-4)
    assert not turns.settled(TooFew("rounds", 4, 5), 9.0, 9.0)


def clear(runner, mode, number):
    return turned.slowness(runner, mode, number)


def noisy(runner, mode, number):
    """Round by round the one or the other is far ahead."""
    return 1.0 if runner == "torch" else 1.5 if number % 2 else 0.7


def records(rounds=5):
    of = {"clear": clear, "noisy": noisy}
    everything = [r for name, draw in of.items() for r in turned.run(make.spec(name), rounds, draw, trainings=0)]
    return [r for r in everything if r.outcome == "timed"]


def test_only_what_is_neither_decided_nor_precise_goes_on():
    assert turns.open_benchmarks(records(), LOOKS, 1.05, WIDEST, BOTH) == {"noisy"}
    assert turns.open_benchmarks(records(), LOOKS, 9.0, WIDEST, BOTH) == set(), "as precise as was wanted"


def test_before_its_first_look_a_benchmark_goes_on_and_after_the_last_it_does_not():
    assert turns.open_benchmarks(records(4), LOOKS, 1.05, WIDEST, BOTH) == {"clear", "noisy"}
    assert turns.open_benchmarks(records(8), LOOKS, 1.05, WIDEST, BOTH) == set()


def test_rounds_after_a_look_that_was_reached_do_not_count_before_the_next():
    everything = records(7)
    found = turns.compared(everything, LOOKS, BOTH)
    assert {tuple(ratios) for ratios in found.values()} == {(1, 2, 3, 4, 5)}
    assert turns.open_benchmarks(everything, LOOKS, 1.05, WIDEST, BOTH) == {"noisy"}


def test_what_cannot_be_ranked_keeps_no_benchmark_open():
    hopeless = [("noisy", "tf", mode, "float32") for mode in turned.MODES["tf"]]
    assert turns.open_benchmarks(records(), LOOKS, 1.05, WIDEST, BOTH, without=hopeless) == set()
    wrong = [r.model_copy(update={"audits": turned.timed(right=False).audits}) if r.cell.runner == "tf" else r
             for r in records()]  # fmt: skip
    assert turns.open_benchmarks(wrong, LOOKS, 1.05, WIDEST, BOTH) == set()
    slow = [turned.timed("null", "null", r.cell.round, r.spec, slow=0.5) if r.cell.runner == "null" else r
            for r in records()]  # fmt: skip
    assert turns.open_benchmarks(slow, LOOKS, 1.05, WIDEST, BOTH) == set(), "the instrument costs half of it"


def test_precisions_are_compared_each_by_itself():
    mine = records()
    low = [r.model_copy(update={"cell": r.cell.model_copy(update={"precision": "bfloat16"})}) for r in mine]
    found = turns.compared([*mine, *low], LOOKS, BOTH)
    assert {precision for _, precision, *_ in found} == {"float32", "bfloat16"}
    assert len(found) == 2 * len(turns.compared(mine, LOOKS, BOTH))
    hopeless = [("noisy", "tf", mode, "float32") for mode in turned.MODES["tf"]]
    rest = turns.compared([*mine, *low], LOOKS, BOTH, without=hopeless)
    assert {(spec, precision) for spec, precision, *_ in found.keys() - rest.keys()} == {("noisy", "float32")}


def test_a_control_is_no_comparison():
    everything = records()
    strange = [
        turned.timed("torch", "compile", n, make.spec("clear"), slow=40.0 / n, control=True) for n in range(1, 6)
    ]
    for order in ([*strange, *everything], [*everything, *strange]):
        assert turns.compared(order, LOOKS, BOTH) == turns.compared(everything, LOOKS, BOTH)


def test_more_comparisons_and_more_looks_make_it_harder_to_decide():
    def near(runner, mode, number):
        return 1.0 if runner == "torch" else math.exp(0.1 + 0.0429 * 0.6 * (number - 3))

    mine = [r for r in turned.run(rounds=5, draw=near, trainings=0) if r.outcome == "timed"]
    few, many = (5, 20), (5, 8, 11, 14, 17, 20)
    assert turns.open_benchmarks(mine, few, 1.001, WIDEST, BOTH) == set()
    assert turns.open_benchmarks(mine, many, 1.001, WIDEST, BOTH) == {"digits-mlp"}
    assert turns.open_benchmarks(mine, few, 1.001, WIDEST, BOTH, more=6) == {"digits-mlp"}
