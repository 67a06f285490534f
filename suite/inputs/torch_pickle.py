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
BASELINE_REPEAT = "Save it again with PyTorch 1.6 or later: torch.save(torch.load(PATH, weights_only=True), PATH)."
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
_TYPED = (
    "Save it in float32: torch.save({name: x.float() for name, x in torch.load(PATH, weights_only=True).items()}, NEW)."
)
_DENSE = (
    "Save it dense: torch.save({name: x.to_dense() for name, x in torch.load(PATH, weights_only=True).items()}, NEW)."
)
_WHOLE = "Save the weights of the network from before it was quantised: torch.save(model.state_dict(), NEW)."
_STATE = (
    "Where its code is: torch.save(torch.load(PATH, weights_only=False).state_dict(), NEW) of a model, and of a "
    "checkpoint torch.save(torch.load(PATH, weights_only=False)['state_dict'], NEW). That runs what is in it: trust "
    "the file first."
)
_NUMBERS = ("bfloat", "float", "complex", "uint", "int", "bits")
NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
"""Under which name a checkpoint usually keeps the state of its model."""


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


def _strange(module: str, name: str) -> DataError:
    """What a pickle holds beside plain tensors, and how its weights are saved without."""
    called = f"{module}.{name}"[:120]
    if "sparse" in name or name == "_get_layout":
        return DataError("holds no plain tensors: sparse ones", way_out=_DENSE)
    if name == "_rebuild_qtensor" or (module == "torch" and name.startswith(("QInt", "QUInt", "per_"))):
        return DataError("holds no plain tensors: quantised ones", way_out=_WHOLE)
    if module == "torch" and name.endswith("Storage"):
        kind = name.removesuffix("Storage").lower()
        way_out = "No network here has complex weights." if kind.startswith("complex") else _TYPED
        return DataError(f"holds no plain tensors: those of type {kind} are not taken", way_out=way_out)
    if name in ("UntypedStorage", "_rebuild_tensor_v3") or (module == "torch" and name.startswith(_NUMBERS)):
        return DataError(f"holds no plain tensors: the type of some is not taken ({called})", way_out=_TYPED)
    what = f"holds no plain tensors: it is a whole model, or more than weights, for it holds {called}"
    return DataError(f"{what}, which is never run", way_out=_STATE)


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
            raise _strange(module, name)
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
    """The tensors of a saved state by name, as ``opened`` has them."""
    return opened(path)[0]


def opened(path: Path) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The tensors of a saved state by name, and what was left aside: a checkpoint's state is taken out of it.

    Raises DataError for a file that holds anything else, and for a checkpoint with several states.
    """
    where = str(path)
    try:
        with path.open("rb") as opened:
            if not zipfile.is_zipfile(opened):
                raise DataError("is no zip, as torch.save writes them", where=where, way_out=BASELINE_REPEAT)
            with zipfile.ZipFile(opened) as file:
                state = _state(file)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=where) from None
    except DataError as error:
        raise DataError(error.what, where=where, way_out=error.way_out) from None
    except Exception as error:  # noqa: BLE001 - a pickle can fail in any way
        raise DataError(f"holds no plain tensors ({str(error)[:200]})", where=where, way_out=BASELINE_REPEAT) from None
    if _is_state(state):
        return dict(state), ()
    inner = [name for name, value in state.items() if isinstance(name, str) and value and _is_state(value)]
    likely = [name for name in inner if name in NESTED]
    if len(inner) == 1 or (len(likely) == 1 and not any("ema" in name.lower() for name in inner)):
        mine = (likely or inner)[0]
        rest = ", ".join(str(name)[:40] for name in list(state)[:10] if name != mine)
        return dict(state[mine]), (f"{mine[:40]} was taken out of the checkpoint; left aside: {rest or 'nothing'}.",)
    way_out = "Save the state of the model alone: torch.save(model.state_dict(), PATH)."
    if inner:
        what = f"is a checkpoint of several states: {', '.join(name[:40] for name in inner[:10])}"
        way_out = (
            f"Save the one that is meant: torch.save(torch.load(PATH, weights_only=True)[{inner[0][:40]!r}], NEW)."
        )
        raise DataError(what, where=where, way_out=way_out)
    if "param_groups" in state:
        raise DataError("is the state of an optimizer, and holds no weights", where=where, way_out=way_out)
    odd = next(name for name, value in state.items() if not isinstance(name, str) or not isinstance(value, np.ndarray))
    raise DataError(f"{str(odd)[:80]!r} is no tensor", where=where, way_out=way_out)


def _is_state(value: object) -> bool:
    """Whether it is tensors by name."""
    pairs = value.items() if isinstance(value, dict) else [(0, 0)]
    return all(isinstance(name, str) and isinstance(each, np.ndarray) for name, each in pairs)


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
        found = "one tensor" if isinstance(state, np.ndarray) else f"a {type(state).__name__}"
        raise TypeError(f"it is {found}, and no dictionary of tensors by name")
    return state
