import json
from pathlib import Path
from typing import Any

import pytest

from suite.data.datasets import describe
from suite.spec import loading
from suite.spec import resolved as specs
from suite.spec.dataset import DatasetFacts
from suite.spec.resolved import PROSE, Spec
from suite.spec.yaml import read_yaml
from tests.support.kinds import ANOMALY, BASE, DENSE, DETECTION, NEGATIVES, NORM, RECONSTRUCTION, TEXT, WORDS, load

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CATALOGUE = sorted((BENCHMARKS / "specs").glob("*.yaml"))
MNIST = DatasetFacts(
    name="mnist", image_shape=(28, 28, 1), classes=10, train=60_000, test=10_000, max_value=255, digest="sha256:1"
)


def test_a_spec_knows_its_figures(make_spec):
    layers = [
        {"layer": "flatten"},
        {"layer": "dense", "units": 128},
        {"layer": "relu"},
        {"layer": "dense", "units": 10},
    ]
    spec = make_spec(MNIST, dataset="mnist", model=layers)
    assert spec.parameters == 101_770
    assert spec.flops == 2 * (784 * 128 + 128 * 10) == 203_264
    assert list(spec.tensors) == ["dense_1/kernel", "dense_1/bias", "dense_2/kernel", "dense_2/bias"]
    assert spec.batches == (32,)
    assert spec.id == "small"


def test_running_statistics_are_tensors_but_no_parameters(make_spec):
    spec = make_spec(model=[{"layer": "flatten"}, {"layer": "batch_norm"}, {"layer": "dense", "units": 10}])
    assert len(spec.tensors) == 6
    assert spec.parameters == 2 * 64 + 64 * 10 + 10


def test_batches_are_the_full_one_and_the_ragged_last(make_spec):
    assert make_spec(batch_size=32).batches == (32, 29)
    assert make_spec(batch_size=2000).batches == (1437,)
    assert make_spec(batch_size=32, validation_fraction=0.1).batches == (32, 13)
    assert make_spec(batch_size=3).batches == (3,)


def test_rates_follow_the_schedule_by_epochs(make_spec):
    """1437 images in batches of 479 are 3 steps to an epoch."""
    spec = make_spec(batch_size=479, schedule={"at": [1, 3], "factor": 0.5}, optimizer={"name": "adam"})
    assert spec.steps_per_epoch == 3
    whole = [0.001] * 3 + [0.0005] * 6 + [0.00025] * 3
    assert spec.rates(0, 12).tolist() == whole
    assert [spec.rates(step, 1).item() for step in range(12)] == whole
    assert spec.rates(2, 2).tolist() == [0.001, 0.0005]
    assert make_spec().rates(10**6, 2).tolist() == [0.001, 0.001]


def test_steps_of_an_epoch_count_the_ragged_one_and_no_validation_image(make_spec):
    assert make_spec(batch_size=478).steps_per_epoch == 4
    assert make_spec(batch_size=479, validation_fraction=0.5).steps_per_epoch == 2


def test_what_is_frozen_is_neither_trained_nor_forgotten(make_spec):
    layers = [{"layer": "flatten"}, {"layer": "dense", "units": 5}, {"layer": "batch_norm"}, DENSE]
    spec = make_spec(model=layers, frozen=["dense_1", "batch_norm_1"])
    assert list(spec.trainable) == ["dense_2/kernel", "dense_2/bias"]
    assert spec.frozen_names == spec.tensors.keys() - spec.trainable.keys()
    assert "batch_norm_1/moving_mean" in spec.frozen_names
    assert [node.name for node in spec.graph if spec.is_frozen(node)] == ["dense_1", "batch_norm_1"]
    assert spec.parameters == make_spec(model=layers).parameters
    assert list(make_spec(model=layers).trainable) == [n for n in spec.tensors if "moving" not in n]


def test_a_prefix_freezes_all_that_lies_in_it_and_nothing_beside(make_spec):
    block = {"layer": "residual", "body": [{"layer": "conv2d", "filters": 1, "kernel": 1}, NORM]}
    spec = make_spec(model=[block] * 10 + [{"layer": "flatten"}, DENSE], frozen=["residual_1"])
    assert {name.split("/")[0] for name in spec.frozen_names} == {"residual_1"}  # not residual_10
    assert len(spec.frozen_names) == 2 + 4


def test_a_frozen_batch_norm_needs_no_variance_of_its_batch(make_spec):
    layers = [{"layer": "flatten"}, NORM, DENSE]
    assert make_spec(model=layers, batch_size=1436, frozen=["batch_norm_1"]).batches == (1436, 1)


def test_what_is_inherited_is_all_of_the_model_unless_layers_are_named(make_spec):
    layers = [{"layer": "flatten"}, {"layer": "dense", "units": 5}, DENSE]
    assert make_spec(model=layers).inherited_names == set()
    assert make_spec(model=layers, starts_from="a/b").inherited_names == set(make_spec(model=layers).tensors)
    some = make_spec(model=layers, starts_from="a", inherits=["dense_1"])
    assert some.inherited_names == {"dense_1/kernel", "dense_1/bias"}


def test_an_anomaly_benchmark_trains_on_normal_images_alone(make_spec):
    """Facts: 144 images of each class from 0 to 6, and 143 of each from 7 to 9."""
    spec = make_spec(**{**ANOMALY, "task": {"kind": "anomaly", "normal": [0, 9]}}, validation_fraction=0.1)
    assert (spec.usable_images, spec.validation_images, spec.train_images) == (287, 29, 258)
    assert make_spec(**ANOMALY).usable_images == 288
    twice = {**ANOMALY, "task": {"kind": "anomaly", "normal": [0, 0, 1]}}
    assert make_spec(**twice).usable_images == 288
    uncounted = make_spec().data.model_copy(update={"train_counts": None})
    with pytest.raises(ValueError, match="dataset: digits does not tell how many images each class has"):
        make_spec(uncounted, **ANOMALY)


def test_what_a_model_is_given_follows_from_the_task(make_spec):
    assert (make_spec().input_shape, make_spec().input_dtype) == ((8, 8, 1), "float")
    canvas = make_spec(**DETECTION)
    assert (canvas.input_shape, canvas.input_dtype, canvas.box_weight) == ((16, 16, 1), "float", 1.0)
    assert make_spec(**{**DETECTION, "task": {"kind": "detection", "canvas": 16, "box_weight": 3}}).box_weight == 3
    words = make_spec(TEXT, **WORDS)
    assert (words.input_shape, words.input_dtype) == ((4,), "tokens")
    drawn = make_spec(TEXT, **NEGATIVES)
    assert (drawn.input_shape, drawn.graph[-1].output) == ((4 + 1 + 3,), (4,))


def test_words_may_be_looked_up_in_branches(make_spec):
    look_up = {"layer": "embedding", "vocabulary": 50, "units": 25}
    both = make_spec(TEXT, **{**WORDS, "model": [{"layer": "concat", "branches": [[look_up], [look_up]]}]})
    assert list(both.tensors) == ["concat_1/1/embedding_1/embedding", "concat_1/2/embedding_1/embedding"]


def test_a_target_that_is_the_input_implies_its_task(make_spec):
    assert make_spec().task.kind == "classification"
    assert make_spec(**RECONSTRUCTION).task.kind == "reconstruction"


DIFFERENCES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "box weight": (DETECTION, {"task": {"kind": "detection", "canvas": 16, "box_weight": 2}}),
    "frozen layer": (
        {"model": [{"layer": "flatten"}, {"layer": "dense", "units": 5}, {"layer": "dense", "units": 10}]},
        {"frozen": ["dense_1"]},
    ),
    "schedule": ({}, {"schedule": {"at": [2], "factor": 0.1}}),
    "length of an epoch under a schedule": (
        {"schedule": {"at": [2], "factor": 0.1}},
        {"batch_size": 32, "validation_fraction": 0.2},
    ),
    "canvas": (
        {**DETECTION, "model": [{"layer": "global_average_pool"}, {"layer": "dense", "units": 14}]},
        {"task": {"kind": "detection", "canvas": 17}},
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_what_changes_a_step_changes_the_computation(make_spec, name):
    one, other = DIFFERENCES[name]
    assert make_spec(**one).computation != make_spec(**{**one, **other}).computation


def test_what_changes_no_step_leaves_the_computation(make_spec):
    spec = make_spec(batch_size=479)
    same = [
        make_spec(batch_size=479, **fields)
        for fields in (
            {"epochs": 9},
            {"starts_from": "other"},
            {"augmentation": {"flip": True}},
            {"target_accuracy": 0.5},
            {"name": "other", "claims": [{"metric": "test_loss", "value": 1}]},
        )
    ]
    assert {other.computation for other in same} == {spec.computation}
    assert len({other.digest for other in same}) == 4  # prose is not in it


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model": [{"layer": "flatten"}, {"layer": "dense", "units": 9}]}, r"model: ends in \(9,\)"),
        ({"model": [DENSE]}, r"model\[0\]: dense takes"),
        ({"model": [{"layer": "flatten"}, DENSE, {"layer": "softmax"}]}, "model: ends in softmax"),
        ({"model": [{"layer": "flatten"}, NORM, DENSE], "batch_size": 1436}, "batch_size: 1436 leaves a batch of one"),
        ({"model": [{"layer": "flatten"}, NORM, DENSE], "batch_size": 1}, "over which batch_norm_1 has no variance"),
        ({"target": "input", "loss": "mean_squared_error"}, r"needs \(64,\)"),
    ],
)
def test_a_model_that_does_not_fit_its_data_is_refused(make_spec, fields, says):
    with pytest.raises(ValueError, match=says):
        make_spec(**fields)


def test_batch_norm_over_the_positions_of_one_image_has_a_variance(make_spec):
    assert make_spec(batch_size=1436, model=[NORM, {"layer": "flatten"}, DENSE]).batches == (1436, 1)


def test_a_validation_split_leaves_something_to_train_on(make_spec):
    lone = make_spec().data.model_copy(update={"train": 1})
    assert make_spec(lone, validation_fraction=0.5).train_images == 1


def test_without_dropout_changes_the_rates_alone(make_spec):
    drop = {"layer": "dropout", "rate": 0.5}
    branches = {"layer": "concat", "branches": [[drop, {"layer": "dense", "units": 3}], [drop]]}
    spec = make_spec(
        model=[
            drop,
            {"layer": "residual", "body": [drop], "shortcut": [drop]},
            BASE["model"][0],
            branches,
            BASE["model"][1],
        ]
    )
    still = spec.without_dropout()
    assert "0.5" not in still.model_dump_json()
    assert json.loads(still.model_dump_json()) == json.loads(spec.model_dump_json().replace('"rate":0.5', '"rate":0.0'))


def test_the_digest_is_written_down(make_spec):
    """It names results on disk: it changes only with the meaning of a spec."""
    assert make_spec().digest == "sha256:de86f4e71aa723f320f29e41655ff4f7b536ba71a23070ea9c16839d5144e53d"


OTHER: dict[str, Any] = {
    "dataset": "other",
    "input_range": (-1.0, 1.0),
    "labels": "map",
    "target": "one_hot",
    "model": [{"layer": "flatten"}, {"layer": "dense", "units": 10, "kernel_init": "he_normal"}],
    "loss": "mean_squared_error",
    "optimizer": {"name": "adam", "epsilon": 1e-7},
    "schedule": {"at": [2], "factor": 0.1},
    "augmentation": {"crop": 1},
    "task": {"kind": "anomaly", "normal": [0, 1]},
    "starts_from": "other",
    "inherits": ["dense_1"],
    "frozen": ["dense_1"],
    "l2": 1e-4,
    "batch_size": 64,
    "epochs": 2,
    "validation_fraction": 0.1,
    "early_stopping": {"patience": 3},
    "speed_alone": True,
    "data": DatasetFacts(**{**dict(MNIST), "image_shape": (8, 8, 1)}),
}
NEEDS: dict[str, dict[str, Any]] = {
    "task": {
        "target": "input",
        "loss": "mean_squared_error",
        "model": [{"layer": "flatten"}, {"layer": "dense", "units": 64}],
    },
    "inherits": {"starts_from": "other"},
    "frozen": {
        "model": [{"layer": "flatten"}, {"layer": "dense", "units": 5}, {"layer": "dense", "units": 10}],
    },
    "target": {"loss": "mean_squared_error"},
    "loss": {"target": "one_hot"},
    "early_stopping": {"validation_fraction": 0.1},
}


def test_the_digest_changes_with_every_field_that_computes(make_spec):
    assert set(OTHER) | PROSE == set(Spec.model_fields)
    digests = {name: make_spec(**{name: value, **NEEDS.get(name, {})}).digest for name, value in OTHER.items()}
    digests["early_stopping, off"] = make_spec(validation_fraction=0.2).digest
    pair = digests.pop("loss")
    assert pair == digests["target"]  # neither goes without the other
    assert len({*digests.values(), make_spec().digest}) == len(digests) + 1


def test_the_digest_does_not_change_with_prose(make_spec):
    prose = {
        "name": "other",
        "title": "t",
        "description": "d",
        "source": {"title": "s"},
        "claims": [{"metric": "test_loss", "value": 1}],
        "assumptions": [{"about": "a", "chosen": "b"}],
        "target_accuracy": 0.5,
    }
    assert {*prose, "case"} == PROSE
    assert make_spec(**prose).digest == make_spec().digest == make_spec().replace(case="c").digest


def test_the_short_form_of_a_model_and_the_long_one_are_the_same_spec(tmp_path):
    layers = [{"layer": "flatten"}, {"layer": "dense", "units": 7}, {"layer": "relu"}, {"layer": "dense", "units": 10}]
    (short,) = load(tmp_path, {**BASE, "model": {"mlp": {"hidden": [7]}}})
    (long,) = load(tmp_path, {**BASE, "model": layers})
    assert short == long
    assert short.digest == long.digest


def test_a_case_replaces_whole_fields_and_shares_the_others(tmp_path):
    one, two = load(
        tmp_path, {**BASE, "cases": {"one": {}, "two": {"batch_size": 64, "optimizer": {"name": "rmsprop"}}}}
    )
    assert (one.id, two.id) == ("small/one", "small/two")
    assert (one.batch_size, two.batch_size) == (32, 64)
    assert (one.optimizer.name, two.optimizer.name) == ("adam", "rmsprop")
    assert one.model == two.model
    assert one.digest != two.digest


@pytest.mark.parametrize("path", CATALOGUE, ids=lambda path: path.stem)
def test_every_benchmark_loads_and_survives_json(path):
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=../spec.schema.json\n")
    for spec in loading.load(path, describe):
        again = Spec.model_validate_json(spec.model_dump_json())
        assert again == spec
        assert again.digest == spec.digest


def test_the_catalogue_has_distinct_benchmarks():
    found = [spec for path in CATALOGUE for spec in loading.load(path, describe)]
    assert len({spec.id for spec in found}) == len({spec.digest for spec in found}) == len(found) >= 5


def test_the_two_published_recipes_are_those_of_their_source():
    tf, torch = loading.load(BENCHMARKS / "specs" / "mnist-mlp-128.yaml", describe)
    assert tf.parameters == torch.parameters == 101_770
    assert (tf.batch_size, tf.input_range, tf.epochs) == (32, (0.0, 1.0), 5)
    assert (torch.batch_size, torch.input_range, torch.epochs) == (64, (-1.0, 1.0), 5)
    assert [(c.metric, c.value, c.to) for c in tf.claims] == [
        ("test_accuracy", 0.9735, None),
        ("seconds_per_epoch", 4, 10),
    ]
    assert [(c.metric, c.value) for c in torch.claims] == [("test_accuracy", 0.9711)]


def test_the_stored_schema_is_fresh():
    """`python -m suite schema > benchmarks/spec.schema.json` makes it anew."""
    stored = json.loads((BENCHMARKS / "spec.schema.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(specs.json_schema()))


def test_the_schema_accepts_the_catalogue_and_refuses_a_misspelt_field():
    jsonschema = pytest.importorskip("jsonschema")
    check = jsonschema.Draft202012Validator(specs.json_schema())
    for path in CATALOGUE:
        assert [error.message for error in check.iter_errors(read_yaml(path))] == []
    for wrong in ({**BASE, "epoch": 1}, {"name": "a"}, {**BASE, "cases": {"a": {"name": "b"}}}):
        assert not check.is_valid(wrong)
