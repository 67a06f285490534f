"""Synthetic, valid results: what a run would leave, without running anything."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from suite.results.divergence import Divergence, What
from suite.results.environment import Environment, Processor
from suite.results.gpu_trace import Metered, Span
from suite.results.identity import Check, Identity, Verdict
from suite.results.questions import QuestionKind
from suite.results.records import (
    Cause,
    Cell,
    Digests,
    Epoch,
    Failed,
    InferenceOptions,
    Latency,
    Measured,
    Memory,
    Parent,
    Proof,
    Scores,
    Throughput,
    Training,
    Tuned,
)
from suite.spec.dataset import DatasetFacts
from suite.spec.recipe import Adam, Assumption, Claim
from suite.spec.resolved import Spec, digest
from suite.spec.tasks.anomaly import AnomalyMetrics
from suite.spec.tasks.classification import ClassificationMetrics
from suite.spec.tasks.detection import DetectionMetrics
from suite.spec.tasks.embedding import Analogy, EmbeddingMetrics, Near, Neighbours

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
MODES = {"torch": ("compile", "eager"), "tf": ("eager", "graph", "xla")}
STYLES = {"torch": ("compile", "eager"), "tf": ("eager", "graph", "session", "xla")}
SPEED = {"torch/compile": 1.0, "torch/eager": 1.7, "tf/eager": 6.0, "tf/graph": 1.5, "tf/xla": 1.3, "tf/session": 1.6,
    "null/none": 1e-3,
}  # fmt: skip


def spec(name: str = "digits-mlp", case: str | None = None, **fields: Any) -> Spec:
    """A perceptron over the embedded digits."""
    facts = DatasetFacts(
        name="digits", image_shape=(8, 8, 1), classes=10, train=1437, test=360, max_value=16, digest=digest("digits")
    )
    model = [{"layer": "flatten"}, {"layer": "dense", "units": 32}, {"layer": "relu"}, {"layer": "dense", "units": 10}]
    return Spec.model_validate_json(
        Spec.model_construct(
            **{
                "name": name, "case": case, "dataset": "digits", "data": facts, "model": model, "batch_size": 32,
                "epochs": 3, "optimizer": Adam(name="adam"), **fields,
            }
        ).model_dump_json(warnings=False)
    )  # fmt: skip


def environment(runner: str = "torch", **fields: Any) -> Environment:
    """A two-core machine, with the packages of one framework."""
    known: dict[str, Any] = {
        "machine": digest("machine"), "cpu": "Intel(R) Xeon(R) CPU @ 2.20GHz", "cores": 2, "memory_bytes": 8 << 30,
        "kernel": "6.8.0", "system": "Linux x86-64", "python": "3.11.7", "suite": "0.1.0", "source": digest("source"),
        "commit": "0123456789abcdef", "lock": digest(runner), "packages": {"numpy": "2.4.6"},
        "libraries": {"torch": {"torch": "2.13.0"}, "tf": {"tensorflow": "2.21.0"}}.get(runner, {}),
        "devices": {"cpu": "2 cores", "cuda": "no GPU"}, "threads_intra": 2, "threads_inter": 1, "denormals": "flushed",
        "before": Processor(mhz=2200.0, load_1min=0.4), "after": Processor(mhz=2200.0, load_1min=1.2),
    }  # fmt: skip
    return Environment(**{**known, **fields})


def cell(
    runner: str = "torch", mode: str = "compile", number: int = 1, seed: int = 1, of: Spec | None = None,
    device: str = "cpu",
) -> Cell:  # fmt: skip
    """One cell in float32, on the processor unless told otherwise."""
    name = (of or spec()).id
    return Cell(spec=name, runner=runner, mode=mode, precision="float32", device=device, seed=seed, round=number)


def digests(of: Spec, seed: int) -> Digests:
    """Those of a spec under a seed, the same for every framework."""
    return Digests(
        spec=of.digest, dataset=of.data.digest, weights=digest(["weights", seed]), order=digest(["order", seed])
    )


def _record(cell: Cell, of: Spec, **fields: Any) -> dict[str, Any]:
    started = START + timedelta(minutes=cell.round)
    entry = f"{cell.round}-{cell.runner}"
    return {"run": "run-1", "entry": entry, "cell": cell, "spec": of, "started": started, "seconds": 9.0, **fields}


def measured(
    runner: str = "torch", mode: str = "compile", number: int = 1, seed: int = 1, of: Spec | None = None,
    accuracy: float | None = None, epochs: int = 3, samples: int = 80, slow: float | None = None,
    device: str = "cpu", validated: bool = False, taught: dict[str, Any] | None = None, **fields: Any,
) -> Measured:  # fmt: skip
    """A cell whose noise depends on nothing but its own name; ``slow`` multiplies every time.

    ``taught`` are fields of its training; ``validated`` holds where a validation split was scored.
    """
    of = of or spec()
    at = cell(runner, mode, number, seed, of, device)
    noise = np.random.default_rng(list(f"{at.slug} {number}".encode()))
    factor = (SPEED.get(f"{runner}/{mode}", 1.0) if slow is None else slow) * float(noise.normal(1, 0.02))
    learnt = float(noise.normal(0.975, 0.003)) if accuracy is None else accuracy

    def times(base: float, count: int) -> tuple[int, ...]:
        return tuple(int(base * factor * x) for x in 1 + noise.gamma(2, 0.02, count))

    curve = [max(learnt - 0.5 * 0.3 ** (i + 1), 0.0) for i in range(epochs - 1)] + [learnt]
    training = Training(
        first_step_ns=int((8e9 if mode in ("compile", "xla") else 2e8) * factor),
        compile_cache="cold" if mode in ("compile", "xla") and number == 1 else "none",
        warmup_ns=times(3e6, 4),
        epochs=tuple(
            Epoch(
                seconds_ns=t, images=of.train_images, train_loss=0.6 * 0.5**i + 0.02,
                validation=Scores(loss=0.5 * 0.5**i + 0.12, penalty=0.0, accuracy=a - 0.002) if validated else None,
                test=Scores(loss=0.5 * 0.5**i + 0.1, penalty=0.0, accuracy=a),
            )
            for i, (t, a) in enumerate(zip(times(3e8, epochs), curve, strict=True))
        ),
        stopped_early=False,
        best_epoch=None,
        train=Scores(loss=0.05, penalty=0.0, accuracy=min(learnt + 0.01, 1.0)),
        validation=Scores(loss=0.12, penalty=0.0, accuracy=learnt - 0.002) if validated else None,
        test=Scores(loss=0.11, penalty=0.0, accuracy=learnt),
        weights=digest([runner, mode, seed]),
    ).model_copy(update=taught or {})  # fmt: skip
    known: dict[str, Any] = {
        "environment": environment(runner),
        "digests": digests(of, seed),
        "import_ns": {"torch": 5_000_000_000, "tf": 12_000_000_000}.get(runner, 10_000_000),
        "latency": tuple(
            Latency(batch_size=b, samples_ns=times(4e5 * (1 + b / 40), samples), warmup_ns=times(8e5, 5))
            for b in (1, 8, 64)
        ),
        "throughput": (
            Throughput(batch_size=256, images=of.data.test, samples_ns=times(4e7, 12), warmup_ns=times(5e7, 2)),
        ),
        "training": training,
        "memory": Memory(import_bytes=300 << 20, build_bytes=350 << 20, steady_bytes=420 << 20),
    }
    return Measured(**{**_record(at, of), **known, **fields})


LOST = Scores(loss=None, penalty=0.0, accuracy=None)
"""Of a split over which the outputs are no numbers."""


def diverged(result: Measured, epoch: int = 1, recorded: bool = True, assessment: Any = None) -> Measured:
    """The same cell, had its weights been lost in ``epoch``; not ``recorded`` as in results before schema 4."""
    run = result.training
    assert run
    epochs = run.epochs[:epoch] if recorded else run.epochs
    lost = tuple(
        e if i < epoch else e.model_copy(
            update={"train_loss": None, "test": LOST, "validation": LOST if e.validation else None}
        )
        for i, e in enumerate(epochs, 1)
    )  # fmt: skip
    told = Divergence(epoch=epoch, what=What.TRAINING_LOSS, ended="weights") if recorded else None
    taught = {
        "epochs": lost, "train": LOST, "test": LOST, "validation": LOST if run.validation else None, "diverged": told,
        "assessment": assessment,
    }  # fmt: skip
    known = {} if recorded else {"schema_version": 3}
    return result.model_copy(update={"training": run.model_copy(update=taught), **known})


def proof(
    runner: str = "torch", mode: str = "compile", of: Spec | None = None, verdict: Verdict = Verdict.IDENTICAL,
    seed: int = 1, device: str = "cpu", **fields: Any,
) -> Proof:  # fmt: skip
    """What the gate says of a framework's mode."""
    of = of or spec()
    check = Check(section="gradients float64", tensor="dense_1/kernel", error=2e-15, bound=1e-9)
    wrong = check.model_copy(update={"error": 0.5}) if verdict is Verdict.UNPROVEN else None
    identity = Identity(
        verdict=verdict, variants=("adam_epsilon_before_correction",) if verdict is Verdict.VARIANT else (),
        variant_shift=1e-4 if verdict is Verdict.VARIANT else None, compared=120, checks=(wrong or check,),
        divergence=wrong, drift=1e-6, key=digest([runner, mode]),
    )  # fmt: skip
    known = {"environment": environment(runner), "digests": digests(of, seed), "identity": identity}
    return Proof(**{**_record(cell(runner, mode, 0, seed, of, device), of), **known, **fields})


def failed(
    runner: str = "torch", mode: str = "compile", number: int = 1, of: Spec | None = None,
    cause: Cause = Cause.CRASHED, reason: str = "exit status 1", **fields: Any,
) -> Failed:  # fmt: skip
    """A cell without numbers."""
    of = of or spec()
    return Failed(**{**_record(cell(runner, mode, number, of=of), of), "cause": cause, "reason": reason, **fields})


def claiming(value: float = 0.975, **fields: Any) -> Spec:
    """A spec with one published accuracy."""
    return spec("mnist-mlp-128", claims=(Claim(metric="test_accuracy", value=value),), **fields)


def assumption(about: str, chosen: str, alternative: str | None = None) -> Assumption:
    """What a source leaves open."""
    return Assumption(about=about, chosen=chosen, alternative=alternative)


def run(of: Spec | None = None, rounds: int = 5, modes: dict[str, tuple[str, ...]] | None = None) -> list[Any]:
    """A whole run of one spec: every mode proven and measured over rounds, each with its own seed, and null."""
    of = of or spec()
    modes = modes or MODES
    found: list[Any] = [proof(r, m, of) for r, ms in modes.items() for m in ms]
    for number in range(1, rounds + 1):
        found += [measured(r, m, number, number, of) for r, ms in modes.items() for m in ms]
        found.append(measured("null", "none", number, number, of))
    return found


def laid_out(found: Iterable[Any], process: str = "runner") -> dict[str, Any]:
    """The plan of a run that left these results: their trials, and the cells of each in their order."""
    trials: dict[str, list[Any]] = {}
    for r in found:
        if r.cell.round:
            trials.setdefault(r.entry, []).append(r.cell.model_dump(mode="json"))
    entries = [{"id": entry, "kind": "measure", "cells": cells} for entry, cells in trials.items()]
    return {"profile": {"name": "laid-out", "process": process}, "entries": entries}


def each_alone(found: Iterable[Any]) -> list[Any]:
    """The same results, had each cell had a process of its own."""
    return [r.model_copy(update={"entry": f"{r.entry}-{i:03}"}) for i, r in enumerate(found)]


def parent(of: Spec, seed: int = 1, complete: bool | None = True, **fields: Any) -> Parent:
    """The donor's final weights under a seed: torch's, in its mode compile."""
    known = {"runner": "torch", "mode": "compile", "weights": digest(["donor", of.id, seed])}
    return Parent(**{"spec": of.id, "complete": complete, **known, **fields})


def confused(classes: int = 10, right: int = 34, wrong: int = 2) -> ClassificationMetrics:
    """``right`` images of each class, and ``wrong`` of each taken for the next."""
    lines = [
        [right if i == j else wrong if j == (i + 1) % classes else 0 for j in range(classes)] for i in range(classes)
    ]
    return ClassificationMetrics(confusion=tuple(map(tuple, lines)))


def sorted_out(seed: int = 1, **fields: Any) -> AnomalyMetrics:
    """Two distributions of errors that overlap a little."""
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, 0.1, 41)
    normal, anomalous = (
        np.histogram(np.minimum(rng.gamma(9, m, n), 0.1), edges)[0] for m, n in ((2e-3, 800), (5e-3, 200))
    )
    known: dict[str, Any] = {
        "threshold": 0.03 + 1e-4 * seed, "auroc": 0.95 + 0.001 * seed, "average_precision": 0.9 + 0.001 * seed,
        "precision": 0.8, "recall": 0.75, "edges": tuple(map(float, edges)),
        "normal": tuple(map(int, normal)), "anomalous": tuple(map(int, anomalous)),
    }  # fmt: skip
    return AnomalyMetrics(**{**known, **fields})


def embedded(rank: int = 1, near: str = "queen") -> EmbeddingMetrics:
    """The words around a king, and the analogy that everyone knows."""
    words = tuple(Near(word=w, cosine=0.9 - 0.1 * i) for i, w in enumerate((near, "lord", "throne")))
    asked = Analogy(a="man", b="king", c="woman", d="queen", rank=rank, first=near)
    unknown = Analogy(a="man", b="king", c="woman", d="zyzzyva", rank=None, first=None)
    return EmbeddingMetrics(
        neighbours=(Neighbours(word="king", near=words), Neighbours(word="zyzzyva", near=())),
        analogies=(asked, unknown),
    )


def located(seed: int = 1) -> DetectionMetrics:
    """Boxes that mostly fit."""
    return DetectionMetrics(accuracy=0.97, mean_iou=0.8 + 0.001 * seed, ap50=0.9)


def tuned(
    runner: str = "torch", mode: str = "compile", number: int = 1, seed: int = 1, of: Spec | None = None,
    samples: int = 60, faster: float = 0.5, **fields: Any,
) -> InferenceOptions:  # fmt: skip
    """Inference as it is, in batches of 8, in bfloat16 (``faster`` times as long) and what the framework lacks."""
    of = of or spec()
    at = cell(runner, mode, number, seed, of)
    noise = np.random.default_rng(list(f"tuned {at.slug} {number}".encode()))

    def way(tuning: str, share: float, batch: int = 1, **told: Any) -> Tuned:
        taken = tuple(int(4e5 * share * batch * x) for x in 1 + noise.gamma(2, 0.02, samples))
        known = {"mode": mode, "images": of.data.test, "accuracy": 0.97, "change": 0.0}
        return Tuned(**{"tuning": tuning, "batch_size": batch, "samples_ns": taken, **known, **told})

    lacks = {"samples_ns": (), "images": 0, "accuracy": None, "change": None, "reason": "no backend for it"}
    known: dict[str, Any] = {
        "environment": environment(runner), "digests": digests(of, seed), "weights": digest(["tuned", seed]),
        "tunings": (
            way("none", 1.0), way("batch:8", 0.4, 8), way("bfloat16", faster, accuracy=0.962, change=0.03),
            way("int8_static", 1.0, **lacks), way("again", 1.0),
        ),
    }  # fmt: skip
    record = _record(at, of) | {"entry": f"{number}-tune-{runner}"}
    return InferenceOptions(**{**record, **known, **fields})


SECOND = 1_000_000_000
STEP = SECOND // 5
WATTS = {"torch/compile": 300.0, "torch/eager": 320.0, "tf/graph": 420.0, "tf/xla": 400.0, "tf/eager": 200.0}
SPANS = (
    Span(kind="idle", begin_ns=0, end_ns=SECOND),
    Span(kind=QuestionKind.TRAINING, images=12_000, begin_ns=3 * SECOND, end_ns=7 * SECOND),
    Span(kind=QuestionKind.LATENCY, batch_size=1, images=3000, begin_ns=7 * SECOND, end_ns=10 * SECOND),
    Span(kind=QuestionKind.LATENCY, batch_size=8, images=800, begin_ns=10 * SECOND, end_ns=11 * SECOND),
    Span(kind=QuestionKind.THROUGHPUT, batch_size=256, images=90_000, begin_ns=11 * SECOND, end_ns=14 * SECOND),
)
"""A second of idling, then the work of one cell; latency at batch 8 is too short to tell energy."""


def metered(
    watts: float = 300.0, idle_watts: float = 60.0, base: int = 500 << 20, above: int = 2 << 30, **fields: Any
) -> Metered:
    """A GPU sampled five times a second: idle for a second, then building, then at work with ``above`` more in use."""
    count = 14 * SECOND // STEP + 1
    at = tuple(i * STEP for i in range(count))
    power = [watts if t > SECOND else idle_watts for t in at]
    joules = [0.0]
    for p in power[1:]:
        joules.append(joules[-1] + p * STEP / SECOND)
    known: dict[str, Any] = {
        "name": "NVIDIA H200", "uuid": "GPU-01234567-89ab-cdef", "driver": "580.65", "period_ns": STEP, "at_ns": at,
        "used_bytes": tuple(base + (above if t > 2 * SECOND else 0) for t in at),
        "reserved_bytes": (300 << 20,) * count,
        "energy_mj": tuple(10**9 + round(1000 * j) for j in joules), "power_mw": tuple(round(1000 * p) for p in power),
        "utilization_percent": tuple(90 if t > SECOND else 0 for t in at),
        "celsius": tuple(40 + i // 4 for i in range(count)), "sm_mhz": tuple(1980 - 15 * (i % 2) for i in range(count)),
        "memory_mhz": (3201,) * count, "throttle": tuple(0 if t > SECOND else 1 for t in at), "spans": SPANS,
    }  # fmt: skip
    return Metered(**{**known, **fields})


def series(value: Any, since: int = SECOND) -> tuple[Any, ...]:
    """One series of ``metered`` that holds ``value`` after ``since`` and 0 up to it."""
    return tuple(value if i * STEP > since else 0 for i in range(14 * SECOND // STEP + 1))


def gpu_run(rounds: int = 5, device: str = "cuda", modes: dict[str, tuple[str, ...]] | None = None) -> list[Any]:
    """A run whose cells were metered; tf's best mode takes a third more power than torch's."""
    modes = modes or {"torch": ("compile",), "tf": ("xla",)}
    found: list[Any] = [proof(r, m, device=device) for r, ms in modes.items() for m in ms]
    for number in range(1, rounds + 1):
        for r, m in ((r, m) for r, ms in modes.items() for m in ms):
            drawn = WATTS[f"{r}/{m}"] * (1 + 0.01 * (-1) ** number * (1 + len(m) / 10))
            trace = metered(drawn, base=(500 + number) << 20)
            found.append(measured(r, m, number, number, device=device, gpu=trace))
        found.append(measured("null", "none", number, number, device=device))
    return found


def inside(results: Iterable[Any], minutes: float = 60, slow: float = 1.0, **environment: Any) -> list[Any]:
    """The same results as a container would leave them ``minutes`` later, every time multiplied by ``slow``."""
    found = []
    for r in results:
        fields: dict[str, Any] = {"started": r.started + timedelta(minutes=minutes)}
        if r.environment is not None:
            told = {"place": "container", "image": digest("image"), "build": {"base": "cuda:13"}, **environment}
            fields["environment"] = r.environment.model_copy(update=told)
        if isinstance(r, Measured):
            timed = ("latency", "throughput")
            fields |= {name: tuple(_slower(m, slow) for m in getattr(r, name)) for name in timed}
            if r.training:
                epochs = tuple(e.model_copy(update={"seconds_ns": int(e.seconds_ns * slow)}) for e in r.training.epochs)
                fields["training"] = r.training.model_copy(update={"epochs": epochs})
        found.append(r.model_copy(update=fields))
    return found


def _slower(meter: Any, slow: float) -> Any:
    return meter.model_copy(update={"samples_ns": tuple(int(s * slow) for s in meter.samples_ns)})
