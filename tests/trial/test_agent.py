"""An agent in this process: what it opens, how it finds its blocks, and that nothing of a benchmark stays behind."""

from __future__ import annotations

import gc
import io
import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.errors import Unsupported
from suite.inputs import initial
from suite.machine.environment import ROOT
from suite.run.plan import Plan
from suite.runners import base
from suite.runners.base import Threads
from suite.runners.null import runner as null
from suite.spec.resolved import Spec
from suite.trial import agent, measure
from suite.trial.agent import Agent, Seat
from tests.support import runs

THREADS = Threads(intra=1)
MS = 1_000_000


@pytest.fixture
def tiny(tmp_path: Path) -> Spec:
    return runs.make(tmp_path).specs[0]


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """An agent freezes what it holds, for it is a process of its own; this one is not."""
    yield
    gc.unfreeze()


@pytest.fixture
def awake(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call wakes a program up."""
    monkeypatch.setattr(agent, "WAKING_NS", 0)
    monkeypatch.setattr(agent, "WAKING_STEPS_NS", 0)


class Counting(null.Program):
    """Notes the orders, queries and passes that it is given, and the loads between them."""

    def __init__(self, spec: Spec, precision: base.Precision) -> None:
        super().__init__(spec, precision)
        self.orders: list[np.ndarray[Any, Any]] = []
        self.done: list[str] = []

    def load(self, state: base.State) -> None:
        self.done.append("load")
        super().load(state)

    def train(self, order: Any) -> float:
        self.orders.append(order)
        self.done.append("train")
        return super().train(order)

    def infer(self, images: Any) -> Any:
        self.done.append(f"infer {len(images)}")
        return super().infer(images)

    def predict(self, split: str, batch_size: int) -> Any:
        self.done.append(f"predict {split} {batch_size}")
        return super().predict(split, batch_size)


def seat(program: base.Program, spec: Spec, warm: int = 1) -> Seat:
    """A program with the splits of its spec, as an agent holds it."""
    held = measure.splits(spec)
    for name, split in held.items():
        program.stage(name, split.images, split.targets)
    begin = measure.start(spec, 0)
    program.load(begin)
    return Seat(program, begin, spec, held["test"].images, warm)


class Clock:
    """The agent's clock, which goes on by what programs say that they cost: no machine's load changes a test.

    Every so often something else comes between, ``noise`` of it in nanoseconds, as a stranger's process would.
    """

    def __init__(self) -> None:
        self.now, self.noise = 0, 0
        self._draw = np.random.default_rng(7)

    def __call__(self) -> int:
        self.now += 50
        return self.now

    def wait(self, nanoseconds: float) -> None:
        self.now += round(nanoseconds + (self.noise * self._draw.random() if self._draw.random() < 0.3 else 0))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(agent, "perf_counter_ns", found)
    return found


class Costly(null.Program):
    """Takes so long by the call, and so long by the step, whatever it is asked."""

    def __init__(self, spec: Spec, clock: Clock, call: float, step: float) -> None:
        super().__init__(spec, "float32")
        self._wait, self._call, self._step, self._size = clock.wait, call, step, spec.batch_size
        self.lengths: list[int] = []

    def train(self, order: Any) -> float:
        steps = -(-len(order) // self._size)
        self.lengths.append(steps)
        self._wait(self._call + steps * self._step)
        return 0.0

    def infer(self, images: Any) -> Any:
        self._wait(self._call)
        return super().infer(images)

    def predict(self, split: str, batch_size: int) -> Any:
        self._wait(self._call)
        return super().predict(split, batch_size)


@pytest.mark.parametrize(("question", "size"), [("latency", 1), ("latency", 8), ("throughput", 64), ("training", 0)])
def test_blocks_last_at_least_as_long_as_was_asked(tiny: Spec, clock: Clock, question: str, size: int) -> None:
    found = seat(Costly(tiny, clock, 300_000, 100_000), tiny)
    call = found.settle(question, size, 5 * MS)
    taken = [found.block(question, size, call["calls"], call["examples"])["ns"] for _ in range(3)]
    assert min(taken) >= 5 * MS
    assert call["examples"] == {"latency": size, "throughput": 360}.get(question, call["examples"])


def test_a_block_of_what_takes_next_to_no_time_is_of_so_many_calls_and_no_more(
    tiny: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "MOST_QUERIES", 50)
    found = seat(null.Program(tiny, "float32"), tiny)
    assert found.settle("latency", 1, 1e12) == {"calls": 50, "examples": 1, "own_ns": None}


@pytest.mark.usefixtures("awake")
def test_training_takes_full_batches_and_starts_from_the_start_in_every_block(tiny: Spec) -> None:
    """The examples are those of the first epoch, over and over."""
    program = Counting(tiny, "float32")
    found = seat(program, tiny)
    call = found.settle("training", 0, 5 * MS)
    assert call["calls"] == 1
    assert {len(order) % tiny.batch_size for order in program.orders} == {0}
    order = initial.order(0, 0, tiny.train_images)
    whole = order[: len(order) // tiny.batch_size * tiny.batch_size]
    assert len(whole) < len(order)
    longest = max(program.orders, key=len)
    assert np.array_equal(longest, np.resize(whole, len(longest)))
    assert {o.dtype for o in program.orders} == {order.dtype}
    program.done.clear()
    found.block("training", 0, 1, call["examples"])
    found.block("training", 0, 2, call["examples"])
    assert program.done[-7:] == ["train", "load", "train", "train", "load", "train", "train"]


@pytest.mark.usefixtures("awake")
def test_a_call_that_was_not_made_before_is_warmed_up_untimed_as_often_as_its_mode_wants(tiny: Spec) -> None:
    program = Counting(tiny, "float32")
    found = seat(program, tiny, warm=3)
    program.done.clear()
    found.block("throughput", 64, 2, 360)
    assert program.done == ["predict test 64"] * (3 + 1 + 2)
    program.done.clear()
    found.block("latency", 8, 2, 8)
    assert program.done == ["infer 8"] * (3 * agent.QUERIES + 1 + 2)


def test_whoever_has_slept_is_woken_untimed_but_before_long_blocks(tiny: Spec, clock: Clock) -> None:
    """Steps of 4 ms are made until 10 ms have passed; where a block took over 200 ms the next begins at once."""
    program = Costly(tiny, clock, 0, 4 * MS)
    found = seat(program, tiny)
    found.warm([("training", 0, 64 * 2), ("training", 0, 64 * 60)])
    for steps, made in ((2, [2, 2, 2]), (60, [8, 60]), (60, [60])):
        program.lengths.clear()
        assert found.block("training", 0, 1, 64 * steps)["ns"] == pytest.approx(4 * MS * steps, abs=1000)
        assert program.lengths == made


@pytest.mark.parametrize("question", ["latency", "throughput"])
@pytest.mark.parametrize(("cost", "woken"), [(2 * MS, [3, 3]), (250 * MS, [1, 0])])
def test_queries_and_passes_are_woken_so_too(
    tiny: Spec, clock: Clock, question: str, cost: int, woken: list[int]
) -> None:
    """Calls of 2 ms are made until 5 ms have passed; before a block that took over 200 ms there is none."""
    found = seat(Costly(tiny, clock, cost, 0), tiny)
    found.warm([(question, 8, 360)])
    for calls in woken:
        before = clock.now
        taken = found.block(question, 8, 1, 360)["ns"]
        assert clock.now - before - taken == pytest.approx(calls * cost, abs=1000)


@pytest.mark.usefixtures("awake")
def test_what_is_warmed_up_at_once_is_not_warmed_up_again_by_its_blocks(tiny: Spec) -> None:
    program = Counting(tiny, "float32")
    found = seat(program, tiny, warm=2)
    program.done.clear()
    assert found.warm([("training", 0, 0), ("training", 0, 640), ("latency", 8, 0), ("throughput", 64, 0)]) == {}
    assert program.done.count("train") == 2 + 1 + 1, "short calls, and one of each length that is told"
    assert [len(order) for order in program.orders] == [512, 512, 512, 640]
    assert program.done.count("infer 8") == 2 * agent.QUERIES
    assert program.done.count("predict test 64") == 2
    program.done.clear()
    found.block("training", 0, 1, 640)
    found.block("latency", 8, 1, 8)
    found.block("throughput", 64, 1, 360)
    assert program.done == ["train", "load", "train", *["infer 8"] * 2, *["predict test 64"] * 2]


def test_queries_go_over_the_test_images_in_turn_and_each_is_told(tiny: Spec) -> None:
    found = seat(null.Program(tiny, "float32"), tiny)
    told = found.block("latency", 8, 50, 8)
    assert len(told["queries_ns"]) == 50
    assert told["ns"] == sum(told["queries_ns"])
    with pytest.raises(Unsupported, match="fewer than 361 images"):
        found.block("latency", 361, 1, 361)


@pytest.mark.parametrize("noise", [0, 5 * MS])
@pytest.mark.parametrize(("own", "step"), [(2 * MS, 50_000), (100_000, 20_000), (1 * MS, 1 * MS)])
def test_what_a_call_costs_by_itself_is_found_and_made_one_percent_of_it(
    tiny: Spec, clock: Clock, own: int, step: int, noise: int
) -> None:
    """2 ms by the call and 50 us by the step, say: a call of 4,000 steps."""
    clock.noise = noise
    call = seat(Costly(tiny, clock, own, step), tiny).settle("training", 0, 5 * MS)
    assert call["own_ns"] == pytest.approx(own, rel=0.25 if noise else 0.01)
    steps = call["examples"] // tiny.batch_size
    assert own / (own + steps * step) <= (0.0125 if noise else 0.01)
    assert own + steps * step <= 1.01 * agent.MOST_TRAINING_NS


@pytest.mark.parametrize("own", [5 * MS, 20 * MS, 80 * MS])
def test_no_call_is_made_longer_than_a_bound_for_what_it_costs_by_itself(tiny: Spec, clock: Clock, own: int) -> None:
    """One percent would want half a second of steps, or two, or eight; what it costs is told all the same."""
    call = seat(Costly(tiny, clock, own, 50_000), tiny).settle("training", 0, 5 * MS)
    assert call["own_ns"] == pytest.approx(own, rel=0.01)
    steps = call["examples"] // tiny.batch_size
    assert own + steps * 50_000 == pytest.approx(agent.MOST_TRAINING_NS, rel=0.15)


@pytest.mark.parametrize("noise", [0, 5 * MS])
def test_a_program_without_any_cost_of_its_own_is_called_as_long_as_was_asked(
    tiny: Spec, clock: Clock, noise: int
) -> None:
    clock.noise = noise
    call = seat(Costly(tiny, clock, 0, 500_000), tiny).settle("training", 0, 5 * MS)
    assert call["own_ns"] < 500_000
    assert call["examples"] // tiny.batch_size == pytest.approx(50, abs=1 if not noise else 20)


def test_a_step_that_takes_longer_than_a_call_may_is_a_call(tiny: Spec, clock: Clock) -> None:
    """And what a call costs by itself is not looked for: it would take too long."""
    program = Costly(tiny, clock, 0, 400 * MS)
    call = seat(program, tiny).settle("training", 0, 5 * MS)
    assert call == {"calls": 1, "examples": tiny.batch_size, "own_ns": None}
    assert max(program.lengths) == 4


def test_the_ratio_of_two_programs_depends_no_more_on_how_many_steps_a_call_takes(tiny: Spec, clock: Clock) -> None:
    """One costs nothing by the call, the other as much as 20 steps: in short calls it would seem many times slower."""
    seats = [seat(Costly(tiny, clock, own, 100_000), tiny) for own in (0, 2 * MS)]

    def ratio(factor: int) -> float:
        costs = []
        for each in seats:
            examples = each.settle("training", 0, 5 * MS)["examples"] * factor
            costs.append(each.block("training", 0, 1, examples)["ns"] / examples)
        return costs[1] / costs[0]

    one_step = [each.block("training", 0, 1, tiny.batch_size)["ns"] for each in seats]
    assert one_step[1] / one_step[0] > 20
    assert ratio(1) == pytest.approx(1, abs=0.011)
    assert ratio(3) == pytest.approx(ratio(1), abs=0.011)


def test_outputs_are_kept_as_they_came_with_what_was_asked_and_the_weights(tiny: Spec) -> None:
    found = seat(base.find("reference")("cpu", THREADS, 0).build(tiny, "numpy", "float32"), tiny)
    found.block("throughput", 64, 1, 360)
    assert found.kept == []
    found.block("throughput", 64, 1, 360, keep=7)
    found.block("latency", 8, 3, 8, keep=4)
    (whole, query) = found.kept
    assert (whole.question, whole.batch_size) == ("throughput", 64)
    assert whole.got is not None
    assert len(whole.got) == len(whole.asked)
    assert (query.question, query.batch_size) == ("latency", 8)
    assert np.array_equal(query.asked, found.images[8:16]), "the query that was drawn, the second of three"
    assert {*whole.weights} == {*tiny.tensors}


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Plan]:
    """A run of two benchmarks."""
    spec = runs.SPEC.replace("batch_size: 64\n", "") + "cases: {one: {batch_size: 64}, two: {batch_size: 32}}\n"
    return tmp_path, runs.make(tmp_path, spec=spec, rounds=1, trainings=0)


def opened(made: Agent, run: tuple[Path, Plan], number: int, *modes: str) -> dict[str, Any]:
    entry = [entry for entry in run[1].entries if entry.kind == "turns"][number]
    return made.open({"run": str(run[0]), "entry": entry.id}, list(modes), 0)


def test_what_a_run_planned_is_opened_and_told(two: tuple[Path, Plan]) -> None:
    made = Agent("reference", "cpu", THREADS)
    told = opened(made, two, 0, "numpy", "zork")
    entry = next(entry for entry in two[1].entries if entry.kind == "turns")
    spec = two[1].spec(entry.cells[0].spec)
    assert told["digests"] == measure.digests(spec, 0).model_dump(mode="json")
    assert told["parent"] is None
    assert told["modes"]["numpy"]["first_step_ns"] > 0
    assert told["modes"]["numpy"]["compile_cache"] == "none"
    assert (told["modes"]["zork"]["error"], told["modes"]["zork"]["unsupported"]) == ("there is no mode 'zork'", True)
    assert json.loads(json.dumps(told)) == told
    assert made.seats["numpy"].settle("latency", 1, 1e5)["calls"] >= 1


def test_a_benchmark_that_is_opened_leaves_nothing_of_the_one_before(two: tuple[Path, Plan]) -> None:
    """Not even where the collector was told to leave it alone, and where its last answer failed."""
    made = Agent("reference", "cpu", THREADS)
    opened(made, two, 0, "numpy")
    first = made.seats["numpy"]
    made.seats["numpy"].block("throughput", 64, 1, 360, keep=1)
    made.seats["numpy"].block("latency", 8, 2, 8, keep=1)
    agent.answered(made, "block", mode="numpy", question="latency", batch_size=9999, calls=1, examples=1)
    circle: list[Any] = [first.program]
    circle.append(circle)
    gone = [weakref.ref(thing) for thing in (first, first.program, first._begin, first.images.base or first.images)]
    gone = gone[:2]
    del first, circle
    opened(made, two, 1, "numpy")
    assert [ref() for ref in gone] == [None, None]
    assert made.seats["numpy"].kept == []


def test_a_benchmark_that_cannot_be_opened_leaves_nothing_of_the_one_before_either(two: tuple[Path, Plan]) -> None:
    made = Agent("reference", "cpu", THREADS)
    opened(made, two, 0, "numpy")
    gone = weakref.ref(made.seats["numpy"].program)
    told = agent.answered(made, "open", source={"run": "/nowhere", "entry": "x"}, modes=[], seed=0)
    assert "plan.json" in told["error"]
    assert gone() is None


def test_a_checkouts_benchmark_is_opened_by_its_name() -> None:
    made = Agent("reference", "cpu", THREADS)
    source = {"root": str(ROOT), "benchmark": "digits-mlp", "spec": "digits-mlp"}
    told = made.open(source, ["numpy"], 3)
    assert told["modes"]["numpy"]["first_step_ns"] > 0
    other = {"source": {**source, "spec": "zork"}, "modes": ["numpy"], "seed": 0}
    missing = agent.answered(made, "open", **other)
    assert (missing["unsupported"], missing["error"]) == (True, "there is no benchmark zork")


class Failing(null.Runner):
    """A runner whose programs cannot be built."""

    error: Exception = MemoryError("no room")

    def build(self, spec: Spec, mode: str, precision: base.Precision) -> null.Program:
        raise self.error


def test_an_error_is_an_answer_and_says_what_kind_it_is(
    two: tuple[Path, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "find", lambda token: Failing)
    made = Agent("reference", "cpu", THREADS)
    told = opened(made, two, 0, "null")["modes"]["null"]
    assert told == {"error": "MemoryError: no room", "unsupported": False, "kind": "MemoryError", "cause": None}
    asked = agent.answered(made, "settle", mode="null", question="latency", batch_size=1, nanoseconds=1.0)
    assert asked["kind"] == "KeyError"
    assert agent.answered(made, "dance")["unsupported"]


def test_a_mode_that_cannot_be_warmed_up_fails_alone(two: tuple[Path, Plan]) -> None:
    made = Agent("reference", "cpu", THREADS)
    opened(made, two, 0, "numpy")
    made.seats["other"] = made.seats["numpy"]
    told = agent.answered(made, "warm", modes={"numpy": [["latency", 9999, 0]], "other": [["latency", 8, 0]]})
    assert told["modes"]["numpy"]["unsupported"]
    assert told["modes"]["other"] == {}


def test_requests_are_lines_until_the_other_end_closes() -> None:
    assert list(agent.requests(io.StringIO('{"do": "close"}\n{"do": "open"}\n'))) == [{"do": "close"}, {"do": "open"}]
