"""What the suite itself costs: a training epoch through it against the same native steps in a bare loop.

    .envs/core/bin/python -m benchmarks.overhead torch:eager tf:xla
    .envs/core/bin/python -m benchmarks.overhead torch:eager --spec cifar-resnet50/cifar10 --images 256 --epochs 3
    .envs/core/bin/python -m benchmarks.overhead torch:graphs --device cuda --precision bfloat16

Each block runs three fresh processes: through the suite, bare, and bare once more; six blocks take them in each of
their orders, for which is first may matter.  The last two are the A/A control: how far apart the same thing comes out.
Ratios are of a block's medians; intervals are t-intervals over blocks.  The goal is a ratio of at most 1.03; it is
missed only where the lower bound is above.  Peak memory is that of the whole process, the data among it.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from statistics import median

from benchmarks.sides import Asked, add_options, blocks, fresh
from suite.stats import TooFew, speed_ratio

SPEC = "mnist-mlp-128/pytorch-recipe"
GOAL = 1.03
GIBI = 1 << 30


def main() -> int:
    """The ratios of each runner and mode, and the memory that either side takes; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", default=["torch:eager", "tf:xla"], help="runner:mode")
    parser.add_argument("--blocks", type=int, default=6, help="fresh processes a side")
    parser.add_argument(
        "--epochs", type=int, default=6, help="epochs in each process, of which the first is not counted"
    )
    parser.add_argument(
        "--spec", default=SPEC, help="a benchmark that the bare loops know: mnist-mlp-128, cifar-resnet50"
    )
    add_options(parser)
    given = parser.parse_args()
    asked = Asked(given.spec, given.epochs, given.images, given.device, given.precision)
    missed = False
    for cell in given.cells:
        suite, bare = (partial(fresh, side, cell, asked) for side in ("suite", "bare"))
        taken = list(blocks(cell, given.blocks, {"suite": suite, "bare": bare, "bare again": bare}))
        for label, side in (("suite over bare", "suite"), ("bare over bare, the control", "bare again")):
            ratio = speed_ratio(*([block[one].seconds for block in taken] for one in ("bare", side)))
            if isinstance(ratio, TooFew):
                sys.exit("an interval takes five blocks at least")
            print(f"{cell}: {label}: {ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})")
            missed |= side == "suite" and ratio.low > GOAL
        for side in ("suite", "bare"):
            peaks = [peak / GIBI for block in taken if (peak := block[side].peak_bytes) is not None]
            if peaks:
                print(f"{cell}: peak memory, {side}: {median(peaks):.2f} GiB ({min(peaks):.2f} to {max(peaks):.2f})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
