"""A mistake in a spec file is refused with the file, the field and the way out; it is never a traceback."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.errors import DataError, SpecError
from suite.spec import loading
from suite.spec.dataset import DatasetFacts
from suite.spec.resolved import Spec
from tests.support.kinds import ANOMALY, BASE, DENSE, DETECTION, NEGATIVES, WORDS, load

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
    ({"frozen": ["dense_2"]}, "frozen[0]: dense_2 is no layer with weights\n  There are: dense_1."),
    ({"frozen": ["dense_1/kernel"]}, "frozen[0]: dense_1/kernel is no layer with weights"),
    ({"frozen": ["flatten_1"]}, "frozen[0]: flatten_1 is no layer with weights"),
    ({"frozen": "dense_1"}, "frozen: must be a list, not the text 'dense_1'"),
    ({"frozen": ["dense_1"]}, "frozen: leaves nothing to train"),
    ({"inherits": ["dense_1"]}, "inherits: names layers, but there is nothing to inherit from\n  State starts_from."),
    ({"starts_from": "other", "inherits": ["dense_1", "dens_1"]}, "inherits[1]: dens_1 is no layer with weights"),
    ({"cases": {"a": {"frozen": ["x"]}}}, "cases.a.frozen[0]: x is no layer with weights"),
    (
        {"task": {"kind": "anomaly", "normal": [0]}},
        "target: labels does not go with the task anomaly\n  It takes input.",
    ),
    ({"task": {"kind": "reconstruction"}}, "target: labels does not go with the task reconstruction"),
    (
        {"task": {"kind": "detection", "canvas": 16}},
        "target: labels does not go with the task detection\n  It takes boxes.",
    ),
    ({"target": "boxes", "loss": "detection"}, "target: boxes does not go with the task classification"),
    ({**ANOMALY, "task": {"kind": "classification"}}, "target: input does not go with the task classification"),
    (
        {**ANOMALY, "task": {"kind": "anomaly", "normal": [10]}},
        "task.normal: must name some, not all, of the classes 0 to 9",
    ),
    ({**ANOMALY, "task": {"kind": "anomaly", "normal": list(range(10))}}, "task.normal: must name some, not all"),
    (
        {**ANOMALY, "task": "anomaly"},
        "task: must be a mapping of fields, not the text 'anomaly'\n  Write `kind: anomaly`.",
    ),
    ({**DETECTION, "task": {"kind": "detection", "canvas": 7}}, "task.canvas: is smaller than the images of digits"),
    ({**DETECTION, "loss": "mean_squared_error"}, "loss: mean_squared_error does not go with target boxes"),
    (
        {**DETECTION, "model": BASE["model"]},
        "model: ends in (10,), but detection against the boxes of digits needs (14,)",
    ),
    ({"loss": "detection"}, "loss: detection does not go with target labels"),
    ({**WORDS, "dataset": "digits"}, "dataset: digits holds images, and the task is embedding"),
    ({**ANOMALY, "dataset": "words"}, "dataset: words holds words, and the task is anomaly"),
    ({**WORDS, "model": [{"layer": "dense", "units": 50}]}, "model: begins with dense, but words holds words"),
    (
        {**WORDS, "model": [{"layer": "embedding", "vocabulary": 49, "units": 4}, {"layer": "dense", "units": 50}]},
        "model: embedding_1 looks up 49 words, but words holds 50 words",
    ),
    (
        {"model": [{"layer": "flatten"}, {"layer": "embedding", "vocabulary": 9, "units": 10}]},
        "model: embedding_1 looks up 9 words, but digits holds images",
    ),
    (
        {**WORDS, "target": "first", "loss": "sigmoid_cross_entropy"},
        "target: first does not go with the task embedding",
    ),
    ({**NEGATIVES, "target": "labels"}, "loss: sigmoid_cross_entropy does not go with target labels"),
    ({**NEGATIVES, "loss": "softmax_cross_entropy"}, "loss: softmax_cross_entropy does not go with target first"),
    (
        {**NEGATIVES, "model": [{"layer": "sampled_scores", "vocabulary": 50, "units": 4, "context": 3}]},
        "model: ends in (5,), but sigmoid_cross_entropy against the first of words needs (4,)",
    ),
    (
        {**NEGATIVES, "model": [{"layer": "sampled_scores", "vocabulary": 50, "units": 4, "context": 7}]},
        "model[0]: 8 tokens leave 1 candidates behind a context of 7",
    ),
    (
        {**WORDS, "augmentation": {"crop": 1}},
        "augmentation: is for classification, and the task is embedding\n  Drop it.",
    ),
    ({**ANOMALY, "augmentation": {"flip": True}}, "augmentation: is for classification, and the task is anomaly"),
    ({"augmentation": {}}, "it.yaml: augmentation: changes nothing\n  State crop or flip, or drop it."),
    ({"schedule": {"at": [3, 2], "factor": 0.1}}, "it.yaml: schedule.at: must rise"),
    ({"model": {}}, "model: must be a list of layers, or one short form: mlp or resnet"),
    (
        {"model": {"resnet": {"blocks": [1], "classes": 9, "stem": "cifar", "stride": "first"}}},
        "model: ends in (9,), but softmax_cross_entropy against the labels of digits needs (10,)",
    ),
    (
        {"model": {"resnet": {"blocks": [1], "classes": 10, "stem": "cifar", "stride": "2x2"}}},
        "model.resnet.stride: the text '2x2' is not known\n  There are: first, 3x3.",
    ),
    (
        {"model": [{"layer": "flatten"}, {"layer": "concat", "branches": [[DENSE]]}]},
        "model[1].branches: must have at least 2 of them, not 1",
    ),
    (
        {"model": [{"layer": "concat", "branches": [[{"layer": "relu"}], [{"layer": "relu"}]]}]},
        "model[0]: its branches end in [(8, 8, 1), (8, 8, 1)]; each must end in (features,)",
    ),
    (
        {
            "model": [
                {"layer": "flatten"},
                {"layer": "concat", "branches": [[DENSE], [{"layer": "max_pool", "window": 2}]]},
            ]
        },
        "model[1].branches[1][0]: max_pool takes (height, width, channels), but is given (64,)",
    ),
]


@pytest.mark.parametrize(("fields", "says"), MISTAKES, ids=[says for _, says in MISTAKES])
def test_a_mistake_is_refused_with_file_and_field_in_plain_words(tmp_path, fields, says):
    with pytest.raises(SpecError) as caught:
        load(tmp_path, {**BASE, **fields})
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "it.yaml"))
    assert says in message
    assert not any(jargon in message for jargon in ("Input", "Tuple", "ydantic", "tag ", "validation error"))


def test_a_data_set_that_cannot_be_had_is_named_with_the_file(tmp_path):
    def broken(name: str) -> DatasetFacts:
        raise DataError("is damaged", where="mine.npz", way_out="Make it again.")

    path = tmp_path / "it.yaml"
    path.write_text(json.dumps(BASE))
    with pytest.raises(SpecError) as caught:
        loading.load(path, broken)
    assert str(caught.value) == f"{path}: dataset: mine.npz: is damaged\n  Make it again."


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
