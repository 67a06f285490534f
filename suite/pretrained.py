"""Weights that others trained: torchvision's bottleneck ResNets by canonical names, and back.

The names are the same whichever convolution of a block has the stride, and whichever stem there is: they tell of
parameters, not of what is computed.  torchvision's own networks have the stride in the 3x3 (v1.5).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from suite import pth
from suite.errors import DataError
from suite.layers import Residual
from suite.spec import Spec

Array = NDArray[Any]
Weights = dict[str, Array]

WEIGHTED = {"weight": "kernel", "bias": "bias"}
NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
COUNTER = "num_batches_tracked"
"""Kept by torchvision's batch norms for a cumulative average, which none of them takes."""
BLOCK = re.compile(r"layer([1-9])\.([0-9]{1,3})\.")


def from_torchvision(spec: Spec, arrays: Mapping[str, Array]) -> Weights:
    """A state of torchvision's, kernels (out, in, kh, kw), as the weights of ``spec``, a ``resnet`` of that shape.

    Raises DataError with the first tensor that is missing, left over or of another shape.
    """
    weights = canonical(arrays)
    unlike = weights.keys() ^ spec.tensors.keys()
    if unlike:
        lacking, name = min((found in weights, found) for found in unlike)
        raise DataError(f"{name} is in {'the file' if lacking else spec.id} alone", way_out=_way_out(spec))
    for name, tensor in spec.tensors.items():
        if weights[name].shape != tensor.shape:
            what = f"{name} is {weights[name].shape}, but {spec.id} has {tensor.shape}"
            raise DataError(what, way_out=_way_out(spec))
    return {name: weights[name] for name in spec.tensors}


def _way_out(spec: Spec) -> str:
    return f"The blocks, width, classes and use_bias of {spec.id} must be those of the network that was trained."


def to_torchvision(spec: Spec, weights: Mapping[str, Array]) -> Weights:
    """Weights of ``spec`` under torchvision's names and in its layout; raises DataError if it is no such network."""
    if not (blocks := _blocks_of(spec)):
        raise DataError(f"{spec.id} is no residual network of torchvision's shape")
    names = {ours: theirs for theirs, ours in _tensors(blocks).items()}
    strange = next((name for name in spec.tensors if name not in names), None)
    if strange:
        raise DataError(f"{strange} of {spec.id} has no counterpart in torchvision's ResNets")
    return {names[name]: _turned(weights[name], (3, 2, 0, 1)) for name in spec.tensors}


def canonical(arrays: Mapping[str, Array]) -> Weights:
    """A state of any of torchvision's bottleneck ResNets by canonical names, dense kernels (in, out).

    Raises DataError naming a tensor that such a network does not have, or lacks.
    """
    given = {name: array for name, array in arrays.items() if not name.endswith(f".{COUNTER}")}
    names = _tensors(_blocks_in(given))
    strange = next((name for name in given if name not in names), None)
    if strange:
        raise DataError(f"{strange[:80]!r} is no tensor of torchvision's bottleneck ResNets")
    lacking = next((name for name in names if name not in given and not _optional(name)), None)
    if lacking:
        raise DataError(f"{lacking!r} is missing, which torchvision's bottleneck ResNets have")
    return {names[name]: _turned(array, (2, 3, 1, 0)) for name, array in given.items()}


def _turned(array: Array, axes: tuple[int, int, int, int]) -> Array:
    """A kernel in the other layout, whichever it is in: dense ones are transposed."""
    turned = array.transpose(axes) if array.ndim == 4 else array.T
    return np.array(turned, order="C")


def _optional(name: str) -> bool:
    """Biases of convolutions, which torchvision's have not and others may."""
    return name.endswith(".bias") and bool(re.search(r"(^|\.)(conv\d|downsample\.0)\.", name))


def _blocks_of(spec: Spec) -> tuple[int, ...]:
    """Blocks of each stage, which begins with the one whose shortcut is a convolution."""
    blocks = [node for node in spec.graph if isinstance(node.layer, Residual)]
    starts = [i for i, node in enumerate(blocks) if node.shortcut]
    return tuple(end - start for start, end in pairwise([*starts, len(blocks)]))


def _blocks_in(names: Iterable[str]) -> tuple[int, ...]:
    found = {(int(match[1]), int(match[2])) for name in names if (match := BLOCK.match(name))}
    counts = Counter(stage for stage, _ in found)
    return tuple(counts[stage] for stage in sorted(counts))


def _tensors(blocks: tuple[int, ...]) -> dict[str, str]:
    """Canonical names by torchvision's, of a network with so many blocks in each stage."""
    layers = {"conv1": "conv2d_1", "bn1": "batch_norm_1", "fc": "dense_1"}
    number = 0
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            number += 1
            theirs, ours = f"layer{stage}.{block}", f"residual_{number}"
            for i in (1, 2, 3):
                layers[f"{theirs}.conv{i}"] = f"{ours}/body/conv2d_{i}"
                layers[f"{theirs}.bn{i}"] = f"{ours}/body/batch_norm_{i}"
            if not block:
                layers[f"{theirs}.downsample.0"] = f"{ours}/shortcut/conv2d_1"
                layers[f"{theirs}.downsample.1"] = f"{ours}/shortcut/batch_norm_1"
    return {
        f"{theirs}.{attribute}": f"{ours}/{role}"
        for theirs, ours in layers.items()
        for attribute, role in (NORM if "batch_norm" in ours else WEIGHTED).items()
    }


def imported(path: Path) -> Weights:
    """Canonical weights from a user's file of torchvision's: ``.safetensors``, or ``.pth`` as ``torch.save`` writes it.

    Half precision becomes float32.  Nothing in the file is run.  Raises DataError with its name and what is wrong.
    """
    try:
        weights = canonical(_read_safetensors(path) if path.suffix == ".safetensors" else pth.read(path))
    except DataError as error:
        raise DataError(error.what, where=str(path), way_out=error.way_out) from None
    return {n: value.astype(np.float32) if value.dtype == np.float16 else value for n, value in weights.items()}


def _read_safetensors(path: Path) -> Weights:
    try:
        return dict(load_file(path))
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"holds no tensors that NumPy can take ({str(error)[:200]})") from None
