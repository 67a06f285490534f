"""A user's own images that are not as the suite takes them: what they are, and the NumPy expression that mends them.

Images are uint8 (n, height, width) or (n, height, width, channels).  What stands in another type or order is refused
with the way to it and what is lost on it: pixels are bytes here, so of fractions and of 16 bits 256 levels stay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FEWEST = 5
"""Rows and columns of what looks like pixels; channels are fewer."""
COLOURS = (3, 4)
PLANES = (1, *COLOURS)
"""Channels of grey, of colour, and of colour with transparency."""
DEPTHS = (1023, 4095, 16383, 65535)
"""Largest values of 10, 12, 14 and 16 bits."""
SAME = 1e-6
"""Share of a byte's step within which a fraction was a byte: 100 / 255 in float32 is, in float16 it is not."""


@dataclass(frozen=True)
class Trouble:
    """What images are, in words; how an ``{}`` of them is mended, empty if nobody knows; and what to say of it."""

    what: str
    mended: str = ""
    told: str = ""


def troubles(images: Mapping[str, Array], labels: Mapping[str, int]) -> tuple[Trouble, ...]:
    """What is wrong with the images of ``train`` and ``test``, which have so many ``labels``; empty if nothing."""
    found = [_type(images["train"], images["test"])]
    orders = (_order(array.shape, labels[part]) for part, array in images.items())
    return tuple(filter(None, [*found, next(filter(None, orders), None)]))


def _order(shape: tuple[int, ...], images: int) -> Trouble | None:
    """An order of axes other than (n, height, width, channels)."""
    if len(shape) == 2:
        return _flat(shape)
    if len(shape) not in (3, 4):
        return Trouble(f"of shape {shape}")
    if len(shape) == 4 and shape[0] != images == shape[3]:
        told = "Its last axis counts the images, as in MATLAB's files: this moves it to the front."
        return Trouble(f"of shape {shape}", "{}.transpose(3, 0, 1, 2)", told)
    if len(shape) == 4 and channels_first(shape):
        count, channels, height, width = shape
        told = (
            f"That is {channels} channel{'s' * (channels > 1)} of {height} x {width} pixels, channels first, as "
            "PyTorch has them; here channels come last. This turns them without loss. If a height of "
            f"{channels} with {width} channels is truly meant, exchange height and width: ({count}, {height}, "
            f"{channels}, {width})."
        )
        return Trouble(f"of shape {shape}", "{}.transpose(0, 2, 3, 1)", told)
    return None


def channels_first(shape: tuple[int, ...]) -> bool:
    """Whether (n, a, b, c) is clearly (n, channels, height, width), and not (n, height, width, channels).

    It is where ``a`` can be channels, ``c`` is too many for channels and the last two axes look like pixels: at most
    four times as long as wide; of 4 channels, square ones of 16 or more, for images 4 pixels high are seen; of one,
    not over twice as high as wide, for a signal (n, 1, length, channels) is long.
    """
    _, channels, height, width = shape
    if channels not in PLANES or width <= max(PLANES) or height < FEWEST:
        return False
    if channels == 4:
        return height == width >= 16
    if channels == 1:
        return height < 2 * width
    return max(height, width) <= 4 * min(height, width)


_SQUARE = "{{}}.reshape(-1, {0}, {0})"
_PLANES = "{{}}.reshape(-1, 3, {0}, {0}).transpose(0, 2, 3, 1)"


def _flat(shape: tuple[int, ...]) -> Trouble:
    _count, features = shape
    for channels, mended in ((1, _SQUARE), (3, _PLANES)):
        side = math.isqrt(features // channels)
        if channels * side**2 == features and side >= FEWEST:
            planes = " of which colours stand in planes, as in CIFAR's files" if channels == 3 else ""
            told = f"If these are rows of images of {side} x {side} pixels{planes}, this makes images of them."
            return Trouble(f"of shape {shape}", mended.format(side), told)
    told = f"An image may be one row of pixels: this makes images of shape (1, {features}) of them."
    return Trouble(f"of shape {shape}", f"{{}}.reshape(-1, 1, {features})", told)


def _type(train: Array, test: Array) -> Trouble | None:
    """Another type than bytes."""
    if train.dtype == test.dtype == np.uint8:
        return None
    kinds = {train.dtype.kind, test.dtype.kind}
    name = str(train.dtype) if train.dtype == test.dtype else f"{train.dtype} in training and {test.dtype} in test"
    if kinds == {"b"}:
        return Trouble(name, "({}.astype(np.uint8) * 255)", "This makes bytes 0 and 255 of them, without loss.")
    if kinds <= {"u", "i"}:
        return _whole(name, train, test)
    return _fractions(name, train, test) if kinds <= {"u", "i", "f"} else Trouble(name)


def _whole(name: str, train: Array, test: Array) -> Trouble:
    low, high = _extent(train, test)
    what = f"{name}, {low:g} to {high:g}"
    if low >= 0 and high <= 255:
        return Trouble(what, "{}.astype(np.uint8)", "This makes bytes of them, without loss.")
    if low >= -128 and high <= 127:
        told = "This moves them to 0 to 255, without loss; the spec's input_range says what range the model sees."
        return Trouble(what, "({}.astype(np.int16) + 128).astype(np.uint8)", told)
    top = next((depth for depth in DEPTHS if high <= depth), None)
    if low < 0 or top is None:
        told = "There is no byte for each of these values. Map the range that you mean onto 0 to 255."
        return Trouble(what, told=told)
    exact = all(not (part % (top // 255)).any() for part in (train, test)) if top % 255 == 0 else False
    kept = "without loss: they were bytes" if exact else f"of which 256 levels of {top + 1:,} stay"
    told = f"This makes bytes of values 0 to {top}, {kept}. Other depths than 8 bits are not taken yet."
    return Trouble(what, f"np.rint({{}} * (255 / {top})).astype(np.uint8)", told)


def _fractions(name: str, train: Array, test: Array) -> Trouble:
    if not (np.isfinite(train).all() and np.isfinite(test).all()):
        return Trouble(f"{name}, not finite throughout", told="Find out first where they are no finite numbers.")
    low, high = _extent(train, test)
    what = f"{name}, {low:.3g} to {high:.3g}"
    exact = all((part == np.rint(part)).all() for part in (train, test))
    if low >= 0 and high <= 255 and high > (1 if exact else 127):
        return Trouble(what, "np.rint({}).astype(np.uint8)", f"This makes bytes of them, {_kept(exact)}.")
    for bottom, mended, scale in ((0, "np.rint({} * 255).astype(np.uint8)", 255.0), (-1, _CENTRED, 127.5)):
        if low >= bottom and high <= 1:
            exact = all(_are_bytes((part.astype(np.float64) - bottom) * scale) for part in (train, test))
            told = f"This makes bytes of them, {_kept(exact)}; `input_range: [{bottom}, 1]` then is the same range."
            return Trouble(what, mended, told)
    told = (
        "They are neither bytes nor within 0 to 1 or -1 to 1, and look normalised. Write the bytes from before that "
        "was done: the spec's input_range maps 0 to 255 linearly onto a range, the same for all channels. Fractions "
        "are not taken yet."
    )
    return Trouble(what, told=told)


_CENTRED = "np.rint(({} + 1) * 127.5).astype(np.uint8)"


def _are_bytes(levels: Array) -> bool:
    return bool((np.abs(levels - np.rint(levels)) <= 255 * SAME).all())


def _kept(exact: bool) -> str:
    return "without loss: they were bytes" if exact else "of which 256 levels stay, as fractions are not taken yet"


def _extent(train: Array, test: Array) -> tuple[float, float]:
    parts = train, test
    return min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
