"""Every message names the field as its author wrote it, and speaks no pydantic."""

from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from suite.layers import Frozen, Layer, MisfitError
from suite.problems import MOST, Problem, closest, join, problems
from suite.recipe import Optimizer


class Model(Frozen):
    layers: tuple[Layer, ...] = ()
    optimizer: Optimizer | None = None
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
        "the text 'glorot' is not known; did you mean glorot_normal?",
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
    assert "layers, optimizer, share" in found('{"zzz": 1}')[0].way_out


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


def test_the_closest_name_is_found_and_a_stranger_has_none():
    assert closest("dens", ["dense", "dropout"]) == "dense"
    assert closest("qqq", ["dense", "dropout"]) is None
