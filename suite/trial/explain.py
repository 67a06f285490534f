"""One framework in one mode under its own profiler: a fresh process, outside any timing.

    python -m suite.trial.explain FOLDER RUNNER MODE QUESTION BATCH_SIZE STEPS BENCHMARK

FOLDER holds a plan.  The result is ``FOLDER/results/RUNNER-MODE.json``, the trace ``FOLDER/RUNNER-MODE.trace.json``.
STEPS is 0 where the process is to choose.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from suite.errors import SuiteError, Unsupported
from suite.files import write_bytes
from suite.inputs import initial
from suite.meters.clock import gc_disabled, timed
from suite.results.attribution import Attribution, Unexplained
from suite.results.questions import QuestionKind
from suite.run import plan
from suite.run.explain import Asked, result, trace
from suite.runners import base
from suite.runners.base import Profiler, Program, Traced
from suite.spec.resolved import Spec
from suite.trial import measure
from suite.trial.agent import end_with_parent
from suite.trial.attribution import divided
from suite.trial.here import Here

LEAST_STEPS, MOST_STEPS, LASTING_NS = 3, 50, 100_000_000
"""Of a call, where nobody says how many: so many as last about this long."""
CALLS = 10
"""Without the profiler, and so many with it: of each the least disturbed is told, for other work only adds."""
KEPT = 40
"""Operations that a result tells."""


class Work(NamedTuple):
    """A call, and how many steps, queries or batches it is."""

    call: Callable[[], object]
    steps: int


def main(folder: Path, token: str, mode: str, asked: Asked) -> None:
    """Profile, and leave a result: an attribution, or why there is none."""
    end_with_parent()
    found: Attribution | Unexplained
    try:
        found = explained(folder, token, mode, asked)
    except Exception as error:  # noqa: BLE001 - whatever a framework raises is an answer
        traceback.print_exc()
        told = str(error) if isinstance(error, SuiteError) else f"{type(error).__name__}: {error}"
        found = Unexplained(who=f"{token}:{mode}", reason=told[:2000])
    write_bytes(result(folder, token, mode), found.model_dump_json(indent=1).encode() + b"\n")


def explained(folder: Path, token: str, mode: str, asked: Asked) -> Attribution:
    """Build the program, warm it up, time the call without the profiler, and profile it.

    Raises Unsupported where no profiler is known, else as the framework does.
    """
    made = plan.read(folder)
    here = Here.describe(token, made.profile.device, made.threads)
    spec, precision = made.spec(asked.spec), made.profile.precisions[0]
    runner = base.find(token)(made.profile.device, made.threads, 0, deterministic=made.profile.deterministic)
    profiler = base.profiler(token)
    if profiler is None:
        raise Unsupported(f"no profiler is known for {token}")
    if reason := runner.missing(mode):
        raise Unsupported(reason)
    with profiler.prepared():
        program = runner.build(spec, mode, precision)
        for name, split in measure.splits(spec).items():
            program.stage(name, split.images, split.targets)
        program.load(measure.start(spec, 0))
        work = _settled(program, spec, asked, runner.warmup[mode])
    with gc_disabled():
        bare, seen = _in_turns(profiler, work, trace(folder, token, mode))
    found = divided(seen)
    return Attribution(
        spec=spec.id, runner=token, mode=mode, precision=precision, device=made.profile.device,
        question=asked.question, batch_size=asked.batch_size or spec.batch_size, steps=work.steps,
        bare_ns=tuple(bare), blind=profiler.blind, environment=here.told(runner), wall_ns=found.wall_ns,
        kinds=found.kinds, started=found.started, operations=found.operations[:KEPT], on_device=found.on_device,
        fused_ns=found.fused_ns, around=found.around[:KEPT],
    )  # fmt: skip


def _in_turns(profiler: Profiler, work: Work, kept: Path) -> tuple[list[int], Traced]:
    """Times of the call without the profiler, and what that saw of the shortest of as many calls; its trace is kept.

    One without and one with it in turn, so that what the machine does meets both alike.
    """
    bare: list[int] = []
    best: Traced | None = None
    new = kept.with_suffix(".new")
    for _ in range(CALLS):
        bare.append(timed(work.call)[0])
        found = profiler.profiled(work.call, new)
        if best is None or found.lasted_ns < best.lasted_ns:
            best = found
            new.replace(kept)
    new.unlink(missing_ok=True)
    assert best is not None
    return bare, best


def _settled(program: Program, spec: Spec, asked: Asked, warmup: int) -> Work:
    """The call that is profiled, warm, and of as many steps as were asked for."""
    work = _work(program, spec, asked, asked.steps or LEAST_STEPS)
    for _ in range(warmup):
        work.call()
    if not asked.steps:
        taken = min(timed(work.call)[0] for _ in range(2)) / work.steps
        work = _work(program, spec, asked, max(LEAST_STEPS, min(MOST_STEPS, round(LASTING_NS / max(taken, 1)))))
        for _ in range(warmup):
            work.call()
    return work


def _work(program: Program, spec: Spec, asked: Asked, steps: int) -> Work:
    """The very call that is timed elsewhere; a pass over the test split is as many batches as it has."""
    if asked.question is QuestionKind.TRAINING:
        size = min(spec.batch_size, spec.train_images)
        whole = initial.order(0, 0, spec.train_images)[: spec.train_images // size * size]
        order = np.ascontiguousarray(np.resize(whole, steps * size))
        return Work(lambda: program.train(order), steps)
    images = measure.splits(spec)["test"].images
    size = asked.batch_size
    if size > len(images):
        raise Unsupported(f"there are fewer than {size} images to ask for")
    if asked.question is QuestionKind.THROUGHPUT:
        return Work(lambda: program.predict("test", size), -(-len(images) // size))
    held = [images[i : i + size] for i in range(0, len(images) // size * size, size)]
    queries = list(islice(cycle(held), steps))
    return Work(lambda: [program.infer(query) for query in queries], steps)


if __name__ == "__main__":
    where, name, way, question, batch_size, steps, benchmark = sys.argv[1:]
    main(Path(where), name, way, Asked(benchmark, QuestionKind(question), int(batch_size), int(steps)))
