"""The same start for everyone: initial weights and batch orders, made in NumPy from named Philox streams.

A stream's key is the seed and the hash of its name, so every tensor and every epoch has a stream of its own: adding a
layer or an epoch changes no other number.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from suite.spec.resolved import Spec
from suite.spec.targets import Target
from suite.spec.tensors import Initialiser, Tensor

FloatArray = NDArray[np.float64]
CHUNK = 1024
"""Images that are made floats at once."""


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """The random stream of ``name``: Philox 4x64 (Salmon et al. 2011), keyed by seed and name."""
    key = hashlib.sha256("/".join(map(str, name)).encode()).digest()[:8]
    return np.random.Generator(np.random.Philox(key=[seed, int.from_bytes(key, "little")]))


def weights(spec: Spec, seed: int) -> dict[str, FloatArray]:
    """Initial weights and running statistics in float64, by canonical name."""
    return {name: _draw(tensor, stream(seed, "weights", name)) for name, tensor in spec.tensors.items()}


def _draw(tensor: Tensor, random: np.random.Generator) -> FloatArray:
    fan_in, fan_out = tensor.fan_in, tensor.fan_out
    match tensor.initialiser:
        case Initialiser.ZEROS:
            return np.zeros(tensor.shape)
        case Initialiser.ONES:
            return np.ones(tensor.shape)
        case Initialiser.GLOROT_UNIFORM:
            return _uniform(random, tensor, math.sqrt(6 / (fan_in + fan_out)))
        case Initialiser.HE_UNIFORM:
            return _uniform(random, tensor, math.sqrt(6 / fan_in))
        case Initialiser.LECUN_UNIFORM:
            return _uniform(random, tensor, math.sqrt(3 / fan_in))
        case Initialiser.FAN_IN_UNIFORM:
            return _uniform(random, tensor, math.sqrt(1 / fan_in))
        case Initialiser.GLOROT_NORMAL:
            return random.normal(0, math.sqrt(2 / (fan_in + fan_out)), tensor.shape)
        case Initialiser.HE_NORMAL:
            return random.normal(0, math.sqrt(2 / fan_in), tensor.shape)
        case Initialiser.LECUN_NORMAL:
            return random.normal(0, math.sqrt(1 / fan_in), tensor.shape)


def _uniform(random: np.random.Generator, tensor: Tensor, bound: float) -> FloatArray:
    return random.uniform(-bound, bound, tensor.shape)


def order(seed: int, epoch: int, images: int) -> NDArray[np.int32]:
    """The order in which epoch ``epoch`` (from 0) visits ``images`` images."""
    return stream(seed, "order", epoch).permutation(images).astype(np.int32)


def split(spec: Spec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the images trained on, and of those held out for validation; the same for every seed.

    They count among the training images that the task takes, in their order: ``spec.usable_images`` of them.
    """
    shuffled = stream(0, "validation", spec.data.digest).permutation(spec.usable_images)
    return np.sort(shuffled[spec.validation_images :]), np.sort(shuffled[: spec.validation_images])


def images(spec: Spec, pixels: NDArray[np.uint8], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Pixels (n, h, w, c) mapped linearly from 0..max to the spec's input range, computed in float64, then rounded."""
    low, high = spec.input_range
    share = np.arange(spec.data.max_value + 1) / spec.data.max_value
    table = (low * (1 - share) + high * share).astype(dtype)  # in this form both ends are exact
    found = np.empty(pixels.shape, dtype)
    for start in range(0, len(pixels), CHUNK):  # an index is made eight bytes wide: of all pixels that is much
        found[start : start + CHUNK] = table[pixels[start : start + CHUNK]]
    return found


def targets(spec: Spec, labels: NDArray[Any], inputs: NDArray[Any], boxes: NDArray[Any] | None = None) -> NDArray[Any]:
    """What outputs are compared with: int32 labels (n,), or floats of the outputs' shape, or (n, 5) class and box.

    Of inputs that are words, float32.  ``boxes`` (n, 4) are x, y, width and height as fractions of the canvas.
    """
    dtype = inputs.dtype if inputs.dtype.kind == "f" else np.dtype(np.float32)
    match spec.target:
        case Target.LABELS:
            return labels.astype(np.int32)
        case Target.ONE_HOT:
            hot: NDArray[Any] = np.eye(spec.data.classes, dtype=dtype)[labels]
            return hot
        case Target.INPUT:
            return inputs.reshape(len(inputs), *spec.graph[-1].output)
        case Target.FIRST:
            first = np.zeros((len(inputs), *spec.graph[-1].output), dtype)
            first[:, 0] = 1
            return first
        case Target.BOXES:
            assert boxes is not None
            return np.column_stack([labels, boxes]).astype(dtype)


def fingerprint(arrays: Mapping[str, NDArray[Any]]) -> str:
    """``sha256:...`` over names, shapes, types and bytes of ``arrays``, sorted by name."""
    hashed = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        hashed.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        hashed.update(array.tobytes())
    return f"sha256:{hashed.hexdigest()}"
