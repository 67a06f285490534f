"""What a porter writes, and what the suite says of it: words of Keras, PyTorch, JAX's libraries and ONNX, by place.

A word is another name of something that the suite has (``Synonym``), or of something that it has not (``Gap``), and
then what comes nearest is told, and how it differs.  No word stands in a table that means something in its place here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from suite.spec.vocabulary.elsewhere import (
    DATASETS,
    DEVICES,
    INFERENCE_OPTIONS,
    METRICS,
    MODES,
    MONITORS,
    RUNNERS,
    TARGETS,
    TASKS,
)
from suite.spec.vocabulary.fields import FIELDS
from suite.spec.vocabulary.layers import LAYERS, PADDINGS
from suite.spec.vocabulary.training import INITIALISERS, LOSSES, OPTIMIZERS, SCHEDULES
from suite.spec.vocabulary.words import Table


class Place(StrEnum):
    """What a word would be the name of, as a sentence has it."""

    LAYER = "layer"
    PADDING = "padding"
    OPTIMIZER = "optimizer"
    LOSS = "loss"
    INITIALISER = "initialiser"
    SCHEDULE = "schedule"
    TASK = "task"
    TARGET = "target"
    MONITOR = "quantity to watch"
    METRIC = "metric of a claim"
    DATASET = "data set"
    RUNNER = "runner"
    MODE = "mode"
    DEVICE = "device"
    INFERENCE_OPTION = "inference option"


VALUES: Mapping[Place, Table] = MappingProxyType(
    {
        Place.LAYER: LAYERS,
        Place.PADDING: PADDINGS,
        Place.OPTIMIZER: OPTIMIZERS,
        Place.LOSS: LOSSES,
        Place.INITIALISER: INITIALISERS,
        Place.SCHEDULE: SCHEDULES,
        Place.TASK: TASKS,
        Place.TARGET: TARGETS,
        Place.MONITOR: MONITORS,
        Place.METRIC: METRICS,
        Place.DATASET: DATASETS,
        Place.RUNNER: RUNNERS,
        Place.MODE: MODES,
        Place.DEVICE: DEVICES,
        Place.INFERENCE_OPTION: INFERENCE_OPTIONS,
    }
)
TERMS = frozenset(term for one in (*VALUES.values(), *FIELDS.values()) for term in one)
"""The keys of all words of others: none of them is a typing error."""
