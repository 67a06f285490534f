"""A user's own files for tests: specs, a stage that follows, and data, as they lie in one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

FIELDS: dict[str, Any] = {
    "name": "base",
    "dataset": "npz:data/own.npz",
    "model": [{"layer": "flatten"}, {"layer": "dense", "units": 2}],
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "batch_size": 4,
    "epochs": 1,
}


def arrays(path: Path, seed: int = 0) -> Path:
    """A .npz file of 8 + 4 images of 2 x 2 in two classes."""
    random = np.random.default_rng(seed)
    images, labels = random.integers(0, 256, (12, 2, 2), np.uint8), np.arange(12) % 2
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, train_images=images[:8], train_labels=labels[:8], test_images=images[8:], test_labels=labels[8:])
    return path


def spec(path: Path, **fields: Any) -> Path:
    """A spec file; JSON is YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**FIELDS, **fields}), encoding="utf-8")
    return path


def study(folder: Path) -> Path:
    """A folder with base.yaml, child.yaml that starts from it, profile.yaml that names the child, and their data."""
    arrays(folder / "data" / "own.npz")
    spec(folder / "specs" / "base.yaml", dataset="npz:../data/own.npz")
    spec(folder / "specs" / "child.yaml", dataset="npz:../data/own.npz", name="child", starts_from="base.yaml")
    profile = {
        "name": "own", "benchmarks": ["specs/child.yaml"], "runners": {"reference": ["numpy"]}, "rounds": 1,
        "seeds": [0], "laps": 2, "lap_milliseconds": 0.5, "latency_samples": 3, "throughput_batches": [4],
        "throughput_seconds": 0.001,
    }  # fmt: skip
    (folder / "profile.yaml").write_text(json.dumps(profile))
    return folder
