"""One training epoch, timed in a fresh process: through the suite, in a bare loop, as notebooks do it.

    python -m benchmarks.sides SIDE RUNNER:MODE --spec ID     # prints nanoseconds of every epoch and the peak memory

The bare loops know mnist-mlp-128 and ResNet-50; ``--images`` shortens the epochs of the latter.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Literal, NamedTuple

import numpy as np

from suite.data import datasets
from suite.inputs import initial
from suite.machine.environment import ROOT
from suite.meters.clock import gc_disabled, timed
from suite.meters.memory import peak_bytes
from suite.run import plan, session
from suite.runners import base
from suite.trial import measure

Side = Literal["suite", "bare", "notebook"]
THREADS = os.cpu_count() or 1


def epochs(side: Side, token: str, mode: str, spec_id: str, count: int, images: int | None = None) -> list[int]:
    """Nanoseconds of ``count`` epochs of at most ``images`` images, the first of which is the warm-up."""
    spec = plan.choose((spec_id,), session.BENCHMARKS / "specs", datasets.describe)[0]
    if side == "notebook":
        arrays = datasets.load(spec.dataset)
        notebook = importlib.import_module(f"benchmarks.notebook_{token}")
        labels = arrays.train_labels.astype(np.int64)
        return [round(notebook.epoch(arrays.train_images, labels, spec.batch_size) * 1e9) for _ in range(count)]
    train = measure.splits(spec)["train"]
    orders = [initial.order(0, number, spec.train_images)[:images] for number in range(count)]
    if side == "bare":
        bare = importlib.import_module(f"benchmarks.bare_{token}")
        return list(bare.epochs(mode, train.images, train.targets, orders, spec.batch_size, THREADS))
    program = base.find(token)("cpu", base.Threads(intra=THREADS, inter=1), 0).build(spec, mode, "float32")
    program.stage("train", train.images, train.targets)
    program.load(measure.start(spec, 0))
    taken = []
    for order in orders:
        with gc_disabled():
            taken.append(timed(program.train, order)[0])
    return taken


class Taken(NamedTuple):
    """Median seconds of an epoch after the warm one, and the peak resident memory of its process in bytes."""

    seconds: float
    peak_bytes: int | None


def fresh(side: Side, cell: str, spec_id: str, count: int, images: int | None = None) -> Taken:
    """What one side takes in a process of its own."""
    short = [] if images is None else ["--images", str(images)]
    python = session.pythons((cell.partition(":")[0],)).popitem()[1]
    done = subprocess.run(
        [str(python), "-m", "benchmarks.sides", side, cell, "--spec", spec_id, "--epochs", str(count), *short],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(THREADS), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{side} of {cell} failed:\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    return Taken(statistics.median(told["epochs_ns"][1:]) / 1e9, told["peak_bytes"])


def blocks(label: str, number: int, sides: dict[str, Callable[[], Taken]]) -> Iterator[dict[str, Taken]]:
    """What every side takes, block by block; all orders come before one comes again, for being first may matter."""
    shuffle, orders = random.Random(0), list(permutations(sorted(sides)))
    left: list[tuple[str, ...]] = []
    for block in range(1, number + 1):
        left = left or shuffle.sample(orders, len(orders))
        taken = {side: sides[side]() for side in left.pop()}
        shown = ", ".join(f"{side} {taken[side].seconds:.3f} s" for side in sides)
        print(f"  {label}, block {block} of {number}: {shown}", flush=True)
        yield taken


def main() -> None:
    """Be one side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["suite", "bare", "notebook"])
    parser.add_argument("cell", help="runner:mode")
    parser.add_argument("--spec", required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int)
    given = parser.parse_args()
    token, _, mode = given.cell.partition(":")
    taken = epochs(given.side, token, mode, given.spec, given.epochs, given.images)
    print(json.dumps({"epochs_ns": taken, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main()
