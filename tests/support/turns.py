"""Synthetic records of speed in turns: every lap in its place, and nothing random unless it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tests.support.results as make
from suite.results.questions import QuestionKind
from suite.results.records import Audit, Blocks, Measured, Timed
from suite.spec.resolved import Spec

MODES = {"torch": ("compile", "eager"), "tf": ("graph", "xla")}
LAPS = 6
ENTRY = "turns"


def blocks(
    kind: QuestionKind, size: int, cost: float, lapse: Sequence[float], calls: int = 10, examples: int = 1, **told: Any
) -> Blocks:
    """A block for each of ``lapse``, factors upon the ``cost`` of a query or example."""
    per = calls * (1 if kind is QuestionKind.LATENCY else examples)
    taken = tuple(round(cost * per * factor) for factor in lapse)
    return Blocks(kind=kind, batch_size=size, calls=calls, examples=examples, blocks_ns=taken, **told)


def timed(
    runner: str = "torch", mode: str = "compile", number: int = 1, of: Spec | None = None, slow: float | None = None,
    lapse: Sequence[float] = (1.0,) * LAPS, fixed: float = 2e5, each: float = 1e4, sizes: Sequence[int] = (1, 64),
    own: int | None = None, right: bool = True, seed: int = 1,
    device: str = "cpu", **fields: Any,
) -> Timed:  # fmt: skip
    """A cell in turns: ``slow`` multiplies every cost, ``lapse`` that of each lap; latency is a line over ``sizes``."""
    of = of or make.spec()
    at = make.cell(runner, mode, number, seed, of, device)
    factor = make.SPEED.get(f"{runner}/{mode}", 1.0) if slow is None else slow
    asked = [blocks(QuestionKind.TRAINING, 0, 2e5 * factor, lapse, examples=of.batch_size * 40, own_ns=own)]
    for size in sizes:
        latency = blocks(QuestionKind.LATENCY, size, (fixed + each * size) * factor, lapse, examples=size)
        asked.append(latency)
    asked.append(blocks(QuestionKind.THROUGHPUT, 256, 5e4 * factor, lapse, examples=of.data.test))
    checked = Audit(kind=QuestionKind.LATENCY, batch_size=1, error=1e-7 if right else 0.5, bound=1e-5)
    known: dict[str, Any] = {
        "environment": make.environment(runner), "digests": make.digests(of, seed), "import_ns": 1_000_000,
        "first_step_ns": 7_000_000_000, "compile_cache": "cold", "built_alone": True, "blocks": tuple(asked),
        "audits": () if runner == "null" else (checked,),
    }  # fmt: skip
    record = make._record(at, of) | {"entry": entry(number, of)}
    return Timed(**{**record, **known, **fields})


def entry(number: int, of: Spec) -> str:
    """The trial of a benchmark and round in which its cells take turns."""
    return f"r{number:02}-{ENTRY}-{of.id.replace('/', '.')}"


def nothing(number: int = 1, of: Spec | None = None, **fields: Any) -> Timed:
    """The null runner's cell."""
    return timed("null", "null", number, of, slow=1e-4, **fields)


def beside(
    runner: str = "torch", mode: str = "compile", number: int = 1, of: Spec | None = None, **fields: Any
) -> Measured:
    """A training for what it learns: under a seed of its own, with times that nobody should believe."""
    alone = {"latency": (), "throughput": (), "beside": True, "entry": f"r{number:02}-train-{runner}"}
    return make.measured(runner, mode, number, number, of, slow=50.0, **{**alone, **fields})


Draw = Callable[[str, str, int], float]


def slowness(runner: str, mode: str, number: int) -> float:
    """What a process is slower by than others of its kind: a little, another in each round."""
    return make.SPEED.get(f"{runner}/{mode}", 1.0) * (1 + 0.004 * ((number * 7 + len(runner + mode) * 3) % 5 - 2))


def run(of: Spec | None = None, rounds: int = 5, draw: Draw = slowness, trainings: int = 5, **fields: Any) -> list[Any]:
    """A whole run of one spec: modes proven, timed over rounds together with null, and one mode of each trained."""
    of = of or make.spec()
    found: list[Any] = [make.proof(r, m, of) for r, ms in MODES.items() for m in ms]
    for number in range(1, rounds + 1):
        for runner, modes in MODES.items():
            found += [timed(runner, m, number, of, draw(runner, m, number), **fields) for m in modes]
        found.append(nothing(number, of))
    for number in range(1, trainings + 1):
        found += [beside("torch", "compile", number, of), beside("tf", "graph", number, of)]
    return found


def planned(found: Iterable[Any], rounds: int = 5, **profile: Any) -> dict[str, Any]:
    """The plan of such a run: the trials of its results, and those of all later rounds."""
    entries: dict[str, dict[str, Any]] = {}
    for r in found:
        if isinstance(r, Timed):
            for number in range(1, rounds + 1):
                cell = r.cell.model_copy(update={"round": number}).model_dump(mode="json")
                name = entry(number, r.spec)
                mine = entries.setdefault(
                    name, {"id": name, "kind": ENTRY, "round": number, "runner": None, "cells": []}
                )
                mine["cells"] += [] if cell in mine["cells"] else [cell]
        elif isinstance(r, Measured):
            mine = entries.setdefault(r.entry, {"id": r.entry, "kind": "measure", "cells": []})
            mine["cells"].append(r.cell.model_dump(mode="json"))
    return {"profile": {"name": "turned", "rounds": rounds, **profile}, "entries": list(entries.values())}
