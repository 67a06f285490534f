"""What a decoded data set is: four named arrays, and the hash that tells whether they are the right ones.

Whatever a mirror's format, the arrays end up the same: images as uint8 of shape (images, height, width, channels),
labels as little-endian int64 of shape (images,), both in C order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from suite.errors import DataError
from suite.spec import DatasetFacts

NAMES = ("train_images", "train_labels", "test_images", "test_labels")
DTYPES = {name: np.dtype("u1" if name.endswith("images") else "<i8") for name in NAMES}

Decoded: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Arrays:
    """A data set in memory: images (n, height, width, channels) uint8, labels (n,) int64.

    ``origin`` says where the arrays came from: a mirror, ``embedded``, or the user's own file.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    facts: DatasetFacts
    origin: str


@dataclass(frozen=True)
class Content:
    """One array, told by its shape and the SHA-256 (hexadecimal) of its bytes; the dtype follows from its name."""

    shape: tuple[int, ...]
    sha256: str

    def bytes(self, name: str) -> int:
        """Size of the array's values in bytes."""
        return math.prod(self.shape) * DTYPES[name].itemsize


def canonical(images: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images as (n, height, width, channels) uint8 and labels as int64; grey images may lack the channel axis."""
    if images.ndim == 3:
        images = images[..., np.newaxis]
    return np.ascontiguousarray(images, DTYPES["train_images"]), np.ascontiguousarray(labels, DTYPES["train_labels"])


def content_of(array: NDArray[Any]) -> Content:
    """Hash one canonical array."""
    return Content(array.shape, hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest())


def digest(contents: Mapping[str, Content]) -> str:
    """Digest of a whole data set: SHA-256 over one line per array with its name, dtype, shape and own SHA-256."""
    lines = (f"{name} {DTYPES[name].str} {contents[name].shape} {contents[name].sha256}\n" for name in NAMES)
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def check(name: str, array: NDArray[Any], expected: Content, where: str) -> None:
    """Raise DataError unless ``array`` has the expected shape, dtype and hash; ``where`` names it to the user."""
    if (array.shape, array.dtype) != (expected.shape, DTYPES[name]):
        wanted = f"{DTYPES[name]} of shape {expected.shape}"
        raise DataError(f"holds {array.dtype} of shape {array.shape}, expected {wanted}", where=where)
    found = content_of(array).sha256
    if found != expected.sha256:
        raise DataError(f"is damaged: its values hash to {found[:12]}, expected {expected.sha256[:12]}", where=where)
