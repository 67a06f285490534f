"""The audit of timed outputs: those of a few calls, kept as they came, against the reference's.

As in LoadGen's TEST01: whoever answers from a cache, skips a batch or computes half the images is fast, and wrong.  The
bound is that of the gate's last stage: four times the reference's own error in the precision that is timed.  Where the
reference itself overflows, because training ran away, nothing can be said, and there is no audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from suite.gate.tolerance import bound
from suite.inputs.initial import stream
from suite.results.questions import QuestionKind
from suite.runners.base import Array, Precision, Program, Runner, State, Threads, Weights
from suite.runners.reference.runner import Runner as Reference
from suite.spec.precision import TIMED, ulp
from suite.spec.resolved import Spec

MOST_EXAMPLES, FEWEST = 1024, 8
"""Of one audit, where it has so many batches or fewer: the reference is NumPy."""
MOST_FLOPS = 1e9
"""Of one audit, unless that leaves fewer than ``FEWEST`` examples, or fewer than one of each batch."""
DEAREST = 2e11
"""FLOPs at which an audit leaves out batches, drawn, too: those of 76 images of ResNet-50."""
ENOUGH = 32
"""Examples by which outputs and the reference's own error are measured: those of one alone may be small by luck."""
LEAST = float(np.finfo(TIMED).tiny) / ulp(TIMED)
"""Outputs are measured by no less: a framework may flush what is denormal in the timed precision to zero."""


@dataclass(frozen=True)
class Output:
    """What is kept of the outputs of a call; each row of the three is of one example.

    Attributes:
        asked: The examples that are compared.
        got: The outputs of these; null where outputs are not as many as examples.
        others: More examples of the split, by which a few outputs are measured.
    """

    question: str
    batch_size: int
    weights: Weights
    asked: Array
    got: Array | None
    others: Array


class Kept(Protocol):
    """A program with what was kept of it."""

    spec: Spec
    precision: Precision
    kept: list[Output]


def keep(
    spec: Spec, question: str, batch_size: int, weights: Weights, asked: Array, outputs: Any, images: Array, drawn: int
) -> Output:
    """Of a call's ``outputs`` to ``asked``, by ``weights``, the rows that are compared, which ``drawn`` decides.

    ``images`` are the split that the others are drawn from.
    """
    random = stream(0, "audit", drawn)
    batch = len(asked) if question == QuestionKind.LATENCY else batch_size
    rows = rows_to_check(spec, batch, len(asked), random)
    got = np.asarray(outputs)
    more = max(0, min(ENOUGH, _affordable(spec)) - len(rows))
    others = np.sort(random.permutation(len(images))[:more])
    return Output(
        question,
        batch_size,
        weights,
        asked[rows],
        np.array(got[rows]) if got.shape[:1] == asked.shape[:1] else None,
        images[others],
    )


def rows_to_check(spec: Spec, batch: int, count: int, random: np.random.Generator) -> Array:
    """Which of ``count`` rows are compared: all where that is cheap, else some of every batch, and always the last.

    Those of a batch are spread over it: one is drawn from each of so many equal parts.
    """
    most = _affordable(spec)
    if count <= most:
        return np.arange(count)
    starts = np.arange(0, count, batch)
    if len(starts) > (dearest := max(FEWEST, int(DEAREST / spec.flops))):
        starts = random.permutation(starts)[:dearest]
    each = max(1, most // len(starts))
    sizes = np.minimum(batch, count - starts)[:, None]
    parts = np.arange(each) + random.random((len(starts), each))
    rows = starts[:, None] + (parts * (sizes / each)).astype(int)
    return np.unique(np.append(rows, count - 1))


def _affordable(spec: Spec) -> int:
    return int(max(FEWEST, min(MOST_EXAMPLES, MOST_FLOPS / max(1, spec.flops))))


def audits(seat: Kept, runner: Runner, threads: Threads) -> list[dict[str, Any]]:
    """One for each output that was kept, as a record tells it; none of those of which nothing can be said."""
    found = (audit(seat.spec, runner, threads, each, seat.precision) for each in seat.kept)
    return [each for each in found if each is not None]


def audit(
    spec: Spec, runner: Runner, threads: Threads, output: Output, precision: Precision = TIMED
) -> dict[str, Any] | None:
    """How far outputs are off, relative to the largest of them all, and how far they may be.

    None where the reference's are not finite: in float64, or in the timed precision, where a framework overflows too.
    """
    count, inputs = len(output.asked), np.concatenate([output.asked, output.others])
    with np.errstate(all="ignore"):
        exact, single = (_answers(spec, runner, threads, output.weights, inputs, p) for p in ("float64", precision))
        sound: Array = np.all((np.isfinite(exact) & np.isfinite(single)).reshape(len(inputs), -1), axis=1)
    if not sound[:count].any():
        return None
    scale = max(float(np.abs(exact[sound]).max()), LEAST)
    own = float(np.abs(single - exact)[sound].max()) / scale
    told = {
        "kind": QuestionKind(output.question).value,
        "batch_size": output.batch_size,
        "bound": bound(own, precision),
    }
    compared = sound[:count]
    if output.got is None or output.got.shape != exact[:count].shape or not np.isfinite(output.got[compared]).all():
        return {**told, "error": None}
    return {**told, "error": float(np.abs(output.got.astype(np.float64) - exact[:count])[compared].max()) / scale}


def _answers(
    spec: Spec, runner: Runner, threads: Threads, weights: Weights, inputs: Array, precision: Precision
) -> Array:
    reference = Reference("cpu", threads, 0, variants=runner.variants)
    program: Program = reference.build(spec, reference.modes[0], precision)
    program.load(State(weights))
    return np.asarray(program.infer(inputs), np.float64)
