"""How large a batch the gate can afford: a reference that is written to be read is slow, and keeps every activation.

Models of the size of a perceptron or a small convolutional network are trained in the spec's own batches.  Of ResNet-50
the reference would keep more than 10 GB for a batch of 128 images of 32 pixels; there the gate trains batches of fewer
images, full ones and a ragged one all the same, and queries in the spec's own batches, filled with those few images in
random order.  What then goes unproven is that a framework trains a batch of another size alike.
"""

from __future__ import annotations

import math

from suite.spec.graph import walk
from suite.spec.resolved import Spec

TRAINED_WORK, TRAINED_FEWEST = 1e11, 8
"""What a training batch of the timed stage may cost, and how many images it holds in any case."""
VALUE_WORK = 400
"""What one output of a layer costs NumPy in a training step beside its FLOPs, in FLOPs: it waits for the memory."""


def work(spec: Spec) -> float:
    """Cost of one image's training step in the reference, in FLOPs: three forward passes', and its layers' outputs."""
    return 3 * spec.flops + VALUE_WORK * sum(math.prod(node.output) for node in walk(spec.graph))


def affordable(spec: Spec, most: float, fewest: int) -> int:
    """Images whose training step costs at most ``most``, but not fewer than ``fewest``."""
    return max(int(most / work(spec)), fewest)


def smaller(spec: Spec) -> Spec:
    """The spec itself, or, where its batch costs too much, one that trains in batches that do not.

    Its epoch is two full batches and a ragged one, if the spec's own ends in one, of the same share.
    """
    full = affordable(spec, TRAINED_WORK, TRAINED_FEWEST)
    if full >= spec.batches[0]:
        return spec
    ragged = [min(max(2, round(full * size / spec.batch_size)), full - 1) for size in spec.batches[1:]]
    facts = {"train": 2 * full + sum(ragged), "train_counts": None}
    return spec.replace(
        batch_size=full,
        data=spec.data.model_copy(update=facts),
        task=spec.task.of_any_data,
        validation_fraction=0.0,
        early_stopping=None,
    )


def epoch(spec: Spec) -> tuple[int, ...]:
    """Batch sizes of a short epoch: two full ones and a ragged one, the spec's own where it has one."""
    full, *ragged = spec.batches
    if full < spec.batch_size:
        return (full,)
    return full, full, *(ragged or ([max(2, full // 3)] if full > 2 else []))
