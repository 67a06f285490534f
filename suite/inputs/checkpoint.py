"""Weights on disk, between stages: one safetensors file, tensors by their canonical names, in canonical layout.

What is read comes from anywhere: names, shapes, types and finiteness are checked before a value is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from suite.data import store
from suite.errors import DataError, ResultError
from suite.files import write_bytes
from suite.inputs import initial
from suite.runners.base import Array, Weights
from suite.spec.recipe import NAME, NAME_PATTERN
from suite.spec.tensors import Shape

TYPES = {"F32": np.dtype(np.float32), "F64": np.dtype(np.float64)}
MAX_BYTES = 16 << 30
MAX_TENSORS = 100_000


def write(path: Path, weights: Mapping[str, Array]) -> None:
    """Write a file whole or not at all.  Raises RunError if it cannot be written."""
    write_bytes(path, save({name: np.ascontiguousarray(value) for name, value in sorted(weights.items())}))


def place(name: str) -> Path:
    """Where imported weights of this name belong: beside the data sets.  Raises DataError for what is no name."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise DataError(f"{name!r} is no name for weights", way_out=f"It must be {NAME}.")
    return store.root() / "weights" / f"{name}.safetensors"


def imported(name: str) -> Path:
    """The file of weights that were imported under ``name``.  Raises DataError where there is none."""
    path = place(name)
    if not path.is_file():
        raise DataError("there is no such file", where=str(path), way_out="`suite weights import` brings it here.")
    return path


def shapes(path: Path) -> dict[str, Shape]:
    """The shapes of a file's tensors, by name, without their values.  Raises ResultError."""
    where = str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ResultError(f"is over {MAX_BYTES >> 30} GiB", where=where)
        with safe_open(where, framework="numpy") as file:
            names = list(file.keys())
            if len(names) > MAX_TENSORS:
                raise ResultError(f"holds over {MAX_TENSORS:,} tensors", where=where)
            slices = {name: file.get_slice(name) for name in names}
            odd = next((name for name, each in slices.items() if each.get_dtype() not in TYPES), None)
            if odd is not None:
                raise ResultError(f"{odd[:200]} is neither float32 nor float64", where=where)
            return {name: tuple(each.get_shape()) for name, each in slices.items()}
    except OSError as error:
        raise ResultError(f"cannot be read ({error.strerror or 'no such file'})", where=where) from None
    except SafetensorError as error:
        raise ResultError(f"is no safetensors file ({str(error)[:200]})", where=where) from None


def read(
    path: Path, wanted: Mapping[str, Shape], digest: str | None = None, *, alone: bool = True, finite: bool = True
) -> Weights:
    """The ``wanted`` tensors of a file, which holds no others if it is to hold them ``alone``.

    ``digest`` is the fingerprint that they must have, and ``finite`` if each value must be.  Raises ResultError with
    the tensor that is missing, unknown, of another shape or type, or not finite.
    """
    where, found = str(path), shapes(path)
    if missing := sorted(wanted.keys() - found.keys()):
        raise ResultError(f"lacks {_some(missing)}", where=where)
    if alone and (unknown := sorted(found.keys() - wanted.keys())):
        raise ResultError(f"holds {_some(unknown)}, which is not in the model", where=where)
    for name, shape in wanted.items():
        if found[name] != shape:
            raise ResultError(f"{name} is of shape {found[name]}, expected {shape}", where=where)
    with safe_open(where, framework="numpy") as file:
        weights: Weights = {name: file.get_tensor(name) for name in wanted}
    for name, value in weights.items():
        if finite and not np.isfinite(value).all():
            raise ResultError(f"{name} is not finite throughout", where=where)
    if digest is not None and initial.fingerprint(weights) != digest:
        raise ResultError("does not hold the weights that it was recorded with", where=where)
    return weights


def _some(names: list[str]) -> str:
    """The first of them, and how many there are beside it."""
    return f"{names[0][:200]}{f' and {len(names) - 1:,} others' if len(names) > 1 else ''}"
