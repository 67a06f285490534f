"""Every message names the field as its author wrote it, and speaks no pydantic."""

from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from suite.spec.graph import Layer
from suite.spec.recipe import EarlyStopping, Optimizer, Schedule
from suite.spec.schema import join
from suite.spec.targets import Loss
from suite.spec.tensors import Frozen, MisfitError
from suite.spec.validation import MOST, Problem, problems


class Model(Frozen):
    layers: tuple[Layer, ...] = ()
    optimizer: Optimizer | None = None
    loss: Loss = Loss.DETECTION
    schedule: Schedule | None = None
    early_stopping: EarlyStopping | None = None
    share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    name: str = ""
    words: Annotated[dict[str, int], Field(default_factory=dict)]
    few: Annotated[tuple[int, ...], Field(min_length=1, max_length=2)] = (1,)
    flag: bool = False
    pair: tuple[int, int] = (1, 2)


def found(text: str) -> list[Problem]:
    with pytest.raises(ValidationError) as caught:
        Model.model_validate_json(text)
    return list(problems(Model, caught.value))


CASES = {
    '{"nam": "x"}': ("nam", "there is no such field; did you mean name?"),
    '{"name": 3}': ("name", "must be text, not 3"),
    '{"name": null}': ("name", "must be text, not empty"),
    '{"flag": "yes"}': ("flag", "must be true or false, not the text 'yes'"),
    '{"share": true}': ("share", "must be a number, not true"),
    '{"share": 1}': ("share", "must be below 1, not 1"),
    '{"share": -0.5}': ("share", "must be at least 0, not -0.5"),
    '{"few": []}': ("few", "must have at least 1 of them, not 0"),
    '{"few": [1, 2, 3]}': ("few", "must have at most 2 of them, not 3"),
    '{"few": 1}': ("few", "must be a list, not 1"),
    '{"few": [1, 2.5]}': ("few[1]", "must be a whole number, not 2.5"),
    '{"pair": [1]}': ("pair[1]", "is missing"),
    '{"words": {"a": "b"}}': ("words.a", "must be a whole number, not the text 'b'"),
    '{"words": []}': ("words", "must be a mapping, not a list"),
    '{"layers": ["relu"]}': ("layers[0]", "must be a mapping of fields, not the text 'relu'"),
    '{"layers": [{"layer": "dens"}]}': ("layers[0].layer", "the text 'dens' is not known; did you mean dense?"),
    '{"layers": [{"layer": 5}]}': ("layers[0].layer", "5 is not known"),
    '{"layers": [{"units": 5}]}': ("layers[0].layer", "is missing"),
    '{"layers": [{"layer": "dense"}]}': ("layers[0].units", "is missing"),
    '{"layers": [{"layer": "dense", "units": 5, "dense": 1}]}': ("layers[0].dense", "there is no such field"),
    '{"layers": [{"layer": "dense", "units": 5, "kernel_init": "glorot"}]}': (
        "layers[0].kernel_init",
        "the suite has no initialiser glorot",
    ),
    '{"layers": [{"layer": "max_pool", "window": [2, 0]}]}': (
        "layers[0].window",
        "must be one whole number above 0, or two: [height, width]",
    ),
    '{"layers": [{"layer": "residual", "body": [{"layer": "dropout", "rate": 1}]}]}': (
        "layers[0].body[0].rate",
        "must be below 1, not 1",
    ),
    '{"layers": [{"layer": "max_pool", "window": 2, "padding": "full"}]}': (
        "layers[0].padding",
        "must be valid, same, or the rows and columns added on either side",
    ),
    '{"layers": [{"layer": "conv2d", "filters": 1, "kernel": 3, "padding": [1, -1]}]}': (
        "layers[0].padding",
        "must be valid, same, or the rows and columns added on either side",
    ),
    '{"layers": [{"layer": "max_pool", "window": 3, "padding": 2}]}': (
        "layers[0].padding",
        "must be at most half of the window, or one would hold nothing else",
    ),
    '{"layers": [{"layer": "concat", "branches": [[{"layer": "relu"}], []]}]}': (
        "layers[0].branches[1]",
        "must have at least 1 of them, not 0",
    ),
    '{"layers": [{"layer": "concat", "branches": [[{"layer": "relu"}], [{"layer": "dens"}]]}]}': (
        "layers[0].branches[1][0].layer",
        "the text 'dens' is not known; did you mean dense?",
    ),
    '{"layers": [{"layer": "embedding", "units": 4}]}': ("layers[0].vocabulary", "is missing"),
    '{"optimizer": "adam"}': ("optimizer", "must be a mapping of fields, not the text 'adam'"),
    '{"optimizer": {"name": "sgd", "learning_rate": 1, "nesterov": true}}': (
        "optimizer.nesterov",
        "needs a momentum above 0",
    ),
    '{"optimizer": {"name": "sgd", "learning_rat": 0.1}}': (
        "optimizer.learning_rat",
        "there is no such field; did you mean learning_rate?",
    ),
}


@pytest.mark.parametrize(("text", "wanted"), CASES.items(), ids=CASES)
def test_one_mistake_makes_one_problem_in_plain_words(text, wanted):
    (problem,) = found(text)
    assert (problem.field, problem.what) == wanted


def test_a_way_out_is_offered_where_one_is_known():
    assert found('{"layers": ["relu"]}')[0].way_out == "Write `layer: relu`."
    assert found('{"layers": [[]]}')[0].way_out == "Begin with `layer:`."
    assert found('{"optimizer": {"name": "zzz"}}')[0].way_out == "There are: adam, rmsprop, sgd."
    assert "layers, optimizer, loss" in found('{"zzz": 1}')[0].way_out


def test_several_mistakes_are_listed_but_not_without_end():
    assert [p.field for p in found('{"name": 1, "flag": 1}')] == ["name", "flag"]
    assert len(found('{"layers": [1, 2, 3, 4, 5, 6, 7, 8]}')) == MOST


class Waiting(Frozen):
    kind: int
    size: int = Field(default_factory=lambda given: given["kind"])


def test_a_default_that_waits_for_a_wrong_field_is_no_problem_of_its_own():
    with pytest.raises(ValidationError) as caught:
        Waiting.model_validate_json('{"kind": "x"}')
    assert [problem.field for problem in problems(Waiting, caught.value)] == ["kind"]


def test_a_long_text_is_shown_in_part():
    (problem,) = found('{"flag": "' + "x" * 1000 + '"}')
    assert len(problem.what) < 100


def test_a_misfit_is_a_value_error_that_knows_its_field():
    assert str(MisfitError("is wrong", "model[0]")) == "model[0]: is wrong"
    with pytest.raises(ValidationError):
        TypeAdapter(Layer).validate_python({"layer": "max_pool", "window": "x"})


def test_fields_are_joined_as_they_are_written():
    assert [join("a", "b"), join("a", "[0]"), join("", "b"), join("a", "")] == ["a.b", "a[0]", "b", "a"]


LAYER = '{"layers": [%s]}'
OPTIMIZER = '{"optimizer": %s}'
WORDS = {
    # A gap is called a gap: what is nearest, how it differs, and what there is.
    LAYER % '{"layer": "gelu"}': ("the suite has no layer gelu", "Nearest is relu", "There are: average_pool,"),
    LAYER % '{"layer": "conv1d", "filters": 8}': ("the suite has no layer conv1d", "Nearest is conv2d", "There are:"),
    LAYER % '{"layer": "nn.LayerNorm"}': ("the suite has no layer nn.LayerNorm", "over its features", "There are:"),
    OPTIMIZER % '{"name": "AdamW"}': (
        "the suite has no optimizer AdamW",
        "apart from Adam's step",
        "adam, rmsprop, sgd.",
    ),
    OPTIMIZER % '"adamw"': (
        "must be a mapping of fields, not the text 'adamw'",
        "Begin with `name:`.",
        "Nearest is adam",
    ),
    OPTIMIZER % '{"name": "adam", "amsgrad": true}': (
        "there is no such field",
        "the largest so far",
        "There are: name,",
    ),
    OPTIMIZER % '{"name": "adam", "weight_decay": 0.1}': (
        "there is no such field",
        "a weight decay of 2 * l2",
        "beta_1",
    ),
    '{"loss": "mean_absolute_error"}': ("the suite has no loss mean_absolute_error", "absolute values", "There are:"),
    '{"loss": {"name": "huber"}}': ("a mapping is not known: it is one word", "grows with the error", "There are:"),
    LAYER % '{"layer": "dense", "units": 1, "kernel_init": {"name": "normal", "std": 1}}': (
        "a mapping is not known: it is one word",
        "none takes a standard deviation",
        "fan_in_uniform.",
    ),
    LAYER % '{"layer": "max_pool", "window": 2, "padding": "reflect"}': (
        "must be valid, same",
        "the image's own values",
    ),
    LAYER % '{"layer": "batch_norm", "scale": false}': (
        "there is no such field",
        "Every batch_norm",
        "momentum, epsilon, running_variance.",
    ),
    # The same by another name.
    OPTIMIZER % '{"name": "adam", "lr": 0.1}': (
        "there is no such field: it is called learning_rate here",
        "There are:",
    ),
    OPTIMIZER % '{"name": "sgd", "lr": 0.1}': ("there is no such field: it is called learning_rate here", "There are:"),
    LAYER % '{"layer": "nn.Linear", "out_features": 3}': (
        "nn.Linear is called dense here",
        "It takes units",
        "There are:",
    ),
    LAYER % '{"layer": "dense", "out_features": 3}': ("there is no such field: it is called units here", "There are:"),
    LAYER % '{"layer": "conv2d", "kernel_size": 3, "filters": 3}': ("it is called kernel here", "There are:"),
    LAYER % '{"layer": "batch_norm", "unbiased": false}': (
        "it is called running_variance here",
        "or biased, as in Keras",
    ),
    LAYER % '{"layer": "average_pool", "window": 2, "count_include_pad": true}': (
        "it is called count_padding here",
        "false unless stated",
    ),
    OPTIMIZER % '{"name": "rmsprop", "epsilon_inside_sqrt": true}': (
        "it is called epsilon_place here",
        "or inside_root, as in TensorFlow",
    ),
    OPTIMIZER % '{"name": "adam", "eps_in_sqrt": true}': ("there is no such field", "Nearest is epsilon_place"),
    '{"early_stopping": {"patience": 1, "monitor": "val_loss"}}': (
        "val_loss is called validation_loss here",
        "There are:",
    ),
    # A field that belongs elsewhere.
    '{"learning_rate": 0.1}': ("there is no such field here; it belongs to adam, rmsprop, sgd", "There are: layers,"),
    OPTIMIZER % '{"name": "adam", "share": 0.1}': (
        "there is no such field here; it belongs to the whole",
        "There are:",
    ),
    # What is beyond a bound, or left out.
    '{"schedule": {"at": [3], "factor": 10}}': ("must be below 1, not 10", "has the factor 0.1", "no warm-up"),
    OPTIMIZER % '{"name": "sgd"}': ("is missing", "Add it. Keras' SGD takes 0.01", "PyTorch's 0.001"),
    '{"schedule": "cosine"}': ("must be a mapping of fields, not the text 'cosine'", "none follows a cosine"),
    # A typing error is one, and the list is there as well.
    LAYER % '{"layer": "desne"}': ("the text 'desne' is not known; did you mean dense?", "There are: average_pool,"),
    '{"shaer": 0.1}': ("there is no such field; did you mean share?", "There are: layers,"),
}


@pytest.mark.parametrize(("text", "said"), WORDS.items(), ids=WORDS)
def test_a_foreign_word_is_called_what_it_is(text, said):
    (problem,) = found(text)
    told = f"{problem.what}\n{problem.way_out}"
    assert [part for part in said if part not in told] == []
    assert ("did you mean" in told) == ("did you mean" in said[0])


def test_what_another_kind_of_schedule_has_is_no_reason_to_ask_for_this_ones_fields():
    cosine = found('{"schedule": {"kind": "cosine", "warmup": 5}}')
    assert [p.field for p in cosine] == ["schedule.kind", "schedule.warmup"]
    assert cosine[0].what == "the suite has no schedule cosine"
    plateau = found('{"schedule": {"monitor": "validation_loss", "patience": 3, "factor": 0.1}}')
    assert [p.field for p in plateau] == ["schedule.monitor", "schedule.patience"]
    assert [p.field for p in found('{"schedule": {"factr": 0.1}}')] == ["schedule.at", "schedule.factr"]
