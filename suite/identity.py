"""The gate: whether a runner computes what the Spec says, shown before anything is timed.

``examine`` compares a runner with the reference in four stages and stops behind the first that fails, for whatever
follows would differ because of it:

1. in float64: the weights given are the weights held; outputs in training and in evaluation, the loss, each tensor's
   gradient from the last layer back to the first, the running statistics;
2. in float64: ten single steps of the optimizer, each from the reference's weights and slots, so that nothing builds
   up.  The loss, then slots, weights and statistics.  How far ten free-running steps drift apart is told, not judged;
3. in the timed precision, through the calls that are timed: a probe, queries, a prediction over a split, an epoch with
   a ragged last batch.  Per tensor, the error against the float64 reference is at most four times that of the reference
   computed in that precision;
4. dropout, which stages 1 to 3 take at rate 0: how much it keeps, at what scale, and the same on the way back.

Equal in stages 1 and 2 means max|a - b| <= 1e-9 of the larger of max|b| and a thousandth of the largest magnitude among
tensors of its kind; a kind is one section here.  What is not finite, missing or of another shape is never equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from suite import probe
from suite.dropout import dropout_checks
from suite.initial import stream
from suite.layers import BatchNorm, walk
from suite.result import Check, Identity, Verdict
from suite.runners.base import Array, Precision, Probe, Program, Runner, State, Variant, Weights
from suite.spec import Spec, digest

TOLERANCE = 1e-9
SMALL = 1e-3
"""Share of the largest magnitude of a kind below which a tensor is measured by that, not by itself."""
VANISHING = 1e-9
"""Share of the largest below which a tensor holds only rounding noise."""
STEPS = 10
MARGIN = 4.0
FLOOR_ULPS = 16.0
RETRIES = 4
EXACT_IMAGES = 16
MIDWAY_STEP = 7

Look = Callable[[Probe], Array]
Tensors = Mapping[str, Array]


def examine(
    spec: Spec,
    runner: Runner,
    reference: Callable[[frozenset[Variant]], Runner],
    mode: str,
    precision: Precision,
    *,
    key: str,
) -> Identity:
    """Compare ``runner`` in ``mode`` with the reference under ``spec``; ``precision`` is the timed one.

    ``reference`` makes the reference with given variants.  Of the runner's variants those count that ``spec`` brings
    into play.  Whatever the runner raises goes through, Unsupported among it.
    """
    variants = relevant(spec, runner.variants)
    gate = _Gate(spec.without_dropout(), runner, reference(variants), mode)
    drift: float | None = None
    gate.exact()
    if not gate.diverged:
        drift = gate.steps()
    if not gate.diverged:
        gate.timed(precision, runner.build(spec, mode, precision) if probe.dropout_rates(spec) else None)
    if not gate.diverged:
        for rate in probe.dropout_rates(spec):
            gate.checks += dropout_checks(spec, rate, runner, mode, precision)
    verdict = Verdict.UNPROVEN if gate.diverged else Verdict.VARIANT if variants else Verdict.IDENTICAL
    return Identity(
        verdict=verdict,
        variants=tuple(sorted(variants)),
        variant_shift=_shift(spec, reference(variants), reference(frozenset())) if variants else None,
        compared=len(gate.checks),
        checks=_telling(gate.checks),
        divergence=next((check for check in gate.checks if not check.equal), None),
        drift=drift,
        key=key,
    )


def relevant(spec: Spec, variants: frozenset[Variant]) -> frozenset[Variant]:
    """The variants that change what ``spec`` computes."""
    normalised = any(isinstance(node.layer, BatchNorm) for node in walk(spec.graph))
    played: dict[Variant, bool] = {
        "adam_epsilon_before_correction": spec.optimizer.name == "adam",
        "rmsprop_epsilon_inside_root": spec.optimizer.name == "rmsprop",
        "biased_running_variance": normalised,
    }
    return frozenset(variant for variant in variants if played[variant])


def errors(got: Tensors, wanted: Tensors, *, noise_counts: bool = True) -> dict[str, float | None]:
    """Per tensor of ``wanted``, max|a - b| relative to its scale; None where that is no finite number.

    The scale is the larger of max|b| and a thousandth of the largest magnitude in ``wanted``.  Without
    ``noise_counts`` a tensor below a billionth of the largest, which is noise in float64, is measured by the largest.
    A tensor that only ``got`` has is an error as well.
    """
    sizes = {name: float(np.abs(b).max()) for name, b in wanted.items()}
    largest = max(sizes.values(), default=0.0)
    found: dict[str, float | None] = {}
    for name, b in wanted.items():
        a = got.get(name)
        if a is None or a.shape != b.shape or not np.isfinite(a).all() or not np.isfinite(b).all():
            found[name] = None
            continue
        scale = max(sizes[name], SMALL * largest)
        if not noise_counts and sizes[name] <= VANISHING * largest:
            scale = largest
        difference = float(np.abs(a.astype(np.float64) - b).max())
        found[name] = 0.0 if difference == 0 else difference / scale if scale else None
    return found | dict.fromkeys(got.keys() - wanted.keys())


class _Gate:
    """The stages for one runner and mode; ``checks`` grow in the order of computation."""

    def __init__(self, spec: Spec, runner: Runner, reference: Runner, mode: str) -> None:
        self._spec, self._runner, self._reference, self._mode = spec, runner, reference, mode
        self._start = State(probe.start(spec))
        self._images = min(EXACT_IMAGES, *spec.batches)
        self._trainable = [name for name, tensor in spec.tensors.items() if tensor.role.trainable]
        self.checks: list[Check] = []

    @property
    def diverged(self) -> bool:
        """Whether any check failed."""
        return any(not check.equal for check in self.checks)

    def _build(self, spec: Spec, precision: Precision) -> tuple[Program, Program]:
        """The runner's program, and the reference's."""
        return self._runner.build(spec, self._mode, precision), self._reference.build(
            spec, self._reference.modes[0], precision
        )

    def _equal(self, section: str, got: Tensors, wanted: Tensors) -> None:
        for name, error in errors(got, wanted).items():
            self.checks.append(Check(section=section, tensor=name, error=error, bound=TOLERANCE))

    def exact(self) -> None:
        """Stage 1."""
        images, targets = probe.batch(self._spec, self._images, "exact")
        seen = []
        for program in self._build(self._spec, "float64"):
            program.load(self._start)
            held = program.state().weights
            seen.append({"held weights": held} | _sections(self._spec, program.probe(images, targets)))
        for section, wanted in seen[1].items():
            self._equal(f"float64 {section}", seen[0][section], wanted)
        self._name_layer("float64", images)

    def steps(self) -> float | None:
        """Stage 2; returns the drift after as many free-running steps."""
        images, targets = probe.batch(self._spec, STEPS * self._images, "steps")
        candidate, reference = self._build(self._spec, "float64")
        orders = np.split(_shuffled(len(images), "steps"), STEPS)
        for program in (candidate, reference):
            program.load(self._start)
            program.stage("train", images, targets)
        before = reference.state()
        for number, order in enumerate(orders, start=1):
            candidate.load(before)
            losses = [np.array(program.train(order)) for program in (candidate, reference)]
            got, wanted = candidate.state(), reference.state()
            self._equal(f"float64 step {number}, loss", {"loss": losses[0]}, {"loss": losses[1]})
            seen = self._changed(got), self._changed(wanted)
            for section, tensors in seen[1].items():
                self._equal(f"float64 step {number}, {section}", seen[0].get(section, {}), tensors)
            counted = abs(float(got.step - wanted.step))
            self.checks.append(Check(section=f"float64 step {number}, count", tensor="step", error=counted, bound=0))
            before = wanted
        candidate.load(self._start)
        for order in orders:
            candidate.train(order)
        return _largest(errors(candidate.state().weights, before.weights))

    def _changed(self, state: State) -> dict[str, Tensors]:
        """All that a step changes, in the order in which it does, by kind."""
        slots = {f"slot {slot}": held for slot, held in state.slots.items()}
        weights = {name: state.weights[name] for name in self._trainable if name in state.weights}
        statistics = {name: value for name, value in state.weights.items() if name not in weights}
        return {**slots, "weights": weights, **({"statistics": statistics} if statistics else {})}

    def timed(self, precision: Precision, queried: Program | None) -> None:
        """Stage 3.  ``queried`` is what answers queries, if it is not the program that trains (dropout and all).

        Under rounding a relu near its kink or a near tie in a max pool falls to the other side now and then, which
        moves a gradient far more than rounding does; and the error of a scalar can be small by luck.  So a check that
        fails is repeated on fresh probes, and stands if the smallest of the runner's errors is beyond four times the
        largest of the reference's.  A wrong precision fails on each.
        """
        candidate, low = self._build(self._spec, precision)
        high = self._build(self._spec, "float64")[1]
        midway = self._midway(high)
        mine: dict[tuple[str, str], float] = {}
        allowed: dict[tuple[str, str], float] = {}
        failing: set[tuple[str, str]] = set()
        for draw in range(1 + RETRIES):
            wanted = self._use(high, high, draw, midway, "float64")
            runs = [
                self._use(program, queried_, draw, midway, precision)
                for program, queried_ in ((candidate, queried or candidate), (low, low))
            ]
            for section, tensors in wanted.items():
                got, floor = (errors(run.get(section, {}), tensors, noise_counts=False) for run in runs)
                for name, error in got.items():
                    at = section, name
                    if draw and at not in failing:
                        continue
                    mine[at] = min(mine.get(at, np.inf), np.inf if error is None else error)
                    allowed[at] = max(allowed.get(at, 0.0), _bound(floor.get(name), precision))
            failing = {at for at, error in mine.items() if error > allowed[at]}
            if not failing:
                break
        for (section, name), error in mine.items():
            told = None if error == np.inf else error
            bound = allowed[section, name]
            self.checks.append(Check(section=f"{precision} {section}", tensor=name, error=told, bound=bound))
        self._name_layer(precision, probe.batch(self._spec, self._epoch[0], "timed", 0)[0])

    @property
    def _epoch(self) -> tuple[int, ...]:
        """Batch sizes of a short epoch: two full ones and a ragged one, the spec's own where it has one."""
        full, *ragged = self._spec.batches
        if full < self._spec.batch_size:
            return (full,)
        return full, full, *(ragged or ([max(2, full // 3)] if full > 2 else []))

    def _midway(self, program: Program) -> State:
        """Where the timed epoch starts: somewhere in the middle of training."""
        program.load(self._start)
        gradients = program.probe(*probe.batch(self._spec, self._images, "exact")).gradients
        return State(self._start.weights, probe.midway(self._spec.optimizer, gradients, MIDWAY_STEP), MIDWAY_STEP)

    def _use(
        self, program: Program, queried: Program, draw: int, midway: State, precision: Precision
    ) -> dict[str, Tensors]:
        """What every timed call gives on probe number ``draw``."""
        images, targets = probe.batch(self._spec, sum(self._epoch), "timed", draw)
        images = images.astype(precision)
        targets = targets.astype(precision) if np.issubdtype(targets.dtype, np.floating) else targets
        full = self._epoch[0]
        start = probe.at(self._start, precision)
        program.load(start)
        looked = program.probe(images[:full], targets[:full])
        seen = _sections(self._spec, looked)
        queried.load(start)
        seen["query of 1"] = {"outputs": queried.infer(images[:1])}
        seen["query of a batch"] = {"outputs": queried.infer(images[:full])}
        queried.stage("test", images, targets)
        seen["prediction"] = {"outputs": queried.predict("test", full)}
        program.stage("train", images, targets)
        program.load(probe.at(midway, precision))
        loss = program.train(_shuffled(len(images), "timed", draw))
        seen["epoch, loss"] = {"loss": np.array(loss)}
        return seen | {f"epoch, {section}": tensors for section, tensors in self._changed(program.state()).items()}

    def _name_layer(self, precision: Precision, images: Array) -> None:
        """Where outputs diverge, put the first layer, or its tensor, that does in the place of ``outputs``."""
        looks: dict[str, Look] = {
            f"{precision} training outputs": lambda seen: seen.training_outputs,
            f"{precision} evaluation outputs": lambda seen: seen.outputs,
        }
        for index, check in enumerate(self.checks):
            if check.section in looks and not check.equal:
                name = self._culprit(precision, images, looks[check.section]) or check.tensor
                self.checks[index] = check.model_copy(update={"tensor": name})

    def _culprit(self, precision: Precision, images: Array, look: Look) -> str | None:
        def diverges(chain: probe.Chain, weights: Weights) -> bool:
            def outputs(program: Program, type_: Precision) -> Tensors:
                program.load(probe.at(State(weights), type_))
                targets = np.zeros((len(images), *chain.spec.graph[-1].output), type_)
                return {"": look(program.probe(images.astype(type_), targets))}

            candidate, low = self._build(chain.spec, precision)
            high = outputs(self._build(chain.spec, "float64")[1], "float64")
            error = errors(outputs(candidate, precision), high)[""]
            floor = errors(outputs(low, precision), high)[""]
            return error is None or error > _bound(floor, precision)

        found = probe.locate(self._spec, lambda chain: diverges(chain, chain.weights(self._start.weights)))
        if not found:
            return None
        trials = probe.neutral(found, found.weights(self._start.weights))
        return next((name for name, weights in trials if not diverges(found, weights)), found.node.name)


def _sections(spec: Spec, seen: Probe) -> dict[str, Tensors]:
    """A probe by kind, in the order in which a first difference shows: the gradients from the last layer back."""
    backwards = [name for name in reversed(spec.tensors) if name in seen.gradients]
    unknown = [name for name in seen.gradients if name not in spec.tensors]
    return {
        "training outputs": {"outputs": seen.training_outputs},
        "evaluation outputs": {"outputs": seen.outputs},
        "loss": {"loss": np.array(seen.loss)},
        "gradients": {name: seen.gradients[name] for name in (*backwards, *unknown)},
        "statistics": seen.statistics,
    }


def _shuffled(count: int, *name: str | int) -> NDArray[np.int32]:
    return stream(probe.SEED, "probe", "order", *name).permutation(count).astype(np.int32)


def _bound(reference: float | None, precision: Precision) -> float:
    """The error allowed in ``precision``, given the reference's own."""
    return TOLERANCE if precision == "float64" else max(MARGIN * (reference or 0.0), FLOOR_ULPS * probe.ulp(precision))


def _largest(found: Mapping[str, float | None]) -> float | None:
    known = [error for error in found.values() if error is not None]
    return max(known) if len(known) == len(found) and known else None


def _telling(checks: list[Check]) -> tuple[Check, ...]:
    """The worst check of each section (of all single steps, for theirs), and every one that failed, in order."""
    worst: dict[str, tuple[float, int]] = {}
    for index, check in enumerate(checks):
        share = np.inf if check.error is None else check.error / check.bound if check.bound else check.error
        section = check.section.partition(" step ")[0] + check.section.partition(",")[2]
        if section not in worst or share > worst[section][0]:
            worst[section] = share, index
    kept = {index for _, index in worst.values()} | {i for i, check in enumerate(checks) if not check.equal}
    return tuple(checks[index] for index in sorted(kept))


def _shift(spec: Spec, variant: Runner, canonical: Runner) -> float | None:
    """How far a variant moves the weights over the probe's ten steps, run freely in float64: largest error."""
    still = spec.without_dropout()
    count = min(EXACT_IMAGES, *spec.batches)
    images, targets = probe.batch(still, STEPS * count, "steps")
    ends = []
    for runner in (variant, canonical):
        program = runner.build(still, runner.modes[0], "float64")
        program.load(State(probe.start(still)))
        program.stage("train", images, targets)
        for order in np.split(_shuffled(len(images), "steps"), STEPS):
            program.train(order)
        ends.append(program.state().weights)
    return _largest(errors(*ends))


def proof_key(spec: Spec, runner: str, mode: str, precision: str, device: str, lock: str | None) -> str:
    """Digest of all that a proof depends on; ``runner`` is the token, ``lock`` the digest of its environment's lock.

    Of the spec: model, loss, optimizer, L2, shapes, batch sizes, target and input range.  Of the suite: the sources of
    the runner, the reference and the gate.
    """
    here = Path(__file__).parent
    sources = [here / name for name in ("identity.py", "probe.py", "dropout.py", "initial.py", "layers.py")]
    sources += [here / "runners" / name for name in ("base.py", "reference.py")]
    sources += [*here.glob("reference/*.py"), *here.glob(f"runners/{runner}.py"), *here.glob(f"{runner}/*.py")]
    decisive = {"model", "loss", "optimizer", "l2", "target", "input_range", "batch_size"}
    parts = spec.model_dump(mode="json", include=decisive)
    return digest(
        {
            "spec": parts | {"batches": spec.batches, "shape": spec.data.image_shape, "classes": spec.data.classes},
            "sources": {str(p.relative_to(here)): hashlib.sha256(p.read_bytes()).hexdigest() for p in set(sources)},
            "cell": [runner, mode, precision, device, lock],
        }
    )
