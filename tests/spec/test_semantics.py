"""Other semantics than a spec asks for: which of them change what it computes, and as which spec."""

import json
from pathlib import Path

import pytest

from suite.data import datasets
from suite.run import plan
from suite.spec.graph import walk
from suite.spec.layers import AveragePool, BatchNorm
from suite.spec.recipe import LATER
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant, padded_means, relevant, trained_norms, under
from tests.faults.specs import SPECS

ALL = frozenset(Variant.__args__)
BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "specs"
POOL = {"layer": "average_pool", "window": 2}
NORM = {"layer": "batch_norm"}
END = [{"layer": "flatten"}, {"layer": "dense", "units": 10}]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mlp", {"adam_epsilon_before_correction"}),
        ("early", {"adam_epsilon_after_correction", "unbiased_running_variance"}),
        ("residual", {"rmsprop_epsilon_inside_root", "biased_running_variance"}),
        ("inside", {"rmsprop_epsilon_outside_root", "unbiased_running_variance", "padding_not_counted"}),
        ("cnn", {"biased_running_variance", "padding_counted"}),
        ("negative", set()),
    ],
)
def test_those_count_that_change_what_a_spec_computes(name, wanted):
    assert relevant(SPECS[name], ALL) == wanted
    for variant in wanted:
        assert under(SPECS[name], (variant,)).computation != SPECS[name].computation


@pytest.mark.parametrize("name", SPECS)
def test_there_and_back_is_the_same_spec(name):
    there = under(SPECS[name], relevant(SPECS[name], ALL))
    assert under(there, relevant(there, ALL)) == SPECS[name]


def test_what_changes_nothing_leaves_the_very_spec():
    assert under(SPECS["negative"], ALL) is SPECS["negative"]
    assert under(SPECS["mlp"], ()) is SPECS["mlp"]


def test_a_frozen_batch_norm_and_a_pooling_without_padding_have_no_other_semantics(make_spec):
    spec = make_spec(model=[NORM, POOL, NORM, POOL | {"window": 3, "padding": "same"}, *END], frozen=["batch_norm_1"])
    assert [node.name for node in trained_norms(spec)] == ["batch_norm_2"]
    assert [node.name for node in padded_means(spec)] == ["average_pool_2"]
    changed = under(spec, ("biased_running_variance", "padding_counted"))
    norms = [n.layer.running_variance for n in walk(changed.graph) if isinstance(n.layer, BatchNorm)]
    pools = [n.layer.count_padding for n in walk(changed.graph) if isinstance(n.layer, AveragePool)]
    assert (norms, pools) == (["unbiased", "biased"], [False, True])


def test_same_padding_that_pads_nothing_is_no_padding(make_spec):
    """8 pixels by windows of 2 in steps of 2."""
    assert relevant(make_spec(model=[POOL | {"padding": "same"}, *END]), {"padding_counted"}) == frozenset()


def test_layers_in_branches_are_changed_too(make_spec):
    body = [NORM, POOL | {"stride": 1, "padding": "same"}]
    spec = make_spec(model=[{"layer": "residual", "body": body}, *END])
    changed = under(spec, ("padding_counted", "biased_running_variance"))
    assert [n.name for n in padded_means(spec)] == ["residual_1/body/average_pool_1"]
    assert [layer.model_dump(exclude_defaults=True) for layer in changed.model[0].body] == [
        {"layer": "batch_norm", "running_variance": "biased"},
        {"layer": "average_pool", "window": (2, 2), "stride": (1, 1), "padding": "same", "count_padding": True},
    ]


def test_a_later_field_at_its_default_is_no_part_of_a_digest():
    """So that results that were written before it keep their digests; any other value is."""
    for spec in plan.choose(("digits-cnn", "cifar-resnet-small"), BENCHMARKS, datasets.describe):
        old = json.loads(spec.model_dump_json())

        def forget(value):
            match value:
                case dict():
                    return {key: forget(item) for key, item in value.items() if key not in LATER}
                case list():
                    return [forget(item) for item in value]
            return value

        assert forget(old) != old
        again = Spec.model_validate_json(json.dumps(forget(old)))
        assert (again, again.digest, again.computation) == (spec, spec.digest, spec.computation)
        other = under(spec, ("biased_running_variance",))
        assert other.digest != spec.digest
        assert other.computation != spec.computation


def test_digests_are_those_of_before_the_later_fields():
    """As the suite told them before: results in folders tell these."""
    (spec,) = plan.choose(("digits-cnn",), BENCHMARKS, datasets.describe)
    assert spec.digest == "sha256:e6281cd64aba325b118f6c53e37c8b360c887cea6537910313749003018095ae"
    assert spec.computation == "sha256:8682596f83421d627d06a2dd2ec1ef187349b7ba1d63ad554f98b4ee2a956f65"
