"""The gate: it names what diverges, lets pass what does not, and says how it compared."""

import dataclasses

import numpy as np
import pytest

from suite import identity
from suite.identity import compare, locate, probe
from suite.layers import Role
from suite.result import Verdict
from suite.runners.base import SLOTS, State, Threads
from suite.runners.reference import Runner as Reference
from tests.faults.catalogue import FAULTS
from tests.faults.harmless import ANYWHERE
from tests.faults.in_reference import FAULTS as REFERENCE_FAULTS
from tests.faults.in_reference import MUTANTS
from tests.faults.plant import Planted, Wrapped, layers, optimizer
from tests.faults.run import examine, false_alarms, try_fault
from tests.faults.specs import SPECS

THREADS = Threads(intra=1, inter=1)
KEY = "sha256:" + "0" * 64
ALL = {fault.name: fault for fault in (*FAULTS, *REFERENCE_FAULTS)}


@pytest.fixture
def runner():
    return Reference("cpu", THREADS, 0)


@pytest.mark.parametrize("name", [name for name in ALL if "dropout" not in name])
def test_a_fault_at_its_gravest_is_caught_by_name(name, runner):
    gravest = dataclasses.replace(ALL[name], ladder=ALL[name].ladder[:1])
    outcome = try_fault(gravest, runner, "numpy")
    assert outcome.right, outcome


@pytest.mark.parametrize("name", ["dropout unscaled", "another mask on the way back", "dropout's mask never changes"])
def test_a_fault_of_dropout_is_caught_by_name(name, runner):
    assert try_fault(ALL[name], runner, "numpy").right


def test_harmless_mutants_are_let_pass(runner, monkeypatch):
    monkeypatch.setattr("tests.faults.run.SPECS", {"cnn": SPECS["cnn"], "residual": SPECS["residual"]})
    assert {name: said for name, said in false_alarms((*ANYWHERE, *MUTANTS), runner, "numpy", 1) if said} == {}


def test_there_are_enough_kinds_of_fault_and_of_harmless_mutants():
    assert len(ALL) == len(FAULTS) + len(REFERENCE_FAULTS) >= 25
    assert len({mutant.name for mutant in (*ANYWHERE, *MUTANTS)}) >= 12
    assert sum(len(fault.ladder) > 1 for fault in ALL.values()) >= 10


def test_the_reference_is_identical_to_itself(runner):
    found = examine(SPECS["mlp"], runner, "numpy")
    assert found.verdict is Verdict.IDENTICAL
    assert (found.divergence, found.variant_shift, found.drift) == (None, None, 0.0)
    assert found.compared > len(found.checks)
    assert all(check.equal for check in found.checks)


def test_the_worst_check_of_each_section_is_told_once_for_all_steps(runner):
    sections = [check.section for check in examine(SPECS["residual"], runner, "numpy").checks]
    assert len(sections) == len(set(sections))
    assert sum("step" in section and "weights" in section for section in sections) == 1


class TestVariants:
    class WithVariant(Reference):
        variants = frozenset({"rmsprop_epsilon_inside_root", "adam_epsilon_before_correction"})

        def build(self, spec, mode, precision):
            return Reference("cpu", THREADS, 0, variants=self.variants).build(spec, mode, precision)

    def test_a_declared_variant_that_counts_is_named_with_its_shift(self):
        found = examine(SPECS["residual"], self.WithVariant("cpu", THREADS, 0), "numpy")
        assert found.verdict is Verdict.VARIANT
        assert found.variants == ("rmsprop_epsilon_inside_root",)
        assert 0 < found.variant_shift < 1

    def test_a_declared_variant_that_does_not_count_leaves_the_verdict_alone(self):
        found = examine(SPECS["cnn"], self.WithVariant("cpu", THREADS, 0), "numpy")
        assert (found.verdict, found.variants, found.variant_shift) == (Verdict.IDENTICAL, (), None)

    def test_a_declared_variant_that_is_not_there_is_unproven(self):
        class Claims(Reference):
            variants = frozenset({"rmsprop_epsilon_inside_root"})

        assert examine(SPECS["residual"], Claims("cpu", THREADS, 0), "numpy").verdict is Verdict.UNPROVEN


class TestErrors:
    def test_an_error_is_relative_to_the_largest_value_of_its_tensor(self):
        found = compare.errors({"a": np.array([1.0, 4.5])}, {"a": np.array([1.0, 4.0])})
        assert found == {"a": 0.125}

    def test_a_small_tensor_is_measured_by_a_thousandth_of_the_largest_of_its_kind(self):
        wanted = {"large": np.array([1000.0]), "small": np.array([1e-6])}
        assert compare.errors({**wanted, "small": np.array([1e-6 + 1e-3])}, wanted)["small"] == pytest.approx(1e-3)

    def test_noise_is_measured_by_the_largest_where_it_does_not_count(self):
        wanted = {"large": np.array([1000.0]), "noise": np.array([1e-12])}
        got = {**wanted, "noise": np.array([1e-3])}
        assert compare.errors(got, wanted, noise_counts=False)["noise"] == pytest.approx(1e-6)
        assert compare.errors(got, wanted)["noise"] == pytest.approx(1e-3)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_is_never_equal(self, value):
        odd = {"a": np.array([1.0, value])}
        assert compare.errors(odd, odd) == {"a": None}
        assert compare.errors(odd, {"a": np.ones(2)}) == {"a": None}

    def test_a_tensor_that_is_missing_or_unknown_or_of_another_shape_is_never_equal(self):
        wanted = {"a": np.ones(2), "b": np.ones((2, 1))}
        assert compare.errors({"b": np.ones(2), "c": np.ones(1)}, wanted) == {"a": None, "b": None, "c": None}

    def test_zeros_are_equal_to_zeros_and_to_nothing_else(self):
        zero = {"a": np.zeros(2)}
        assert compare.errors(zero, zero) == {"a": 0.0}
        assert compare.errors({"a": np.array([0, 1e-300])}, zero) == {"a": None}

    def test_float64_has_one_bound_and_float32_that_of_the_reference_with_a_floor(self):
        ulp = float(np.finfo(np.float32).eps)
        assert compare.bound(1e-3, "float64") == 1e-9
        assert compare.bound(1e-3, "float32") == 4e-3
        assert compare.bound(None, "float32") == compare.bound(1e-9, "float32") == 16 * ulp


class TestProbe:
    @pytest.mark.parametrize("name", SPECS)
    def test_no_weight_is_special_and_all_are_single_precision_numbers(self, name):
        spec = SPECS[name]
        for tensor, value in probe.start(spec).items():
            assert not np.isin(value, [0, 1]).any()
            assert (value == value.astype(np.float32)).all()
            if spec.tensors[tensor].role is Role.MOVING_VARIANCE:
                assert (value > 0.4).all()

    def test_a_batch_holds_every_class_and_stays_within_the_range(self):
        images, labels = probe.batch(SPECS["mlp"], 16, "x")
        assert set(labels) == set(range(10))
        assert 0 <= images.min() < 0.1
        assert 0.9 < images.max() <= 1
        assert not np.array_equal(images, probe.batch(SPECS["mlp"], 16, "y")[0])
        assert np.array_equal(images, probe.batch(SPECS["mlp"], 16, "x")[0])

    def test_slots_midway_are_of_the_size_of_gradients_and_second_moments_positive(self):
        gradients = {"a": np.array([2.0, -1.0]), "noise": np.array([1e-20])}
        for name in ("mlp", "residual", "cnn"):
            made = probe.midway(SPECS[name].optimizer, gradients, 7)
            assert set(made) == set(SLOTS[SPECS[name].optimizer.name])
            assert all(0 < np.abs(value).max() <= 6 for held in made.values() for value in held.values())
            for slot in {"v", "square"} & set(made):
                assert all((value > 0).all() for value in made[slot].values())

    def test_sgd_without_momentum_has_no_slots(self):
        assert probe.midway(SPECS["negative"].optimizer, {"a": np.ones(1)}, 7) == {}


class TestLocate:
    @pytest.mark.parametrize("name", SPECS)
    def test_a_chain_to_each_layer_can_be_built_and_knows_whose_weights_it_holds(self, name, runner):
        seen = []

        def diverges(chain):
            seen.append(chain)
            return chain.node.name == SPECS[name].graph[-1].name or len(chain.spec.model) > 2

        assert locate.locate(SPECS[name], diverges) is not None
        start = probe.start(SPECS[name])
        for chain in seen:
            program = runner.build(chain.spec, "numpy", "float64")
            program.load(State(chain.weights(start)))
            outputs = program.infer(probe.batch(chain.spec, 2, "x")[0])
            assert outputs.shape == (2, int(np.prod(chain.node.output)))

    def test_no_layer_is_blamed_if_all_agree(self):
        assert locate.locate(SPECS["cnn"], lambda chain: False) is None

    def test_a_layer_in_a_branch_is_found(self):
        def diverges(chain):
            return any("shortcut" in name for name in chain.original.values())

        assert locate.locate(SPECS["residual"], diverges).node.name == "residual_1/shortcut/conv2d_1"


def test_the_epoch_of_the_gate_ends_in_the_ragged_batch_of_the_spec(runner):
    seen = []

    class Watch(Wrapped):
        def train(self, order):
            seen.append((self.precision, len(order), len(set(order.tolist()))))
            return self.inner.train(order)

    examine(SPECS["mlp"], Planted(runner, program=Watch), "numpy")
    assert ("float32", 24 + 24 + 101 % 24, 24 + 24 + 101 % 24) in seen
    assert sum(precision == "float64" for precision, *_ in seen) == 20


def test_a_runner_that_rounds_now_and_then_to_the_other_side_is_let_pass(runner):
    """A relu at its kink moves one gradient of one probe; the next probe shows that it is no fault."""

    class Flips(Wrapped):
        looks = 0

        def probe(self, images, targets):
            seen = self.inner.probe(images, targets)
            type(self).looks += self.precision == "float32"
            if self.precision != "float32" or self.looks != 1:
                return seen
            return dataclasses.replace(seen, gradients={k: g * np.float32(1.001) for k, g in seen.gradients.items()})

    assert examine(SPECS["mlp"], Planted(runner, program=Flips), "numpy").verdict is Verdict.IDENTICAL


class TestKey:
    def key(
        self, spec=SPECS["mlp"], runner="null", mode="numpy", precision="float32", device="cpu", lock=None, **switch
    ):
        return identity.proof_key(spec, runner, mode, precision, device, lock, **switch)

    def test_a_proof_holds_for_all_specs_that_compute_the_same(self):
        spec = SPECS["mlp"]
        same = spec.replace(name="other", title="Other", epochs=7)
        assert self.key(same) == self.key(spec)

    def test_a_proof_holds_for_nothing_else(self):
        spec = SPECS["mlp"]
        others = [
            self.key(spec.replace(l2=2e-3)),
            self.key(spec.replace(batch_size=25)),
            self.key(optimizer(spec, epsilon=1e-7)),
            self.key(layers(spec, lambda x: None if x.layer == "relu" else x)),
            self.key(spec.replace(input_range=(-1.0, 1.0))),
            self.key(spec.replace(data=spec.data.model_copy(update={"train": 102}))),
            self.key(runner="reference"),
            self.key(mode="xla"),
            self.key(precision="float64"),
            self.key(device="cuda"),
            self.key(lock="sha256:1"),
            self.key(deterministic=True),
        ]
        assert len({self.key(), *others}) == 1 + len(others)
