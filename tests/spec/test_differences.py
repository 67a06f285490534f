"""Where frameworks' own APIs differ: what each runner states for a spec, and what the reference makes of it."""

import json

import numpy as np
import pytest

from suite.gate import gate, probe, shift
from suite.gate.reference_answers import ReferenceAnswers
from suite.runners import base
from suite.runners.base import State, Threads
from suite.runners.reference.runner import Runner as Reference
from suite.spec.differences import Difference, DifferenceKind, Shift, factor
from suite.spec.graph import walk
from suite.spec.layers import BatchNorm
from suite.spec.semantics import relevant, under
from tests.faults.specs import SPECS

TOKENS = tuple(token for token in base.tokens() if token not in ("null", "reference"))
END = [{"layer": "flatten"}, {"layer": "dense", "units": 10}]
RMSPROP = {"name": "rmsprop", "learning_rate": 0.01, "epsilon": 1e-3}
SAME = {"padding": "same"}


def reference() -> Reference:
    return Reference("cpu", Threads(intra=1, inter=1), 0)


def said(token, spec, kind=None):
    """What is stated, by variant or by API, with where it is."""
    found = base.differences(token, spec)
    return {each.variant or each.api: each.at for each in found if kind is None or each.kind is kind}


def pool(**fields):
    return {"layer": "average_pool", "window": 3, "stride": 1, **fields}


class TestStated:
    def test_the_reference_and_null_state_nothing(self):
        assert base.differences("reference", SPECS["cnn"]) == base.differences("null", SPECS["cnn"]) == ()

    @pytest.mark.parametrize("token", TOKENS)
    @pytest.mark.parametrize("name", SPECS)
    def test_every_place_is_in_the_spec_and_every_variant_counts(self, token, name):
        """Also, every text fits into a report's table and ends without a stop, for a sentence goes on around it."""
        spec = SPECS[name]
        places = {node.name for node in walk(spec.graph)} | {"optimizer", "loss"}
        for each in base.differences(token, spec):
            assert set(each.at) <= places
            assert each.variant is None or relevant(spec, (each.variant,))
            assert each.variant is None or under(spec, (each.variant,), each.at) is not spec
            assert each.variant is None or each.kind is DifferenceKind.SEMANTICS
            assert max(map(len, (each.api, each.does, each.here))) <= 300
            assert not each.does.endswith(".")
            assert not each.here.endswith(".")

    @pytest.mark.parametrize(("place", "tf", "torch"), [("outside_root", True, False), ("inside_root", False, True)])
    def test_rmsprop_differs_where_the_spec_asks_for_the_other_frameworks(self, make_spec, place, tf, torch):
        spec = make_spec(optimizer={**RMSPROP, "epsilon_place": place})
        assert ("rmsprop_epsilon_inside_root" in said("tf", spec)) is tf
        assert ("rmsprop_epsilon_outside_root" in said("torch", spec)) is torch
        composed = [each for token in TOKENS for each in base.differences(token, spec) if each.composed]
        assert [each.at for each in composed] == [("optimizer",)]

    def test_adam_differs_where_the_spec_asks_for_the_other_frameworks(self, make_spec):
        assert "adam_epsilon_before_correction" in said("tf", make_spec())
        assert not said("torch", make_spec(), DifferenceKind.SEMANTICS)
        early = make_spec(optimizer={"name": "adam", "epsilon_place": "before_correction"})
        assert "adam_epsilon_after_correction" in said("torch", early)
        assert not said("tf", early, DifferenceKind.SEMANTICS)

    def test_kerass_running_variance_is_named_with_the_values_that_make_it(self, make_spec):
        model = [{"layer": "flatten"}, {"layer": "batch_norm"}, {"layer": "dense", "units": 10}]
        spec = make_spec(model=model, batch_size=3)
        (found,) = (each for each in base.differences("tf", spec) if each.variant == "biased_running_variance")
        assert found.api == "tf.keras.layers.BatchNormalization"
        assert found.at == ("batch_norm_1",)
        assert "(n = 3 in a full batch: 1.5 times)" in found.does
        biased = under(spec, ("biased_running_variance",))
        assert said("tf", biased)["unbiased_running_variance"] == ("batch_norm_1",)
        assert said("torch", biased)["unbiased_running_variance"] == ("batch_norm_1",)
        assert "unbiased_running_variance" not in said("torch", spec)

    def test_a_frozen_batch_norm_keeps_no_statistics_that_could_differ(self, make_spec):
        spec = make_spec(model=[{"layer": "batch_norm"}, *END], frozen=["batch_norm_1"])
        assert "biased_running_variance" not in said("tf", spec)

    def test_the_values_of_several_batch_norms_are_a_range(self, make_spec):
        model = [{"layer": "batch_norm"}, {"layer": "flatten"}, {"layer": "batch_norm"}, END[-1]]
        spec = make_spec(model=model, batch_size=3)
        norms = [node for node in walk(spec.graph) if isinstance(node.layer, BatchNorm)]
        assert "n = 3 to 192 in a full batch: 1.5 to 1.005236 times" in factor(spec, norms)

    def test_what_jaxs_users_take_differs_where_optax_and_flax_do(self, make_spec):
        model = [{"layer": "batch_norm"}, pool(**SAME), *END]
        spec = make_spec(model=model, optimizer={"name": "rmsprop", "epsilon": 1e-8}, l2=0.01)
        found = said("jax", spec, DifferenceKind.SEMANTICS)
        assert found == {
            "rmsprop_epsilon_inside_root": ("optimizer",),
            "optax.adamw(weight_decay=...) and its kin": ("optimizer",),
            "biased_running_variance": ("batch_norm_1",),
            "padding_counted": ("average_pool_1",),
        }
        early = make_spec(optimizer={"name": "adam", "epsilon": 1e-8, "epsilon_place": "before_correction"})
        assert said("jax", early, DifferenceKind.SEMANTICS) == {"adam_epsilon_after_correction": ("optimizer",)}
        lecun = make_spec(model=[END[0], {**END[1], "kernel_init": "lecun_normal"}])
        assert any("not truncated" in each.does for each in base.differences("jax", lecun))

    def test_pooling_without_padding_is_not_listed(self, make_spec):
        spec = make_spec(model=[pool(), *END])
        for token in TOKENS:
            assert not said(token, spec, DifferenceKind.SEMANTICS).keys() & {"padding_counted", "padding_not_counted"}
            assert "average_pool_1" not in [at for each in base.differences(token, spec) for at in each.at[:1]] or (
                token == "torch"  # which holds its images in another layout
            )

    def test_padding_counts_by_default_in_pytorch_alone(self, make_spec):
        spec = make_spec(model=[pool(**SAME), pool(), *END])
        assert said("torch", spec)["padding_counted"] == ("average_pool_1",)
        assert not {"padding_counted", "padding_not_counted"} & said("tf", spec).keys()
        counted = make_spec(model=[pool(**SAME, count_padding=True), *END])
        assert said("tf", counted)["padding_not_counted"] == ("average_pool_1",)
        assert not {"padding_counted", "padding_not_counted"} & said("torch", counted).keys()

    def test_stated_padding_is_what_tensorflow_composes(self, make_spec):
        conv = {"layer": "conv2d", "filters": 2, "kernel": 3, "stride": 2, "padding": 1}
        largest = {"layer": "max_pool", "window": 3, "stride": 2, "padding": 1}
        spec = make_spec(model=[conv, largest, pool(window=2, padding=1), *END])
        assert said("tf", spec)["padding_counted"] == ("average_pool_1",)
        assert said("tf", spec)["tf.nn.max_pool2d"] == ("max_pool_1",)
        assert said("tf", spec, DifferenceKind.MISSING) == {"tf.keras.layers.Conv2D": ("conv2d_1",)}

    def test_padding_that_falls_as_same_is_called_so(self, make_spec):
        conv = {"layer": "conv2d", "filters": 2, "kernel": 3, "padding": 1}
        assert not said("tf", make_spec(model=[conv, *END]), DifferenceKind.MISSING)

    def test_uneven_padding_is_what_pytorch_has_not(self, make_spec):
        def conv(kernel, stride):
            return {"layer": "conv2d", "filters": 2, "kernel": kernel, "stride": stride, **SAME}

        largest = {"layer": "max_pool", "window": 3, "stride": 2, **SAME}
        spec = make_spec(model=[conv(3, 2), conv(2, 1), conv(3, 1), largest, *END])
        assert said("torch", spec, DifferenceKind.MISSING)["torch.nn.Conv2d"] == ("conv2d_1",)
        assert said("torch", spec, DifferenceKind.COMPOSED) == {'torch.nn.Conv2d(padding="same")': ("conv2d_2",)}
        assert said("torch", spec, DifferenceKind.MISSING)["torch.nn.MaxPool2d and torch.nn.AvgPool2d"] == (
            "max_pool_1",
        )

    def test_pytorchs_layout_and_order_are_said_of_images_alone(self, make_spec):
        assert not said("torch", make_spec()).keys() & {"torch.nn.Flatten", "torch.nn.Conv2d and its kin"}
        conv = {"layer": "conv2d", "filters": 2, "kernel": 3}
        found = said("torch", make_spec(model=[conv, {"layer": "relu"}, *END]))
        assert (found["torch.nn.Flatten"], found["torch.nn.Conv2d and its kin"]) == (("flatten_1",), ("conv2d_1",))

    def test_a_default_is_told_only_where_the_spec_has_another_value(self, make_spec):
        keras = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
        assert "tf.keras.optimizers.Adam" not in said("tf", make_spec(optimizer={"name": "adam", **keras}))
        other = make_spec(optimizer={"name": "adam", **keras, "epsilon": 1e-6})
        (told,) = (each for each in base.differences("tf", other) if each.api == "tf.keras.optimizers.Adam")
        assert told.does == "has by default epsilon 1e-07 (here 1e-06)"

    def test_decay_is_said_where_there_is_any(self, make_spec):
        for token in TOKENS:
            decays = [each for each in base.differences(token, make_spec(l2=0.01)) if "weight_decay" in each.api]
            assert len(decays) == 1
            assert "0.02" in decays[0].here
            assert not [each for each in base.differences(token, make_spec()) if "weight_decay" in each.api]


def one(variant, *at):
    return Difference(
        kind=DifferenceKind.SEMANTICS, at=at or ("optimizer",), api="api", does="differs", variant=variant
    )


def shifted(spec, *differences, most=shift.WORK):
    return [each.shift for each in shift.told(spec, differences, reference, most)]


class TestShift:
    def test_it_is_what_ten_free_steps_under_either_come_to(self, make_spec):
        spec = make_spec(optimizer=RMSPROP, batch_size=5)
        other = under(spec, ("rmsprop_epsilon_inside_root",))
        ends = []
        for each in (spec, other):
            program = reference().build(each, "numpy", "float64")
            program.load(State(probe.start(spec)))
            program.stage("train", *probe.batch(spec, 50, "shift"))
            assert program.train(np.arange(50, dtype=np.int32)) > 0
            ends.append(program.state().weights)
        (found,) = shifted(spec, one("rmsprop_epsilon_inside_root"))
        start = probe.start(spec)
        ways = [np.sqrt(sum(np.square(end[n] - start[n]).sum() for n in spec.trainable)) for end in ends]
        assert found.way == pytest.approx(ways[1] / ways[0], rel=1e-12)
        apart = max(np.abs(ends[1][n] - ends[0][n]).max() / np.abs(ends[0][n]).max() for n in spec.trainable)
        assert found.weights == pytest.approx(apart, rel=1e-9)
        assert (found.images, found.steps, found.statistics) == (5, 10, None)

    def test_a_running_variance_moves_no_weights_but_statistics_and_outputs(self, make_spec):
        model = [{"layer": "flatten"}, {"layer": "batch_norm"}, {"layer": "dense", "units": 10}]
        (found,) = shifted(make_spec(model=model, batch_size=3), one("biased_running_variance", "batch_norm_1"))
        assert (found.weights, found.first, found.way) == (0, 1, 1)
        assert found.statistics > 0.01
        assert found.outputs > 0.001

    def test_only_the_layers_it_is_about_are_changed(self, make_spec):
        model = [pool(**SAME), pool(**SAME), *END]
        spec = make_spec(model=model)
        both, first = shifted(
            spec, one("padding_counted", "average_pool_1", "average_pool_2"), one("padding_counted", "average_pool_1")
        )
        assert 0 < first.outputs != both.outputs > 0

    def test_a_tiny_epsilon_has_a_tiny_figure_and_a_large_one_a_large(self, make_spec):
        tiny, large = (
            shifted(make_spec(optimizer={**RMSPROP, "epsilon": e}), one("rmsprop_epsilon_inside_root"))[0]
            for e in (1e-12, 1e-2)
        )
        assert 0 < tiny.weights < 1e-3 < 0.05 < large.weights
        assert large.first < 0.5 < tiny.first

    def test_what_is_too_dear_is_not_taken_and_says_so(self, make_spec):
        spec = make_spec(optimizer=RMSPROP)
        (found,) = shift.told(spec, [one("rmsprop_epsilon_inside_root")], reference, most=1e3)
        assert (found.shift, found.effect) == (None, shift.DEAR)

    def test_a_step_holds_as_many_images_as_can_be_paid_for_and_eight_at_least(self, make_spec):
        spec = make_spec(optimizer=RMSPROP)
        whole = shift.work(spec) * 10 * 2 * 32
        assert [shift.images(spec, 1, share * whole) for share in (2, 1.01, 0.6, 0.2)] == [32, 32, 19, None]
        assert shift.images(make_spec(batch_size=3), 1, whole / 10) == 3

    @pytest.mark.filterwarnings("error")
    def test_what_is_not_finite_is_no_figure(self, make_spec):
        wild = make_spec(
            optimizer={"name": "sgd", "learning_rate": 1e150}, model=[{"layer": "batch_norm"}, *END],
            loss="mean_squared_error", target="one_hot",
        )  # fmt: skip
        (found,) = shift.told(wild, [one("biased_running_variance", "batch_norm_1")], reference)
        assert (found.shift, found.effect) == (None, shift.WILD)

    def test_no_reference_is_made_where_nothing_is_to_be_computed(self, make_spec):
        def none():
            raise AssertionError

        plain = Difference(kind=DifferenceKind.CONVENTION, at=("optimizer",), api="api", does="has by default")
        assert shift.told(make_spec(), [plain], none) == (plain,)

    @pytest.mark.parametrize("name", ["words", "sampled", "boxes", "frozen", "scheduled", "early", "inside"])
    def test_it_can_be_taken_of_every_kind_of_spec(self, name):
        spec = SPECS[name]
        told = shift.told(spec, [each for token in TOKENS for each in base.differences(token, spec)], reference)
        for each in told:
            assert (each.shift is not None) == (each.variant is not None)


def test_a_proof_tells_them_and_the_reference_trains_once_for_all_modes():
    made = []

    def counting(variants):
        made.append(variants)
        return Reference("cpu", Threads(intra=1, inter=1), 0, variants=variants)

    memory = ReferenceAnswers(counting)
    spec, key = SPECS["early"], "sha256:" + "0" * 64
    stated = base.differences("torch", spec)
    proofs = [
        gate.examine(spec, reference(), memory, "numpy", "float32", key=key, own=stated) for _mode in ("one", "other")
    ]
    assert proofs[0].own == proofs[1].own
    assert [each.model_copy(update={"shift": None}) for each in proofs[0].own] == list(stated)
    assert any(each.shift for each in proofs[0].own)
    assert len(memory.told) == 1
    calls = len(made)
    gate.examine(spec, reference(), memory, "numpy", "float32", key=key, own=stated)
    assert len(made) == calls
    assert gate.examine(spec, reference(), memory, "numpy", "float32", key=key).own == ()


def effect(**fields):
    """In words."""
    figures = {
        "weights": 0.3,
        "first": 0.2,
        "way": 0.43,
        "statistics": None,
        "outputs": 0.81,
        "images": 32,
        "steps": 10,
    }
    return one("padding_counted").model_copy(update={"shift": Shift(**{**figures, **fields})}).effect


def test_a_figure_is_told_in_a_sentence():
    assert effect() == (
        "Ten steps of 32 images: the weights move 0.2 times as far in the first step and 0.43 times as far in all, and "
        "are up to 30 % apart; evaluation outputs are up to 81 % apart"
    )
    assert "the weights are the same; running statistics are up to 0.66 % apart" in effect(
        weights=0.0, statistics=0.0066
    )
    assert "the weights move as far, and are up to 4e-06 apart" in effect(weights=4e-6, first=1.001, way=0.999)
    assert effect(images=1).startswith("Ten steps of 1 image:")
    assert "the weights are up to 30 % apart" in effect(first=None, way=None)


def test_a_difference_survives_its_way_into_a_record_and_back():
    for each in base.differences("tf", SPECS["cnn"]):
        assert Difference.model_validate_json(json.dumps(each.model_dump(mode="json"))) == each
