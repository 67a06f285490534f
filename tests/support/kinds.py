"""Small specs as fields, one of each kind of task, and how to load one from a file."""

import json
from pathlib import Path
from typing import Any

from suite.data.datasets import describe
from suite.spec import loading
from suite.spec.dataset import DatasetFacts
from suite.spec.resolved import Spec

BASE: dict[str, Any] = {
    "name": "small",
    "dataset": "digits",
    "model": [{"layer": "flatten"}, {"layer": "dense", "units": 10}],
    "optimizer": {"name": "adam"},
    "batch_size": 32,
    "epochs": 1,
}
RECONSTRUCTION: dict[str, Any] = {
    "target": "input",
    "loss": "mean_squared_error",
    "model": [{"layer": "flatten"}, {"layer": "dense", "units": 64}],
}
ANOMALY: dict[str, Any] = {**RECONSTRUCTION, "task": {"kind": "anomaly", "normal": [0, 1]}}
DETECTION: dict[str, Any] = {
    "target": "boxes",
    "loss": "detection",
    "task": {"kind": "detection", "canvas": 16},
    "model": [{"layer": "flatten"}, {"layer": "dense", "units": 14}],
}
WORDS: dict[str, Any] = {
    "dataset": "words",
    "task": {"kind": "embedding", "window": 2},
    "model": [{"layer": "embedding", "vocabulary": 50, "units": 4}, {"layer": "dense", "units": 50}],
}
NEGATIVES: dict[str, Any] = {
    "dataset": "words",
    "task": {"kind": "embedding", "window": 2, "negatives": 3},
    "target": "first",
    "loss": "sigmoid_cross_entropy",
    "model": [{"layer": "sampled_scores", "vocabulary": 50, "units": 4, "context": 4}],
}
TEXT = DatasetFacts(name="words", image_shape=(8,), classes=50, train=1000, test=100, max_value=49, digest="sha256:2")
DENSE = {"layer": "dense", "units": 10}
NORM = {"layer": "batch_norm"}


def load(folder: Path, fields: object) -> tuple[Spec, ...]:
    """Load ``fields`` from a file; JSON is YAML."""
    path = folder / "it.yaml"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return loading.load(path, lambda name: TEXT if name == TEXT.name else describe(name))
