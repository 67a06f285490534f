"""How long a run will take: a rough model of its parts, corrected by what the run itself has shown so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from suite.gate.batch_size import epoch, smaller
from suite.gate.probe import STEPS
from suite.gate.reference_answers import images_of
from suite.run.plan import Entry, Plan
from suite.run.profile import Profile
from suite.run.turns import LONG_EVERY, LONG_NS
from suite.spec.graph import walk
from suite.spec.resolved import Spec

START_SECONDS = {"null": 1.0, "reference": 1.0}
IMPORT_SECONDS = 5.0
"""Starting a process, and importing the framework where there is one."""
COMPILE_SECONDS = {"compile": 3.0, "xla": 2.5, "jit": 2.5, "graph": 1.0, "session": 1.0, "quickstart": 1.0}
"""Tracing and compiling one cell with a warm cache."""
PROOF_SECONDS = {
    "compile": 26.0,
    "xla": 10.0,
    "jit": 10.0,
    "graph": 3.0,
    "graphs": 3.0,
    "eager": 1.5,
    "session": 3.0,
    "quickstart": 3.0,
}
"""Proving one cell with a cold cache."""
PROOF_PASSES = 3
"""Over the images of the gate's epoch, until a proof is done: to train on and to query, in two precisions."""
REFERENCE_FLOPS_PER_SECOND = 2e10
"""NumPy's, most of it in float64."""
STEP_SECONDS = 5e-4
FLOPS_PER_SECOND = {"cpu": 1e11, "cuda": 2e13}
"""Of small layers on two cores, and of ResNet-50 in float32 on an H100, as seen there; they serve only to predict."""
SEEN_THREADS = 2
"""With fewer a processor takes that much longer; what more would save was not seen, and is not promised."""
SCORES_PER_SECOND = 1e8
"""Outputs that are scored."""
PIXELS_PER_SECOND = 1e8
"""Values of images that are made anew for an epoch, and staged."""
OPEN_SECONDS = {
    "compile": 2.0,
    "xla": 1.5,
    "jit": 1.5,
    "graph": 0.7,
    "eager": 0.4,
    "session": 0.7,
    "quickstart": 0.7,
    "null": 0.1,
}
"""Building a program in an agent with a warm cache, staging, and a step."""
COLD_SECONDS = {"compile": 6.0, "xla": 2.0, "jit": 2.0}
"""More in the first round, whose batch sizes nobody has compiled for yet."""
LAYER_SECONDS = {"compile": 0.45, "xla": 0.12}
"""More for each layer beyond ``FEW_LAYERS`` that a cold compiler meets: ResNet-50's step took 101 s and 29 s in all."""
FEW_LAYERS = 10
SIDE_BY_SIDE = 0.6
"""Of the time that frameworks take one after the other to start and build, what they take side by side."""
SETTLING_SECONDS = 0.6
"""Warming up a program, and finding how long its blocks are."""
ASKING_SECONDS = 0.008
"""Of a block: waking an agent, with calls that are not timed, and hearing its answer."""
GOING_ON = 0.5
"""The share of rounds after the first look that are needed."""
LEAST_ROUNDS = 5
"""Fewer give no interval (``suite.stats``, which no framework's environment can import)."""
OWN_CALL_SECONDS = 0.1
"""A call of training that is a hundred times as long as its own cost, by compiled modes."""


def seconds(made: Plan, entry: Entry) -> float:
    """Predicted seconds of one entry."""
    if entry.kind == "turns":
        return _turns(made, entry)
    runner = entry.runner or ""
    parts = sum(_cell(made, made.spec(cell.spec), cell.mode, entry) for cell in entry.cells)
    if entry.kind == "prove":  # the reference answers each mode of a spec alike
        parts += sum(_reference(made.spec(spec)) for spec in {cell.spec for cell in entry.cells})
    return (START_SECONDS.get(runner, IMPORT_SECONDS) + parts) / _side_by_side(made, entry)


def _side_by_side(made: Plan, entry: Entry) -> float:
    """How many trials go on at once, each on its share of the cores; where a GPU is metered, one training."""
    alone = entry.kind == "tune" or (entry.kind == "measure" and made.profile.device == "cuda")
    return 1.0 if alone else min(len(made.profile.runners), max(1.0, made.threads.intra)) or 1.0


def _cold(spec: Spec, mode: str) -> float:
    """Seconds more that a cold compiler takes for a network of many layers."""
    return LAYER_SECONDS.get(mode, 0.0) * max(0, sum(1 for _ in walk(spec.graph)) - FEW_LAYERS)


def _rate(made: Plan) -> float:
    """FLOPs per second of small layers under the plan's threads."""
    shared = min(1.0, made.threads.intra / SEEN_THREADS) if made.profile.device == "cpu" else 1.0
    return FLOPS_PER_SECOND[made.profile.device] * shared


def _reference(spec: Spec) -> float:
    images = images_of(spec) * (STEPS + 2) + PROOF_PASSES * sum(epoch(smaller(spec)))
    return images * 3 * spec.flops / REFERENCE_FLOPS_PER_SECOND


def _turns(made: Plan, entry: Entry) -> float:
    """Opening a benchmark everywhere, finding out how long blocks are, and the laps."""
    spec, profile = made.spec(entry.cells[0].spec), made.profile
    alone = entry.round <= profile.built_alone
    inference = spec.flops / _rate(made)
    least = profile.lap_milliseconds / 1e3
    passing = max(least, spec.data.test * inference)
    training = max(least, spec.batch_size * (STEP_SECONDS / spec.batch_size + 3 * inference), OWN_CALL_SECONDS)
    asking = (1 + len(profile.latency_batches) + len(profile.throughput_batches)) * ASKING_SECONDS
    lap = asking + len(profile.latency_batches) * least * 1.3
    for taken, questions in ((passing, len(profile.throughput_batches)), (training, 1)):
        lap += questions * taken / (LONG_EVERY if taken * len(entry.cells) * 1e9 > LONG_NS else 1)
    opening = sum(OPEN_SECONDS.get(cell.mode, 1.0) for cell in entry.cells)
    if entry.round == 1:
        opening += sum(COLD_SECONDS.get(cell.mode, 0.0) + _cold(spec, cell.mode) for cell in entry.cells)
    start = sum(START_SECONDS.get(runner, IMPORT_SECONDS) for runner in {cell.runner for cell in entry.cells})
    start /= max(1, len(made.specs))  # one process for all benchmarks of a round
    seats = [cell for cell in entry.cells if cell.runner not in START_SECONDS]
    settling = len(seats) * (SETTLING_SECONDS + 3 * passing)
    return (opening + start) * (1.0 if alone else SIDE_BY_SIDE) + settling + profile.laps * lap * len(seats)


def _cell(made: Plan, spec: Spec, mode: str, entry: Entry) -> float:
    profile = made.profile
    if entry.kind == "prove":
        return PROOF_SECONDS.get(mode, 5.0) + _cold(spec, mode)
    inference = spec.flops / _rate(made)
    if entry.kind == "tune":
        return (2 + len(profile.tunings)) * (profile.option_seconds + 1000 * inference + 1.0)
    judged = spec.validation_images + spec.data.test
    scoring = judged * (inference + math.prod(spec.graph[-1].output) / SCORES_PER_SECOND)
    epochs = profile.epochs_of(spec)
    epoch = spec.train_images / spec.batch_size * STEP_SECONDS + spec.train_images * 3 * inference + scoring
    if spec.augmentation:
        epoch += spec.train_images * math.prod(spec.input_shape) / PIXELS_PER_SECOND
    return COMPILE_SECONDS.get(mode, 0.5) + epochs * epoch + 1.0


def most(made: Plan, entries: Sequence[Entry]) -> float:
    """Predicted seconds of several trials, if every benchmark goes on to the last look."""
    return sum(seconds(made, entry) for entry in entries)


def total(made: Plan, entries: Sequence[Entry]) -> float:
    """Predicted seconds of several trials, of which those after the first look may not be needed."""
    return sum(_likely(made, entry) for entry in entries)


def _likely(made: Plan, entry: Entry) -> float:
    further = entry.kind == "turns" and entry.round > first_look(made.profile)
    return seconds(made, entry) * (GOING_ON if further else 1.0)


def first_look(profile: Profile) -> int:
    """The first round after which anything can be decided; the last of all where nothing is."""
    return min((look for look in profile.looks if look >= LEAST_ROUNDS), default=profile.rounds)


class Forecast:
    """Seconds still to go of a run, asked for every second: so each trial is predicted once, while nothing is timed."""

    def __init__(self, made: Plan, todo: Sequence[Entry]) -> None:
        self._seconds = {entry.id: _likely(made, entry) for entry in todo}

    def remaining(self, left: Sequence[Entry], elapsed: float) -> float:
        """The prediction for those ``left`` after ``elapsed`` seconds, scaled by how right it was for what is done."""
        ahead = sum(self._seconds[entry.id] for entry in left)
        predicted = sum(self._seconds.values()) - ahead
        scale = elapsed / predicted if predicted > 0 and len(left) < len(self._seconds) else 1.0
        return ahead * scale
