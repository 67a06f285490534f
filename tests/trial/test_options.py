"""InferenceOptions, with the reference as the framework and a runner that offers a few switches on top of it."""

import numpy as np
import pytest

from suite.errors import SpecError, Unsupported
from suite.inputs import initial
from suite.run import plan
from suite.runners.base import State, Threads
from suite.runners.reference.runner import Program, Runner
from suite.trial import options
from suite.trial.measure import Work

CALIBRATION = np.full((3, 8, 8, 1), 0.5, np.float32)


class Tunable(Program):
    """Offers a coarse type and one that breaks while answering."""

    def infer_with(self, option, calibration):
        if option == "bfloat16":
            return lambda images: np.round(self.infer(images), 1)
        if option == "int8_static":
            assert np.array_equal(calibration, CALIBRATION)
            return self._broken
        if option == "int8_dynamic":
            raise MemoryError("no room")
        raise Unsupported(f"there is no {option}")

    def _broken(self, images):
        if len(images) > 1:
            raise ValueError("one at a time")
        return self.infer(images)


class Offering(Runner):
    modes = ("numpy", "other", "gone")
    warmup = dict.fromkeys(modes, 1)

    def missing(self, mode):
        return "it is gone" if mode == "gone" else None

    def build(self, spec, mode, precision):
        return Tunable(spec, precision)


@pytest.fixture
def run(make_spec):
    def call(*tunings, samples=7, seconds=1e3, labels=True, count=300):
        spec = make_spec()
        random = np.random.default_rng(1)
        inputs = random.random((count, 8, 8, 1), np.float32)
        runner = Offering("cpu", Threads(intra=1, inter=1), 0)
        state = State(initial.weights(spec, 0))
        program = runner.build(spec, "numpy", "float32")
        program.load(state)
        truth = program.infer(inputs).argmax(axis=1) if labels else None
        found = options.tune(
            Work(runner, spec, "numpy", "float32", 0),
            state,
            options.Asked(tunings, inputs, truth, CALIBRATION, samples, seconds),
        )
        return {way.tuning: way for way in found}

    return call


def test_every_way_is_sampled_as_often_as_asked_beside_the_untuned_one(run):
    found = run("mode:other", "batch:32", "bfloat16")
    assert list(found) == ["none", "mode:other", "batch:32", "bfloat16", "again"]
    assert {len(way.samples_ns) for way in found.values()} == {7}
    assert (found["mode:other"].mode, found["batch:32"].batch_size) == ("other", 32)


def test_the_untouched_way_stands_beside_itself_built_a_second_time(run, monkeypatch):
    built = []
    monkeypatch.setattr(Offering, "build", lambda self, *asked: built.append(Tunable(asked[0], asked[2])) or built[-1])
    found = run("bfloat16")
    assert len(built) == 3  # the fixture's own among them
    assert (found["again"].mode, found["again"].batch_size, found["again"].change) == ("numpy", 1, 0)


def test_ways_take_turns_in_an_order_drawn_anew(run, monkeypatch):
    """So that none always runs behind the same other, whose traces in the caches it would bear."""
    asked = []

    def timed(query, images):
        asked.append(query)
        return 1, query(images)

    monkeypatch.setattr(options, "timed", timed)
    run("mode:other", "bfloat16", samples=40)
    turns = [tuple(map(id, asked[i : i + 4])) for i in range(0, len(asked), 4)]
    assert len(turns) == 40
    assert {frozenset(turn) for turn in turns} == {frozenset(turns[0])}
    assert len(set(turns[0])) == 4
    assert len(set(turns)) > 15


def test_what_a_switch_does_to_the_answers_is_told(run):
    found = run("mode:other", "batch:32", "bfloat16")
    assert (found["none"].change, found["none"].accuracy, found["none"].images) == (0, 1, 300)
    assert found["mode:other"].change == 0
    assert found["batch:32"].change < 1e-6
    assert 1e-3 < found["bfloat16"].change < 1
    assert 0.3 < found["bfloat16"].accuracy < 1


def test_what_a_framework_refuses_or_fails_at_is_a_reason(run):
    found = run("channels_first", "int8_dynamic", "int8_static", "mode:gone")
    assert found["channels_first"].reason == "there is no channels_first"
    assert found["int8_dynamic"].reason == "MemoryError: no room"
    assert found["int8_static"].reason == "ValueError: one at a time"
    assert found["mode:gone"].reason == "it is gone"
    assert all(not way.samples_ns for name, way in found.items() if name not in {"none", "again"})
    assert len(found["none"].samples_ns) == 7


def test_modes_of_other_frameworks_the_own_one_and_batches_beyond_the_data_are_left_out(run):
    assert list(run("mode:xla", "mode:numpy", "batch:301")) == ["none", "again"]


def test_sampling_ends_when_its_time_is_over_but_not_before_a_few(run):
    assert len(run(samples=10_000, seconds=0)["none"].samples_ns) == options.FEWEST


def test_without_classes_there_is_no_accuracy(run):
    found = run("bfloat16", labels=False)
    assert (found["none"].accuracy, found["bfloat16"].accuracy) == (None, None)
    assert found["bfloat16"].change > 0


@pytest.mark.parametrize("name", ["int4", "batch:0", "batch:x", "mode:", "none", "again"])
def test_a_name_that_is_no_tuning_is_refused(name):
    with pytest.raises(SpecError, match=r"(?s)there is no inference option .*channels_last"):
        plan.check_option(name)


def test_the_known_names_pass():
    for name in ("mode:xla", "batch:8", "bfloat16", "int8_static"):
        plan.check_option(name)
