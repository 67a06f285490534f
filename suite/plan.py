"""What comes when: all trials of a run, in order, made once.

Round 0 holds the gate's trials; the others measure, in each round every runner once, in seeded random order.  The
digest of the plan names the run, so the same question asked again finds its answers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, TypeAdapter

from suite import initial
from suite.errors import DataError, SpecError
from suite.files import read_json, validate
from suite.layers import Frozen
from suite.result import Cell
from suite.runners.base import Device, Threads
from suite.spec import DatasetFacts, Identifier, Spec, digest, load

INSTRUMENT = {"null": ("null",)}
"""Measured in every round beside the others: what the instrument itself costs."""
STOPPED = 3
"""Exit status of a trial that could not go on and leaves nothing to record: a full disk, a plan that is none."""
Name = Annotated[str, Field(max_length=200)]


class Profile(Frozen):
    """How much is measured: read from benchmarks/profiles/*.yaml."""

    name: Identifier
    description: str = ""
    benchmarks: Annotated[tuple[Name, ...], Field(min_length=1)]
    runners: dict[Name, tuple[Name, ...]] = Field(description="the modes of each runner")
    rounds: NonNegativeInt = Field(description="0 proves and measures nothing")
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = Field(
        description="round r trains from seed r, over again from the first when there are more rounds than seeds"
    )
    process: Literal["runner", "cell"] = Field(description="one process per runner and round, or one per cell")
    threads: Threads | None = Field(None, description="null: as many as there are cores, one operation at a time")
    device: Device = "cpu"
    deterministic: bool = Field(False, description="ask each framework for deterministic algorithms, at their price")
    gpu_meter: bool | None = Field(None, description="meter the GPU; null: where the device is cuda")
    epochs: PositiveInt | None = Field(None, description="cap on each spec's epochs")
    latency_batches: tuple[PositiveInt, ...] = (1,)
    latency_samples: PositiveInt = 200
    throughput_batches: tuple[PositiveInt, ...] = (256,)
    throughput_seconds: PositiveFloat = 1.0
    tunings: tuple[Name, ...] = Field(
        (), description="switches of inference, each measured against none: mode:NAME, batch:N, or what a runner offers"
    )
    timeout_seconds: PositiveInt = 900


class Entry(Frozen):
    """One trial: a fresh process that proves, measures or tunes some cells of one runner."""

    id: Name
    kind: Literal["prove", "measure", "tune"]
    round: NonNegativeInt
    runner: Name
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]

    def file(self, cell: Cell) -> str:
        """Name of the result file of one of its cells."""
        return f"{self.id}--{cell.slug}.json"


class Plan(Frozen):
    """A run: its profile, resolved specs and entries in order.  ``notes`` tell the reader what is left out and why."""

    profile: Profile
    specs: tuple[Spec, ...]
    entries: Annotated[tuple[Entry, ...], Field(min_length=1)]
    threads: Threads
    machine: str
    source: str
    locks: dict[str, str | None]
    notes: tuple[str, ...] = ()
    command: str = ""

    @property
    def id(self) -> str:
        """Profile and digest: the name of the run's folder."""
        decisive = self.model_dump(mode="json", exclude={"notes", "command"})
        return f"{self.profile.name}-{digest(decisive).removeprefix('sha256:')[:12]}"

    def spec(self, spec_id: str) -> Spec:
        """A spec by its id."""
        return next(spec for spec in self.specs if spec.id == spec_id)

    def record(self, entry: Entry, cell: Cell, began: dt.datetime) -> dict[str, Any]:
        """What every result of ``cell`` states, whatever becomes of it; its seconds are set when it ends."""
        return {
            "run": self.id,
            "entry": entry.id,
            "cell": cell,
            "spec": self.spec(cell.spec),
            "started": began,
            "seconds": 0.0,
        }

    def entry(self, entry_id: str) -> Entry:
        """An entry by its id."""
        return next(entry for entry in self.entries if entry.id == entry_id)


def choose(wanted: tuple[str, ...], folder: Path, describe: Callable[[str], DatasetFacts]) -> tuple[Spec, ...]:
    """The specs of a profile: ``name`` takes every case of a spec, ``name/case`` one; a path is a spec of one's own."""
    chosen: dict[str, Spec] = {}
    for item in wanted:
        path = Path(item)
        own = path.suffix in (".yaml", ".yml")
        name, _, case = ("", "", "") if own else item.partition("/")
        file = path if own else folder / f"{name}.yaml"
        if not own and not file.is_file():
            known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
            raise SpecError(
                f"there is no benchmark {name!r}", way_out=f"There are: {known}; or give the path of a YAML file."
            )
        specs = load(file, describe)
        found = [spec for spec in specs if not case or spec.case == case]
        if not found:
            raise SpecError(
                f"{name} has no case {case!r}",
                where=str(file),
                way_out="It has: " + ", ".join(s.case or "none" for s in specs) + ".",
            )
        chosen |= {spec.id: spec for spec in found}
    return tuple(chosen.values())


def without_missing_data(
    specs: tuple[Spec, ...], fetch: Callable[[str], object]
) -> tuple[tuple[Spec, ...], tuple[str, ...]]:
    """The specs whose data can be had, and a note on each data set that cannot."""
    notes, missing = [], set()
    for dataset in dict.fromkeys(spec.dataset for spec in specs):
        try:
            fetch(dataset)
        except DataError as error:
            missing.add(dataset)
            left_out = ", ".join(spec.id for spec in specs if spec.dataset == dataset)
            notes.append(f"The data set {dataset} could not be had, so {left_out} was left out. {error.what}")
    return tuple(spec for spec in specs if spec.dataset not in missing), tuple(notes)


def make(
    profile: Profile,
    specs: tuple[Spec, ...],
    *,
    cores: int,
    machine: str,
    source: str,
    locks: Mapping[str, str | None],
    notes: tuple[str, ...] = (),
    command: str = "",
) -> Plan:
    """Lay out every trial of a run."""
    entries: list[Entry] = []
    for round_ in range(profile.rounds + 1):
        entries += _round(profile, specs, round_)
    return Plan(
        profile=profile,
        specs=specs,
        entries=tuple(entries),
        threads=profile.threads or Threads(intra=cores, inter=1),
        machine=machine,
        source=source,
        locks=dict(locks),
        notes=notes,
        command=command,
    )


def _round(profile: Profile, specs: tuple[Spec, ...], round_: int) -> list[Entry]:
    proving = round_ == 0
    seed = profile.seeds[(round_ - 1) % len(profile.seeds)] if round_ else profile.seeds[0]
    groups: list[tuple[str, tuple[Cell, ...]]] = []
    runners = profile.runners if proving else {**profile.runners, **INSTRUMENT}
    for runner, modes in runners.items():
        cells = tuple(
            Cell(
                spec=spec.id,
                runner=runner,
                mode=mode,
                precision="float32",
                device=profile.device,
                seed=seed,
                round=round_,
            )
            for spec in specs
            for mode in modes
        )
        groups += [(runner, cells)] if proving or profile.process == "runner" else [(runner, (cell,)) for cell in cells]
    shuffled = initial.stream(0, "plan", profile.name, round_).permutation(len(groups))
    return [
        Entry(
            id=f"r{round_:02}-{i:02}-{groups[g][0]}",
            kind="prove" if proving else "measure",
            round=round_,
            runner=groups[g][0],
            cells=groups[g][1],
        )
        for i, g in enumerate(shuffled)
    ]


def read(folder: Path) -> Plan:
    """The plan of a run's folder.  Raises ResultError if it is not one."""
    path = folder / "plan.json"
    return validate(path, read_json(path), TypeAdapter(Plan))
