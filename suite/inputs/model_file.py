"""What a file of a model is, told by its bytes and never by running it: one that the suite can take, or what else.

Formats: safetensors' own README; ``torch.save``, TorchScript and ``torch.export`` as PyTorch's source writes them;
HDF5's and NumPy's signatures; ONNX' and TensorFlow Lite's schemas.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

from suite.errors import DataError
from suite.spec import paths

HEAD = 512
"""Bytes that tell most formats."""
LARGEST_HEADER = 100 << 20
"""Bytes of safetensors' header, as its own reader bounds it."""
TAKES = (
    "The suite takes the state of torchvision's ResNet-50: what torch.save(model.state_dict(), PATH) or safetensors' "
    "save_file(model.state_dict(), PATH) write."
)
_UNNAMED = "Write its arrays under torchvision's names, kernels as (out, in, height, width), by safetensors' save_file."
_PICKLE = "A pickle can run anything, so none is opened. Where it was made, save the state alone by torch.save."
_AGAIN = "Save it again with PyTorch 1.6 or later: torch.save(torch.load(PATH, weights_only=True), NEW)."
_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""The magic number of ``torch.save`` before its zips, as pickle writes it."""


class FileKind(Enum):
    """What the suite can read."""

    TORCH = auto()
    SAFETENSORS = auto()


def kind(path: Path) -> FileKind:
    """Which it is.  Raises DataError, with what the file is and the way to one that can be taken."""
    if path.is_dir():
        raise _refusal(path, *_folder(path))
    try:
        paths.check_regular(path)
        with path.open("rb") as opened:
            head, size = opened.read(HEAD), path.stat().st_size
            if head.startswith(b"PK"):
                return _zip(path, opened)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from None
    if len(head) > 8 and head[8:9] == b"{" and (length := int.from_bytes(head[:8], "little")) <= LARGEST_HEADER:
        if size < 8 + length:
            raise _refusal(path, "holds no tensors: it is safetensors that breaks off in its header", _BROKEN)
        return FileKind.SAFETENSORS
    raise _refusal(path, *_other(path, head))


def _refusal(path: Path, what: str, way_out: str) -> DataError:
    return DataError(what, where=str(path), way_out=f"{way_out} {TAKES}".strip())


_BROKEN = "The download or the copy broke off: get it again."


def _folder(path: Path) -> tuple[str, str]:
    names = sorted(each.name for each in path.iterdir())[:1000]
    if "saved_model.pb" in names:
        return "is a SavedModel of TensorFlow's", _UNNAMED
    if any(name.endswith(".index") for name in names):
        return "is a folder of TensorFlow's checkpoints", _UNNAMED
    if any(name.endswith(".distcp") for name in names):
        way_out = (
            "PyTorch makes a file of it: python -m torch.distributed.checkpoint.format_utils dcp_to_torch PATH NEW."
        )
        return "is a distributed checkpoint of PyTorch's, a folder", way_out
    weights = [name for name in names if name.endswith((".safetensors", ".pth", ".pt", ".bin"))]
    if len(weights) == 1:
        return f"is a folder, in which {weights[0]} lies", "Name that file."
    return "is a folder", f"Name one file in it{': ' + ', '.join(weights[:5]) if weights else ''}."


def _zip(path: Path, opened: BinaryIO) -> FileKind:
    if not zipfile.is_zipfile(opened):
        raise _refusal(path, "is a zip that breaks off before its end", _BROKEN)
    try:
        with zipfile.ZipFile(opened) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _refusal(path, f"is a damaged zip ({str(error)[:100]})", _BROKEN) from None
    inner = {name.partition("/")[2] for name in names}
    if any(name.startswith("code/") for name in inner) or "constants.pkl" in inner:
        way_out = "Where its code can be run: torch.save(torch.jit.load(PATH).state_dict(), NEW)."
        raise _refusal(path, "is a program of TorchScript's", way_out)
    if "archive_format" in inner or "models/model.json" in inner:
        way_out = "Where its code can be run: torch.save(torch.export.load(PATH).state_dict, NEW)."
        raise _refusal(path, "is a program of torch.export's", way_out)
    if any(name.count("/") == 1 and name.endswith("/data.pkl") for name in names):
        return FileKind.TORCH
    if "model.weights.h5" in names:
        raise _refusal(path, "is a model of Keras', whose network is not torchvision's", _UNNAMED)
    if names and all(name.endswith(".npy") for name in names):
        raise _refusal(
            path, "is a .npz file of NumPy's", f"{_UNNAMED} So it is: safetensors.numpy.save_file(arrays, NEW)."
        )
    if any(name.endswith("saved_model.pb") for name in names):
        raise _refusal(path, "is a zip of a SavedModel of TensorFlow's", _UNNAMED)
    held = ", ".join(sorted(names)[:3]) or "nothing"
    raise _refusal(path, f"is a zip that is no checkpoint: it holds {held[:200]}", "")


_SIGNS: tuple[tuple[Callable[[bytes], bool], str, str], ...] = (
    (lambda head: not head.strip(b"\0"), "is empty, or zeros", _BROKEN),
    (lambda head: head.startswith(b"\x89HDF\r\n\x1a\n"), "is HDF5, as Keras' .h5 files are", _UNNAMED),
    (lambda head: head[:1] == b"\x80" and _LEGACY in head[:16], "is no zip, but of PyTorch before 1.6", _AGAIN),
    (lambda head: head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5", "is no zip, but a pickle", _PICKLE),
    (lambda head: head.startswith(b"\x93NUMPY"), "is one array of NumPy's", _UNNAMED),
    (lambda head: head.startswith(b"GGUF"), "is GGUF, of llama.cpp's", _UNNAMED),
    (lambda head: head[4:8] == b"TFL3", "is a model of TensorFlow Lite's", _UNNAMED),
    (lambda head: head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")), "is packed", "Unpack it."),
    (lambda head: head[257:262] == b"ustar", "is a tar archive", "Unpack it, and name the file of weights in it."),
    (lambda head: head.startswith(b"version https://git-lfs"), "is a pointer of Git LFS'", "Fetch it: git lfs pull."),
    (
        lambda head: head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html", b"<?xml")),
        "is a page of the web, and no weights",
        "Download the file itself.",
    ),
    (
        lambda head: head.lstrip().startswith(b"{"),
        "is JSON text, and no weights",
        "It may be an index of them: name a file in it.",
    ),
)


def _other(path: Path, head: bytes) -> tuple[str, str]:
    for fits, what, way_out in _SIGNS:
        if fits(head):
            return what, way_out
    if path.suffix == ".onnx" or (
        head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] in (b"\x12", b"\x1a", b"\x3a")
    ):
        return "is a model of ONNX'", f"Its initialisers are arrays: onnx.numpy_helper.to_array reads them. {_UNNAMED}"
    if path.suffix in (".pb", ".index", ".meta") or ".data-" in path.name:
        return "is of TensorFlow's", _UNNAMED
    if path.suffix == ".safetensors":
        return "holds no tensors: it is no safetensors, whatever its name", _BROKEN
    return "is no zip, as torch.save writes them, and no safetensors", _AGAIN
