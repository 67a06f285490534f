"""Profiles: how much of what is measured, read from a YAML file for one device."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from suite.errors import SpecError
from suite.runners.base import Device, Threads
from suite.spec import paths
from suite.spec.precision import TIMED, TimedPrecision
from suite.spec.recipe import Identifier
from suite.spec.resolved import Spec
from suite.spec.spelling import listed, shown
from suite.spec.tensors import Frozen, MisfitError
from suite.spec.yaml import read_yaml, validated

OPTION_SPANS = 4
"""Spans of throughput that the samples of one inference option may take."""
ELSEWHERE = "on"
"""The field of a file that says what is otherwise on a device."""
KEPT = frozenset({"name", "device", ELSEWHERE})
"""Fields that no device replaces."""
DEVICES: tuple[Device, ...] = get_args(Device)
Name = Annotated[str, Field(max_length=200)]
Benchmark = Annotated[str, Field(max_length=paths.LONGEST + 200)]


def _threads(given: object) -> object:
    """A number alone stands for so many threads in one operation at a time."""
    return {"intra": given} if isinstance(given, int) and not isinstance(given, bool) else given


class Single(Frozen):
    """What one benchmark has otherwise than all others of its profile; null is as they have it."""

    runners: Annotated[dict[Name, Annotated[tuple[Name, ...], Field(min_length=1)]], Field(min_length=1)] | None = (
        Field(None, description="of the profile's modes those in which it is measured, by runner")
    )
    epochs: PositiveInt | None = Field(None, description="cap on its epochs, in the place of the profile's")
    trainings: PositiveInt | None = Field(None, description="how many, of at most those that the profile has")


class Profile(Frozen):
    """How much is measured: what a file of benchmarks/profiles says for one device (``read``)."""

    name: Identifier
    description: str = ""
    benchmarks: Annotated[tuple[Benchmark, ...], Field(min_length=1)] = Field(
        description="names, or paths of YAML files, which are taken from the profile's own folder"
    )
    runners: dict[Name, tuple[Name, ...]] = Field(description="the modes of each runner")
    single: dict[Name, Single] = Field({}, description="what benchmarks have otherwise, by name or name/case")
    rounds: NonNegativeInt = Field(description="the most, each with fresh processes; 0 proves and measures nothing")
    looks: tuple[PositiveInt, ...] = Field(
        (), description="rounds after which it is seen what is decided, and goes on no more; the last is `rounds`"
    )
    half_width: Annotated[float, Field(gt=1)] = Field(
        1.05, description="the precision wanted: a factor; what is that precise goes on no more"
    )
    widest: Annotated[float, Field(gt=1)] = Field(
        1.25, description="how wide an interval may be that decides: a factor; what is wider goes on"
    )
    laps: PositiveInt = Field(12, description="of a round: in each, every cell answers every question once")
    lap_milliseconds: PositiveFloat = Field(5.0, description="least time of a block of one question")
    built_alone: NonNegativeInt = Field(
        1,
        description="first rounds in which frameworks start and build one after the other, which tells the time of it",
    )
    control: bool = Field(True, description="the first benchmark's first cell stands twice in its laps")
    trainings: NonNegativeInt | None = Field(
        None, description="how many; the i-th is from seed i, over again from the first; null: one for each seed"
    )
    train_in: dict[Name, Name] = Field({}, description="the mode in which each runner is trained; else its first")
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    precisions: Annotated[tuple[TimedPrecision, ...], Field(min_length=1)] = Field(
        (TIMED,), description="what is timed, and proven in stage 3 of the gate; later stages start from the first's"
    )
    threads: Annotated[Threads | None, BeforeValidator(_threads)] = Field(
        None,
        description="of each framework: `intra` in an operation, `inter` operations at once; a number alone is intra "
        "with one operation at a time; null: as many as there are cores",
    )
    device: Device = "cpu"
    deterministic: bool = Field(False, description="ask each framework for deterministic algorithms, at their price")
    gpu_meter: bool | None = Field(None, description="meter the GPU; null: where the device is cuda")
    epochs: PositiveInt | None = Field(None, description="cap on each spec's epochs")
    latency_batches: tuple[PositiveInt, ...] = (1,)
    latency_samples: PositiveInt = Field(200, description="of each inference option, and of a metered query")
    throughput_batches: tuple[PositiveInt, ...] = (256,)
    throughput_seconds: PositiveFloat = Field(1.0, description="of each inference option, and of metered passes")
    tunings: tuple[Name, ...] = Field(
        (), description="inference options, each measured against none: mode:NAME, batch:N, or what a runner offers"
    )
    timeout_seconds: PositiveInt = 900

    @model_validator(mode="after")
    def _lists_are_sound(self) -> Profile:
        if self.looks and (list(self.looks) != sorted(set(self.looks)) or self.looks[-1] != self.rounds):
            raise ValueError("looks rise from round to round, and the last of them is `rounds`")
        if len(set(self.precisions)) < len(self.precisions):
            raise ValueError("precisions are named once each")
        for name, own in self.single.items():
            for runner, modes in (own.runners or {}).items():
                if unknown := set(modes) - set(self.runners.get(runner, ())):
                    raise MisfitError(
                        f"{runner} is not asked for {', '.join(sorted(unknown))} in this profile",
                        f"single.{name}.runners",
                        "Name modes that `runners` has.",
                    )
        return self

    def of(self, spec: Spec) -> Single:
        """What a benchmark has otherwise: by its id, or else by its name."""
        return self.single.get(spec.id) or self.single.get(spec.name) or Single()

    def modes(self, spec: Spec) -> dict[str, tuple[str, ...]]:
        """The modes in which each runner is measured on a benchmark."""
        own = self.of(spec).runners
        return self.runners if own is None else {runner: own[runner] for runner in self.runners if runner in own}

    def epochs_of(self, spec: Spec) -> int:
        """How many epochs of a benchmark are trained, at most."""
        return min(spec.epochs, self.of(spec).epochs or self.epochs or spec.epochs)

    def schedules_of(self, spec: Spec) -> int:
        """How many trainings of a benchmark there are by each framework."""
        return 0 if spec.speed_alone else min(self.schedules, self.of(spec).trainings or self.schedules)

    def asking(self, benchmarks: Sequence[str]) -> Profile:
        """The same of other benchmarks, by their names; what single ones have otherwise stays where they are asked."""

        def asked(name: str) -> bool:
            return any(f"{item}/".startswith(f"{name}/") or f"{name}/".startswith(f"{item}/") for item in benchmarks)

        single = {name: own for name, own in self.single.items() if asked(name)}
        return self.model_copy(update={"benchmarks": tuple(benchmarks), "single": single})

    def mode_to_train(self, runner: str, spec: Spec) -> str:
        """The mode in which a runner is trained for what it learns of a benchmark."""
        wanted, modes = self.train_in.get(runner), self.modes(spec)[runner]
        return wanted if wanted in modes else modes[0]

    @property
    def metered(self) -> bool:
        """Whether the GPU is metered."""
        return self.device == "cuda" if self.gpu_meter is None else self.gpu_meter

    @property
    def schedules(self) -> int:
        """How many trainings of a benchmark there are by each framework, unless it states its own."""
        if not self.rounds:
            return 0
        return len(self.seeds) if self.trainings is None else self.trainings

    @property
    def option_seconds(self) -> float:
        """How long the samples of one inference option may take."""
        return OPTION_SPANS * self.throughput_seconds


def read(path: Path, device: Device | str | None = None) -> Profile:
    """The profile of a file, on ``device``, or on the one that the file states.

    A file may hold ``on: {cuda: {...}}``: on that device these fields stand in the place of the file's own, whole.  All
    of it is checked, whichever device is asked for.  Raises SpecError with the file, the field and the way out.
    """
    fields = read_yaml(path)
    replacing = fields.pop(ELSEWHERE, {})
    if not isinstance(replacing, dict):
        raise SpecError("must be a mapping of devices", where=f"{path}: {ELSEWHERE}", way_out=listed(DEVICES))
    found = {str(fields.get("device", "cpu")): validated(path, Profile, fields)}
    for name, changes in replacing.items():
        where = f"{path}: {ELSEWHERE}.{name}"
        if name not in DEVICES:
            raise SpecError(f"there is no device {shown(name)!r}", where=where, way_out=listed(DEVICES))
        if not isinstance(changes, dict) or not changes:
            raise SpecError("must be a mapping of fields that are otherwise there", where=where)
        if kept := sorted(KEPT & changes.keys()):
            raise SpecError("is the same on every device", where=f"{where}.{kept[0]}", way_out="Leave it out there.")
        found[name] = validated(path, Profile, {**fields, **changes, "device": name}, _placed(name, changes))
    wanted = device or fields.get("device", "cpu")
    if wanted in found:
        return found[wanted]
    return validated(path, Profile, {**fields, "device": wanted})


def _placed(device: str, changes: Mapping[str, Any]) -> Callable[[str], str]:
    """Where in a file a field stands that a device may replace."""

    def place(field: str) -> str:
        return f"{ELSEWHERE}.{device}.{field}" if re.split(r"[.\[]", field, maxsplit=1)[0] in changes else field

    return place
