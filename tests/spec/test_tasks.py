"""Tasks, augmentation and schedules: what they take, and what they refuse by the name of its field."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from suite.spec.recipe import Augmentation, Schedule
from suite.spec.tasks.anomaly import Anomaly
from suite.spec.tasks.classification import Classification
from suite.spec.tasks.detection import Detection
from suite.spec.tasks.embedding import WIDEST_WINDOW, WordEmbedding
from suite.spec.tasks.found import AnyTask
from suite.spec.tasks.reconstruction import Reconstruction
from suite.spec.tensors import Frozen
from suite.spec.validation import problems


class Model(Frozen):
    task: AnyTask | None = None
    augmentation: Augmentation | None = None
    schedule: Schedule | None = None


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"kind": "classification"}, Classification),
        ({"kind": "reconstruction"}, Reconstruction),
        ({"kind": "anomaly", "normal": [0, 2]}, Anomaly),
        ({"kind": "embedding", "window": 2}, WordEmbedding),
        ({"kind": "detection", "canvas": 56}, Detection),
    ],
)
def test_a_tasks_kind_says_what_it_is(fields, kind):
    assert type(TypeAdapter(AnyTask).validate_json(json.dumps(fields))) is kind


def test_defaults_are_those_stated():
    assert Anomaly(kind="anomaly", normal=(1,)).quantile == 0.95
    assert Detection(kind="detection", canvas=9).box_weight == 1.0
    words = WordEmbedding(kind="embedding", window=1)
    assert (words.negatives, words.neighbours, words.analogies) == (0, (), ())
    flipped = Augmentation(flip=True)
    assert (flipped.crop, flipped.flip) == (0, True)
    assert Augmentation(crop=4).flip is False


REFUSED = {
    '{"task": {"kind": "anomoly"}}': ("task.kind", "the text 'anomoly' is not known; did you mean anomaly?"),
    '{"task": {"kind": "anomaly"}}': ("task.normal", "is missing"),
    '{"task": {"kind": "anomaly", "normal": []}}': ("task.normal", "must have at least 1 of them, not 0"),
    '{"task": {"kind": "anomaly", "normal": [0, 1.5]}}': (
        "task.normal[1]",
        "must be a class as the labels have it: a whole number, or a text of at most 64 letters",
    ),
    '{"task": {"kind": "anomaly", "normal": [true]}}': (
        "task.normal[0]",
        "must be a class as the labels have it: a whole number, or a text of at most 64 letters",
    ),
    '{"task": {"kind": "anomaly", "normal": [0], "quantile": 1}}': ("task.quantile", "must be below 1, not 1"),
    '{"task": {"kind": "embedding", "window": 0}}': ("task.window", "must be at least 1, not 0"),
    f'{{"task": {{"kind": "embedding", "window": {WIDEST_WINDOW + 1}}}}}': ("task.window", "must be at most 4, not 5"),
    '{"task": {"kind": "embedding", "window": 1, "negatives": -1}}': ("task.negatives", "must be at least 0, not -1"),
    '{"task": {"kind": "embedding", "window": 1, "analogies": [["a", "b", "c"]]}}': (
        "task.analogies[0][3]",
        "is missing",
    ),
    '{"task": {"kind": "embedding", "window": 1, "neighbours": [3]}}': ("task.neighbours[0]", "must be text, not 3"),
    '{"task": {"kind": "detection"}}': ("task.canvas", "is missing"),
    '{"task": {"kind": "detection", "canvas": 9, "box_weight": 0}}': ("task.box_weight", "must be above 0, not 0"),
    '{"augmentation": {}}': ("augmentation", "changes nothing"),
    '{"augmentation": {"crop": 0, "flip": false}}': ("augmentation", "changes nothing"),
    '{"augmentation": {"crop": -1}}': ("augmentation.crop", "must be at least 0, not -1"),
    '{"augmentation": {"flop": true}}': ("augmentation.flop", "there is no such field; did you mean flip?"),
    '{"schedule": {"at": [], "factor": 0.1}}': ("schedule.at", "must have at least 1 of them, not 0"),
    '{"schedule": {"at": [0], "factor": 0.1}}': ("schedule.at[0]", "must be above 0, not 0"),
    '{"schedule": {"at": [3, 2], "factor": 0.1}}': ("schedule.at", "must rise"),
    '{"schedule": {"at": [2, 2], "factor": 0.1}}': ("schedule.at", "must rise"),
    '{"schedule": {"at": [2], "factor": 1}}': ("schedule.factor", "must be below 1, not 1"),
    '{"schedule": {"at": [2], "factor": 0}}': ("schedule.factor", "must be above 0, not 0"),
}


@pytest.mark.parametrize(("text", "wanted"), REFUSED.items(), ids=REFUSED)
def test_what_makes_no_sense_is_refused_by_the_name_of_its_field(text, wanted):
    with pytest.raises(ValidationError) as caught:
        Model.model_validate_json(text)
    (problem,) = problems(Model, caught.value)
    assert (problem.field, problem.what) == wanted


def test_an_augmentation_that_changes_nothing_is_told_the_way_out():
    with pytest.raises(ValidationError) as caught:
        Model.model_validate_json('{"augmentation": {"crop": 0}}')
    assert problems(Model, caught.value)[0].way_out == "State crop or flip, or drop it."


def test_a_schedule_may_have_several_steps():
    assert Schedule(at=(1, 2, 30), factor=0.5).at == (1, 2, 30)
