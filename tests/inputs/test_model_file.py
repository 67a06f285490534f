"""A file of a model is told by its bytes, whatever its name, and each refusal says what to do and what is taken."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from suite.errors import DataError
from suite.inputs import model_file, torchvision
from suite.inputs.model_file import FileKind


def zipped(*names: str) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return raw.getvalue()


STATE = zipped("resnet/data.pkl", "resnet/byteorder", "resnet/data/0", "resnet/version")
REFUSED: dict[str, tuple[bytes, str, str]] = {
    "script.pt": (zipped("s/data.pkl", "s/code/__torch__/m.py", "s/constants.pkl"), "TorchScript", "torch.jit.load"),
    "exported.pt2": (zipped("e/models/model.json", "e/archive_format"), "of torch.export's", "torch.export.load"),
    "model.keras": (zipped("config.json", "model.weights.h5", "metadata.json"), "of Keras'", "torchvision's names"),
    "arrays.npz": (zipped("a.npy", "b.npy"), "a .npz file of NumPy's", "save_file(arrays, NEW)"),
    "saved.zip": (zipped("m/saved_model.pb", "m/variables/v"), "a zip of a SavedModel", "torchvision's names"),
    "photos.zip": (zipped("a.jpg", "b.jpg"), "a zip that is no checkpoint: it holds a.jpg, b.jpg", "The suite takes"),
    "nothing.zip": (zipped(), "a zip that is no checkpoint: it holds nothing", "The suite takes"),
    "broken.pth": (STATE[:-30], "a zip that breaks off before its end", "get it again"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5, as Keras' .h5 files are", "(out, in, height, width)"),
    "legacy.pth": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "but of PyTorch before 1.6", "1.6 or later"),
    "plain.pkl": (b"\x80\x04\x95" + bytes(20), "no zip, but a pickle", "none is opened"),
    "one.npy": (b"\x93NUMPY\x01\x00" + bytes(20), "one array of NumPy's", "torchvision's names"),
    "model.onnx": (b"\x08\x08\x12\x07pytorch", "a model of ONNX'", "onnx.numpy_helper.to_array"),
    "renamed.pth": (b"\x08\x08\x12\x07pytorch", "a model of ONNX'", "onnx.numpy_helper.to_array"),
    "model.tflite": (b"\x1c\0\0\0TFL3" + bytes(20), "a model of TensorFlow Lite's", "torchvision's names"),
    "model.gguf": (b"GGUF\3\0\0\0", "GGUF", "torchvision's names"),
    "graph.pb": (b"\n\x10\n\x05conv1", "of TensorFlow's", "torchvision's names"),
    "ckpt.data-00000-of-00001": (b"\1\2\3", "of TensorFlow's", "torchvision's names"),
    "weights.tar": (bytes(257).replace(b"\0", b"a") + b"ustar" + bytes(20), "a tar archive", "Unpack it"),
    "weights.pth.gz": (b"\x1f\x8b\x08" + bytes(20), "is packed", "Unpack it"),
    "page.pth": (b"\n<!DOCTYPE html><html>", "a page of the web", "Download the file itself"),
    "pointer.pth": (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS'", "git lfs pull"),
    "model.safetensors.index.json": (b'{"weight_map": {}}', "JSON text", "name a file in it"),
    "empty.pth": (b"", "empty, or zeros", "get it again"),
    "zeros.pth": (bytes(100), "empty, or zeros", "get it again"),
    "short.safetensors": ((1000).to_bytes(8, "little") + b'{"a"', "breaks off in its header", "get it again"),
    "no.safetensors": (b"something else altogether", "no safetensors, whatever its name", "get it again"),
    "no.pth": (b"something else altogether", "no zip, as torch.save writes them", "The suite takes"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_told_with_the_way_to_what_can(name: str, tmp_path: Path) -> None:
    content, told, way_out = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        torchvision.opened(path)
    assert told in caught.value.what
    assert way_out in caught.value.way_out
    assert caught.value.way_out.endswith(model_file.TAKES)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["saved_model.pb", "variables"], "is a SavedModel of TensorFlow's"),
        (["model.ckpt-1.index", "model.ckpt-1.data-00000-of-00001"], "is a folder of TensorFlow's checkpoints"),
        (["__0_0.distcp", ".metadata"], "is a distributed checkpoint of PyTorch's"),
        (["model.safetensors", "config.json"], "is a folder, in which model.safetensors lies"),
        (["a.pth", "b.pth"], "is a folder"),
        ([], "is a folder"),
    ],
)
def test_a_folder_is_told_by_what_is_in_it(names: list[str], told: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    with pytest.raises(DataError) as caught:
        model_file.kind(folder)
    assert caught.value.what == told or caught.value.what.startswith(f"{told},")


def test_what_can_be_taken_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "named.pth"
    save_file({"fc.bias": np.ones(2, np.float32)}, path)
    assert model_file.kind(path) is FileKind.SAFETENSORS
    assert list(torchvision.opened(path).arrays) == ["fc.bias"]
    other = tmp_path / "named.safetensors"
    other.write_bytes(STATE)
    assert model_file.kind(other) is FileKind.TORCH


def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(DataError, match=r"pipe\.pth: cannot be read"):
        model_file.kind(tmp_path / "pipe.pth")


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_programs_are_told_as_pytorch_writes_them(tmp_path: Path) -> None:
    import torch

    model = torch.nn.Linear(2, 2)
    torch.jit.script(model).save(tmp_path / "script.pt")
    torch.export.save(torch.export.export(model, (torch.ones(1, 2),)), tmp_path / "exported.pt2")
    torch.save(model.state_dict(), tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(model.state_dict(), tmp_path / "state.pth")
    for name, told in (("script.pt", "TorchScript"), ("exported.pt2", "torch.export"), ("legacy.pth", "before 1.6")):
        with pytest.raises(DataError, match=told):
            model_file.kind(tmp_path / name)
    assert model_file.kind(tmp_path / "state.pth") is FileKind.TORCH


@pytest.mark.tf
@pytest.mark.filterwarnings("ignore")
def test_models_are_told_as_keras_writes_them(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    model.export(tmp_path / "saved", verbose=False)
    for name, told in (("model.keras", "Keras'"), ("model.weights.h5", "HDF5"), ("saved", "SavedModel")):
        with pytest.raises(DataError, match=told):
            model_file.kind(tmp_path / name)
