"""One benchmark, framework-neutral, frozen, with a digest.

A file holds a Recipe (what its author writes) or several, as ``cases``.  Joined with the facts of its data set a
recipe becomes a Spec: every default filled in, every shape known, nothing left to a framework (``suite.spec.loading``).
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from suite.spec import paths
from suite.spec.dataset import DatasetFacts
from suite.spec.graph import Concat, Layer, Node, graph, rebuilt, walk
from suite.spec.layers import BatchNorm, Dropout, Embedding, SampledScores
from suite.spec.recipe import Identifier, Layers, Recipe, without_later
from suite.spec.targets import Loss, Target
from suite.spec.tensors import MisfitError, Shape, Tensor

PROSE = frozenset({"name", "case", "title", "description", "source", "claims", "assumptions", "target_accuracy"})
"""Fields that say what a benchmark is about, not what is computed: no part of its digest."""
IMPLIED = frozenset({"test_counts", "labels_are", "class_names"})
"""Facts of the data that follow from their digest."""
NAMED = 10
"""Classes that a sentence names."""


class Spec(Recipe):
    """A recipe joined with the facts of its data: all that a runner needs to know, and nothing to guess."""

    case: Identifier | None = None
    data: DatasetFacts
    model: Layers

    @model_validator(mode="after")
    def _fits_its_data(self) -> Spec:
        self._suits_its_data()
        out, wanted = self.graph[-1].output, self._wanted()
        if out != wanted:
            way_out = f"Let its last dense layer have {wanted[0]} units." if len(wanted) == len(out) == 1 else ""
            raise MisfitError(
                f"ends in {out}, but {self.loss} against the {self.target} of {self.dataset} needs {wanted}",
                "model",
                " ".join([*self.cautions, way_out]).strip(),
            )
        assert self.inherited_names <= self.tensors.keys()  # or it raises
        if self.frozen and not self.trainable:
            raise MisfitError("leaves nothing to train", "frozen", "Leave a layer out of it.")
        last = self.model[-1].layer
        if (last, self.loss) in {("softmax", Loss.SOFTMAX_CROSS_ENTROPY), ("sigmoid", Loss.SIGMOID_CROSS_ENTROPY)}:
            raise MisfitError(f"ends in {last}, but {self.loss} takes logits", "model", f"Drop the last layer, {last}.")
        norms = (n for n in walk(self.graph) if isinstance(n.layer, BatchNorm) and not self.is_frozen(n))
        lone = [n for n in norms if math.prod(n.input[:-1]) == 1]
        if lone and 1 in self.batches:
            raise MisfitError(
                f"{self.batch_size} leaves a batch of one of {self.train_images:,} images, over which {lone[0].name} "
                "has no variance",
                "batch_size",
                "Choose another.",
            )
        return self

    def _suits_its_data(self) -> None:
        """Whether the task can be made of the data at all."""
        if self.data.labels_are and not self.labels:
            what = f"the labels of {self.dataset} are {self.data.labels_are}; classes are 0 to n - 1, of shape (n,)"
            way_out = (
                f"State `labels: map`: it maps them to 0 to {self.data.classes - 1} in sorted order, and reports keep "
                "their names. Or map them in the file: numpy.searchsorted(names, labels), names being numpy.unique of "
                "both parts' labels."
            )
            raise MisfitError(what, "dataset", way_out)
        holds = "words" if self.data.tokens else "images"
        if not (self.task.takes_words if self.data.tokens else self.task.takes_images):
            raise MisfitError(f"{self.dataset} holds {holds}, and the task is {self.task.kind}", "dataset")
        if self.data.tokens and not isinstance(first := self.model[0], Embedding | SampledScores | Concat):
            raise MisfitError(f"begins with {first.layer}, but {self.dataset} holds words", "model", "Embed them.")
        for node in walk(self.graph):
            known = node.layer.vocabulary if isinstance(node.layer, Embedding | SampledScores) else None
            if known is not None and not (self.data.tokens and known > self.data.max_value):
                there = f"{self.data.max_value + 1:,} {holds}" if self.data.tokens else holds
                raise MisfitError(f"{node.name} looks up {known:,} words, but {self.dataset} holds {there}", "model")
        self.task.suits(self.data, self.dataset)

    def _wanted(self) -> Shape:
        """The shape that outputs must have."""
        if self.target is Target.INPUT:
            return self.input_shape if len(self.graph[-1].output) == 3 else (math.prod(self.input_shape),)
        return (self.task.outputs(self.data),)

    @property
    def id(self) -> str:
        """``name`` or ``name/case``: how people call it."""
        return f"{self.name}/{self.case}" if self.case else self.name

    @property
    def input_shape(self) -> Shape:
        """What the model is given, without the batch: an image (h, w, c), or words (tokens,)."""
        return self.task.input_shape(self.data)

    @property
    def input_dtype(self) -> Literal["float", "tokens"]:
        """Floats in the program's precision, or int32 indices into the vocabulary."""
        return "tokens" if self.data.tokens else "float"

    @property
    def box_weight(self) -> float:
        """What the loss multiplies the error of boxes by; 1 where there are none."""
        return self.task.weight_of_boxes

    @cached_property
    def graph(self) -> tuple[Node, ...]:
        """The layers in their places, from the shape of the input."""
        return graph(self.model, self.input_shape)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Every array of the model by its canonical name, in the order in which layers run."""
        return {t.name: t for node in walk(self.graph) for t in node.tensors}

    @cached_property
    def frozen_names(self) -> frozenset[str]:
        """Tensors that training leaves as they are, statistics included; raises MisfitError for an unknown layer."""
        return frozenset(self._named(self.frozen, "frozen"))

    @cached_property
    def inherited_names(self) -> frozenset[str]:
        """The tensors that are taken over from where the spec starts; raises MisfitError for an unknown layer."""
        if not self.starts_from:
            return frozenset()
        return frozenset(self._named(self.inherits, "inherits")) if self.inherits else frozenset(self.tensors)

    def _named(self, layers: tuple[str, ...], field: str) -> list[str]:
        found = []
        for i, name in enumerate(layers):
            mine = [tensor for tensor in self.tensors if tensor.startswith(f"{name}/")]
            if not mine:
                known = ", ".join(dict.fromkeys(tensor.rsplit("/", 1)[0] for tensor in self.tensors))
                raise MisfitError(f"{name} is no layer with weights", f"{field}[{i}]", f"There are: {known[:400]}.")
            found += mine
        return found

    @cached_property
    def trainable(self) -> dict[str, Tensor]:
        """What the optimizer moves, by canonical name: neither a statistic nor frozen."""
        return {n: t for n, t in self.tensors.items() if t.role.trainable and n not in self.frozen_names}

    def is_frozen(self, node: Node) -> bool:
        """Whether a layer's tensors are frozen."""
        return bool(node.tensors) and node.tensors[0].name in self.frozen_names

    @cached_property
    def trained_classes(self) -> tuple[int, ...] | None:
        """The numbers of the classes that it trains on; None where the task trains on all of them."""
        return self.task.trained_classes(self.data)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a reader should know of the data before any number: the classes that no training image has."""
        unseen, counts = self.data.unseen, self.data.test_counts
        if not unseen or counts is None or not self.task.tells_classes:
            return ()
        names = ", ".join(self.data.called(number) for number in unseen[:NAMED])
        more = f" and {len(unseen) - NAMED:,} more" if len(unseen) > NAMED else ""
        lost = sum(counts[number] for number in unseen)
        which = f"class {names} occurs" if len(unseen) == 1 else f"classes {names}{more} occur"
        where = f"in the test alone, in {lost:,} of its {self.data.test:,} images"
        return (f"Of {paths.label(self.dataset)} {which} {where}: nothing can learn what no training image shows.",)

    @property
    def usable_images(self) -> int:
        """Training images that the task takes, those held out for validation among them."""
        if self.trained_classes is not None:
            assert self.data.train_counts is not None
            return sum(self.data.train_counts[number] for number in self.trained_classes)
        return self.data.train

    @property
    def validation_images(self) -> int:
        """Images split off the training set."""
        return round(self.usable_images * self.validation_fraction)

    @property
    def train_images(self) -> int:
        """Images that an epoch trains on."""
        return self.usable_images - self.validation_images

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimizer, the one over a ragged last batch included."""
        return -(-self.train_images // self.batch_size)

    def rates(self, step: int, count: int) -> NDArray[np.float64]:
        """Learning rates (count,) of the steps after ``step``, which is how many have been taken.

        Step t, counted from 1, belongs to epoch ``(t - 1) // steps_per_epoch``.
        """
        rates = np.full(count, self.optimizer.learning_rate)
        if self.schedule:
            epochs = np.arange(step, step + count) // self.steps_per_epoch
            rates *= self.schedule.factor ** np.searchsorted(self.schedule.at, epochs, side="right")
        return rates

    @property
    def batches(self) -> tuple[int, ...]:
        """The distinct batch sizes of an epoch: the full one, and the ragged last one if there is any."""
        full, ragged = divmod(self.train_images, self.batch_size)
        return tuple(size for size, there in ((self.batch_size, full), (ragged, ragged)) if there)

    @property
    def parameters(self) -> int:
        """Values that a training step moves or could move, frozen ones included: all but running statistics."""
        return sum(math.prod(t.shape) for t in self.tensors.values() if t.role.trainable)

    @property
    def flops(self) -> int:
        """Of one image's forward pass: two per multiply-add of dense and convolution layers, nothing else counted."""
        return 2 * sum(node.macs for node in walk(self.graph))

    @cached_property
    def digest(self) -> str:
        """``sha256:...`` over everything that decides what is computed."""
        fields = self.model_dump(mode="json", exclude={**dict.fromkeys(PROSE, True), "data": set(IMPLIED)})
        return digest(without_later(without_place(fields)))

    @cached_property
    def computation(self) -> str:
        """``sha256:...`` over what a step computes, whatever the data are called and however long it goes on.

        Specs that share it share their proof.
        """
        decisive = {"model", "loss", "optimizer", "schedule", "l2", "target", "input_range", "batch_size"}
        parts = without_later(self.model_dump(mode="json", include=decisive))
        shapes = {"batches": self.batches, "input": self.input_shape, "classes": self.data.classes}
        rest = {"frozen": sorted(self.frozen_names), "box_weight": self.box_weight}
        steps = self.steps_per_epoch if self.schedule else None
        words = self.data.max_value if self.input_dtype == "tokens" else None
        return digest(parts | shapes | rest | {"steps_per_epoch": steps, "words": words})

    def without_dropout(self) -> Spec:
        """The same benchmark at dropout rate 0, as the gate probes it."""

        def still(node: Node) -> Layer:
            dropout = isinstance(node.layer, Dropout)
            return node.layer.model_copy(update={"rate": 0.0}) if dropout else node.layer

        return self.replace(model=rebuilt(self.graph, still))

    @property
    def placeless(self) -> Spec:
        """As results hold it: of the user's own file of data the name, not where it lies on this machine."""
        return self.model_copy(update={"dataset": paths.label(self.dataset)})

    def replace(self, **fields: object) -> Spec:
        """A validated copy with other values."""
        return Spec.model_validate({**{name: getattr(self, name) for name in Spec.model_fields}, **fields})


def digest(value: object) -> str:
    """``sha256:...`` of a JSON value in canonical form: sorted keys, no spaces, shortest floats."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def without_place(fields: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a spec without the name of the user's own file of data: what counts is the digest of its content."""
    if not paths.is_own(fields["dataset"]):
        return fields
    return {**fields, "dataset": paths.NPZ, "data": {**fields["data"], "name": paths.NPZ}}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a spec file, for editors."""
    schema = Recipe.model_json_schema()
    fields, required = schema["properties"], schema.pop("required")
    case = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: field for name, field in fields.items() if name != "name"},
    }
    cases = {
        "type": "object",
        "minProperties": 1,
        "description": "each case replaces whole fields of the spec",
        "additionalProperties": case,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Parity Suite benchmark spec",
        "properties": {**fields, "cases": cases},
        "anyOf": [{"required": required}, {"required": ["name", "cases"]}],
    }
