"""A small real run for tests: the reference and the instrument on the embedded digits, in processes of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from suite import files
from suite.data import datasets
from suite.machine import environment
from suite.run import plan
from suite.run.plan import Plan
from suite.run.profile import Profile
from suite.spec.loading import load

if TYPE_CHECKING:
    from suite.run.conductor import Progress

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
CORE = {"null": Path(sys.executable), "reference": Path(sys.executable)}
"""The interpreters of the runners that need no framework."""


def profile(**changes: object) -> Profile:
    """Two rounds of the reference, as few samples as possible."""
    fields: dict[str, object] = {
        "name": "test", "benchmarks": ("tiny",), "runners": {"reference": ("numpy",)}, "rounds": 2, "seeds": (0, 1),
        "epochs": 1, "latency_samples": 3, "throughput_seconds": 0.001, "timeout_seconds": 60, "laps": 3,
        "lap_milliseconds": 0.5,
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


def conduct(folder: Path, made: Plan) -> list[Progress]:
    """Do what is left of a run to its end, in processes of its own; what was told meanwhile."""
    from suite.run import conductor

    return list(conductor.conduct(folder, made, CORE))
