"""Which rounds a benchmark needs no more: told from results alone, so a run that goes on tells the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suite.errors import ResultError
from suite.results import looks, records, turns
from suite.results.records import Proof, Record, Timed
from suite.run.plan import Plan


def waived(folder: Path, made: Plan) -> frozenset[str]:
    """Ids of the entries of turns whose benchmark was decided, or precise enough, at an earlier look."""
    profile = made.profile
    at = looks.in_order(profile.looks, profile.rounds)
    if len(at) < 2:
        return frozenset()
    refused: list[ResultError] = []
    found = records.read_all(folder / "results", refused.append)
    timed = [record for record in found if isinstance(record, Timed)]
    still = turns.open_benchmarks(
        timed, at, profile.half_width, profile.widest, tuple(profile.runners), without=_unproven(made, found)
    )
    held = {record.cell.spec for record in timed}
    last = {spec: max(record.cell.round for record in timed if record.cell.spec == spec) for spec in held}
    return frozenset(
        entry.id
        for entry in made.entries
        if entry.kind == "turns"
        and (spec := entry.cells[0].spec) in held
        and spec not in still
        and entry.round > last[spec]
    )


def _unproven(made: Plan, found: Sequence[Record]) -> frozenset[turns.CellName]:
    """The cells that no proof covers: they are not ranked, so nobody waits for a decision on them."""
    proven = {
        (record.spec.computation, record.cell.runner, record.cell.mode, record.cell.precision)
        for record in found
        if isinstance(record, Proof) and record.identity.verdict.proven
    }
    return frozenset(
        (spec.id, runner, mode, precision)
        for spec in made.specs
        for runner, modes in made.profile.runners.items()
        for mode in modes
        for precision in made.profile.precisions
        if (spec.computation, runner, mode, precision) not in proven
    )
