"""From a mirror's files to arrays.  What is not exactly the format is a DataError naming the file."""

from __future__ import annotations

import json
import math
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.data import words
from suite.data.content import NAMES, Decoded, canonical
from suite.data.registry import Format
from suite.errors import DataError

_DIGITS_TEST = 360
_CIFAR_SIDE = 32
_CIFAR_PIXELS = _CIFAR_SIDE * _CIFAR_SIDE
_CIFAR_ROWS = 10_000  # images in one file


def decode(files: Format, folder: Path) -> Decoded:
    """The arrays out of a folder that holds every file of the format.  Raises DataError naming a bad file."""
    paths = [folder / name for name in files.value]
    match files:
        case Format.IDX:
            train_images, train_labels, test_images, test_labels = (idx(path.read_bytes(), path.name) for path in paths)
        case Format.CIFAR_BINARY:
            *train, (test_images, test_labels) = (cifar_rows(path.read_bytes(), path.name) for path in paths)
            train_images = np.concatenate([images for images, _ in train])
            train_labels = np.concatenate([labels for _, labels in train])
        case Format.CIFAR100_BINARY:
            (train_images, train_labels), (test_images, test_labels) = (
                cifar_rows(path.read_bytes(), path.name, labels=2) for path in paths
            )
        case Format.CIFAR_PNG:
            *pictures, train_json, test_json = paths
            *train_parts, test_images = (cifar_png(path) for path in pictures)
            train_images = np.concatenate(train_parts)
            train_labels, test_labels = (json_labels(path.read_bytes(), path.name) for path in (train_json, test_json))
        case Format.VERSES:
            return words.decoded(verses(paths[0].read_bytes(), paths[0].name), paths[0].name)
    return named(train_images, train_labels, test_images, test_labels)


def named(
    train_images: NDArray[Any], train_labels: NDArray[Any], test_images: NDArray[Any], test_labels: NDArray[Any]
) -> Decoded:
    """The four arrays in canonical form, by name."""
    train, test = canonical(train_images, train_labels), canonical(test_images, test_labels)
    return dict(zip(NAMES, (*train, *test), strict=True))


def idx(data: bytes, where: str) -> NDArray[np.uint8]:
    """Values of an IDX file of unsigned bytes.  Raises DataError.

    Two zero bytes, the type 8, the number of axes, each axis's length as a big-endian 32-bit integer, then the values
    in C order (the format is described with the MNIST database).
    """
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 4:
        raise DataError(f"is not an IDX file of unsigned bytes: it begins with {data[:4].hex(' ')}", where=where)
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise DataError(f"ends inside its header, after {len(data)} bytes", where=where)
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    if 0 in shape or len(data) - start != math.prod(shape):
        raise DataError(f"announces shape {shape} but holds {len(data) - start:,} values", where=where)
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def cifar_rows(data: bytes, where: str, labels: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, 32, 32, 3) and labels (n,) of a binary version of CIFAR.  Raises DataError.

    Per image the bytes of its ``labels``, of which the last counts, then the red, the green and the blue plane, each
    row by row.  CIFAR-10 has one label; CIFAR-100 has two, the coarse one and then the fine one.
    """
    row = labels + 3 * _CIFAR_PIXELS
    if not data or len(data) % row:
        raise DataError(f"holds {len(data):,} bytes, which is no multiple of {row:,} per image", where=where)
    rows = np.frombuffer(data, np.uint8).reshape(-1, row)
    pixels = rows[:, labels:].reshape(-1, 3, _CIFAR_SIDE, _CIFAR_SIDE)
    return pixels.transpose(0, 2, 3, 1), rows[:, labels - 1]


def cifar_png(path: Path) -> NDArray[np.uint8]:
    """Images (n, 32, 32, 3) of a PNG picture that has one image per line, 1,024 RGB pixels long.  Raises DataError."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError("Pillow is not installed, and this mirror needs it", where=path.name) from error
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(path, formats=["PNG"]) as picture,
        ):
            if picture.mode != "RGB" or picture.width != _CIFAR_PIXELS or not 1 <= picture.height <= _CIFAR_ROWS:
                raise DataError(
                    f"is a picture of {picture.width} x {picture.height} pixels, {picture.mode}; "
                    f"expected {_CIFAR_PIXELS} x at most {_CIFAR_ROWS}, RGB",
                    where=path.name,
                )
            pixels = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"is not a whole PNG picture ({error})", where=path.name) from error
    return pixels.reshape(-1, _CIFAR_SIDE, _CIFAR_SIDE, 3)


def json_labels(data: bytes, where: str) -> NDArray[np.uint8]:
    """Labels (n,) from a JSON list of integers from 0 to 255.  Raises DataError."""
    values = _json(data, where)
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value <= 255 for value in values):
        raise DataError("is not a list of labels from 0 to 255", where=where)
    return np.array(values, np.uint8)


def verses(data: bytes, where: str) -> list[str]:
    """The verses of a text in their order, from a JSON object of verses by their place in it.  Raises DataError."""
    values = _json(data, where)
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise DataError("is not an object of verses", where=where)
    return list(values.values())


def _json(data: bytes, where: str) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON ({error})", where=where) from error


def lines(path: Path) -> Decoded:
    """A text of ours whose passages are its lines; empty ones part tales.  Raises DataError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", where=path.name) from error
    return words.decoded((line for line in text.splitlines() if line.strip()), path.name)


def digits() -> Decoded:
    """The 1,797 digits that scikit-learn ships, in its order: the last 360 are the test.  Raises DataError."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("scikit-learn, which ships the digits, is not installed") from error
    source = load_digits()
    images, labels = source.images, source.target
    return named(images[:-_DIGITS_TEST], labels[:-_DIGITS_TEST], images[-_DIGITS_TEST:], labels[-_DIGITS_TEST:])
