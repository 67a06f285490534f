"""One benchmark, framework-neutral: read from YAML 1.2, frozen, with a digest.

A file holds a ``Recipe`` (what its author writes) or several, as ``cases``.  Joined with the facts of its data set a
recipe becomes a ``Spec``: every default filled in, every shape known, nothing left to a framework.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, Tag, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

from suite.errors import SpecError
from suite.layers import KINDS, Activation, BatchNorm, Dense, Dropout, Flatten, Frozen, Layer, Node, Residual, Shape, Tensor, graph, walk

Fraction = Annotated[float, Field(ge=0, lt=1)]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9]+([-.][a-z0-9]+)*$", max_length=64)]
MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 24


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


class Loss(StrEnum):
    """What training minimises; both cross-entropies take logits."""

    SOFTMAX_CROSS_ENTROPY = "softmax_cross_entropy"
    SIGMOID_CROSS_ENTROPY = "sigmoid_cross_entropy"
    MEAN_SQUARED_ERROR = "mean_squared_error"


class Target(StrEnum):
    """What outputs are compared with: the class, the class one-hot encoded, or the input itself."""

    LABELS = "labels"
    ONE_HOT = "one_hot"
    INPUT = "input"


class Sgd(Frozen):
    """``v = momentum * v + g; w -= rate * v``, or ``w -= rate * (g + momentum * v)`` with Nesterov's momentum.

    Source: PyTorch's documentation of ``torch.optim.SGD`` (dampening 0); Sutskever et al. 2013.
    """

    name: Literal["sgd"]
    learning_rate: PositiveFloat
    momentum: Fraction = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Sgd:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Adam(Frozen):
    """Kingma & Ba 2014, algorithm 1: ``epsilon`` is added to the root after bias correction."""

    name: Literal["adam"]
    learning_rate: PositiveFloat = 0.001
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-8


class RmsProp(Frozen):
    """``s = rho * s + (1 - rho) * g**2; w -= rate * g / (sqrt(s) + epsilon)`` (Hinton 2012, as PyTorch has it)."""

    name: Literal["rmsprop"]
    learning_rate: PositiveFloat = 0.001
    rho: Fraction = 0.9
    epsilon: PositiveFloat = 1e-8


Optimizer = Annotated[Sgd | Adam | RmsProp, Field(discriminator="name")]


class EarlyStopping(Frozen):
    """Stop when ``monitor`` has not improved by more than ``min_delta`` for ``patience`` epochs."""

    monitor: Literal["validation_loss", "validation_accuracy"] = "validation_loss"
    patience: PositiveInt
    min_delta: NonNegativeFloat = 0.0
    restore_best: bool = False


class Source(Frozen):
    """Where a benchmark was published."""

    title: str
    year: int | None = None
    note: str = ""


class Claim(Frozen):
    """A number that the source states.  An accuracy is a fraction; a time is context and is never judged."""

    metric: Literal["test_accuracy", "test_loss", "train_accuracy", "train_loss", "validation_accuracy",
                    "validation_loss", "seconds_per_epoch"]
    value: float
    framework: str = ""
    note: str = ""


class Assumption(Frozen):
    """A choice that the source leaves open, and the case, if any, that makes the other choice."""

    about: str
    chosen: str
    alternative: Identifier | None = None


class Mlp(Frozen):
    """Short form of a perceptron: per hidden layer dense, batch norm, activation, dropout; then a dense head."""

    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    classes: PositiveInt = 10
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    dropout: Fraction = 0.0
    batch_norm: bool = False

    def layers(self) -> tuple[Layer, ...]:
        """The layers it stands for."""
        model: list[Layer] = [Flatten(layer="flatten")]
        for units in self.hidden:
            model.append(Dense(layer="dense", units=units))
            model += [BatchNorm(layer="batch_norm")] if self.batch_norm else []
            model.append(Activation(layer=self.activation))
            model += [Dropout(layer="dropout", rate=self.dropout)] if self.dropout else []
        return (*model, Dense(layer="dense", units=self.classes))


class MlpForm(Frozen):
    """``model: {mlp: {hidden: [512, 512], dropout: 0.2}}``."""

    mlp: Mlp


class Recipe(Frozen):
    """What the author of a benchmark writes."""

    name: Identifier
    title: str = ""
    description: str = ""
    source: Source | None = None
    dataset: str
    input_range: tuple[float, float] = Field(
        (0.0, 1.0), description="pixel values are mapped from 0..max linearly onto this range"
    )
    target: Target = Target.LABELS
    model: Annotated[
        Annotated[tuple[Layer, ...], Field(min_length=1, max_length=1000), Tag("<layers>")] | Annotated[MlpForm, Tag("<mlp>")],
        Discriminator(lambda value: "<layers>" if isinstance(value, list | tuple) else "<mlp>"),
    ]
    loss: Loss = Loss.SOFTMAX_CROSS_ENTROPY
    optimizer: Optimizer
    l2: NonNegativeFloat = Field(0.0, description="the objective gains l2 * sum(kernel ** 2): a weight decay of 2 * l2")
    batch_size: PositiveInt
    epochs: PositiveInt
    validation_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    early_stopping: EarlyStopping | None = None
    claims: tuple[Claim, ...] = ()
    assumptions: tuple[Assumption, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> Recipe:
        if self.input_range[0] >= self.input_range[1]:
            raise ValueError("input_range must rise: [low, high]")
        if self.early_stopping and not self.validation_fraction:
            raise ValueError("early_stopping watches a validation split: set validation_fraction above 0")
        if (self.target is Target.LABELS) != (self.loss is Loss.SOFTMAX_CROSS_ENTROPY):
            raise ValueError("softmax_cross_entropy takes target labels; the other losses take one_hot or input")
        return self


PROSE = frozenset({"name", "case", "title", "description", "source", "claims", "assumptions"})
"""Fields that say what a benchmark is about, not what is computed: no part of its digest."""


class Spec(Recipe):
    """A recipe joined with the facts of its data: all that a runner needs to know, and nothing to guess."""

    case: Identifier | None = None
    data: DatasetFacts
    model: Annotated[tuple[Layer, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_its_data(self) -> Spec:
        out = self.graph[-1].output
        wanted: Shape = (self.data.classes,)
        if self.target is Target.INPUT:
            wanted = self.data.image_shape if len(out) == 3 else (math.prod(self.data.image_shape),)
        if out != wanted:
            raise ValueError(f"model ends in {out}, but {self.loss} against {self.target} of {self.dataset} needs {wanted}")
        last = self.model[-1].layer
        if (last, self.loss) in {("softmax", Loss.SOFTMAX_CROSS_ENTROPY), ("sigmoid", Loss.SIGMOID_CROSS_ENTROPY)}:
            raise ValueError(f"{self.loss} takes logits and applies {last} itself: drop the last layer")
        if self.validation_images >= self.data.train:
            raise ValueError("validation_fraction leaves no image to train on")
        if any(isinstance(n.layer, BatchNorm) for n in walk(self.graph)) and 1 in self.batches:
            raise ValueError(
                f"batch_norm has no variance over one image, but batch_size {self.batch_size} leaves a batch of 1 "
                f"of {self.train_images} images: choose another"
            )
        return self

    @property
    def id(self) -> str:
        """``name`` or ``name/case``: how people call it."""
        return f"{self.name}/{self.case}" if self.case else self.name

    @cached_property
    def graph(self) -> tuple[Node, ...]:
        """The layers in their places, from the data's image shape."""
        try:
            return graph(self.model, self.data.image_shape)
        except ValueError as error:
            raise ValueError(f"model{error}") from None

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


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML 1.2 mapping; refuses aliases, tags, duplicate keys, deep nesting and files over 1 MiB."""
    where = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SpecError(f"cannot be read ({error.strerror})", where=where, way_out="`suite list` shows the specs there are.") from None
    if len(raw) > MAX_FILE_BYTES:
        raise SpecError("is over 1 MiB: that is no spec", where=where)
    yaml = YAML(typ="safe", pure=True)
    try:
        text = raw.decode("utf-8")
        depth = 0
        for event in yaml.parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            line = event.start_mark.line + 1
            if depth > MAX_DEPTH:
                raise SpecError(f"line {line}: nested over {MAX_DEPTH} deep", where=where)
            if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
                raise SpecError(f"line {line}: YAML aliases are not taken", where=where, way_out="Write the value out; `cases` share every other field.")
            if isinstance(event, NodeEvent) and getattr(event, "tag", None) is not None:
                raise SpecError(f"line {line}: YAML tags are not taken", where=where, way_out="Write a plain value.")
        value = yaml.load(text)
    except UnicodeDecodeError:
        raise SpecError("is not UTF-8 text", where=where) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"is not valid YAML: {_first_lines(error)}", where=where) from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise SpecError("must hold one mapping of field names", where=where)
    return value


def _first_lines(error: Exception) -> str:
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    text = problem or str(error).splitlines()[0]
    return f"line {mark.line + 1}: {text}" if mark else text


def load(path: Path, describe: Callable[[str], DatasetFacts]) -> tuple[Spec, ...]:
    """Read a spec file: one Spec, or one per case.

    ``describe`` tells the facts of a data set by name and raises DataError for an unknown one.
    Raises SpecError with the file, the field and the way out.
    """
    shared = read_yaml(path)
    cases = shared.pop("cases", None)
    if cases is None:
        return (_resolve(path, shared, None, {}, describe),)
    if not isinstance(cases, dict) or not cases:
        raise SpecError("must map the name of each case to the fields it replaces", where=f"{path}: cases")
    specs = []
    for case, fields in cases.items():
        if not isinstance(case, str) or not isinstance(fields, dict):
            raise SpecError("must map field names to values", where=f"{path}: cases.{case}")
        if "name" in fields or "case" in fields:
            raise SpecError("a case cannot rename its spec", where=f"{path}: cases.{case}.name")
        specs.append(_resolve(path, {**shared, **fields}, case, fields, describe))
    _check_alternatives(path, specs)
    return tuple(specs)


def _check_alternatives(path: Path, specs: list[Spec]) -> None:
    known = {spec.case for spec in specs}
    for spec in specs:
        for i, assumption in enumerate(spec.assumptions):
            if assumption.alternative and assumption.alternative not in known:
                raise SpecError(f"there is no case {assumption.alternative!r}", where=f"{path}: assumptions[{i}].alternative")


def _resolve(
    path: Path, fields: dict[str, Any], case: str | None, own: Mapping[str, Any], describe: Callable[[str], DatasetFacts]
) -> Spec:
    try:
        recipe = _validate(Recipe, fields)
        layers = recipe.model.mlp.layers() if isinstance(recipe.model, MlpForm) else recipe.model
        facts = describe(recipe.dataset)
        return Spec.model_validate({**dict(recipe), "model": layers, "case": case, "data": facts})
    except ValidationError as error:
        _refuse(path, error, case, own)


def _validate(model: type[Recipe], fields: Mapping[str, Any]) -> Recipe:
    try:
        text = json.dumps(fields)
    except (TypeError, ValueError) as error:
        raise SpecError(f"holds a value that is no number, text, list or mapping ({error})") from None
    return model.model_validate_json(text)


def _refuse(path: Path, error: ValidationError, case: str | None, own: Mapping[str, Any]) -> NoReturn:
    """Name the first few fields that are wrong, in the author's terms."""
    problems = []
    for item in error.errors(include_url=False, include_context=False)[:3]:
        location = [part for part in item["loc"] if not _is_tag(part)]
        field = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
        message = item["msg"].removeprefix("Value error, ")
        if not field and (named := re.match(r"(model|early_stopping|validation_fraction|input_range|\w+)", message)):
            field = named[1] if named[1] in Recipe.model_fields else ""
        if case and (not field or re.split(r"[.\[]", field)[0] in own):
            field = f"cases.{case}.{field}".rstrip(".")
        problems.append(f"{field}: {message}" if field else message)
    raise SpecError("; ".join(problems), where=str(path), way_out=_way_out(error)) from None


def _is_tag(part: int | str) -> bool:
    """Whether a step of an error's location is the name of a union's branch, which the author never wrote."""
    return isinstance(part, str) and (part in _BRANCHES or part.startswith("<"))


_BRANCHES = KINDS | {"sgd", "adam", "rmsprop"}


def _way_out(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] == "extra_forbidden":
        return "No such field; the JSON Schema (`suite schema`) and README list those there are."
    if first["type"] == "missing":
        return "Add the field."
    return ""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a spec file, for editors."""
    schema = Recipe.model_json_schema(by_alias=True)
    fields = dict(schema["properties"])
    case = {"type": "object", "additionalProperties": False, "properties": {k: v for k, v in fields.items() if k != "name"}}
    schema["properties"]["cases"] = {
        "type": "object",
        "description": "each case replaces whole top-level fields",
        "additionalProperties": case,
    }
    schema["required"] = ["name"]
    schema["title"] = "Parity Suite benchmark spec"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

