"""What a decoded data set is: four named arrays, and the hash that tells whether they are the right ones.

Whatever a mirror's format, the arrays end up the same: images as uint8 of shape (images, height, width, channels),
labels as little-endian int64 of shape (images,), both in C order.  Of text, the "images" are the words around each
word, as little-endian uint16 of shape (examples, words), and a fifth array holds the vocabulary (``suite.data.words``).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from suite.errors import DataError
from suite.spec.dataset import DatasetFacts

NAMES = ("train_images", "train_labels", "test_images", "test_labels")
WORDS = "words"
PIXELS, TOKENS, LABELS, TEXT = (np.dtype(code) for code in ("u1", "<u2", "<i8", "u1"))
COUNTED = 1000  # classes; of more, nobody wants to read how many images each has

Decoded: TypeAlias = dict[str, NDArray[Any]]
Images: TypeAlias = NDArray[Any]  # uint8, or of text uint16


@dataclass(frozen=True)
class Arrays:
    """A data set in memory: images (n, height, width, channels) uint8, labels (n,) int64.

    Of text: contexts (n, words) uint16 in the place of images, and ``words``, the vocabulary that they and the labels
    index.  ``origin`` says where the arrays came from: a mirror, ``embedded``, or the user's own file.
    """

    train_images: Images
    train_labels: NDArray[np.int64]
    test_images: Images
    test_labels: NDArray[np.int64]
    facts: DatasetFacts
    origin: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """One array, told by its shape, dtype and the SHA-256 (hexadecimal) of its bytes, null where it is not known."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    sha256: str | None

    @property
    def bytes(self) -> int:
        """Size of the array's values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def canonical(images: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images as (n, height, width, channels) uint8 and labels as int64; grey images may lack the channel axis."""
    if images.ndim == 3:
        images = images[..., np.newaxis]
    return np.ascontiguousarray(images, PIXELS), np.ascontiguousarray(labels, LABELS)


def content_of(array: NDArray[Any]) -> Content:
    """Hash one canonical array."""
    return Content(array.shape, array.dtype, sha256_of(array))


def sha256_of(array: NDArray[Any]) -> str:
    """SHA-256 (hexadecimal) of the bytes of a C-ordered array."""
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()


def digest(contents: Mapping[str, Content], classes: Sequence[str] | None = None) -> str:
    """Digest of a whole data set: SHA-256 over one line per array with its name, dtype, shape and own SHA-256.

    Where classes have names of their own, a line of JSON with those comes last.
    """
    lines = [f"{name} {one.dtype.str} {one.shape} {one.sha256}\n" for name, one in contents.items()]
    lines += [] if classes is None else [json.dumps(list(classes)) + "\n"]
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def counts(labels: NDArray[np.int64], classes: int) -> tuple[int, ...] | None:
    """Images of each class, in the order of classes; null where there are more than ``COUNTED``."""
    return tuple(np.bincount(labels, minlength=classes).tolist()) if classes <= COUNTED else None


def check(array: NDArray[Any], expected: Content, where: str) -> None:
    """Raise DataError unless ``array`` has the expected shape, dtype and hash; ``where`` names it to the user."""
    if (array.shape, array.dtype) != (expected.shape, expected.dtype):
        wanted = f"{expected.dtype} of shape {expected.shape}"
        raise DataError(f"holds {array.dtype} of shape {array.shape}, expected {wanted}", where=where)
    if expected.sha256 is None:
        return
    found = sha256_of(array)
    if found != expected.sha256:
        raise DataError(f"is damaged: its values hash to {found[:12]}, expected {expected.sha256[:12]}", where=where)
