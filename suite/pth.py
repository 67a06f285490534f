"""Tensors from a file of ``torch.save``, read without PyTorch: a zip of raw storages and a pickle that refers to them.

A pickle can run anything; of this one only dictionaries, tensors and the names of number types are let through.
Format: ``torch.save`` since PyTorch 1.6, as its own source writes it.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from suite.errors import DataError

Array = NDArray[Any]
LARGEST_PICKLE = 16 << 20
AGAIN = "Save it again with PyTorch 1.6 or later: torch.save(torch.load(PATH, weights_only=True), PATH)."
TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
"""Number types as ``torch.save`` calls them; bfloat16 is not among NumPy's."""


class _State(dict[str, Any]):
    """A dictionary that may hold attributes, as a module's state does."""


def _tensor(storage: Array, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object) -> Array:
    """A view of a storage made whole; ``offset`` and ``strides`` count elements."""
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("a tensor's shape or strides make no sense")
    size = math.prod(shape)
    last = offset + sum((extent - 1) * stride for extent, stride in zip(shape, strides, strict=True))
    if size and (last >= len(storage) or size > len(storage)):
        raise ValueError("a tensor is larger than its storage")
    steps = tuple(stride * storage.itemsize for stride in strides)
    return np.array(np.lib.stride_tricks.as_strided(storage[offset:], shape, steps), order="C")


class _Reader(pickle.Unpickler):
    def __init__(self, file: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(_entry(file, f"{root}/data.pkl", LARGEST_PICKLE)), encoding="utf-8")
        self._file, self._root = file, root
        self._storages: dict[str, Array] = {}

    @override
    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): _State,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        }
        if module == "torch" and name in TYPES:
            return np.dtype(TYPES[name])
        if (module, name) not in known:
            raise ValueError(f"it holds {module}.{name}, which is no plain tensor"[:200])
        return known[module, name]

    @override
    def persistent_load(self, pid: Any) -> Array:
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or not isinstance(key, str):
            raise ValueError("it refers to what is no storage")
        if key not in self._storages:
            raw = _entry(self._file, f"{self._root}/data/{key}", count * dtype.itemsize)
            self._storages[key] = np.frombuffer(raw, dtype, count)
        return self._storages[key]


def _entry(file: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Bytes of a stored entry; a packed one could grow without bound."""
    entry = file.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > most:
        raise ValueError(f"{name} is packed or too large")
    return file.read(entry)


def read(path: Path) -> dict[str, Array]:
    """The tensors of a saved state by name.  Raises DataError for a file that holds anything else."""
    where = str(path)
    try:
        with path.open("rb") as opened:
            if not zipfile.is_zipfile(opened):
                raise DataError("is no zip, as torch.save writes them", where=where, way_out=AGAIN)
            with zipfile.ZipFile(opened) as file:
                state = _state(file)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=where) from None
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - a pickle can fail in any way
        raise DataError(f"holds no plain tensors ({str(error)[:200]})", where=where, way_out=AGAIN) from None
    odd = [name for name, value in state.items() if not isinstance(name, str) or not isinstance(value, np.ndarray)]
    if odd:
        way_out = "Save the state of the model alone: torch.save(model.state_dict(), PATH)."
        raise DataError(f"{str(odd[0])[:80]!r} is no tensor", where=where, way_out=way_out)
    return dict(state)


def _state(file: zipfile.ZipFile) -> dict[Any, Any]:
    pickles = [name for name in file.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise ValueError("there is no data.pkl, or more than one")
    root = pickles[0].partition("/")[0]
    order = f"{root}/byteorder"
    if order in file.namelist() and _entry(file, order, 16) != b"little":
        raise ValueError("its numbers are big-endian")
    state = _Reader(file, root).load()
    if not isinstance(state, dict):
        raise TypeError("it is no dictionary")
    return state
