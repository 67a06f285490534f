"""The gate: it names what diverges, lets pass what does not, and says how it compared."""

import dataclasses

import numpy as np
import pytest

from suite.gate import batch_size as size
from suite.gate import gate, locate, probe, reference_answers, tolerance
from suite.results.identity import Verdict
from suite.runners.base import SLOTS, State, Threads
from suite.runners.reference.runner import Runner as Reference
from suite.spec.presets import Resnet
from suite.spec.tensors import Role
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


def alone(spec):
    """Whether the gate asks about the optimizer by itself."""
    return spec.input_shape == (1, 1, 1)


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
    assert len(ALL) == len(FAULTS) + len(REFERENCE_FAULTS) >= 30
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
        found = tolerance.errors({"a": np.array([1.0, 4.5])}, {"a": np.array([1.0, 4.0])})
        assert found == {"a": 0.125}

    def test_a_small_tensor_is_measured_by_a_thousandth_of_the_largest_of_its_kind(self):
        wanted = {"large": np.array([1000.0]), "small": np.array([1e-6])}
        assert tolerance.errors({**wanted, "small": np.array([1e-6 + 1e-3])}, wanted)["small"] == pytest.approx(1e-3)

    def test_noise_is_measured_by_the_largest_where_it_does_not_count(self):
        wanted = {"large": np.array([1000.0]), "noise": np.array([1e-12])}
        got = {**wanted, "noise": np.array([1e-3])}
        assert tolerance.errors(got, wanted, noise_counts=False)["noise"] == pytest.approx(1e-6)
        assert tolerance.errors(got, wanted)["noise"] == pytest.approx(1e-3)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_is_never_equal(self, value):
        odd = {"a": np.array([1.0, value])}
        assert tolerance.errors(odd, odd) == {"a": None}
        assert tolerance.errors(odd, {"a": np.ones(2)}) == {"a": None}

    def test_a_tensor_that_is_missing_or_unknown_or_of_another_shape_is_never_equal(self):
        wanted = {"a": np.ones(2), "b": np.ones((2, 1))}
        assert tolerance.errors({"b": np.ones(2), "c": np.ones(1)}, wanted) == {"a": None, "b": None, "c": None}

    def test_zeros_are_equal_to_zeros_and_to_nothing_else(self):
        zero = {"a": np.zeros(2)}
        assert tolerance.errors(zero, zero) == {"a": 0.0}
        assert tolerance.errors({"a": np.array([0, 1e-300])}, zero) == {"a": None}

    def test_float64_has_one_bound_and_float32_that_of_the_reference_with_a_floor(self):
        ulp = float(np.finfo(np.float32).eps)
        assert tolerance.bound(1e-3, "float64") == 1e-9
        assert tolerance.bound(1e-3, "float32") == 4e-3
        assert tolerance.bound(None, "float32") == tolerance.bound(1e-9, "float32") == 16 * ulp

    def test_a_gradient_that_sums_many_terms_may_be_off_by_the_root_of_their_number(self):
        ulp = float(np.finfo(np.float32).eps)
        assert tolerance.bound(None, "float32", 64 * 1024) == 64 * ulp
        assert tolerance.bound(None, "float32", 24) == 16 * ulp
        assert tolerance.bound(None, "float64", 64 * 1024) == 1e-9
        terms = reference_answers.terms_of(SPECS["cnn"])
        assert (terms["conv2d_1/kernel"], terms["batch_norm_2/beta"], terms["dense_1/bias"]) == (8 * 16, 8 * 16, 8)


class TestProbe:
    def test_few_images_are_of_any_classes(self):
        facts = SPECS["cnn"].data.model_copy(update={"classes": 100, "train_counts": None})
        many = SPECS["cnn"].replace(
            model=(*SPECS["cnn"].model[:-1], SPECS["cnn"].model[-1].model_copy(update={"units": 100})), data=facts
        )
        labels = [set(probe.batch(many, 8, "timed", draw)[1].tolist()) for draw in range(8)]
        assert all(len(drawn) == 8 for drawn in labels)
        assert max(set.union(*labels)) > 90
        assert len(set.union(*labels)) > 30

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

    def test_words_repeat_within_an_example_and_stay_within_the_vocabulary(self):
        words, labels = probe.batch(SPECS["words"], 200, "x")
        assert (words.shape, words.dtype) == ((200, 4), np.int32)
        assert set(words.ravel().tolist()) == set(range(30)) == set(labels.tolist())
        assert (words[:, 0] == words[:, 1]).all()
        counts = np.bincount(words.ravel())
        assert counts[0] > 5 * counts[-1] > 0

    def test_targets_beside_a_class_are_of_their_kind(self):
        images, boxes = probe.batch(SPECS["boxes"], 20, "x")
        assert images.shape == (20, 7, 7, 1)
        assert boxes.shape == (20, 5)
        assert set(boxes[:, 0]) == set(range(10))
        assert 0 <= boxes[:, 1:].min() < boxes[:, 1:].max() <= 1
        assert probe.batch(SPECS["sampled"], 2, "x")[1].tolist() == [[1, 0, 0, 0]] * 2

    def test_words_and_labels_have_no_precision(self):
        assert [probe.cast(values, "float32").dtype for values in probe.batch(SPECS["words"], 2, "x")] == [np.int32] * 2
        assert {probe.cast(v, "float32").dtype for v in probe.batch(SPECS["boxes"], 2, "x")} == {np.dtype(np.float32)}

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

    @pytest.mark.parametrize(
        ("name", "within", "found"),
        [
            ("residual", "shortcut", "residual_1/shortcut/conv2d_1"),
            ("boxes", "concat_1/3/", "concat_1/3/dense_1"),
            ("boxes", "concat_1/2/", "concat_1/2/dense_1"),
        ],
    )
    def test_a_layer_in_a_branch_is_found(self, name, within, found):
        def diverges(chain):
            return any(within in name for name in chain.original.values())

        assert locate.locate(SPECS[name], diverges).node.name == found

    def test_branches_that_agree_leave_their_joint_to_blame(self):
        def diverges(chain):
            return len({name.split("/")[1] for name in chain.original.values() if "concat_1" in name}) > 1

        assert locate.locate(SPECS["boxes"], diverges).node.name == "concat_1"

    def test_a_frozen_batch_norm_stays_frozen_in_a_chain_and_a_kernel_need_not(self):
        seen = {}

        def diverges(chain):
            seen[chain.node.name] = {chain.original[name] for name in chain.spec.frozen_names}
            return True

        locate.locate(SPECS["frozen"], diverges)
        norms = {name for name in SPECS["frozen"].frozen_names if "batch_norm" in name}
        assert seen["dense_1"] == norms
        assert len(norms) == 8
        assert seen["conv2d_1"] == set()
        assert locate.locate(SPECS["frozen"], lambda chain: bool(chain.spec.frozen)).node.name.endswith("batch_norm_1")


def test_the_epoch_of_the_gate_ends_in_the_ragged_batch_of_the_spec(runner):
    seen = []

    class Watch(Wrapped):
        def train(self, order):
            if not alone(self.spec):
                seen.append((self.precision, len(order), len(set(order.tolist()))))
            return self.inner.train(order)

    examine(SPECS["mlp"], Planted(runner, program=Watch), "numpy")
    assert ("float32", 24 + 24 + 101 % 24, 24 + 24 + 101 % 24) in seen
    assert sum(precision == "float64" for precision, *_ in seen) == 20


class TestSteps:
    def test_without_a_schedule_they_count_from_zero(self):
        assert probe.counts_of(SPECS["mlp"]) == tuple(range(10))

    def test_with_one_they_lie_on_both_sides_of_each_change_as_far_as_there_is_room(self):
        assert probe.boundaries(SPECS["scheduled"]) == (10, 15, 25)
        assert probe.counts_of(SPECS["scheduled"]) == (0, 1, 2, 3, 9, 10, 14, 15, 24, 25)

    @pytest.mark.parametrize(("at", "wanted"), [([1], (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)), ([1, 2, 3, 4, 5], None)])
    def test_there_are_always_ten(self, at, wanted):
        schedule = SPECS["scheduled"].schedule.model_copy(update={"at": tuple(at)})
        counts = probe.counts_of(SPECS["scheduled"].replace(schedule=schedule))
        assert len(set(counts)) == len(counts) == probe.STEPS
        assert counts == (wanted or (0, 1, 2, 3, 4, 5, 9, 10, 14, 15))

    def test_each_is_taken_from_its_count_and_the_timed_epoch_crosses_the_first_change(self, runner):
        seen = []

        class Watch(Wrapped):
            def train(self, order):
                before = self.inner.state().step
                loss = self.inner.train(order)
                if not alone(self.spec):
                    seen.append((self.precision, before, self.inner.state().step))
                return loss

        examine(SPECS["scheduled"], Planted(runner, program=Watch), "numpy")
        exact = [before for precision, before, _ in seen if precision == "float64"]
        assert exact == [*probe.counts_of(SPECS["scheduled"])] * 2
        assert ("float32", 9, 12) in seen


class TestSize:
    def test_small_models_are_trained_in_batches_of_their_own(self):
        for spec in SPECS.values():
            assert size.smaller(spec) is spec

    def test_a_large_one_in_batches_that_can_be_paid_for_ragged_ones_too(self):
        layers = Resnet(blocks=(3, 4, 6, 3), classes=10, stem="cifar", stride="3x3").layers()
        facts = SPECS["cnn"].data.model_copy(update={"image_shape": (32, 32, 3), "train": 50_000})
        spec = SPECS["cnn"].replace(model=layers, data=facts, batch_size=128)
        shrunk = size.smaller(spec)
        full, ragged = shrunk.batches
        assert spec.batches == (128, 80)
        assert size.TRAINED_FEWEST <= full < 24
        assert full * size.work(spec) <= size.TRAINED_WORK
        assert ragged == round(full * 80 / 128)
        assert size.epoch(shrunk) == (full, full, ragged)
        assert shrunk.tensors == spec.tensors
        assert reference_answers.images_of(spec) == reference_answers.EXACT_FEWEST

    @pytest.mark.parametrize("name", ["mlp", "words", "boxes", "frozen", "scheduled"])
    def test_the_record_says_by_how_many_images_it_was_trained_and_queries_are_the_specs_own(
        self, name, runner, monkeypatch
    ):
        monkeypatch.setattr(size, "TRAINED_WORK", 0)
        seen = []

        class Watch(Wrapped):
            def train(self, order):
                seen.append(("train", self.precision, len(order), self.spec.batch_size))
                return self.inner.train(order)

            def infer(self, images):
                seen.append(("infer", self.precision, len(images), self.spec.batch_size))
                return self.inner.infer(images)

            def predict(self, split, batch_size):
                seen.append(("predict", self.precision, batch_size, self.spec.batch_size))
                return self.inner.predict(split, batch_size)

        found = examine(SPECS[name], Planted(runner, program=Watch), "numpy")
        assert found.verdict is Verdict.IDENTICAL
        assert {c.section.partition(" ")[2] for c in found.checks if c.section.startswith("float32")} >= {
            "(trained by 8 images) epoch, loss",
            "(trained by 8 images) prediction",
        }
        assert ("train", "float32", 8 + 8 + 2, 8) in seen
        assert {("infer", "float32", 1, 24), ("infer", "float32", 24, 24), ("predict", "float32", 24, 24)} <= set(seen)

    def test_a_fault_is_caught_and_named_in_the_smaller_batches_too(self, runner, monkeypatch):
        monkeypatch.setattr(size, "TRAINED_WORK", 0)
        fault = ALL["bits of the inputs"]
        found = examine(SPECS["mlp"], fault.plant(runner, fault.ladder[0]), "numpy").divergence
        assert (found.section, found.tensor) == ("float32 (trained by 8 images) training outputs", "flatten_1")


def test_of_what_fails_once_only_the_call_that_told_it_is_repeated(runner):
    calls = []

    class Late(Wrapped):
        def train(self, order):
            calls.extend([self.precision] * (not alone(self.spec)))
            return self.inner.train(order)

        def predict(self, split, batch_size):
            calls.append("predict")
            return self.inner.predict(split, batch_size) * (1 if calls.count("predict") > 1 else 1.001)

    assert examine(SPECS["cnn"], Planted(runner, program=Late), "numpy").verdict is Verdict.IDENTICAL
    assert calls.count("predict") == 1 + 3 + 3
    assert calls.count("float32") == 2


@pytest.mark.parametrize("spoil", [lambda v: np.where(v == v.max(), np.nan, v), lambda v: v[..., :-1]])
def test_what_is_no_number_or_of_another_shape_is_not_asked_about_again(spoil, runner):
    class Once(Wrapped):
        looks = 0

        def predict(self, split, batch_size):
            type(self).looks += 1
            outputs = self.inner.predict(split, batch_size)
            return spoil(outputs) if self.looks == 1 else outputs

    found = examine(SPECS["cnn"], Planted(runner, program=Once), "numpy")
    assert found.verdict is Verdict.UNPROVEN
    assert (found.divergence.section, found.divergence.error) == ("float32 prediction", None)
    assert Once.looks == 1 + 2 + 1  # other images, other weights, behind an epoch: nothing twice


def test_a_slot_that_nobody_asked_for_is_no_slot(runner):
    class Hoards(Wrapped):
        def state(self):
            state = self.inner.state()
            return dataclasses.replace(state, slots={**state.slots, "hoard": dict(state.weights)})

    found = examine(SPECS["mlp"], Planted(runner, program=Hoards), "numpy").divergence
    assert found.section == "float64 step 1, slot hoard"


def test_what_is_frozen_stays_the_same_to_the_bit_in_the_timed_precision_too(runner):
    class Thaws(Wrapped):
        def train(self, order):
            loss = self.inner.train(order)
            if self.precision == "float32":
                state = self.inner.state()
                frozen = next(name for name in state.weights if name in self.spec.frozen_names)
                moved = {frozen: state.weights[frozen] * np.float32(1 + 2**-23)}
                self.inner.load(dataclasses.replace(state, weights={**state.weights, **moved}))
            return loss

    found = examine(SPECS["frozen"], Planted(runner, program=Thaws), "numpy").divergence
    assert (found.section, found.bound) == ("float32 epoch, frozen", 0)


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
        return gate.proof_key(spec, runner, mode, precision, device, lock, **switch)

    def test_a_proof_holds_for_all_specs_that_compute_the_same(self):
        spec = SPECS["mlp"]
        same = spec.replace(name="other", title="Other", epochs=7)
        assert self.key(same) == self.key(spec)

    def test_a_proof_depends_on_the_sources_of_its_own_runner_and_on_what_both_sides_read(self):
        mine = gate.sources("torch").keys()
        folders = {"runners/torch", "runners/reference", "spec", "spec/tasks", "spec/vocabulary", "inputs", "gate"}
        assert {"runners/torch/layers.py", "runners/reference/layers.py", "spec/layers.py", "gate/gate.py"} <= mine
        assert {name.rpartition("/")[0] for name in mine if name != "runners/base.py"} == folders

    def test_a_proof_holds_for_nothing_else(self):
        spec = SPECS["mlp"]
        others = [
            self.key(spec.replace(l2=2e-3)),
            self.key(spec.replace(batch_size=25)),
            self.key(optimizer(spec, epsilon=1e-7)),
            self.key(spec.replace(frozen=("dense_1",))),
            self.key(spec.replace(schedule=SPECS["scheduled"].schedule)),
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


def test_a_spec_whose_labels_are_mapped_is_proven_like_any_other(runner, make_spec):
    facts = {
        "classes": 3,
        "train_counts": (500, 500, 437),
        "test_counts": (120, 120, 120),
        "class_names": ("3", "7", "a"),
    }
    data = make_spec().data.model_copy(update={**facts, "labels_are": "whole numbers 3, 7, 200"})
    model = [{"layer": "flatten"}, {"layer": "dense", "units": 3}]
    proof = examine(make_spec(data=data, labels="map", model=model), runner, "numpy")
    assert proof.verdict is Verdict.IDENTICAL
