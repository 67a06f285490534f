"""Images that nobody took: every pixel and label drawn from a seed.

They hold nothing to learn.  They stand for images of a size whose data set nobody may hand on, where the speed alone is
asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from suite.data.content import LABELS, PIXELS


def arrays(
    seed: int, shape: Sequence[int], classes: int, counts: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, height, width, channels) and labels (n,) of both parts.

    Pixels are the bytes of PCG64's raw numbers, least significant first, and labels their remainders: raw numbers of a
    bit generator stay the same from one version of NumPy to the next, where those of a distribution may not (NumPy's
    NEP 19).
    """
    source = np.random.PCG64(seed)

    def part(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        values = count * int(np.prod(shape))
        raw = source.random_raw(-(-values // 8)).astype("<u8")
        labels = source.random_raw(count) % np.uint64(classes)
        return raw.view(PIXELS)[:values].reshape(count, *shape), labels.astype(LABELS)

    train, test = (part(count) for count in counts)
    return (*train, *test)
