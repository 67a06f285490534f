"""What runs of a framework against itself are judged by."""

from __future__ import annotations

import ast
import re

from benchmarks import twins
from suite.results.questions import QuestionKind
from suite.stats import Ratio


def told(training: tuple[float, float], latency: tuple[float, float], rounds: int) -> twins.Told:
    found = {QuestionKind.TRAINING: training, QuestionKind.LATENCY: latency}
    return twins.Told({kind: Ratio(1.0, *ends, rounds, 0.99) for kind, ends in found.items()}, rounds, 61.4)


def test_a_slowdown_is_found_above_1_and_what_is_alike_is_apart_on_either_side() -> None:
    slow, unsure = told((1.02, 1.2), (0.9, 1.1), 5), told((0.99, 1.2), (1.01, 1.1), 8)
    assert [each.found for each in (slow, unsure)] == [True, False]
    assert [each.apart for each in (slow, unsure, told((0.8, 0.9), (0.8, 0.9), 5))] == [1, 1, 2]
    _, _, first, second = twins.table([slow, unsure], [unsure], 0.1).splitlines()
    assert first == "| 10% in every step of training | found 1 of 2 | 5 to 8 | 61 | 61 |"
    assert second == "| the same code | 1 of 2 intervals leave out 1 | 8 | 61 | 61 |"


def test_the_twin_states_its_mode_as_a_runner_does() -> None:
    assert ast.literal_eval(re.findall(r"modes: .* = (.*)", twins.RUNNER)[0]) == ("eager",)
