"""How far a step may be off: what the gradient's bound explains, and no more."""

import dataclasses

import numpy as np
import pytest

from suite.gate import moves, probe, reference_answers, tolerance
from suite.gate.given import Given
from suite.gate.reference_answers import UnprovableError
from suite.results.identity import Verdict
from suite.runners.base import Threads
from suite.runners.reference.runner import Program
from suite.runners.reference.runner import Runner as Reference
from suite.spec.precision import held
from suite.spec.targets import Loss, Target
from tests.faults.plant import Planted, Wrapped, layers, optimizer
from tests.faults.run import examine
from tests.faults.specs import SPECS, spec_of

NONE = frozenset()
USUAL = [SPECS["usual"], SPECS["usual rmsprop"]]
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


@pytest.fixture
def runner():
    return Reference("cpu", Threads(intra=1, inter=1), 0)


def noisy(runner, share):
    """The runner, each gradient of which is off by up to ``share`` of its tensor's largest value, in training too."""

    class Noisy(Program):
        def _differentiate(self, images, targets, random):
            outputs, loss, training = super()._differentiate(images, targets, random)
            draw = np.random.Generator(np.random.Philox(key=self._step))
            sizes = {name: np.abs(training.gradients[name]).max() for name in self._trainable}
            for name, size in sizes.items():
                g = training.gradients[name]
                scale = max(size, tolerance.SMALL * max(sizes.values()))
                training.gradients[name] = g + (share * scale * draw.uniform(-1, 1, g.shape)).astype(g.dtype)
            return outputs, loss, training

    class Runner(Reference):
        def build(self, spec, mode, precision):
            if spec.input_shape == (1, 1, 1) or precision == "float32":
                return super().build(spec, mode, precision)
            return Noisy(spec, precision, 0, NONE)

    return Runner("cpu", Threads(intra=1, inter=1), 0)


@every_spec
def test_whose_gradients_are_within_their_bound_has_steps_within_theirs(spec, runner):
    found = examine(spec, noisy(runner, 0.9 * tolerance.TOLERANCE), "numpy")
    assert found.divergence is None, found.divergence


@every_spec
def test_whose_gradients_are_beyond_it_has_not(spec, runner):
    found = examine(spec, noisy(runner, 20 * tolerance.TOLERANCE), "numpy").divergence
    assert found.section == "float64 gradients"


@pytest.mark.parametrize("spec", USUAL, ids=lambda spec: spec.name)
def test_a_bias_whose_relu_is_always_on_may_be_off_by_what_the_first_step_makes_of_noise(spec, runner):
    asked = reference_answers.Answers(spec, runner)
    step = asked.steps[0]
    gradient = np.abs(step.gradients["conv2d_1/bias"])
    noise, healthy = gradient < 1e-12, gradient > 1e-3
    assert noise.any()
    assert healthy.any()
    allowed = moves.moves(spec, step.before, step.gradients, NONE)["weights"]["conv2d_1/bias"]
    ordinary = tolerance.TOLERANCE * np.abs(step.after.weights["conv2d_1/bias"]).max()
    assert (allowed[noise] > 10 * ordinary).all()
    assert (allowed[healthy] < ordinary).all()


def test_a_step_without_division_may_be_off_by_its_rate_times_the_gradients_bound(runner):
    spec = SPECS["negative"]
    step = reference_answers.Answers(spec, runner).steps[3]
    allowed = moves.moves(spec, step.before, step.gradients, NONE)["weights"]
    for name, scale in tolerance.scales(step.gradients).items():
        assert allowed[name] == pytest.approx(0.1 * tolerance.TOLERANCE * scale, rel=1e-5)


def test_the_rate_is_that_of_the_schedule_at_this_step(runner):
    spec = SPECS["scheduled"]
    first, last = (reference_answers.Answers(spec, runner).steps[i] for i in (0, -1))
    by_slot = [moves.moves(spec, s.before, s.gradients, NONE) for s in (first, last)]
    ratios = [np.median(m["weights"]["dense_1/kernel"] / m["slot velocity"]["dense_1/kernel"]) for m in by_slot]
    assert ratios[0] / ratios[1] == pytest.approx(0.25**-3, rel=1e-4)


class TestGiven:
    @pytest.mark.parametrize("name", ["mlp", "cnn", "residual", "negative", "scheduled"])
    @pytest.mark.parametrize("precision", ["float64", "float32", "tf32", "bfloat16"])
    def test_gradients_are_those_given_to_the_last_bit(self, name, precision, runner):
        given = Given(SPECS[name], runner, precision)
        program = runner.build(given.spec.replace(l2=0.0), "numpy", precision)
        program.load(probe.at(given.cases[0].before, precision))
        targets = (-given.gradients * given.gradients.shape[1] / 2).astype(held(precision))
        for row, wanted in enumerate(given.gradients):
            seen = program.probe(np.ones((1, 1, 1, 1), held(precision)), targets[row : row + 1]).gradients
            assert np.array_equal(seen["dense_1/kernel"][0], wanted.astype(held(precision)))
            assert np.array_equal(seen["dense_1/bias"], wanted.astype(held(precision)))

    def test_they_reach_from_noise_to_what_is_huge_and_some_rest(self, runner):
        size = np.abs(Given(SPECS["mlp"], runner, "float32").gradients)
        assert (size == 0).any()
        assert size[size > 0].min() < 1e-13
        assert size.max() > 10

    def test_the_learning_rate_changes_as_in_the_spec(self, runner):
        given = Given(SPECS["scheduled"], runner, "float32")
        assert given.spec.steps_per_epoch == SPECS["scheduled"].steps_per_epoch
        assert {case.before.step for case in given.cases} == set(probe.counts_of(SPECS["scheduled"]))

    def test_what_is_off_in_the_timed_precision_alone_is_named(self, runner):
        class Off(Wrapped):
            def state(self):
                state = self.inner.state()
                if self.precision != "float32" or self.spec.input_shape != (1, 1, 1):
                    return state
                bias = state.weights["dense_1/bias"] * np.float32(1 + 1e-4)
                return dataclasses.replace(state, weights={**state.weights, "dense_1/bias": bias})

        found = examine(SPECS["mlp"], Planted(runner, program=Off), "numpy").divergence
        assert found.section.startswith("optimizer alone, float32, ")
        assert found.section.endswith(", weights")
        assert found.tensor == "dense_1/bias"

    def test_specs_of_one_optimizer_share_its_checks(self, runner):
        built = []

        class Count(Wrapped):
            def __init__(self, inner, spec, precision):
                super().__init__(inner, spec, precision)
                built.append(spec.input_shape)

        mine, asked = Planted(runner, program=Count), reference_answers.ReferenceAnswers(lambda variants: runner)
        for name in ("mlp", "boxes"):
            spec = SPECS[name].replace(l2=0.0, batch_size=24)
            examine(spec, mine, "numpy", asked)
        assert built.count((1, 1, 1)) == 2  # one in each precision


class TestOverflow:
    def test_single_steps_begin_afresh_where_training_diverges(self, runner):
        spec = optimizer(SPECS["cnn"], learning_rate=1e6)
        steps = reference_answers.Answers(spec, runner).steps
        start = max(np.abs(v).max() for v in steps[0].before.weights.values())
        for step in steps:
            assert max(np.abs(v).max() for v in step.before.weights.values()) <= reference_answers.WILD * start
        assert [step.before.step for step in steps] == list(range(10))
        assert any(np.abs(step.before.slots["velocity"]["conv2d_1/kernel"]).max() > 0 for step in steps[1:])

    def test_what_overflows_from_the_start_is_proven_from_smaller_weights(self, runner):
        dense, relu = {"layer": "dense", "units": 32}, {"layer": "relu"}
        spec = spec_of(
            "wild",
            (8, 8, 1),
            [{"layer": "flatten"}, dense, relu, dense, relu, {**dense, "units": 10}],
            optimizer={"name": "sgd", "learning_rate": 1.0},
            input_range=[0.0, 16.0],
            target="one_hot",
            loss="mean_squared_error",
        )
        found = examine(spec, runner, "numpy")
        assert found.verdict is Verdict.IDENTICAL
        assert found.gentleness > 0

    def test_what_overflows_from_every_start_is_not_provable_and_nobodys_fault(self, runner):
        found = examine(optimizer(SPECS["mlp"], learning_rate=1e300), runner, "numpy")
        assert (found.verdict, found.divergence, found.gentleness) == (Verdict.NOT_PROVABLE, None, None)
        assert not found.verdict.proven

    def test_a_runner_that_alone_overflows_is_unproven(self, runner):
        class Overflows(Wrapped):
            def train(self, order):
                return np.inf if self.precision == "float32" else self.inner.train(order)

        found = examine(SPECS["mlp"], Planted(runner, program=Overflows), "numpy")
        assert found.verdict is Verdict.UNPROVEN
        assert found.divergence.section == "float32 epoch, loss"

    def test_an_answer_that_is_not_finite_is_none(self, runner):
        spec = SPECS["padded"].replace(input_range=(0.0, 1e200), loss=Loss.MEAN_SQUARED_ERROR, target=Target.ONE_HOT)
        spec = layers(spec, lambda layer: None if layer.layer == "tanh" else layer)
        with pytest.raises(UnprovableError), np.errstate(all="ignore"):
            _ = reference_answers.Answers(spec.without_dropout(), runner).exact
