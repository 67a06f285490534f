"""One benchmark, framework-neutral: read from YAML 1.2, frozen, with a digest.

A file holds a Recipe (what its author writes) or several, as ``cases``.  Joined with the facts of its data set a
recipe becomes a Spec: every default filled in, every shape known, nothing left to a framework.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import PositiveInt, ValidationError, model_validator

from suite.errors import DataError, SpecError
from suite.layers import BatchNorm, Dropout, Frozen, Layer, MisfitError, Node, Residual, Shape, Tensor, graph, walk
from suite.reading import read_yaml, refuse, validated
from suite.recipe import (
    NAME,
    NAME_PATTERN,
    Adam,
    Assumption,
    Claim,
    EarlyStopping,
    Identifier,
    Layers,
    Loss,
    MlpForm,
    Optimizer,
    Recipe,
    RmsProp,
    Sgd,
    Source,
    Target,
)

__all__ = [
    "PROSE",
    "Adam",
    "Assumption",
    "Claim",
    "DatasetFacts",
    "EarlyStopping",
    "Identifier",
    "Loss",
    "Optimizer",
    "Recipe",
    "RmsProp",
    "Sgd",
    "Source",
    "Spec",
    "Target",
    "digest",
    "json_schema",
    "load",
    "read_yaml",
]


class DatasetFacts(Frozen):
    """What a spec must know of its data: ``image_shape`` is (height, width, channels), values are 0..``max_value``.

    ``digest`` is ``sha256:...`` over the decoded arrays; ``train`` and ``test`` count images.
    """

    name: str
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    classes: PositiveInt
    train: PositiveInt
    test: PositiveInt
    max_value: PositiveInt
    digest: str


PROSE = frozenset({"name", "case", "title", "description", "source", "claims", "assumptions", "target_accuracy"})
"""Fields that say what a benchmark is about, not what is computed: no part of its digest."""


class Spec(Recipe):
    """A recipe joined with the facts of its data: all that a runner needs to know, and nothing to guess."""

    case: Identifier | None = None
    data: DatasetFacts
    model: Layers

    @model_validator(mode="after")
    def _fits_its_data(self) -> Spec:
        out = self.graph[-1].output
        wanted: Shape = (self.data.classes,)
        if self.target is Target.INPUT:
            wanted = self.data.image_shape if len(out) == 3 else (math.prod(self.data.image_shape),)
        if out != wanted:
            raise MisfitError(
                f"ends in {out}, but {self.loss} against the {self.target} of {self.dataset} needs {wanted}",
                "model",
                f"Let its last dense layer have {wanted[0]} units." if len(wanted) == len(out) == 1 else "",
            )
        last = self.model[-1].layer
        if (last, self.loss) in {("softmax", Loss.SOFTMAX_CROSS_ENTROPY), ("sigmoid", Loss.SIGMOID_CROSS_ENTROPY)}:
            raise MisfitError(f"ends in {last}, but {self.loss} takes logits", "model", f"Drop the last layer, {last}.")
        lone = [n for n in walk(self.graph) if isinstance(n.layer, BatchNorm) and math.prod(n.input[:-1]) == 1]
        if lone and 1 in self.batches:
            raise MisfitError(
                f"{self.batch_size} leaves a batch of one of {self.train_images:,} images, over which {lone[0].name} "
                "has no variance",
                "batch_size",
                "Choose another.",
            )
        return self

    @property
    def id(self) -> str:
        """``name`` or ``name/case``: how people call it."""
        return f"{self.name}/{self.case}" if self.case else self.name

    @cached_property
    def graph(self) -> tuple[Node, ...]:
        """The layers in their places, from the data's image shape."""
        return graph(self.model, self.data.image_shape)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Every array of the model by its canonical name, in the order in which layers run."""
        return {t.name: t for node in walk(self.graph) for t in node.tensors}

    @property
    def validation_images(self) -> int:
        """Images split off the training set."""
        return round(self.data.train * self.validation_fraction)

    @property
    def train_images(self) -> int:
        """Images that an epoch trains on."""
        return self.data.train - self.validation_images

    @property
    def batches(self) -> tuple[int, ...]:
        """The distinct batch sizes of an epoch: the full one, and the ragged last one if there is any."""
        full, ragged = divmod(self.train_images, self.batch_size)
        return tuple(size for size, there in ((self.batch_size, full), (ragged, ragged)) if there)

    @property
    def parameters(self) -> int:
        """Trainable values."""
        return sum(math.prod(t.shape) for t in self.tensors.values() if t.role.trainable)

    @property
    def flops(self) -> int:
        """Of one image's forward pass: two per multiply-add of dense and convolution layers, nothing else counted."""
        return 2 * sum(node.macs for node in walk(self.graph))

    @cached_property
    def digest(self) -> str:
        """``sha256:...`` over everything that decides what is computed."""
        return digest(self.model_dump(mode="json", exclude=set(PROSE)))

    def without_dropout(self) -> Spec:
        """The same benchmark at dropout rate 0, as the gate probes it."""

        def still(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
            return tuple(
                layer.model_copy(update={"rate": 0.0}) if isinstance(layer, Dropout)
                else layer.model_copy(update={"body": still(layer.body), "shortcut": still(layer.shortcut)})
                if isinstance(layer, Residual)
                else layer
                for layer in layers
            )  # fmt: skip

        return self.replace(model=still(self.model))

    def replace(self, **fields: object) -> Spec:
        """A validated copy with other values."""
        return Spec.model_validate({**{name: getattr(self, name) for name in Spec.model_fields}, **fields})


def digest(value: object) -> str:
    """``sha256:...`` of a JSON value in canonical form: sorted keys, no spaces, shortest floats."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def load(path: Path, describe: Callable[[str], DatasetFacts]) -> tuple[Spec, ...]:
    """Read a spec file: one Spec, or one per case.

    ``describe`` tells the facts of a data set by name and raises DataError for one that it does not know.
    Raises SpecError with the file, the field and the way out.
    """
    shared = read_yaml(path)
    cases = _cases(path, shared.pop("cases")) if "cases" in shared else {None: {}}
    return tuple(_resolve(path, shared, case, cases, describe) for case in cases)


def _cases(path: Path, cases: object) -> dict[str | None, dict[str, Any]]:
    where = f"{path}: cases"
    if not isinstance(cases, dict) or not cases:
        raise SpecError("must map the name of each case to the fields that it replaces", where=where)
    for case, fields in cases.items():
        if not re.fullmatch(NAME_PATTERN, case):
            raise SpecError(f"a case's name must be {NAME}", where=f"{where}.{case}")
        if not isinstance(fields, dict):
            raise SpecError("must map fields to the values that replace the shared ones", where=f"{where}.{case}")
        if "name" in fields:
            raise SpecError("a case cannot rename its spec", where=f"{where}.{case}.name", way_out="Drop it.")
    return cases


def _resolve(
    path: Path,
    shared: Mapping[str, Any],
    case: str | None,
    cases: Mapping[str | None, Mapping[str, Any]],
    describe: Callable[[str], DatasetFacts],
) -> Spec:
    """Join what a file says with the facts of its data."""
    fields = {**shared, **cases[case]}

    def place(field: str) -> str:
        if isinstance(fields.get("model"), dict) and field.startswith("model["):
            field = "model.mlp"
        return f"cases.{case}.{field}" if re.split(r"[.\[]", field)[0] in cases[case] else field

    recipe = validated(path, Recipe, fields, place)
    for i, assumption in enumerate(recipe.assumptions):
        if assumption.alternative not in (None, *cases):
            where = f"{path}: {place(f'assumptions[{i}].alternative')}"
            known = ", ".join(name for name in cases if name) or "none"
            raise SpecError(f"there is no case {assumption.alternative}", where=where, way_out=f"There are: {known}.")
    try:
        facts = describe(recipe.dataset)
    except DataError as error:
        what = ": ".join(filter(None, (error.where, error.what)))
        raise SpecError(what, where=f"{path}: {place('dataset')}", way_out=error.way_out) from None
    layers = recipe.model.mlp.layers() if isinstance(recipe.model, MlpForm) else recipe.model
    try:
        return Spec.model_validate({**dict(recipe), "model": layers, "case": case, "data": facts})
    except ValidationError as error:
        refuse(path, Spec, error, place)


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
