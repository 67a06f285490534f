"""What outputs are worth, by task: with a program whose outputs are given, split by split."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from suite.inputs import examples, initial
from suite.inputs.examples import Examples
from suite.metrics import evaluate
from suite.results.records import Scores
from suite.runners.base import Array
from suite.runners.null import runner as null
from suite.spec.resolved import Spec
from suite.spec.tasks.anomaly import AnomalyMetrics
from suite.spec.tasks.classification import ClassificationMetrics
from suite.spec.tasks.detection import DetectionMetrics
from suite.spec.tasks.embedding import EmbeddingMetrics, embedded
from tests.inputs.test_examples import TEXT, arrays, facts, model

MakeSpec = Callable[..., Spec]
RANDOM = np.random.default_rng(3)


class Given(null.Program):
    """Puts out what it is told, and notes what it is asked for."""

    def __init__(self, spec: Spec, outputs: dict[str, Array]) -> None:
        super().__init__(spec, "float32")
        self.outputs, self.asked = outputs, list[str]()

    def predict(self, split: str, batch_size: int) -> Array:
        self.asked.append(split)
        return self.outputs[split]


def random_outputs(spec: Spec, held: Examples) -> dict[str, Array]:
    output = spec.graph[-1].output
    return {name: RANDOM.normal(size=(held.count(name), *output)).astype(np.float32) for name in held.names}


def judged(spec: Spec, held: Examples, outputs: dict[str, Array]) -> tuple[dict[str, Scores], Any, list[str]]:
    program = Given(spec, outputs)
    return *evaluate.judged(program, spec, held, initial.weights(spec, 0)), program.asked


def test_every_split_is_scored_once_and_classes_are_counted_over_the_test_split(make_spec: MakeSpec) -> None:
    spec = make_spec(data=facts(), validation_fraction=0.2)
    held = Examples(spec, 0, arrays(spec.data))
    outputs = random_outputs(spec, held)
    scores, found, asked = judged(spec, held, outputs)
    assert asked == ["train", "validation", "test"] == list(scores)
    for name in scores:
        right = (outputs[name].argmax(axis=1) == held.labels(name)).mean()
        assert scores[name].accuracy == pytest.approx(right, rel=1e-12)
        assert scores[name] == evaluate.evaluate(Given(spec, outputs), spec, held, name, initial.weights(spec, 0))
    assert isinstance(found, ClassificationMetrics)
    expected = confusion_matrix(held.labels("test"), outputs["test"].argmax(axis=1), labels=range(10))
    assert np.array(found.confusion).tolist() == expected.tolist()


def test_a_reconstruction_is_worth_its_loss(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "PART", 1000)
    spec = make_spec(data=facts(), target="input", loss="mean_squared_error", model=model(60))
    held = Examples(spec, 0, arrays(spec.data))
    outputs = random_outputs(spec, held)
    scores, found, _ = judged(spec, held, outputs)
    images = held.split("test").images.reshape(80, 60).astype(np.float64)
    assert scores["test"].loss == pytest.approx(np.square(outputs["test"] - images).mean(), rel=1e-12)
    assert (scores["test"].accuracy, found) == (None, None)


def test_an_anomaly_is_told_by_the_errors_of_the_training_images(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "PART", 1000)
    made = arrays(facts())
    counts = tuple(np.bincount(made.train_labels, minlength=10).tolist())
    made = replace(made, facts=made.facts.model_copy(update={"train_counts": counts}))
    task = {"kind": "anomaly", "normal": [0, 1, 2, 3], "quantile": 0.8}
    spec = make_spec(data=made.facts, target="input", loss="mean_squared_error", model=model(60), task=task)
    held = Examples(spec, 0, made)
    outputs = random_outputs(spec, held)
    _, found, _ = judged(spec, held, outputs)
    assert isinstance(found, AnomalyMetrics)
    errors = {
        name: np.square(outputs[name].astype(np.float64) - held.split(name).targets).mean(axis=1)
        for name in ("train", "test")
    }
    anomalous = held.labels("test") > 3
    assert found.threshold == pytest.approx(np.quantile(errors["train"], 0.8), rel=1e-12)
    assert found.auroc == pytest.approx(roc_auc_score(anomalous, errors["test"]), rel=1e-12)
    assert sum(found.normal) + sum(found.anomalous) == 80


def test_boxes_are_judged_against_their_own(make_spec: MakeSpec) -> None:
    task = {"kind": "detection", "canvas": 9}
    spec = make_spec(data=facts(), target="boxes", loss="detection", model=model(14), task=task)
    held = Examples(spec, 0, arrays(spec.data))
    outputs = random_outputs(spec, held)
    targets = held.split("test").targets
    outputs["test"][:, :10] = np.eye(10)[targets[:, 0].astype(int)]
    outputs["test"][:, 10:] = targets[:, 1:]
    scores, found, _ = judged(spec, held, outputs)
    assert isinstance(found, DetectionMetrics)
    assert (found.accuracy, found.ap50, scores["test"].accuracy) == (1, 1, 1)
    assert found.mean_iou == pytest.approx(1)


def test_words_are_judged_by_their_vectors_and_a_sample_says_how_many(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "WIDE", 49)
    monkeypatch.setattr(examples, "JUDGED", 50)
    words = ("<other>", *(f"word{i}" for i in range(1, 50)))
    layers = model(50, {"layer": "embedding", "vocabulary": 50, "units": 4})
    task = {"kind": "embedding", "window": 2, "neighbours": ["word7", "nobody"]}
    spec = make_spec(data=TEXT, model=layers, task=task)
    held = Examples(spec, 0, replace(arrays(TEXT), words=words))
    scores, found, asked = judged(spec, held, random_outputs(spec, held))
    assert asked == ["sample", "test"]
    assert {name: each.images for name, each in scores.items()} == {"train": 50, "test": 50}
    assert found == embedded(spec.task, initial.weights(spec, 0)["embedding_1/embedding"], words)
    assert isinstance(found, EmbeddingMetrics)
    assert [len(each.near) for each in found.neighbours] == [8, 0]
