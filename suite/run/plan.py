"""What comes when: all entries of a run, in order, made once.

Round 0 holds the gate's trials: one proof of each distinct computation.  Then come the trainings: one of each benchmark
by each framework from each seed, in processes of their own; stages that start from the weights of others come after all
of those.  Then speed: in each round every benchmark once, in seeded random order, all frameworks taking turns.
Inference options come last.  The digest of the plan names the run, so the same question asked again finds its answers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, NonNegativeInt, TypeAdapter

from suite.errors import SpecError
from suite.files import read_json, validate
from suite.inputs import initial
from suite.results.records import Cell
from suite.results.values import Digest
from suite.run.profile import Name, Profile
from suite.runners.base import INSTRUMENT, InferenceOption, Threads
from suite.spec import paths, stages
from suite.spec.precision import NO_TF32, TIMED, TimedPrecision
from suite.spec.resolved import Spec, digest, without_place
from suite.spec.selection import Describe, Finder
from suite.spec.spelling import hint, listed, shown
from suite.spec.tensors import Frozen, Shape
from suite.spec.vocabulary.tables import Place

STOPPED = 3
"""Exit status of a trial that could not go on and leaves nothing to record: a full disk, a plan that is none."""
INFERENCE_OPTIONS = frozenset(get_args(InferenceOption))
MOST_PROOFS = 12
"""Cells that one process proves: where it crashes, little is lost."""


def check_option(option: str) -> None:
    """Raises SpecError for a name that is no inference option."""
    kind, _, value = option.partition(":")
    numbered = kind == "batch" and value.isdigit() and int(value)
    if not (option in INFERENCE_OPTIONS or (kind == "mode" and value) or numbered):
        known = sorted(INFERENCE_OPTIONS)
        way_out = f"{hint(option, known, Place.INFERENCE_OPTION)}{listed(('mode:NAME', 'batch:N', *known))}"
        raise SpecError(f"there is no inference option {shown(option)!r}", way_out=way_out)


class Entry(Frozen):
    """What is done in one piece.

    ``prove``, ``measure`` (which trains) and ``tune`` are trials: a fresh process of one runner.  In ``turns`` every
    runner's process of the round answers for its cells of one benchmark, and ``runner`` is null.
    """

    id: Name
    kind: Literal["prove", "measure", "turns", "tune"]
    round: NonNegativeInt
    runner: Name | None
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
    imported: dict[str, Digest] = Field({}, description="the imported weights that specs start from, by name")
    notes: tuple[str, ...] = ()
    left_out: dict[Name, str] = Field({}, description="benchmarks that were asked for, and why each is left out")
    command: str = ""

    @property
    def id(self) -> str:
        """Profile and digest: the name of the run's folder.  The user's own files count by what they hold."""
        decisive = self.model_dump(mode="json", exclude={"notes", "command", "left_out"})
        decisive["profile"]["benchmarks"] = [item for item in self.profile.benchmarks if not paths.split(item)]
        decisive["specs"] = [without_place(spec) for spec in decisive["specs"]]
        return f"{self.profile.name}-{digest(decisive).removeprefix('sha256:')[:12]}"

    @property
    def runners(self) -> tuple[str, ...]:
        """Whoever has a cell, each once."""
        return tuple(dict.fromkeys(cell.runner for entry in self.entries for cell in entry.cells))

    def spec(self, spec_id: str) -> Spec:
        """A spec by its id."""
        return next(spec for spec in self.specs if spec.id == spec_id)

    def record(self, entry: Entry, cell: Cell, began: dt.datetime) -> dict[str, Any]:
        """What every result of ``cell`` states, whatever becomes of it; its seconds are set when it ends."""
        return {
            "run": self.id,
            "entry": entry.id,
            "cell": cell,
            "spec": self.spec(cell.spec).placeless,
            "started": began,
            "seconds": 0.0,
        }

    def entry(self, entry_id: str) -> Entry:
        """An entry by its id."""
        return next(entry for entry in self.entries if entry.id == entry_id)

    def donor(self, spec_id: str, round_: int) -> tuple[Entry, Cell] | None:
        """The cell whose trained weights every framework takes over: of the profile's first runner."""
        trained = next((spec for spec in self.specs if spec.id == spec_id), None)
        if trained is None:  # where a later stage is proven alone
            return None
        first = next((runner for runner, modes in self.profile.modes(trained).items() if modes), None)
        training = (entry for entry in self.entries if entry.kind == "measure" and entry.round == round_)
        found = ((entry, cell) for entry in training for cell in entry.cells if cell.spec == spec_id)
        precision = self.profile.precisions[0]
        return next(((e, cell) for e, cell in found if (cell.runner, cell.precision) == (first, precision)), None)

    def gives(self, entry: Entry, cell: Cell) -> bool:
        """Whether a measured cell leaves its weights, for a later stage or for inference options."""
        wanted = self.profile.tunings or any(stages.parent(spec) == cell.spec for spec in self.specs)
        return bool(wanted) and self.donor(cell.spec, entry.round) == (entry, cell)


def choose(wanted: tuple[str, ...], folder: Path, describe: Describe) -> tuple[Spec, ...]:
    """The specs that are asked for: ``name`` takes every case of a spec, ``name/case`` one; a path is one's own file.

    ``folder`` holds the catalogue.  What they start from is not looked for.  Raises SpecError.
    """
    return Finder(folder, describe).asked(wanted)


@dataclass(frozen=True)
class Here:
    """Where a run is planned: cores, the machine's fingerprint, digests of the suite's source and of each lock."""

    cores: int
    machine: str
    source: str
    locks: Mapping[str, str | None]


@dataclass(frozen=True)
class Wanted:
    """What a run is of: its specs, and the weights that they start from, as digest and shapes by tensor.

    ``left_out`` says why a benchmark that was asked for is not among them; ``notes`` are told to whoever runs it.
    """

    specs: tuple[Spec, ...]
    imported: Mapping[str, tuple[Digest, Mapping[str, Shape]]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def make(profile: Profile, wanted: Wanted, here: Here, command: str = "") -> Plan:
    """Lay out every trial of a run; ``command`` is what asked for it.

    Raises SpecError for more threads than there are cores and for stages that do not fit together.  Where nothing is
    measured none starts from another.
    """
    specs, imported, cores, notes = wanted.specs, wanted.imported, here.cores, wanted.notes
    if profile.device == "cpu" and "tf32" in profile.precisions:
        if profile.precisions == ("tf32",):
            raise SpecError(
                NO_TF32, where=f"profile {profile.name}: precisions", way_out="Ask for float32 or bfloat16."
            )
        rest = tuple(precision for precision in profile.precisions if precision != "tf32")
        profile, notes = profile.model_copy(update={"precisions": rest}), (*notes, f"left out: {NO_TF32}")
    threads = profile.threads or Threads(intra=cores)
    if max(threads.intra, threads.inter) > cores:
        raise SpecError(
            f"{threads.intra} in an operation and {threads.inter} at once are more than the {cores} "
            f"core{'s' if cores > 1 else ''} that this process may use",
            where=f"profile {profile.name}: threads",
            way_out=f"Ask for at most {cores}, as in --threads {cores}: threads that share a core wait for each other.",
        )
    _check_single(profile, specs)
    generations = dict.fromkeys((spec.id for spec in specs), 0)
    if profile.rounds:
        generations = stages.generations(specs)
        stages.check(specs, lambda name: imported[name][1])
    entries = _proofs(profile, specs)
    trainings = range(1, profile.schedules + 1)
    for number in trainings:
        entries += _trainings(profile, specs, generations, number)
    for round_ in range(1, profile.rounds + 1):
        entries += _turns(profile, specs, round_)
    for number in trainings:
        entries += _tunings(profile, specs, number)
    return Plan(
        profile=profile,
        specs=specs,
        entries=tuple(entries),
        threads=threads,
        machine=here.machine,
        source=here.source,
        locks=dict(here.locks),
        imported={name: found[0] for name, found in imported.items()},
        notes=notes,
        left_out=dict(wanted.left_out),
        command=command,
    )


def _check_single(profile: Profile, specs: tuple[Spec, ...]) -> None:
    """Raises SpecError where a single benchmark is none of these, or is trained less often than what starts from it."""
    known = {name for spec in specs for name in (spec.id, spec.name)}
    where = f"profile {profile.name}: single"
    for name in profile.single:
        if name not in known:
            raise SpecError(f"{shown(name)} is no benchmark of this run", where=where, way_out=listed(sorted(known)))
    schedules = {spec.id: profile.schedules_of(spec) for spec in specs}
    for spec in specs:
        if (giver := stages.parent(spec)) in schedules and schedules[giver] < schedules[spec.id]:
            raise SpecError(
                f"{giver} is trained less often than {spec.id}, which starts from it",
                where=where,
                way_out="Let both have the same `trainings`.",
            )


Group = tuple[Literal["prove", "measure", "turns", "tune"], str | None, tuple[Cell, ...]]


def _proofs(profile: Profile, specs: tuple[Spec, ...]) -> list[Entry]:
    """One proof of each computation, by the first spec that has it, in every mode."""
    distinct = {spec.computation: spec for spec in reversed(specs)}
    proven = tuple(spec for spec in specs if distinct[spec.computation] is spec)
    groups: list[Group] = []
    for runner in profile.runners:
        cells = [
            _cell(profile, spec, runner, mode, precision, 0)
            for spec in proven
            for mode in profile.modes(spec).get(runner, ())
            for precision in profile.precisions
        ]
        chunks = [tuple(cells[i : i + MOST_PROOFS]) for i in range(0, len(cells), MOST_PROOFS)]
        groups += [("prove", runner, chunk) for chunk in chunks]
    return _entries(_shuffled(groups, profile, 0), 0)


def _trainings(profile: Profile, specs: tuple[Spec, ...], generations: Mapping[str, int], number: int) -> list[Entry]:
    """One training of each benchmark by each framework, a generation after the other, each in random order.

    The first are processes of one cell each, whose memory is theirs alone; later ones share a process.
    """
    groups: list[Group] = []
    for generation in sorted(set(generations.values())):
        mine = [spec for spec in specs if generations[spec.id] == generation]
        found: list[Group] = []
        for runner in profile.runners:
            able = [spec for spec in mine if number <= profile.schedules_of(spec) and profile.modes(spec).get(runner)]
            cells = tuple(
                _cell(profile, spec, runner, profile.mode_to_train(runner, spec), precision, number)
                for spec in able
                for precision in profile.precisions
            )
            together = [(cell,) for cell in cells] if number == 1 or not cells else [cells]
            found += [("measure", runner, group) for group in together]
        groups += _shuffled(found, profile, number, "train", *([generation] if generation else []))
    return _entries(groups, number, "t")


def _turns(profile: Profile, specs: tuple[Spec, ...], round_: int) -> list[Entry]:
    """Every benchmark once, in random order; the instrument answers as well."""
    groups: list[Group] = [
        (
            "turns",
            None,
            tuple(
                _cell(profile, spec, runner, mode, precision, round_)
                for runner, modes in {**profile.modes(spec), **INSTRUMENT}.items()
                for mode in modes
                for precision in profile.precisions
            ),
        )
        for spec in specs
    ]
    return _entries(_shuffled(groups, profile, round_), round_)


def _tunings(profile: Profile, specs: tuple[Spec, ...], number: int) -> list[Entry]:
    """Inference options over the weights of one training, in random order."""
    groups: list[Group] = [
        ("tune", runner, (_cell(profile, spec, runner, modes[0], TIMED, number),))
        for spec in specs
        for runner, modes in profile.modes(spec).items()
        if profile.tunings and modes and TIMED in profile.precisions and number <= profile.schedules_of(spec)
    ]
    return _entries(_shuffled(groups, profile, number, "tune"), number, "o")


def _cell(profile: Profile, spec: Spec, runner: str, mode: str, precision: TimedPrecision, round_: int) -> Cell:
    seed = profile.seeds[(round_ - 1) % len(profile.seeds)] if round_ else profile.seeds[0]
    return Cell(
        spec=spec.id,
        runner=runner,
        mode=mode,
        precision=precision,
        device=profile.device,
        seed=seed,
        round=round_,
    )


def _shuffled(groups: list[Group], profile: Profile, *name: str | int) -> list[Group]:
    return [groups[g] for g in initial.stream(0, "plan", profile.name, *name).permutation(len(groups))]


def _entries(groups: list[Group], round_: int, letter: str = "r") -> list[Entry]:
    return [
        Entry(id=f"{letter}{round_:02}-{i:02}-{runner or 'turns'}", kind=kind, round=round_, runner=runner, cells=cells)
        for i, (kind, runner, cells) in enumerate(groups)
    ]


def read(folder: Path) -> Plan:
    """The plan of a run's folder.  Raises ResultError if it is not one."""
    path = folder / "plan.json"
    return validate(path, read_json(path), TypeAdapter(Plan))
