"""An agent: a process of one framework that holds a benchmark's programs and does a block of one question when asked.

    python -P suite/trial/agent.py RUNNER DEVICE INTRA INTER    # threads; with PYTHONPATH = the checkout's root

When two commits are compared it is always the newer checkout's file, run against either checkout's package, so it uses
what both have: the runners' protocol, specs, data and the start; whatever else it needs in a run it imports there.
Requests and answers are JSON, a line each, over the standard streams:

    {"do": "open", "modes": ["eager", "eager bfloat16"], "seed": 0, "source": {...}}
        -> {"digests": {...}, "parent": null, "modes": {MODE: {"first_step_ns": 1} or an error}}
    {"do": "settle", "mode": MODE, "question": KIND, "batch_size": 1, "nanoseconds": 5000000, "own_share": 0.01}
        -> {"calls": 3, "examples": 64, "own_ns": null}
    {"do": "block", "mode": MODE, "question": KIND, "batch_size": 1, "calls": 3, "examples": 64, "keep": null}
        -> {"ns": 51000000, "queries_ns": [...]}
    {"do": "warm", "modes": {MODE: [[KIND, 1, 64]]}} -> {"modes": {MODE: {} or an error}}    # batch size, examples
    {"do": "peak", "mode": MODE} -> {"flops": 1.5e11, "bytes": 2e10, "ns": 2000000000}    # bytes or null
    {"do": "close"} -> {"audits": {MODE: [...]}, "environment": {...}}

A mode names a program; a precision other than float32 follows it behind a blank.  ``keep`` is null, or a number drawn
at random, which decides what is audited at the end.  ``source`` is ``{"run": FOLDER, "entry": ID}``, or in a checkout
``{"root": PATH, "benchmark": NAME OR FILE, "spec": ID}``.  An error is ``{"error": SENTENCE, "unsupported": BOOL}``.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter_ns
from typing import Any, TextIO, cast

import numpy as np

import suite
from suite.data import datasets
from suite.errors import SuiteError, Unsupported
from suite.inputs import initial
from suite.meters.clock import gc_disabled
from suite.results.questions import QuestionKind
from suite.run import plan
from suite.runners import base
from suite.trial import measure

REQUESTS, BLOCKS = frozenset({"open", "warm", "peak", "close"}), frozenset({"settle", "block"})
"""What an agent is asked, and what one of its programs is."""
WARM_STEPS = 8
"""Steps of the calls that warm training up."""
QUERIES = 20
"""Queries per warm-up call of the mode."""
MOST_CALLS, MOST_QUERIES = 10_000, 500
"""Of a block; every query is timed by itself, and kept."""
OWN_SHARE = 0.009
"""What a call of training may cost by itself, as a share of the call, where the request names none."""
LONG_NS = 40_000_000
"""About how long a call lasts that tells what a step takes; one of a step tells what a call costs by itself."""
MOST_TRAINING_NS, MOST_STEPS = 300_000_000, 20_000
"""No call of training is made longer for the sake of its own cost."""
TRIES, SHORT_TRIES = 4, 12
"""Of calls of many steps, and of one, of which the shortest counts: whatever else the machine does only adds."""
OWN = "npz:"
"""How the name of a data set begins that is a file of the user's own."""
MOVED = 0.875
"""What the weights of the start are multiplied by, where outputs are kept for the audit."""
WAKING_NS, WAKING_STEPS_NS, AWAKE_NS = 5_000_000, 10_000_000, 200_000_000
"""Calls of so long, or steps, go before a block, untimed: who slept loses some 2 ms.  Long blocks need none."""
LEAST_TRAINING_NS = 25_000_000
"""Of a call of training: what is lost after waking then is less than 1 % of it."""


class Seat:
    """A program of the benchmark that is open, in one mode, with what is asked of it."""

    def __init__(self, program: Any, begin: Any, spec: Any, test: Any, warm: int, precision: Any = "float32") -> None:
        self.program, self.spec, self.images, self.precision = program, spec, test, precision
        self._begin, self._warm = begin, warm
        self._warmed: set[tuple[str, int]] = set()
        self._orders: dict[int, Any] = {}
        self._inputs: dict[int, list[base.Array]] = {}
        self._lasted: dict[tuple[str, int], int] = {}
        self.kept: list[Any] = []

    def settle(
        self, question: str, batch_size: int, nanoseconds: float, own_share: float = OWN_SHARE
    ) -> dict[str, Any]:
        """How many calls a block takes to last that long, and of how many examples each is."""
        if question == QuestionKind.TRAINING:
            return self._training_call(nanoseconds, own_share)
        examples = batch_size if question == QuestionKind.LATENCY else len(self.images)
        calls, most = 1, MOST_QUERIES if question == QuestionKind.LATENCY else MOST_CALLS
        while (taken := self.block(question, batch_size, calls, examples)["ns"]) < nanoseconds and calls < most:
            calls = min(most, max(calls + 1, math.ceil(calls * nanoseconds / max(taken, 1))))
        return {"calls": calls, "examples": examples, "own_ns": None}

    def _training_call(self, nanoseconds: float, own_share: float) -> dict[str, Any]:
        """One call of so many steps that it lasts that long, and that its own cost is at most ``own_share`` of it."""
        step, nanoseconds = max(self._steps_taking(4) / 4, 1.0), max(nanoseconds, LEAST_TRAINING_NS)
        own: float | None = None
        for _ in range(2):  # the first time a call's own cost is taken for a part of its steps
            long = max(2, min(MOST_STEPS, round(LONG_NS / step)))
            if step * long <= MOST_TRAINING_NS:
                step, own = self._step_and_own(long)
        steps = math.ceil(max(1.0, nanoseconds / step, (own or 0.0) / (own_share * step)))
        steps = max(1, min(steps, MOST_STEPS, round(MOST_TRAINING_NS / step)))
        taken = max(self._steps_taking(steps), 1.0)
        lasting = min(max(taken, nanoseconds), MOST_TRAINING_NS)
        steps = max(1, min(MOST_STEPS, math.ceil(steps * lasting / taken)))
        return {"calls": 1, "examples": steps * self._batch, "own_ns": None if own is None else round(own)}

    def _step_and_own(self, long: int) -> tuple[float, float]:
        """What a step takes, and a call by itself: what a call of one step takes beyond a step of a ``long`` one."""
        one = min(self._steps_taking(1) for _ in range(SHORT_TRIES))
        more = min(self._steps_taking(long) for _ in range(TRIES))
        step = max((more - one) / (long - 1), 1.0)
        return step, max(0.0, one - step)

    @property
    def _batch(self) -> int:
        return int(min(self.spec.batch_size, self.spec.train_images))

    def _steps_taking(self, steps: int) -> float:
        return float(self.block(QuestionKind.TRAINING, 0, 1, steps * self._batch)["ns"])

    def _order(self, examples: int) -> Any:
        """So many examples in full batches, the first epoch's over and over."""
        if examples not in self._orders:
            order = initial.order(0, 0, self.spec.train_images)
            whole = order[: len(order) // self._batch * self._batch]
            self._orders[examples] = np.ascontiguousarray(np.resize(whole, examples))
        return self._orders[examples]

    def _queries(self, batch_size: int) -> list[base.Array]:
        if batch_size not in self._inputs:
            whole = len(self.images) // batch_size * batch_size
            if not whole:
                raise Unsupported(f"there are fewer than {batch_size} images to ask for")
            self._inputs[batch_size] = [self.images[i : i + batch_size] for i in range(0, whole, batch_size)]
        return self._inputs[batch_size]

    def block(
        self, question: str, batch_size: int, calls: int, examples: int, *, keep: int | None = None
    ) -> dict[str, Any]:
        """Nanoseconds of so many calls, one after another.  Training starts from the spec's start in every block.

        With ``keep``, drawn, the outputs of the last call stay for the audit: of a pass, or of the query that is drawn.
        """
        if keep is not None:
            self._train_otherwise()
        if question == QuestionKind.LATENCY:
            return self._latency(batch_size, calls, keep)
        call = waking = cast("Callable[[], Any]", partial(self.program.predict, "test", batch_size))
        if training := question == QuestionKind.TRAINING:
            call = partial(self.program.train, self._warmed_order(examples))
            waking = partial(self.program.train, self._order(min(examples, WARM_STEPS * self._batch)))
        else:
            self._warmed_up(question, batch_size, lambda size: self.program.predict("test", size), [batch_size])
        with gc_disabled():
            self._wake((question, batch_size), waking)
            if training:
                self.program.load(self._begin)
            began = perf_counter_ns()
            for _ in range(calls):
                outputs = call()
            taken = self._lasted[question, batch_size] = perf_counter_ns() - began
        if keep is not None:
            self._keep(question, batch_size, self.images, outputs, keep)
        return {"ns": taken}

    def _wake(self, asked: tuple[str, int], call: Callable[[], object]) -> None:
        """Call untimed, until caches and threads that have slept are awake."""
        began, least = perf_counter_ns(), WAKING_STEPS_NS if asked[0] == QuestionKind.TRAINING else WAKING_NS
        while self._lasted.get(asked, 0) < AWAKE_NS:
            call()
            if perf_counter_ns() - began >= least:
                return

    def warm(self, asked: list[tuple[str, int, int]]) -> dict[str, Any]:
        """Warm up what blocks of these questions call, by batch size and examples; 0 of them where it is not known."""
        for question, batch_size, examples in asked:
            if question == QuestionKind.TRAINING:
                self._warmed_order(examples or WARM_STEPS * self._batch)
            elif question == QuestionKind.LATENCY:
                self._warmed_up(question, batch_size, self.program.infer, self._queries(batch_size), QUERIES)
            else:
                self._warmed_up(question, batch_size, lambda size: self.program.predict("test", size), [batch_size])
        return {}

    def _warmed_order(self, examples: int) -> Any:
        """So many examples to train on; short calls warm training up, and one of each length goes before its first."""
        short = min(examples, WARM_STEPS * self._batch)
        self._warmed_up(QuestionKind.TRAINING, 0, self.program.train, [self._order(short)])
        order = self._order(examples)
        if (QuestionKind.TRAINING, examples) not in self._warmed:
            self.program.train(order)
            self._warmed.add((QuestionKind.TRAINING, examples))
        return order

    def _latency(self, batch_size: int, calls: int, keep: int | None) -> dict[str, Any]:
        queries, infer, clock = self._queries(batch_size), self.program.infer, perf_counter_ns
        self._warmed_up(QuestionKind.LATENCY, batch_size, infer, queries, QUERIES)
        images = list(islice(cycle(queries), calls))
        if keep is not None:  # the same queries, of which the one that is drawn comes last
            images = images[keep % calls + 1 :] + images[: keep % calls + 1]
        taken, waking = [], cycle(queries)
        with gc_disabled():
            self._wake((QuestionKind.LATENCY, batch_size), lambda: infer(next(waking)))
            for each in images:
                began = clock()
                outputs = infer(each)
                taken.append(clock() - began)
        if keep is not None:
            self._keep(QuestionKind.LATENCY, batch_size, images[-1], outputs, keep)
        lasted = self._lasted[QuestionKind.LATENCY, batch_size] = sum(taken)
        return {"ns": lasted, "queries_ns": taken}

    def _train_otherwise(self) -> None:
        """Hold weights that no timed block before held, loaded and then trained: what is remembered of others is wrong.

        In all other blocks they are those that training leaves, the same every time.  What was held before the last
        load is other weights, too, when outputs are kept twice in turn.
        """
        moved = {n: v * MOVED if n in self.spec.trainable else v for n, v in self._begin.weights.items()}
        self.program.load(self._begin)
        self.program.load(base.State(moved, self._begin.slots, self._begin.step))
        self.program.train(self._order(min(self._orders, default=self._batch)))  # a length that is warm

    def _keep(self, question: str, batch_size: int, asked: base.Array, outputs: base.Array, drawn: int) -> None:
        """What the audit compares of a call's outputs, with the weights that are held; equal ones are held once."""
        audit = importlib.import_module("suite.trial.audit")
        weights = self.program.state().weights
        for old in self.kept:
            weights = {n: old.weights[n] if np.array_equal(old.weights[n], v) else v for n, v in weights.items()}
        self.kept.append(audit.keep(self.spec, question, batch_size, weights, asked, outputs, self.images, drawn))

    def _warmed_up(self, question: str, size: int, call: Any, inputs: list[Any], times: int = 1) -> None:
        """The first request of a call warms it up: tracing, compiling and caches settle."""
        if (question, size) in self._warmed:
            return
        for given in islice(cycle(inputs), self._warm * times):
            call(given)
        self._warmed.add((question, size))
        gc.collect()
        gc.freeze()  # or each block would begin with a walk through the whole framework


class Agent:
    """A runner and the programs of the benchmark that was opened last, by mode."""

    def __init__(self, token: str, device: base.Device, threads: base.Threads) -> None:
        self._token, self._device, self._threads = token, device, threads
        self._runner = base.find(token)(device, threads, 0)
        self.seats: dict[str, Seat] = {}

    def open(self, source: dict[str, Any], modes: list[str], seed: int) -> dict[str, Any]:
        """Build a benchmark in every mode, stage its data, take a step; what it held before is gone."""
        self.seats = {}
        gc.unfreeze()
        gc.collect()
        if "run" in source:
            planned = importlib.import_module("suite.trial.planned")
            found, shared, begin = planned.opened(Path(source["run"]), source["entry"], self._token)
        else:
            found = _chosen(**source)
            begin = measure.start(found, seed)
            shared = {"digests": measure.digests(_anywhere(found), seed).model_dump(mode="json")}
        held = measure.splits(found)
        return {**shared, "modes": {name: _tried(self._open, found, held, begin, name) for name in modes}}

    def _open(self, spec: Any, held: Any, begin: base.State, name: str) -> dict[str, Any]:
        mode, precision = cast("Any", [*name.split(), "float32"][:2])
        if mode not in self._runner.modes:
            raise Unsupported(f"there is no mode {mode!r}")
        if reason := self._runner.missing(mode):
            raise Unsupported(reason)
        cache = measure.compile_cache(kept=mode in self._runner.cached)
        began = perf_counter_ns()
        program = self._runner.build(spec, mode, precision)
        built = perf_counter_ns() - began
        for part, split in held.items():
            program.stage(part, split.images, split.targets)
        program.load(begin)
        order = initial.order(0, 0, spec.train_images)[: spec.batch_size]
        began = perf_counter_ns()
        program.train(order)
        first = built + perf_counter_ns() - began
        program.load(begin)
        self.seats[name] = Seat(program, begin, spec, held["test"].images, self._runner.warmup[mode], precision)
        return {"first_step_ns": first, "compile_cache": cache}

    def warm(self, modes: dict[str, list[tuple[str, int, int]]]) -> dict[str, Any]:
        """Warm up what will be asked of each mode."""
        return {"modes": {mode: _tried(self.seats[mode].warm, asked) for mode, asked in modes.items()}}

    def peak(self, mode: str) -> dict[str, Any]:
        """What the machine can do by this framework, and how long it took to find out."""
        peak, precision = importlib.import_module("suite.trial.peak"), self.seats[mode].precision
        return dict(peak.found(self._token, self._runner, self._device, mode.split()[0], precision))

    def close(self) -> dict[str, Any]:
        """The audits of what was kept, and where all this ran."""
        audit = importlib.import_module("suite.trial.audit")
        computing = {} if self._token in base.INSTRUMENT else self.seats
        found = {mode: audit.audits(seat, self._runner, self._threads) for mode, seat in computing.items()}
        planned = importlib.import_module("suite.trial.planned")
        return {"audits": found, "environment": planned.environment(self._runner)}


def _chosen(root: str, benchmark: str, spec: str) -> Any:
    """A spec of a checkout, by its name or file.  Raises Unsupported."""
    if (own := Path(benchmark)).is_absolute():
        os.chdir(own.resolve().parent)  # from where checkouts take npz:PATH that knew of no other folder
    specs = plan.choose((benchmark,), Path(root) / "benchmarks" / "specs", datasets.describe)
    found = next((each for each in specs if each.id == spec), None)
    if found is None:
        raise Unsupported(f"there is no benchmark {spec}")
    return found


def _anywhere(spec: Any) -> Any:
    """A spec without the path of the user's own data file: some checkouts count it into the digest, others do not."""
    if not spec.dataset.startswith(OWN):
        return spec
    return spec.replace(dataset=OWN, data=spec.data.model_copy(update={"name": OWN}))


def requests(stream: TextIO) -> Iterator[dict[str, Any]]:
    """The requests, until the other end closes."""
    for line in stream:
        yield json.loads(line)


def _tried(do: Callable[..., dict[str, Any]], *arguments: Any, **more: Any) -> dict[str, Any]:
    """What it returns, or its error as an answer."""
    try:
        return do(*arguments, **more)
    except Exception as error:  # noqa: BLE001 - whatever a framework raises is an answer
        return _complaint(error)


def _complaint(error: Exception) -> dict[str, Any]:
    """An error as an answer; ``kind`` is its class's name, ``cause`` why what it starts from is not there."""
    traceback.print_exc()
    kind, cause = type(error).__name__, getattr(error, "cause", None)
    text = str(error) if isinstance(error, SuiteError) else f"{kind}: {error}"
    return {"error": text[:2000], "unsupported": isinstance(error, Unsupported), "kind": kind, "cause": cause}


def answered(agent: Agent, do: str, **request: Any) -> dict[str, Any]:
    """The answer to a request. An error is an answer as well."""
    if do not in REQUESTS | BLOCKS:
        return _complaint(Unsupported(f"there is no request {do!r}"))
    if do in REQUESTS:
        return _tried(getattr(agent, do), **request)
    return _tried(lambda mode, **more: getattr(agent.seats[mode], do)(**more), **request)


def main(token: str, device: base.Device, threads: base.Threads) -> None:
    """Answer requests. What a framework prints goes to the log, because the pipe carries answers alone."""
    end_with_parent()
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**fields: Any) -> None:
        pipe.write(json.dumps(fields) + "\n")

    if os.environ.get("PARITY_RUN"):
        importlib.import_module("suite.trial.planned").describe(token, device, threads)
    began = perf_counter_ns()
    agent = Agent(token, device, threads)
    answer(root=str(Path(suite.__file__).resolve().parent.parent), import_ns=perf_counter_ns() - began)
    for request in requests(sys.stdin):
        answer(**answered(agent, **request))


def end_with_parent() -> None:
    """Let Linux end this process when its parent ends: a stopped one would not notice (prctl(2), PR_SET_PDEATHSIG).

    A parent that said who it is may have ended before.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
    if os.environ.get("PARITY_PARENT", str(os.getppid())) != str(os.getppid()):
        sys.exit("whoever started this is gone")


if __name__ == "__main__":
    try:
        asked = base.Threads(intra=int(sys.argv[3]), inter=int(sys.argv[4]))
        main(sys.argv[1], "cuda" if sys.argv[2] == "cuda" else "cpu", asked)
    except SuiteError as problem:
        sys.exit(str(problem))
