"""Proofs that are there already: what nothing has changed for is not proven again."""

from __future__ import annotations

from pathlib import Path

from suite.errors import ResultError
from suite.gate import gate
from suite.machine import environment
from suite.results import records
from suite.results.records import Cell, Proof
from suite.run.plan import Entry, Plan


def take_over(folder: Path, made: Plan) -> int:
    """Write into ``folder`` those proofs of ``made`` that other runs beside it have left; returns how many they are.

    A proof is taken if it came out well, was made of the same cell on this machine with as many threads, in a container
    if this is one and natively if not, and nothing that it depends on has changed since: its key says so.  It still
    tells the spec and the time of its own.
    """
    taken = 0
    for entry in made.entries:
        for cell in entry.cells if entry.kind == "prove" else ():
            path = folder / "results" / entry.file(cell)
            if not path.exists() and (proof := _find(folder, made, entry, cell)):
                records.write(path, proof)
                taken += 1
    return taken


def _find(folder: Path, made: Plan, entry: Entry, cell: Cell) -> Proof | None:
    decisive = cell.runner, cell.mode, cell.precision, cell.device, environment.installed_lock(cell.runner)
    key = gate.proof_key(made.spec(cell.spec), *decisive, deterministic=made.profile.deterministic)
    for path in sorted(folder.parent.glob(f"*/results/*--{cell.slug}.json")):
        try:
            found = records.read(path)
        except ResultError:
            continue
        if not isinstance(found, Proof) or not found.identity.verdict.proven:
            continue
        here = found.environment
        alike = (found.cell, found.identity.key, here.machine, here.place, here.threads_intra, here.threads_inter)
        if alike == (cell, key, made.machine, environment.place(), made.threads.intra, made.threads.inter):
            return found.model_copy(update={"run": made.id, "entry": entry.id})
    return None
