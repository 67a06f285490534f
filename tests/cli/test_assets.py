"""What lies ready on a machine: data sets are test_commands.py's; here, weights that others trained."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from suite.cli import assets, commands
from suite.data import store
from suite.inputs import checkpoint, initial, torchvision

Import = Callable[[Path], tuple[int, str]]


@pytest.fixture
def import_(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Import:
    """The command, with a place of its own for what it keeps."""
    monkeypatch.setattr(store, "root", lambda: tmp_path / "data")

    def call(file: Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["suite", "weights", "import", "resnet50", str(file)])
        status = commands.main()
        return status, " ".join(" ".join(capfd.readouterr()).split())

    return call


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A network of ResNet-50's shape under torchvision's names, its kernels (out, in, height, width)."""
    names = {ours: theirs for theirs, ours in torchvision._tensors((3, 4, 6, 3)).items()}
    held = {}
    for name, shape in assets._resnet50().items():
        turned = tuple(shape[axis] for axis in (3, 2, 0, 1)) if len(shape) == 4 else shape[::-1]
        held[names[name]] = np.full(turned, 0.5, np.float32)
    held["fc.bias"] = np.arange(1000, dtype=np.float32)
    path = tmp_path / "resnet50.safetensors"
    save_file(held, path)
    return path


def test_a_resnet_50_has_as_many_parameters_as_published() -> None:
    statistics = ("moving_mean", "moving_variance")
    sizes = {name: int(np.prod(shape)) for name, shape in assets._resnet50().items()}
    assert sum(size for name, size in sizes.items() if not name.endswith(statistics)) == 25_557_032


def test_what_is_imported_can_be_started_from(import_: Import, published: Path) -> None:
    status, said = import_(published)
    assert status == 0, said
    assert said.startswith("weights:imagenet-resnet50: 25,610,152 values, in ")
    path = checkpoint.imported("imagenet-resnet50")
    found = checkpoint.read(path, assets._resnet50())
    assert (found["dense_1/bias"] == np.arange(1000)).all()
    assert initial.fingerprint(found) == initial.fingerprint(torchvision.imported(published))


def test_another_network_is_refused_and_nothing_is_kept(import_: Import, tmp_path: Path) -> None:
    small = {
        theirs: np.zeros((2, 2, 1, 1) if "conv" in theirs else 2, np.float32) for theirs in torchvision._tensors((1,))
    }
    small = {name: value for name, value in small.items() if "conv" not in name or not name.endswith("bias")}
    small["fc.weight"] = small["layer1.0.downsample.0.weight"] = np.zeros((2, 2), np.float32)
    path = tmp_path / "small.safetensors"
    save_file(small, path)
    status, said = import_(path)
    assert (status, "small.safetensors: is not torchvision's ResNet-50: it lacks " in said) == (2, True)
    assert "The suite takes the state of torchvision's ResNet-50" in said
    assert not (tmp_path / "data" / "weights").exists()


def test_a_network_that_cannot_be_imported_is_told_with_those_that_can(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], published: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["suite", "weights", "import", "vgg16", str(published)])
    assert commands.main() == 2
    said = " ".join(" ".join(capfd.readouterr()).split())
    assert "no network that can be imported is called 'vgg16' There are: resnet50. The suite takes" in said


def test_what_was_done_to_come_to_the_weights_is_said(import_: Import, published: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrapped.safetensors"
    save_file({f"module.{name}": value for name, value in load_file(published).items()}, path)
    status, said = import_(path)
    assert status == 0, said
    assert "All names began with module., as DataParallel makes them: it was dropped." in said
    assert "weights:imagenet-resnet50: 25,610,152 values" in said
