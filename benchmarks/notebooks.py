"""What notebooks measure: an epoch of mnist-mlp-128 through the suite against the loops that people publish.

    .envs/core/bin/python -m benchmarks.notebooks

PyTorch's is a DataLoader with per-image transforms at batch 64, TensorFlow's is Keras ``fit`` at batch 32.  Every block
runs both sides of a framework in fresh processes, in random order.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial

from benchmarks.sides import Asked, blocks, fresh
from suite.stats import TooFew, speed_ratio

PAIRS = {"torch:compile": "mnist-mlp-128/pytorch-recipe", "tf:xla": "mnist-mlp-128/tensorflow-recipe"}


def main() -> int:
    """A line per framework."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", default=list(PAIRS), help="runner:mode of the suite's side")
    parser.add_argument("--blocks", type=int, default=5)
    given = parser.parse_args()
    for cell in given.cells:
        spec_id = next(spec for known, spec in PAIRS.items() if known.split(":")[0] == cell.split(":")[0])
        lengths = {"suite": 4, "notebook": 2}
        sides = {side: partial(fresh, side, cell, Asked(spec_id, count)) for side, count in lengths.items()}
        taken = list(blocks(cell, given.blocks, sides))
        notebook, suite = ([block[side].seconds for block in taken] for side in ("notebook", "suite"))
        ratio = speed_ratio(suite, notebook)
        medians = f"notebook {statistics.median(notebook):.2f} s, suite {statistics.median(suite):.2f} s an epoch"
        if isinstance(ratio, TooFew):
            sys.exit("an interval takes five blocks at least")
        print(f"{cell}, {spec_id}: {medians}: {ratio.value:.1f} times faster ({ratio.low:.1f} to {ratio.high:.1f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
