"""Synthetic attributions: what a profiler would have seen."""

from __future__ import annotations

from suite.results.attribution import Attribution, Kind, Operation
from suite.results.environment import Processor
from suite.results.questions import QuestionKind
from tests.support.results import environment

MS = 1_000_000
STEPS = 10


def attribution(
    who: str = "torch:compile", bare: float | None = None, load: float = 0.4, **fields: object
) -> Attribution:
    """Of a framework in a mode: ``fields`` name kinds of work and their milliseconds of a step, or replace others.

    ``bare`` are the milliseconds of a step without the profiler, the same as with it by default.
    """
    runner, mode = who.split(":")
    named = {name: value for name, value in fields.items() if name.upper() in Kind.__members__}
    kinds = {Kind[name.upper()]: float(str(ms)) * MS * STEPS for name, ms in named.items()}
    wall = round(sum(kinds.values()))
    seen = [each for each in kinds.items() if each[0] is not Kind.IDLE]
    operations = tuple(Operation(name=f"{kind.name} op", kind=kind, calls=2 * STEPS, ns=ns) for kind, ns in seen)
    return Attribution.model_validate(
        {
            "spec": "digits-cnn", "runner": runner, "mode": mode, "precision": "float32", "device": "cpu",
            "question": QuestionKind.TRAINING, "batch_size": 32, "steps": STEPS, "wall_ns": wall, "kinds": kinds,
            "started": 30 * STEPS, "bare_ns": (wall if bare is None else round(bare * MS * STEPS),),
            "operations": operations, "environment": environment(runner, before=Processor(load_1min=load)),
            **{name: value for name, value in fields.items() if name not in named},
        }
    )  # fmt: skip
