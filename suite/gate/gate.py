"""The gate: whether a runner computes what the Spec says, shown before anything is timed.

``examine`` compares a runner with the reference in six stages and stops behind the first that fails, for whatever
follows would differ because of it:

1. in float64: the weights given are the weights held; outputs in training and in evaluation, the loss, each tensor's
   gradient from the last layer back to the first, the running statistics;
2. in float64: ten single steps of the optimizer, each from the reference's weights and slots, so that nothing builds
   up, on both sides of each change of the learning rate.  The loss, then slots, weights, statistics and what is frozen.
   How far ten free-running steps drift apart is told, not judged, and not taken where a step is dear;
3. in the timed precision, through the calls that are timed: a probe, queries, a prediction over a split, an epoch with
   a ragged last batch and a change of the learning rate.  Each is asked again with other values of one shape in the
   same memory, and after the weights have changed.  Per tensor, the error against the float64 reference is at most four
   times that of the reference computed in that precision, or what a sum of so many terms may lose.  Large models are
   trained by fewer images than the spec's (``size``), and queried by as many as it has, of which few differ;
4. the optimizer by itself, along given gradients of every size, in float64 and in the timed precision, each element
   measured by how far it moves (``given``);
5. in a precision lower than float32, its parts by themselves (``parts``): what is to be held in full is;
6. dropout, which stages 1 to 3 take at rate 0: how much it keeps, at what scale, and the same on the way back.

Equal in stages 1 and 2 means max|a - b| <= 1e-9 of the larger of max|b| and a thousandth of the largest magnitude among
tensors of its kind; a kind is one section here.  A gradient that vanishes, below a billionth of the largest, is
measured by the largest.  An element of a weight or slot may be off, besides, by what the step makes of the gradient's
bound (``moves``).  What is not finite, missing or of another shape is never equal.

Where the reference itself overflows, the probe shows nothing: the stages begin again from smaller weights, and where it
overflows from the smallest too the verdict is that nothing can be proven, which is no fault of the runner's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from suite.gate import probe
from suite.gate.dropout import dropout_checks
from suite.gate.reference_answers import ReferenceAnswers, UnprovableError, images_of, shuffled
from suite.gate.shift import told
from suite.gate.stages import Gate
from suite.gate.tolerance import errors, largest
from suite.results.identity import Check, Identity, Verdict
from suite.runners.base import Precision, Runner, State
from suite.spec.differences import Difference
from suite.spec.precision import held
from suite.spec.resolved import Spec, digest
from suite.spec.semantics import relevant

GENTLEST = 3
"""How often the weights of the start are divided, at most, where the reference overflows from them."""
SUITE = Path(__file__).parents[1]
FOLDERS = ("spec", "inputs", "gate", "runners/reference")
"""What tells a runner and the reference alike what to compute, the reference, and how the two are compared."""


def examine(
    spec: Spec,
    runner: Runner,
    memory: ReferenceAnswers,
    mode: str,
    precision: Precision,
    *,
    key: str,
    own: tuple[Difference, ...] = (),
) -> Identity:
    """Compare ``runner`` in ``mode`` with the reference under ``spec``; ``precision`` is the timed one.

    ``memory`` holds the reference and what it has answered already: modes of one spec, asked about in turn, share it.
    ``own`` is where the framework's own API differs: the record tells it, with what it does in this spec.  Of the
    runner's variants those count that ``spec`` brings into play.  Whatever the runner raises goes through,
    Unsupported among it.
    """
    variants = relevant(spec, runner.variants)
    for gentleness in range(GENTLEST + 1):
        gate = Gate(memory.about(spec, variants, gentleness), runner, mode)
        try:
            with np.errstate(all="ignore"):  # what overflows is seen, and its probe given up
                drift = _through(gate, memory, spec, runner, mode, precision)
        except UnprovableError:
            continue
        break
    else:
        gate, drift, gentleness = Gate(memory.about(spec, variants), runner, mode), None, None
    verdict = Verdict.NOT_PROVABLE
    if gentleness is not None:
        verdict = Verdict.UNPROVEN if gate.diverged else Verdict.VARIANT if variants else Verdict.IDENTICAL
    return Identity(
        verdict=verdict,
        variants=tuple(sorted(variants)),
        variant_shift=_shift(spec, memory.reference(variants), memory.reference(frozenset())) if variants else None,
        compared=len(gate.checks),
        checks=_telling(gate.checks),
        divergence=next((check for check in gate.checks if not check.equal), None),
        drift=drift,
        gentleness=gentleness,
        key=key,
        own=_told(spec, own, memory),
    )


def _through(
    gate: Gate, memory: ReferenceAnswers, spec: Spec, runner: Runner, mode: str, precision: Precision
) -> float | None:
    """The stages in turn, until one finds something; returns the drift.  Raises UnprovableError."""
    drift: float | None = None
    gate.exact()
    if not gate.diverged:
        drift = gate.steps()
    if not gate.diverged:
        gate.timed(precision, spec if probe.dropout_rates(spec) else None)
    if not gate.diverged:
        gate.checks += memory.optimizer(spec, relevant(spec, runner.variants), runner, mode, precision)
    if not gate.diverged and precision != held(precision):
        gate.checks += memory.parts(spec, runner, mode, precision)
    if not gate.diverged:
        for rate in probe.dropout_rates(spec):
            gate.checks += dropout_checks(spec, rate, runner, mode, precision)
    return drift


def _telling(checks: list[Check]) -> tuple[Check, ...]:
    """The worst check of each section (of all single steps, for theirs), and every one that failed, in order."""
    worst: dict[str, tuple[float, int]] = {}
    for index, check in enumerate(checks):
        section = check.section.partition(" step ")[0] + check.section.partition(",")[2]
        if section not in worst or check.share > worst[section][0]:
            worst[section] = check.share, index
    kept = {index for _, index in worst.values()} | {i for i, check in enumerate(checks) if not check.equal}
    return tuple(checks[index] for index in sorted(kept))


def _told(spec: Spec, own: tuple[Difference, ...], memory: ReferenceAnswers) -> tuple[Difference, ...]:
    """Differences with what they do, which the reference computes once for all modes."""
    at = spec.computation, own
    if at not in memory.told:
        memory.told[at] = told(spec, own, lambda: memory.reference(frozenset()))
    return memory.told[at]


def _shift(spec: Spec, variant: Runner, canonical: Runner) -> float | None:
    """How far a variant moves the weights over the probe's ten steps, run freely in float64: largest error."""
    still = spec.without_dropout()
    images, targets = probe.batch(still, probe.STEPS * images_of(spec), "steps")
    ends = []
    for runner in (variant, canonical):
        program = runner.build(still, runner.modes[0], "float64")
        program.load(State(probe.start(still)))
        program.stage("train", images, targets)
        for order in np.split(shuffled(len(images), "steps"), probe.STEPS):
            program.train(order)
        ends.append(program.state().weights)
    return largest(errors(*ends))


def proof_key(
    spec: Spec, runner: str, mode: str, precision: str, device: str, lock: str | None, *, deterministic: bool = False
) -> str:
    """Digest of all that a proof depends on; ``runner`` is the token, ``lock`` the digest of its environment's lock.

    Of the spec: what a step computes (``spec.computation``), so that specs which compute the same share their proof.
    Of the suite, folder by folder: the sources of the runner, of the reference, of the gate, and of what both sides
    read, the spec and the inputs.
    """
    return digest(
        {
            "spec": spec.computation,
            "sources": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sources(runner).items()},
            "cell": [runner, mode, precision, device, lock, deterministic],
        }
    )


def sources(runner: str) -> dict[str, Path]:
    """The files that decide what a proof of ``runner`` says, by their names in the suite."""
    folders = [SUITE / name for name in (*FOLDERS, f"runners/{runner}")]
    files = [SUITE / "runners" / "base.py", *(path for folder in folders for path in folder.rglob("*.py"))]
    return {path.relative_to(SUITE).as_posix(): path for path in files}
