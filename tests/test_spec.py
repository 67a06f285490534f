import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite import spec as specs
from suite.data import describe
from suite.errors import DataError, SpecError
from suite.spec import PROSE, DatasetFacts, Spec

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CATALOGUE = sorted((BENCHMARKS / "specs").glob("*.yaml"))
MNIST = DatasetFacts(
    name="mnist", image_shape=(28, 28, 1), classes=10, train=60_000, test=10_000, max_value=255, digest="sha256:1"
)
BASE = {
    "name": "small",
    "dataset": "digits",
    "model": [{"layer": "flatten"}, {"layer": "dense", "units": 10}],
    "optimizer": {"name": "adam"},
    "batch_size": 32,
    "epochs": 1,
}


def load(folder: Path, fields: object) -> tuple[Spec, ...]:
    """Load ``fields`` from a file; JSON is YAML."""
    path = folder / "it.yaml"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return specs.load(path, describe)


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


DENSE = {"layer": "dense", "units": 10}
NORM = {"layer": "batch_norm"}


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
    spec = make_spec(model=[drop, {"layer": "residual", "body": [drop], "shortcut": [drop]}, *BASE["model"]])
    still = spec.without_dropout()
    assert "0.5" not in still.model_dump_json()
    assert json.loads(still.model_dump_json()) == json.loads(spec.model_dump_json().replace('"rate":0.5', '"rate":0.0'))


def test_the_digest_is_written_down(make_spec):
    """It names results on disk: it changes only with the meaning of a spec."""
    assert make_spec().digest == "sha256:de86f4e71aa723f320f29e41655ff4f7b536ba71a23070ea9c16839d5144e53d"


OTHER: dict[str, Any] = {
    "dataset": "other",
    "input_range": (-1.0, 1.0),
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


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"batchsize": 3}, "batchsize: there is no such field; did you mean batch_size?"),
    ({"epochs": "ten"}, "epochs: must be a whole number, not the text 'ten'"),
    ({"dataset": "mnits"}, "dataset: no data set is called 'mnits'"),
    ({"model": 5}, "model: must be a list or a mapping of fields, not 5"),
    ({"model": []}, "model: must have at least 1 of them, not 0"),
    ({"model": [{"layer": "dense", "units": 10}]}, "model[0]: dense takes (features,), but is given (8, 8, 1)"),
    ({"model": {"mlp": {"hiden": [5]}}}, "model.mlp.hiden: there is no such field; did you mean hidden?"),
    ({"model": {"mlp": {"hidden": [2_000_000_000]}}}, "model.mlp: (64, 2000000000) has 128,000,000,000 elements"),
    ({"name": "A b"}, "name: must be lower-case letters and digits, joined by single dashes or dots"),
    ({"cases": []}, "cases: must map the name of each case"),
    ({"cases": {}}, "cases: must map the name of each case"),
    ({"cases": {"A": {}}}, "cases.A: a case's name must be lower-case"),
    ({"cases": {"a": 3}}, "cases.a: must map fields to the values"),
    ({"cases": {"a": {"name": "b"}}}, "cases.a.name: a case cannot rename its spec"),
    ({"cases": {"a": {"case": "b"}}}, "cases.a.case: there is no such field"),
    ({"cases": {"a": {"epochs": 0}}}, "cases.a.epochs: must be above 0, not 0"),
    ({"epochs": 0, "cases": {"a": {}}}, "it.yaml: epochs: must be above 0, not 0"),
    ({"cases": {"a": {"model": [{"layer": "relu"}]}}}, "cases.a.model: ends in (8, 8, 1)"),
    (
        {"assumptions": [{"about": "x", "chosen": "y", "alternative": "z"}]},
        "assumptions[0].alternative: there is no case z",
    ),
    (
        {"cases": {"a": {"assumptions": [{"about": "x", "chosen": "y", "alternative": "z"}]}}},
        "cases.a.assumptions[0].alternative: there is no case z",
    ),
]


@pytest.mark.parametrize(("fields", "says"), MISTAKES, ids=[says for _, says in MISTAKES])
def test_a_mistake_is_refused_with_file_and_field_in_plain_words(tmp_path, fields, says):
    with pytest.raises(SpecError) as caught:
        load(tmp_path, {**BASE, **fields})
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "it.yaml"))
    assert says in message
    assert not any(jargon in message for jargon in ("Input", "Tuple", "pydantic", "tag ", "validation error"))


def test_a_data_set_that_cannot_be_had_is_named_with_the_file(tmp_path):
    def broken(name: str) -> DatasetFacts:
        raise DataError("is damaged", where="mine.npz", way_out="Make it again.")

    path = tmp_path / "it.yaml"
    path.write_text(json.dumps(BASE))
    with pytest.raises(SpecError) as caught:
        specs.load(path, broken)
    assert str(caught.value) == f"{path}: dataset: mine.npz: is damaged\n  Make it again."


@pytest.mark.parametrize("path", CATALOGUE, ids=lambda path: path.stem)
def test_every_benchmark_loads_and_survives_json(path):
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=../spec.schema.json\n")
    for spec in specs.load(path, describe):
        again = Spec.model_validate_json(spec.model_dump_json())
        assert again == spec
        assert again.digest == spec.digest


def test_the_catalogue_has_distinct_benchmarks():
    found = [spec for path in CATALOGUE for spec in specs.load(path, describe)]
    assert len({spec.id for spec in found}) == len({spec.digest for spec in found}) == len(found) >= 5


def test_the_two_published_recipes_are_those_of_their_source():
    tf, torch = specs.load(BENCHMARKS / "specs" / "mnist-mlp-128.yaml", describe)
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
        assert [error.message for error in check.iter_errors(specs.read_yaml(path))] == []
    for wrong in ({**BASE, "epoch": 1}, {"name": "a"}, {**BASE, "cases": {"a": {"name": "b"}}}):
        assert not check.is_valid(wrong)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([*BASE, "dense", "layer"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def mutations(draw: st.DrawFn) -> object:
    """A valid spec with a few of its values, at any depth, replaced, dropped or doubled."""
    model = [*BASE["model"][:1], {"layer": "residual", "body": [{"layer": "relu"}]}, *BASE["model"][1:]]
    fields = json.loads(
        json.dumps({**BASE, "model": model, "input_range": [0, 1], "cases": {"a": {"epochs": 2}, "b": {}}})
    )
    for _ in range(draw(st.integers(0, 3))):
        at: Any = fields
        while True:
            steps = list(at) if isinstance(at, dict) else range(len(at))
            if not steps:
                break
            step = draw(st.sampled_from(list(steps)))
            if isinstance(at[step], dict | list) and draw(st.booleans()):
                at = at[step]
                continue
            match draw(st.sampled_from(["replace", "drop", "add"])):
                case "replace":
                    at[step] = draw(VALUES)
                case "drop":
                    del at[step]
                case _ if isinstance(at, dict):
                    at[draw(st.sampled_from(["l2", "claims", "layer", "units", "mlp", "x"]))] = draw(VALUES)
                case _:
                    at.append(draw(VALUES))
            break
    return fields


@settings(deadline=None, max_examples=150)
@given(fields=mutations())
def test_a_mutated_spec_loads_whole_or_is_refused(tmp_path_factory, fields):
    try:
        found = load(tmp_path_factory.getbasetemp(), fields)
    except SpecError:
        return
    for spec in found:
        again = Spec.model_validate_json(spec.model_dump_json())
        assert again == spec
        assert again.digest == spec.digest


@settings(deadline=None, max_examples=100)
@given(fields=VALUES)
def test_anything_else_is_refused(tmp_path_factory, fields):
    with pytest.raises(SpecError):
        load(tmp_path_factory.getbasetemp(), fields)
