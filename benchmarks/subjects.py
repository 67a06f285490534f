"""What `pytest benchmarks` can time here: the runners of this environment, and specs built in their modes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from suite.data import datasets
from suite.errors import MachineError, SpecError, Unsupported
from suite.inputs.examples import Split
from suite.machine import environment
from suite.results.environment import Environment
from suite.results.records import Cell, Digests
from suite.run import session
from suite.runners import base
from suite.runners.base import Program, Runner, Threads
from suite.spec.resolved import Spec
from suite.trial import measure

PROFILE = session.profile("quick")
"""Whose benchmarks, modes, batches and samples are taken where nothing else is said."""
SEED = PROFILE.seeds[0]
THREADS = Threads(intra=environment.cores(), inter=1)


def tokens() -> list[str]:
    """The runners that can be timed here: those whose framework imports, else those that need none."""
    found: dict[bool, list[str]] = {True: [], False: []}
    for token in base.tokens():
        try:
            base.find(token)
        except MachineError:
            continue
        found[environment.lock_digest(token) is not None].append(token)
    if len(found[True]) > 1:
        raise MachineError(f"{' and '.join(found[True])} import here", way_out="Each is timed in a process of its own.")
    return found[True] or found[False]


def specs(wanted: list[str]) -> tuple[Spec, ...]:
    """The specs of that name, or those of the profile.  Raises SpecError, DataError."""
    return session.find(tuple(wanted) or PROFILE.benchmarks).asked


def cells(wanted: list[str], modes: list[str]) -> Iterator[tuple[Spec, str, str]]:
    """Spec, runner and mode of all that is asked for.  Raises SpecError for an unknown benchmark or mode."""
    known = {token: base.modes(token) for token in tokens()}
    for mode in modes:
        if not any(mode in offered for offered in known.values()):
            there = "; ".join(f"{token} has {', '.join(offered)}" for token, offered in known.items())
            raise SpecError(f"no runner of this environment has a mode {mode!r}", way_out=f"Here {there}.")
    for spec in specs(wanted):
        for token, offered in known.items():
            yield from ((spec, token, m) for m in modes or PROFILE.runners.get(token, offered) if m in offered)


@dataclass(frozen=True)
class Subject:
    """A spec built in a mode, its splits staged."""

    spec: Spec
    cell: Cell
    runner: Runner
    program: Program
    held: dict[str, Split]

    @property
    def calls(self) -> int:
        """Calls of each kind that settle it."""
        return self.runner.warmup[self.cell.mode]

    def begin(self) -> None:
        """Load the spec's initial weights."""
        self.program.load(measure.start(self.spec, SEED))

    def digests(self) -> Digests:
        """What a proof must share."""
        return measure.digests(self.spec, SEED)

    def environment(self) -> Environment:
        """Where it is timed, as a result records it; the packages are left to the lock."""
        told = {
            "packages": {},
            "libraries": self.runner.versions(),
            "devices": self.runner.devices(),
            "settings": self.runner.settings(),
            "threads_intra": THREADS.intra,
            "threads_inter": THREADS.inter,
        }
        return environment.describe(self.cell.runner).model_copy(update=told)


def build(spec: Spec, runner: Runner, token: str, mode: str) -> Subject:
    """Fetch the data, build and stage.  Raises DataError where the data cannot be had, Unsupported without the mode."""
    if reason := runner.missing(mode):
        raise Unsupported(reason)
    datasets.fetch(spec.dataset)
    program = runner.build(spec, mode, "float32")
    held = measure.splits(spec)
    for name, split in held.items():
        program.stage(name, split.images, split.targets)
    device = PROFILE.device
    cell = Cell(spec=spec.id, runner=token, mode=mode, precision="float32", device=device, seed=SEED, round=1)
    return Subject(spec, cell, runner, program, held)
