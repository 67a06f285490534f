"""One side of a comparison: builds cells out of one checkout and times short blocks of their calls on request.

    python -P suite/compare/agent.py RUNNER DEVICE INTRA INTER    # threads; with PYTHONPATH = the checkout's root

It is always the newer checkout's file, run against either checkout's package, so it uses what both have: the runners'
protocol, specs, data and the start.  Requests and replies are JSON, a line each, over the standard streams:

    {"do": "open", "root": PATH, "benchmark": NAME OR FILE, "spec": ID, "mode": MODE, "seed": 0,
     "precision": "float32"}  -> {"digests": {...}}
    {"do": "block", "question": "training" | "latency" | "throughput", "batch_size": 1, "calls": 3}  -> {"ns": 51000000}

A request that fails is answered with ``{"error": SENTENCE, "unsupported": BOOL}``.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter_ns
from typing import Any, TextIO

import suite
from suite.data import datasets
from suite.errors import SuiteError, Unsupported
from suite.inputs import initial
from suite.meters.clock import gc_disabled
from suite.results.questions import QuestionKind
from suite.run import plan
from suite.runners import base
from suite.trial import measure

STEPS = 16
"""Most optimizer steps of one call of training; all of them full batches."""
QUERIES = 20
"""Queries per warm-up call of the mode."""
OWN = "npz:"
"""How the name of a data set begins that is a file of the user's own."""
Calls = tuple[Callable[..., Any], list[tuple[Any, ...]]]


class Agent:
    """A runner and the program that it has built last."""

    def __init__(self, token: str, device: base.Device, threads: base.Threads) -> None:
        self._runner = base.find(token)(device, threads, 0)
        self._program: base.Program
        self._begin: base.State
        self._calls: dict[str, Calls]

    def open(
        self, root: str, benchmark: str, spec: str, mode: str, seed: int, precision: base.Precision
    ) -> dict[str, Any]:
        """Build a cell, stage its data and warm it up; returns what both sides must share."""
        if mode not in self._runner.modes:
            raise Unsupported(f"there is no mode {mode!r}")
        if reason := self._runner.missing(mode):
            raise Unsupported(reason)
        gc.unfreeze()
        if (own := Path(benchmark)).is_absolute():
            os.chdir(own.resolve().parent)  # from where checkouts take npz:PATH that knew of no other folder
        specs = plan.choose((benchmark,), Path(root) / "benchmarks" / "specs", datasets.describe)
        found = next((each for each in specs if each.id == spec), None)
        if found is None:
            raise Unsupported(f"there is no benchmark {spec}")
        held = measure.splits(found)
        self._begin = measure.start(found, seed)
        self._program = self._runner.build(found, mode, precision)
        for name, split in held.items():
            self._program.stage(name, split.images, split.targets)
        self._program.load(self._begin)
        order = initial.order(seed, 0, found.train_images)
        full = len(order) // found.batch_size
        self._order = order[: min(full, STEPS) * found.batch_size] if full else order
        self._images = held["test"].images
        self._warm = self._runner.warmup[mode]
        self._calls = {}
        return {"digests": measure.digests(_anywhere(found), seed).model_dump(mode="json")}

    def block(self, question: str, batch_size: int, calls: int) -> dict[str, Any]:
        """Nanoseconds of so many calls, one after another.  Training starts from the spec's start in every block."""
        call, inputs = self._prepared(question, batch_size)
        if question == QuestionKind.TRAINING:
            self._program.load(self._begin)
        arguments = list(islice(cycle(inputs), calls))
        with gc_disabled():
            began = perf_counter_ns()
            for each in arguments:
                call(*each)
            return {"ns": perf_counter_ns() - began}

    def _prepared(self, question: str, batch_size: int) -> Calls:
        """The call of a question and its arguments in turn. The first request warms it up."""
        key = f"{question} {batch_size}"
        if key not in self._calls:
            call, inputs = self._calls[key] = self._made(question, batch_size)
            for arguments in islice(cycle(inputs), self._warm * (QUERIES if question == QuestionKind.LATENCY else 1)):
                call(*arguments)
            gc.collect()
            gc.freeze()  # or each block would begin with a walk through the whole framework
        return self._calls[key]

    def _made(self, question: str, batch_size: int) -> Calls:
        if question == QuestionKind.TRAINING:
            return self._program.train, [(self._order,)]
        if question == QuestionKind.THROUGHPUT:
            return self._program.predict, [("test", batch_size)]
        whole = len(self._images) // batch_size * batch_size
        if not whole:
            raise Unsupported(f"there are fewer than {batch_size} images to ask for")
        return self._program.infer, [(self._images[i : i + batch_size],) for i in range(0, whole, batch_size)]


def _anywhere(spec: Any) -> Any:
    """A spec without the path of the user's own data file: some checkouts count it into the digest, others do not."""
    if not spec.dataset.startswith(OWN):
        return spec
    return spec.replace(dataset=OWN, data=spec.data.model_copy(update={"name": OWN}))


def requests(stream: TextIO) -> Iterator[dict[str, Any]]:
    """The requests, until the other end closes."""
    for line in stream:
        yield json.loads(line)


def answered(agent: Agent, do: str, **request: Any) -> dict[str, Any]:
    """The reply to a request. An error is a reply as well."""
    try:
        return agent.open(**request) if do == "open" else agent.block(**request)
    except Exception as error:  # noqa: BLE001 - whatever a framework raises is a reply
        traceback.print_exc()
        text = str(error) if isinstance(error, SuiteError) else f"{type(error).__name__}: {error}"
        return {"error": text[:2000], "unsupported": isinstance(error, Unsupported)}


def main(token: str, device: base.Device, threads: base.Threads) -> None:
    """Answer requests. What a framework prints goes to the log, because the pipe carries replies alone."""
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def reply(**fields: Any) -> None:
        pipe.write(json.dumps(fields) + "\n")

    agent = Agent(token, device, threads)
    reply(root=str(Path(suite.__file__).resolve().parent.parent))
    for request in requests(sys.stdin):
        reply(**answered(agent, **request))


if __name__ == "__main__":
    try:
        asked = base.Threads(intra=int(sys.argv[3]), inter=int(sys.argv[4]))
        main(sys.argv[1], "cuda" if sys.argv[2] == "cuda" else "cpu", asked)
    except SuiteError as problem:
        sys.exit(str(problem))
