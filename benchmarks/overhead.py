"""What the suite itself costs: a training epoch through it against the same native steps in a bare loop.

    .envs/core/bin/python -m benchmarks.overhead torch:eager tf:xla
    .envs/core/bin/python -m benchmarks.overhead torch:eager --spec cifar-resnet50/cifar10 --images 256 --epochs 3

Each block runs three fresh processes in random order: through the suite, bare, and bare once more.  The last two are
the A/A control: how far apart the same thing comes out.  Ratios are of a block's medians; intervals are t-intervals
over blocks.  The goal is a ratio of at most 1.03; it is missed only where the lower bound is above.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

from benchmarks.sides import blocks, fresh
from suite.stats import TooFew, speed_ratio

SPEC = "mnist-mlp-128/pytorch-recipe"
GOAL = 1.03


def main() -> int:
    """Two lines per runner and mode; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", default=["torch:eager", "tf:xla"], help="runner:mode")
    parser.add_argument("--blocks", type=int, default=6, help="fresh processes a side")
    parser.add_argument(
        "--epochs", type=int, default=6, help="epochs in each process, of which the first is not counted"
    )
    parser.add_argument(
        "--spec", default=SPEC, help="a benchmark that the bare loops know: mnist-mlp-128, cifar-resnet50"
    )
    parser.add_argument("--images", type=int, help="images of an epoch, where a whole one takes too long")
    given = parser.parse_args()
    missed = False
    for cell in given.cells:
        suite, bare = (partial(fresh, side, cell, given.spec, given.epochs, given.images) for side in ("suite", "bare"))
        taken = list(blocks(cell, given.blocks, {"suite": suite, "bare": bare, "bare again": bare}))
        for label, side in (("suite over bare", "suite"), ("bare over bare, the control", "bare again")):
            ratio = speed_ratio([block["bare"] for block in taken], [block[side] for block in taken])
            if isinstance(ratio, TooFew):
                sys.exit("an interval takes five blocks at least")
            print(f"{cell}: {label}: {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})")
            missed |= side == "suite" and ratio.low > GOAL
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
