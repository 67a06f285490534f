"""A user's own labels: what they are, and the classes 0 to n - 1 that they stand for.

Labels that are whole numbers (n,) from 0 on, none left out, are classes as they are.  Others can be mapped to such, in
sorted order: then each class keeps the name that it had, and ``Labels.are`` says what the labels were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.data.content import COUNTED, LABELS
from suite.errors import DataError

MOST = 1 << 16
"""Classes there may be."""
LONGEST_NAME = 64
SHOWN = 6
"""Values that a message names."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Labels:
    """Classes (n,) int64 of both parts, and how many there are; where they were mapped, their ``names`` in order.

    ``are`` then says what the labels are in the file; it is null where they are 0 to n - 1 already.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    classes: int
    names: tuple[str, ...] | None = None
    are: str | None = None


def read(train: Array, test: Array, where: str) -> Labels:
    """The classes that labels of any of the usual forms stand for.

    Taken are whole numbers of any type, truth values and texts, of shape (n,) or (n, 1), and one-hot rows (n, classes).
    Raises DataError, with ``where`` as the file's name, for anything else.
    """
    parts = {"train_labels": train, "test_labels": test}
    forms = {name: _form(array, f"{where}: {name}") for name, array in parts.items()}
    values = {name: value for name, (value, _) in forms.items()}
    odd = next((told for _, told in forms.values() if told), "")
    first, second = values.values()
    if first.dtype.kind in "US" or second.dtype.kind in "US":
        if first.dtype.kind != second.dtype.kind:
            what = f"is {_type(second)}, train_labels {_type(first)}: no class can be in both"
            raise DataError(what, where=f"{where}: test_labels", way_out="Write both in one way.")
        return _mapped(first, second, f"texts: {_some(_unique(first, second))}", where)
    highest = max((_columns(array) for array in parts.values()), default=0)
    found = _unique(first, second)
    if len(found) and highest and int(found[-1]) < highest:
        found = np.arange(highest)
    plain = len(found) and int(found[0]) == 0 and int(found[-1]) == len(found) - 1
    if len(found) > MOST:
        what = f"holds {len(found):,} different labels, and there may be {MOST:,} classes"
        raise DataError(what, where=f"{where}: train_labels")
    if plain and not odd:
        return Labels(first.astype(LABELS), second.astype(LABELS), len(found))
    told = odd or f"whole numbers {_extent(found)}"
    return _mapped(first, second, told, where, found)


def _form(array: Array, where: str) -> tuple[Array, str]:
    """Labels as (n,) whole numbers or texts, and what they are if they are no whole numbers (n,)."""
    kind, shape = array.dtype.kind, array.shape
    if kind not in "iubfUS" or array.ndim not in (1, 2):
        raise DataError(f"is {array.dtype} of shape {shape}, expected whole numbers of shape (n,)", where=where)
    if kind in "US":
        if array.ndim == 2 and shape[1] != 1:
            raise DataError(f"is texts of shape {shape}, expected one to an image", where=where)
        return _texts(array.reshape(-1), where), ""
    whole = _whole(array, where)
    if array.ndim == 2 and shape[1] != 1:
        return _hot(whole, where), f"one-hot rows of shape {shape}"
    told = [f"of shape {shape}"] * (array.ndim == 2) + [f"{_type(array)}"] * (kind in "bf")
    return whole.reshape(-1), " and ".join(told)


def _type(array: Array) -> str:
    return {"b": "truth values", "f": f"{array.dtype} numbers", "U": "texts", "S": "texts"}.get(
        array.dtype.kind, "whole numbers"
    )


def _whole(array: Array, where: str) -> Array:
    if array.dtype.kind == "b":
        return array.astype(LABELS)
    if array.dtype.kind != "f":
        return array
    if not np.isfinite(array).all() or (array != np.rint(array)).any() or np.abs(array).max(initial=0) >= 2**53:
        finite = array[np.isfinite(array)]
        extent = f", {float(finite.min()):.3g} to {float(finite.max()):.3g}" if finite.size else ""
        what = f"is {array.dtype} that is not whole{extent}: such a number is no class"
        way_out = "The suite has no regression, and no labels that are probabilities: write each image's class, (n,)."
        raise DataError(what, where=where, way_out=way_out)
    return array.astype(LABELS)


def _hot(rows: Array, where: str) -> Array:
    if not np.isin(rows, (0, 1)).all():
        raise DataError(f"is numbers of shape {rows.shape}, expected one class to an image, (n,)", where=where)
    ones = rows.sum(axis=1)
    if (ones != 1).any():
        what = f"holds rows of {int(ones.min())} to {int(ones.max())} ones: several classes to an image, or none"
        way_out = "The suite has no multi-label task. Nearest is classification: write one class to each image, (n,)."
        raise DataError(what, where=where, way_out=way_out)
    hot: Array = rows.argmax(axis=1)
    return hot


def _columns(array: Array) -> int:
    """Classes that one-hot rows have, whether they occur or not."""
    return array.shape[1] if array.ndim == 2 and array.shape[1] != 1 else 0


def _texts(array: Array, where: str) -> Array:
    try:
        texts: Array = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
        odd = next((text for text in np.unique(texts).tolist() if not text.isprintable() or not text), None)
    except (UnicodeError, ValueError):
        raise DataError("holds texts that are not UTF-8", where=where) from None
    if odd is not None or texts.dtype.itemsize > 4 * LONGEST_NAME:
        what = f"holds texts that are empty, over {LONGEST_NAME} letters or not to be printed"
        raise DataError(what, where=where, way_out="Name each class by a short text, or count them from 0.")
    return texts


def _unique(first: Array, second: Array) -> Array:
    """Every value once, sorted; whole numbers of whatever types are compared exactly."""
    if first.dtype.kind in "US":
        return np.unique(np.concatenate([first, second]))
    mine, theirs = (np.unique(part) for part in (first, second))
    if mine.dtype.kind == theirs.dtype.kind:
        return np.unique(np.concatenate([mine, theirs]))
    both = sorted({*map(int, mine), *map(int, theirs)})
    return np.array(both, LABELS if both[-1] < 2**63 else object)


def _mapped(first: Array, second: Array, are: str, where: str, found: Array | None = None) -> Labels:
    found = _unique(first, second) if found is None else found
    if len(found) > COUNTED:
        what = f"are {are}, which is {len(found):,} different ones; at most {COUNTED:,} are mapped"
        way_out = "Count the classes from 0 yourself: numpy.unique(labels, return_inverse=True)[1]."
        raise DataError(what, where=f"{where}: train_labels", way_out=way_out)
    train, test = (np.searchsorted(found, part.astype(found.dtype)).astype(LABELS) for part in (first, second))
    return Labels(train, test, len(found), tuple(map(str, found.tolist())), are)


def _extent(found: Array) -> str:
    """``from 1 to 26``, or ``3, 7, 200`` where some between are left out."""
    low, high = int(found[0]), int(found[-1])
    return f"from {low} to {high}" if high - low == len(found) - 1 else _some(found)


def _some(found: Array) -> str:
    names = [str(value) for value in found[:SHOWN].tolist()]
    return f"{', '.join(names)}{f' and {len(found) - SHOWN:,} more' if len(found) > SHOWN else ''}"
