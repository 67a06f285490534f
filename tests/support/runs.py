"""A small real run for tests: the reference and the instrument on the embedded digits, in processes of their own."""

from __future__ import annotations

from pathlib import Path

from suite import files
from suite.data import datasets
from suite.machine import environment
from suite.run import plan
from suite.run.plan import Plan, Profile
from suite.spec.loading import load

SPEC = """
name: tiny
dataset: digits
model: {mlp: {hidden: [8]}}
optimizer: {name: sgd, learning_rate: 0.1}
batch_size: 64
epochs: 2
"""


CORES = 1
"""Of the machine that plans are made for."""


def profile(**changes: object) -> Profile:
    """Two rounds of the reference, as few samples as possible."""
    fields: dict[str, object] = {
        "name": "test", "benchmarks": ("tiny",), "runners": {"reference": ("numpy",)}, "rounds": 2, "seeds": (0, 1),
        "process": "runner", "epochs": 1, "latency_samples": 3, "throughput_seconds": 0.001, "timeout_seconds": 60,
    }  # fmt: skip
    return Profile.model_validate({**fields, **changes})


def make(folder: Path, *, spec: str = SPEC, **changes: object) -> Plan:
    """A run's folder with its plan in it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(spec)
    datasets.fetch("digits")
    here = plan.Here(CORES, environment.machine(), environment.source_digest(), {"reference": None})
    made = plan.make(profile(**changes), plan.Wanted(load(path, datasets.describe)), here)
    files.write_bytes(folder / "plan.json", made.model_dump_json().encode())
    return plan.read(folder)
