"""Results become evidence: each cell is taken once, proofs are joined, and what may be ranked is grouped."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from suite.errors import ResultError
from suite.results.environment import Environment
from suite.results.identity import Identity, Verdict
from suite.results.pytest_benchmark import Timing
from suite.results.records import Cell, Failed, InferenceOptions, Measured, Numbers, Proof, Record, Timed
from suite.spec.resolved import Spec

TURNS = "turns"
"""The kind of a trial that takes the speed of a benchmark's cells in turns."""
EntryId = tuple[str, str]
"""A run, "" where it is not known, and the id of a trial."""
UNRANKED = frozenset({"null", "reference"})
FIRST = ("torch", "tf")
HowComputed = tuple[str, str, str, str]
"""Runner, mode, precision and device."""


def position(runner: str) -> tuple[int, str]:
    """The position of a framework in tables and sentences: these first, others by their tokens, then the unranked."""
    last = len(FIRST) + (runner in UNRANKED)
    return (FIRST.index(runner) if runner in FIRST else last, runner)


def in_order(runners: Iterable[str]) -> list[str]:
    """Frameworks in the order of their positions, each once."""
    return sorted(set(runners), key=position)


@dataclass(frozen=True, order=True)
class ComparisonGroup:
    """What must be equal before two numbers are ranked: one run, machine and place, one spec, precision and device."""

    spec: str
    spec_digest: str
    device: str
    precision: str
    run: str
    machine: str
    place: str


@dataclass(frozen=True, order=True)
class FrameworkMode:
    """A framework in one of its modes."""

    runner: str
    mode: str


@dataclass(frozen=True)
class Proven:
    """The gate found this very computation equal to the reference, under ``variants`` if any."""

    variants: tuple[str, ...]


@dataclass(frozen=True)
class NotProven:
    """Why a number has no proof; ``word`` says it where there is little room."""

    reason: str
    word: str = "not proven"


@dataclass(frozen=True)
class Planned:
    """A cell that a run was to prove, time in turns, measure or tune, as ``kind`` says; "" is an unknown run."""

    run: str
    cell: Cell
    kind: str
    entry: str


@dataclass(frozen=True)
class Evidence:
    """All results, each cell once, in one order whatever order they were read in."""

    results: tuple[Record, ...]
    doubles: tuple[str, ...]
    plan: Mapping[str, Any]
    refused: tuple[ResultError, ...] = ()
    plans: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Every plan by its run, "" where that is not known; ``plan`` is the first of them, which the report tells."""

    @cached_property
    def measured(self) -> tuple[Measured, ...]:
        """Cells that were trained or, of old, timed by themselves."""
        return tuple(r for r in self.results if isinstance(r, Measured))

    @cached_property
    def timed(self) -> tuple[Timed, ...]:
        """Cells whose speed was taken in turns, without controls."""
        return tuple(r for r in self.results if isinstance(r, Timed) and not r.control)

    @cached_property
    def controls(self) -> tuple[Timed, ...]:
        """Second processes of cells, which are compared with the first and never ranked."""
        return tuple(r for r in self.results if isinstance(r, Timed) and r.control)

    @cached_property
    def numbers(self) -> tuple[Numbers, ...]:
        """Cells with numbers of either kind."""
        return (*self.measured, *self.timed)

    @cached_property
    def proofs(self) -> tuple[Proof, ...]:
        """Outcomes of the gate."""
        return tuple(r for r in self.results if isinstance(r, Proof))

    @cached_property
    def tuned(self) -> tuple[InferenceOptions, ...]:
        """Inference with one option after another."""
        return tuple(r for r in self.results if isinstance(r, InferenceOptions))

    @cached_property
    def failed(self) -> tuple[Failed, ...]:
        """Cells without numbers."""
        return tuple(r for r in self.results if isinstance(r, Failed))

    @cached_property
    def groups(self) -> dict[ComparisonGroup, dict[FrameworkMode, tuple[Numbers, ...]]]:
        """Numbers by what may be ranked together, then by framework and mode, in order of rounds and seeds."""
        found: dict[ComparisonGroup, dict[FrameworkMode, list[Numbers]]] = defaultdict(lambda: defaultdict(list))
        for result in self.numbers:
            found[comparison_group(result)][framework_mode(result)].append(result)
        return {
            a: {c: tuple(found[a][c]) for c in sorted(found[a], key=lambda c: (position(c.runner), c.mode))}
            for a in sorted(found)
        }

    @cached_property
    def learnt(self) -> dict[ComparisonGroup, dict[FrameworkMode, tuple[Measured, ...]]]:
        """The groups without what was timed in turns: trainings, memory and energy; a group may hold no mode."""
        return {
            group: {c: found for c, rs in cells.items() if (found := tuple(r for r in rs if isinstance(r, Measured)))}
            for group, cells in self.groups.items()
        }

    @cached_property
    def specs(self) -> dict[ComparisonGroup, Spec]:
        """The spec of every group with numbers, those of inference options among them, in order."""
        found = {comparison_group(r): r.spec for r in self.tuned} | {comparison_group(r): r.spec for r in self.numbers}
        return {a: found[a] for a in sorted(found)}

    @cached_property
    def kinds(self) -> Mapping[EntryId, str]:
        """What each trial was to do."""
        return kinds_of(self.plans, self.results)

    @cached_property
    def turned(self) -> frozenset[str]:
        """The runs that take speed in turns."""
        return frozenset(run for (run, _), kind in self.kinds.items() if kind == TURNS)

    @cached_property
    def frameworks(self) -> tuple[str, ...]:
        """The frameworks that results or plan name, without null and reference."""
        named = {r.cell.runner for r in self.results} | {planned.cell.runner for planned in self.planned}
        return tuple(in_order(named - UNRANKED))

    @cached_property
    def runs(self) -> tuple[str, ...]:
        """The runs that the results name, in the order of their numbers."""
        return tuple(sorted({r.run for r in self.results}))

    @cached_property
    def planned(self) -> tuple[Planned, ...]:
        """The cells of the plans, as far as they name any."""
        cells = []
        for run, plan in self.plans.items():
            for entry in _list(plan.get("entries")):
                for cell in _list(entry.get("cells")) if isinstance(entry, Mapping) else []:
                    with contextlib.suppress(ValidationError):
                        cells.append(
                            Planned(run, Cell.model_validate(cell), *(str(entry.get(k, "")) for k in ("kind", "id")))
                        )
        return tuple(cells)

    @cached_property
    def held(self) -> Mapping[tuple[str, str], set[int]]:
        """The rounds in which something was timed in turns, or failed there, by run and benchmark; "" is any run."""
        found: dict[tuple[str, str], set[int]] = defaultdict(set)
        for r in self.results:
            if kind_of(r, self.kinds) == TURNS:
                found[r.run, r.cell.spec].add(r.cell.round)
                found["", r.cell.spec].add(r.cell.round)
        return dict(found)

    @cached_property
    def _by_way(self) -> dict[HowComputed, list[Proof]]:
        found: dict[HowComputed, list[Proof]] = defaultdict(list)
        for proof in self.proofs:
            found[way(proof.cell)].append(proof)
        return found

    @cached_property
    def _computations(self) -> dict[str, str]:
        """What each spec computes, by the spec's digest; both made anew from the specs themselves."""
        return {r.spec.digest: r.spec.computation for r in self.results}

    def proof_status(self, result: Numbers | InferenceOptions | Timing) -> Proven | NotProven:
        """Whether a proof covers a cell: of the same computation, by the same program in the same way and place.

        One proof serves every spec that computes the same; what a spec computes is derived from the spec that the
        record holds, and no digest that a record states is believed.
        """
        if isinstance(result, Timing):
            computation = self._computations.get(result.digests.spec, "")
        else:
            computation = result.spec.computation
            if result.digests.dataset != result.spec.data.digest:
                return NotProven("it was measured on a data set other than its spec names")
        mine = self._by_way.get(way(result.cell), [])
        near = [proof for proof in mine if proof.spec.computation == computation]
        if not near:
            if any(proof.cell.spec == result.cell.spec for proof in mine):
                return NotProven("the proof is of another spec")
            gate = [f for f in self.failed if f.cell.round == 0 and way(f.cell) == way(result.cell)]
            gate = [f for f in gate if f.spec.computation == computation]
            if gate:
                return NotProven(f"the gate {gate[0].cause}: {gate[0].reason}", f"gate {gate[0].cause}")
            return NotProven("the gate has not run", "gate not run")
        reasons = []
        for proof in near:
            if difference := _difference(proof.environment, result.environment):
                reasons.append(f"the proof is of another {difference}")
            elif proof.identity.verdict is Verdict.UNPROVEN:
                return NotProven(f"unproven: {divergence(proof.identity)}", "unproven")
            elif proof.identity.verdict is Verdict.NOT_PROVABLE:
                why = "not provable: the reference itself overflows from every start of the gate"
                return NotProven(why, "not provable")
            else:
                return Proven(proof.identity.variants)
        return NotProven(min(reasons))


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def divergence(identity: Identity) -> str:
    """The first divergence in words."""
    worst = identity.divergence
    if worst is None:
        return "no divergence was named"
    error = "is not finite" if worst.error is None else f"is off by {worst.error:.1e}, bound {worst.bound:.1e}"
    return f"{worst.section}: {worst.tensor} {error}"


def way(cell: Cell) -> HowComputed:
    """How a cell was computed."""
    return cell.runner, cell.mode, cell.precision, cell.device


def program(env: Environment) -> tuple[str | None, ...]:
    """What computed, and where: a proof covers nothing else."""
    return env.source, env.lock, env.machine, env.place, env.settings.get("deterministic")


_PROGRAM = ("version of the suite", "set of packages", "machine", "place", "setting of deterministic algorithms")


def _difference(proof: Environment, result: Environment) -> str:
    """What keeps a proof from covering a result, or nothing."""
    for one, other, words in zip(program(proof), program(result), _PROGRAM, strict=True):
        if one != other:
            return words
    return ""


def comparison_group(result: Numbers | Proof | InferenceOptions) -> ComparisonGroup:
    """Where a result may be ranked."""
    cell, env = result.cell, result.environment
    return ComparisonGroup(
        cell.spec, result.spec.digest, cell.device, cell.precision, result.run, env.machine, env.place
    )


def framework_mode(result: Record) -> FrameworkMode:
    """Whose result it is."""
    return FrameworkMode(result.cell.runner, result.cell.mode)


def _key(result: Record, places: Mapping[str, set[str]], kinds: Mapping[EntryId, str]) -> tuple[Any, ...]:
    """What a cell is taken once by.  A failure may not tell its place: its run does, unless that ran in several.

    A cell is measured in one trial, timed in turns in another and tuned in a third: a failure of one is none of the
    others.  A control is no double of the cell that it repeats.
    """
    cell = result.cell
    known = places.get(result.run, set())
    place = result.environment.place if result.environment else next(iter(known)) if len(known) == 1 else ""
    name = (cell.spec, position(cell.runner), cell.mode, cell.precision, cell.device, cell.round, cell.seed)
    return *name, result.run, place, kind_of(result, kinds), isinstance(result, Timed) and result.control


def kinds_of(plans: Mapping[str, Mapping[str, Any]], results: Iterable[Record]) -> dict[EntryId, str]:
    """What each trial was to do, by run and id: as the plans say, or a result in turns tells."""
    entries = [(run, e) for run, plan in plans.items() for e in _list(plan.get("entries")) if isinstance(e, Mapping)]
    found = {(r.run, r.entry): TURNS for r in results if isinstance(r, Timed)}
    return found | {(run, str(entry.get("id"))): str(entry.get("kind", "")) for run, entry in entries}


def kind_of(result: Record, kinds: Mapping[EntryId, str]) -> str:
    """What a cell was to be: proven, timed in turns, measured or tuned."""
    match result:
        case Timed():
            return TURNS
        case InferenceOptions():
            return "tune"
        case Failed() if result.cell.round:
            said = kinds.get((result.run, result.entry)) or kinds.get(("", result.entry), "")
            return said if said in (TURNS, "tune") else "measure"
    return "measure" if result.cell.round else "prove"


_BETTER = {"measured": 0, "timed": 0, "proof": 0, "tuned": 0, "failed": 1}


def merge(
    results: Iterable[Record],
    plan: Mapping[str, Any],
    refused: Iterable[ResultError] = (),
    plans: Mapping[str, Mapping[str, Any]] | None = None,
) -> Evidence:
    """Take each cell once: numbers before a failure, then the later start, then the order of their text.

    ``plans`` are all plans by their run; without them ``plan`` is that of the only run, or of any.
    """
    cells: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    places: dict[str, set[str]] = defaultdict(set)
    everything = list(results)
    runs = {result.run for result in everything}
    plans = plans or ({next(iter(runs)) if len(runs) == 1 else "": plan} if plan else {})
    kinds = kinds_of(plans, everything)
    for result in everything:
        if result.environment is not None:
            places[result.run].add(result.environment.place)
    for result in everything:
        cells[_key(result, places, kinds)].append(result)
    kept, doubles = [], []
    for key in sorted(cells):
        found = cells[key]
        if len(found) > 1:
            found.sort(key=lambda r: r.model_dump_json())
            found.sort(key=lambda r: (_BETTER[r.outcome], -r.started.timestamp()))
            cell = found[0].cell
            same = "identical" if all(r == found[0] for r in found) else "different: the one that started last is used"
            doubles.append(f"{cell.slug} round {cell.round}: {len(found)} files, {same}")
        kept.append(found[0])
    ordered = sorted(refused, key=lambda e: (e.where, e.what))
    return Evidence(tuple(kept), tuple(doubles), plan, tuple(ordered), plans)
