"""One training epoch, timed in a fresh process: through the suite, in a bare loop, as notebooks do it.

    python -m benchmarks.sides SIDE RUNNER:MODE --spec ID     # prints nanoseconds of every epoch and the peak memory

The bare loops know mnist-mlp-128 and ResNet-50; ``--images`` shortens the epochs of the latter.  Of TensorFlow's there
is one on a processor in float32 alone.
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
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, NamedTuple, get_args

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


@dataclass(frozen=True)
class Asked:
    """What is trained: a spec for so many epochs of at most ``images``, the first of which is the warm-up."""

    spec: str
    epochs: int = 3
    images: int | None = None
    device: base.Device = "cpu"
    precision: base.Precision = "float32"

    def words(self) -> list[str]:
        """The same as arguments of the command line."""
        given = {key: value for key, value in vars(self).items() if value is not None}
        return [word for key, value in given.items() for word in (f"--{key}", str(value))]


def epochs(side: Side, token: str, mode: str, asked: Asked) -> list[int]:
    """Nanoseconds of each epoch."""
    spec, count = plan.choose((asked.spec,), session.BENCHMARKS / "specs", datasets.describe)[0], asked.epochs
    if side == "notebook":
        arrays = datasets.load(spec.dataset)
        notebook = importlib.import_module(f"benchmarks.notebook_{token}")
        labels = arrays.train_labels.astype(np.int64)
        return [round(notebook.epoch(arrays.train_images, labels, spec.batch_size) * 1e9) for _ in range(count)]
    train = measure.splits(spec)["train"]
    orders = [initial.order(0, number, spec.train_images)[: asked.images] for number in range(count)]
    if side == "bare":
        bare = importlib.import_module(f"benchmarks.bare_{token}")
        elsewhere = (
            {}
            if (asked.device, asked.precision) == ("cpu", "float32")
            else {
                "device": asked.device,
                "precision": asked.precision,
            }
        )
        return list(bare.epochs(mode, train.images, train.targets, orders, spec.batch_size, THREADS, **elsewhere))
    runner = base.find(token)(asked.device, base.Threads(intra=THREADS, inter=1), 0)
    program = runner.build(spec, mode, asked.precision)
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


def fresh(side: Side, cell: str, asked: Asked) -> Taken:
    """What one side takes in a process of its own."""
    python = session.pythons((cell.partition(":")[0],)).popitem()[1]
    done = subprocess.run(
        [str(python), "-m", "benchmarks.sides", side, cell, *asked.words()],
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


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of what is trained that may be left out."""
    parser.add_argument("--images", type=int, help="images of an epoch, where a whole one takes too long")
    parser.add_argument("--device", choices=get_args(base.Device), default=Asked.device)
    parser.add_argument("--precision", choices=("float32", "tf32", "bfloat16"), default=Asked.precision)


def main() -> None:
    """Be one side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["suite", "bare", "notebook"])
    parser.add_argument("cell", help="runner:mode")
    parser.add_argument("--spec", required=True)
    parser.add_argument("--epochs", type=int, default=Asked.epochs)
    add_options(parser)
    given = vars(parser.parse_args())
    side, (token, _, mode) = given.pop("side"), given.pop("cell").partition(":")
    taken = epochs(side, token, mode, Asked(**given))
    print(json.dumps({"epochs_ns": taken, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main()
