"""Weights that others trained: torchvision's bottleneck ResNets by canonical names, and back.

The names are the same whichever convolution of a block has the stride, and whichever stem there is: they tell of
parameters, not of what is computed.  torchvision's own networks have the stride in the 3x3 (v1.5).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from suite.errors import DataError
from suite.inputs import model_file, torch_pickle
from suite.inputs.model_file import FileKind
from suite.spec.graph import Residual
from suite.spec.resolved import Spec
from suite.spec.tensors import Shape

Array = NDArray[Any]
Weights = dict[str, Array]

WEIGHTED = {"weight": "kernel", "bias": "bias"}
NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
COUNTER = "num_batches_tracked"
"""Kept by torchvision's batch norms for a cumulative average, which none of them takes."""
WRAPPERS = {"module.": "DataParallel", "_orig_mod.": "torch.compile"}
FLOATS = (np.float16, np.float32, np.float64)
NUMPYS = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64"})
"""Types of safetensors' that NumPy has as well."""
SHOWN = 3
"""Tensors that a message names of many."""
BLOCK = re.compile(r"layer([1-9])\.([0-9]{1,3})\.")


def from_torchvision(spec: Spec, arrays: Mapping[str, Array]) -> Weights:
    """A state of torchvision's, kernels (out, in, kh, kw), as the weights of ``spec``, a ``resnet`` of that shape.

    Raises DataError with the first tensor that is missing, left over or of another shape.
    """
    weights = canonical(arrays)
    unlike = weights.keys() ^ spec.tensors.keys()
    if unlike:
        lacking, name = min((found in weights, found) for found in unlike)
        raise DataError(f"{name} is in {'the file' if lacking else spec.id} alone", way_out=_way_out(spec))
    for name, tensor in spec.tensors.items():
        if weights[name].shape != tensor.shape:
            what = f"{name} is {weights[name].shape}, but {spec.id} has {tensor.shape}"
            raise DataError(what, way_out=_way_out(spec))
    return {name: weights[name] for name in spec.tensors}


def _way_out(spec: Spec) -> str:
    return f"The blocks, width, classes and use_bias of {spec.id} must be those of the network that was trained."


def to_torchvision(spec: Spec, weights: Mapping[str, Array]) -> Weights:
    """Weights of ``spec`` under torchvision's names and in its layout; raises DataError if it is no such network."""
    if not (blocks := _blocks_of(spec)):
        raise DataError(f"{spec.id} is no residual network of torchvision's shape")
    names = {ours: theirs for theirs, ours in _tensors(blocks).items()}
    strange = next((name for name in spec.tensors if name not in names), None)
    if strange:
        raise DataError(f"{strange} of {spec.id} has no counterpart in torchvision's ResNets")
    return {names[name]: _turned(weights[name], (3, 2, 0, 1)) for name in spec.tensors}


def canonical(arrays: Mapping[str, Array]) -> Weights:
    """A state of any of torchvision's bottleneck ResNets by canonical names, dense kernels (in, out).

    Raises DataError naming a tensor that such a network does not have, or lacks.
    """
    given = {name: array for name, array in arrays.items() if not name.endswith(f".{COUNTER}")}
    names = _tensors(_blocks_in(given))
    strange = next((name for name in given if name not in names), None)
    if strange:
        raise DataError(f"{strange[:80]!r} is no tensor of torchvision's bottleneck ResNets")
    lacking = next((name for name in names if name not in given and not _optional(name)), None)
    if lacking:
        raise DataError(f"{lacking!r} is missing, which torchvision's bottleneck ResNets have")
    return {names[name]: _turned(array, (2, 3, 1, 0)) for name, array in given.items()}


def _turned(array: Array, axes: tuple[int, int, int, int]) -> Array:
    """A kernel in the other layout, whichever it is in: dense ones are transposed."""
    turned = array.transpose(axes) if array.ndim == 4 else array.T
    return np.array(turned, order="C")


def _optional(name: str) -> bool:
    """Biases of convolutions, which torchvision's have not and others may."""
    return name.endswith(".bias") and bool(re.search(r"(^|\.)(conv\d|downsample\.0)\.", name))


def _blocks_of(spec: Spec) -> tuple[int, ...]:
    """Blocks of each stage, which begins with the one whose shortcut is a convolution."""
    blocks = [node for node in spec.graph if isinstance(node.layer, Residual)]
    starts = [i for i, node in enumerate(blocks) if node.shortcut]
    return tuple(end - start for start, end in pairwise([*starts, len(blocks)]))


def _blocks_in(names: Iterable[str]) -> tuple[int, ...]:
    found = {(int(match[1]), int(match[2])) for name in names if (match := BLOCK.match(name))}
    counts = Counter(stage for stage, _ in found)
    return tuple(counts[stage] for stage in sorted(counts))


def _tensors(blocks: tuple[int, ...]) -> dict[str, str]:
    """Canonical names by torchvision's, of a network with so many blocks in each stage."""
    layers = {"conv1": "conv2d_1", "bn1": "batch_norm_1", "fc": "dense_1"}
    number = 0
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            number += 1
            theirs, ours = f"layer{stage}.{block}", f"residual_{number}"
            for i in (1, 2, 3):
                layers[f"{theirs}.conv{i}"] = f"{ours}/body/conv2d_{i}"
                layers[f"{theirs}.bn{i}"] = f"{ours}/body/batch_norm_{i}"
            if not block:
                layers[f"{theirs}.downsample.0"] = f"{ours}/shortcut/conv2d_1"
                layers[f"{theirs}.downsample.1"] = f"{ours}/shortcut/batch_norm_1"
    return {
        f"{theirs}.{attribute}": f"{ours}/{role}"
        for theirs, ours in layers.items()
        for attribute, role in (NORM if "batch_norm" in ours else WEIGHTED).items()
    }


@dataclass(frozen=True)
class Opened:
    """The tensors of a user's file under the names that they have there, and what was done to come to them."""

    arrays: Weights
    notes: tuple[str, ...]


def opened(path: Path) -> Opened:
    """A user's file of weights: safetensors, or what ``torch.save`` writes, told by its bytes.

    A checkpoint's state is taken out of it, the prefixes of wrappers are dropped, and half precision becomes float32.
    Nothing in the file is run.  Raises DataError with its name, what it is, and the way to what can be taken.
    """
    found = model_file.kind(path)
    try:
        arrays, notes = (_read_safetensors(path), ()) if found is FileKind.SAFETENSORS else torch_pickle.opened(path)
        arrays = {name: value for name, value in arrays.items() if not name.endswith(f".{COUNTER}")}
        arrays, stripped = _unwrapped(arrays)
        _check_values(arrays)
    except DataError as error:
        way_out = error.way_out if model_file.TAKES in error.way_out else f"{error.way_out} {model_file.TAKES}".strip()
        raise DataError(error.what, where=str(path), way_out=way_out) from None
    halved = {n: value.astype(np.float32) if value.dtype == np.float16 else value for n, value in arrays.items()}
    return Opened(halved, (*notes, *stripped))


def imported(path: Path) -> Weights:
    """Canonical weights from a user's file of torchvision's bottleneck ResNets; raises DataError as ``opened``."""
    try:
        return canonical(opened(path).arrays)
    except DataError as error:
        raise DataError(error.what, where=str(path), way_out=error.way_out) from None


def _unwrapped(arrays: Weights) -> tuple[Weights, tuple[str, ...]]:
    """Names without what DataParallel and torch.compile put in front of all of them."""
    notes: list[str] = []
    while wrapper := next((each for each in WRAPPERS if arrays and all(n.startswith(each) for n in arrays)), None):
        arrays = {name.removeprefix(wrapper): value for name, value in arrays.items()}
        notes.append(f"All names began with {wrapper}, as {WRAPPERS[wrapper]} makes them: it was dropped.")
    return arrays, tuple(notes)


def _check_values(arrays: Weights) -> None:
    if not arrays:
        raise DataError("holds no tensors")
    odd = [f"{name[:80]} ({value.dtype})" for name, value in arrays.items() if value.dtype not in FLOATS]
    if odd:
        raise DataError(f"holds {counted(odd, 'tensor')} that are neither float16, float32 nor float64")
    odd = [name[:80] for name, value in arrays.items() if not np.isfinite(value).all()]
    if odd:
        raise DataError(f"holds {counted(odd, 'tensor')} that are not finite throughout")


def _read_safetensors(path: Path) -> Weights:
    try:
        with safe_open(str(path), framework="numpy") as file:
            types = {name: str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118 - no mapping
            strange = [f"{name[:80]} ({kind})" for name, kind in types.items() if kind not in NUMPYS]
            if strange:
                way_out = "Save it in float32: {name: x.float() for name, x in state.items()}."
                raise DataError(f"holds {counted(strange, 'tensor')} that NumPy has no type for", way_out=way_out)
            return {name: file.get_tensor(name) for name in types}
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"holds no tensors that NumPy can take ({str(error)[:200]})") from None


def counted(names: Sequence[str], what: str) -> str:
    """``5 tensors (a, b, c and 2 more)``."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{len(names):,} {what}{'s' * (len(names) != 1)} ({', '.join(names[:SHOWN])}{more})"


def shapes(blocks: tuple[int, ...], wanted: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of ``wanted``, canonical tensors of a ResNet of such blocks, under torchvision's names and layout."""
    names = {ours: theirs for theirs, ours in _tensors(blocks).items()}
    return {names[name]: _shape_there(shape) for name, shape in wanted.items()}


def _shape_there(shape: Shape) -> Shape:
    return tuple(shape[axis] for axis in (3, 2, 0, 1)) if len(shape) == 4 else shape[::-1]


def compare(arrays: Mapping[str, Array], wanted: Mapping[str, Shape], network: str) -> None:
    """Raise DataError, all that differ being counted, unless tensors under torchvision's names are a ``network``'s."""
    missing = [name for name in wanted if name not in arrays]
    strange = [name[:80] for name in arrays if name not in wanted]
    other = [
        f"{name}: {arrays[name].shape}, not {shape}"
        for name, shape in wanted.items()
        if name in arrays and arrays[name].shape != shape
    ]
    if not missing and not strange and not other:
        return
    told = [
        *([f"it lacks {counted(missing, 'tensor')}"] if missing else []),
        *([f"it holds {counted(strange, 'tensor')} that {network} has not"] if strange else []),
        *([f"it has {counted(other, 'tensor')} of another shape"] if other else []),
    ]
    raise DataError(f"is not {network}: {'; '.join(told)}", way_out=_hint(arrays, missing, strange, other))


def _hint(arrays: Mapping[str, Array], missing: list[str], strange: list[str], other: list[str]) -> str:
    """What such differences usually come from."""
    if not missing and not strange and all(each.startswith("fc.") for each in other):
        return (
            "Its head has other classes: put the 1,000 of ImageNet's in its place, which a benchmark need not inherit."
        )
    if len(strange) == len(arrays) and (prefix := strange[0].partition(".")[0]):
        if all(name.startswith(f"{prefix}.") for name in strange):
            return f"All names begin with {prefix!r}: drop that, name.removeprefix('{prefix}.'), and save it again."
        return "Its names are of another library than torchvision, or of another network: rename them."
    blocks = _blocks_in(arrays)
    other_network = blocks and (missing or strange)
    return (
        f"It has {blocks} blocks to a stage; ResNet-50 has (3, 4, 6, 3), of three convolutions."
        if other_network
        else ""
    )
