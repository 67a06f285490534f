"""A user's own file whose arrays have other names or another form: what it is, and the command that mends it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from suite.data.content import NAMES
from suite.errors import DataError

WRITE = (
    "Write it with numpy.savez(PATH, train_images=..., train_labels=..., test_images=..., test_labels=...): "
    "images uint8 (n, height, width[, channels]), labels integers (n,) from 0."
)
SAME = (("x_train", "y_train", "x_test", "y_test"), ("X_train", "y_train", "X_test", "y_test"))
"""Names of the four in Keras' own files, and with scikit-learn's capital, in the order of ``NAMES``."""
_PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_HELD_OUT = ("val", "valid", "validation", "dev")
_THINGS = {
    **dict.fromkeys(("image", "images", "x", "data", "features", "inputs", "img", "imgs"), "images"),
    **dict.fromkeys(("label", "labels", "y", "target", "targets", "classes"), "labels"),
}
MOST_SHOWN = 12


def roles(names: Collection[str], path: Path, narrow: Callable[[str], bool]) -> dict[str, str]:
    """What each of the four arrays is called in a file that holds arrays of these ``names``.

    ``narrow`` tells whether an array is of shape (n, 1), as labels may be.
    Raises DataError where it is not plain, with a command that would make it so where one can be told.
    """
    for same in (NAMES, *SAME):
        if len(names) == len(NAMES) and set(names) == set(same):
            return dict(zip(NAMES, same, strict=True))
    listed = ", ".join(sorted(names)[:MOST_SHOWN]) or "nothing"
    more = f" and {len(names) - MOST_SHOWN:,} more" if len(names) > MOST_SHOWN else ""
    what = f"must hold exactly {', '.join(NAMES)}; it holds {listed}{more}"
    raise DataError(what, where=str(path), way_out=_renamed(names, path, narrow))


def _renamed(names: Collection[str], path: Path, narrow: Callable[[str], bool]) -> str:
    """The way out for a file whose names can be guessed, but not taken for granted."""
    guessed: dict[str, str] = {}
    held_out: dict[str, str] = {}
    for name in sorted(names):
        words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
        thing = next((_THINGS[word] for word in words if word in _THINGS), None)
        part = next((_PARTS[word] for word in words if word in _PARTS), None)
        if thing and part:
            guessed.setdefault(f"{part}_{thing}", name)
        elif thing and any(word in _HELD_OUT for word in words):
            held_out.setdefault(f"train_{thing}", name)
    if guessed.keys() != set(NAMES):
        return WRITE

    def taken(name: str) -> str:
        return f"{array(name)}[:, 0]" if narrow(name) else array(name)

    plain = {role: taken(name) for role, name in guessed.items()}
    if held_out.keys() != {"train_images", "train_labels"}:
        return f"If these are the four, this writes them under their names: {command(path, plain)}"
    joined = {role: f"np.concatenate([{taken(guessed[role])}, {taken(name)}])" for role, name in held_out.items()}
    return (
        "A data set has two parts here, and validation_fraction takes its share of the training images. This adds the "
        f"validation part to the training: {command(path, plain | joined)} . And this leaves it out: "
        f"{command(path, plain)}"
    )


def array(name: str) -> str:
    """The expression for an array of a file that was loaded as ``d``."""
    return f"d[{json.dumps(name)}]"


def command(path: Path, expressions: Mapping[str, str]) -> str:
    """A shell command that writes a new file beside ``path`` from NumPy expressions of its arrays, ``d[name]``."""
    old, new = (json.dumps(str(each)) for each in (path, path.with_name(f"{path.stem}-parity.npz")))
    arrays = ", ".join(f"{role}={expressions[role]}" for role in NAMES)
    code = f"import numpy as np; d = np.load({old}); np.savez({new}, {arrays})"
    return f"python -c {shlex.quote(code)}"
