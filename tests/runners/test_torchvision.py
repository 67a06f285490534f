"""ResNet-50 against an implementation that no one here wrote: torchvision's, in float64."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from torchvision.models.resnet import Bottleneck, ResNet  # noqa: E402 - they need the framework

from suite.inputs import checkpoint as stored  # noqa: E402
from suite.inputs import initial  # noqa: E402
from suite.inputs import torchvision as pretrained  # noqa: E402
from suite.runners.base import State, Threads, Weights  # noqa: E402
from suite.runners.torch.runner import Runner  # noqa: E402
from suite.spec.dataset import DatasetFacts  # noqa: E402
from suite.spec.presets import Resnet  # noqa: E402
from suite.spec.recipe import Recipe  # noqa: E402
from suite.spec.resolved import Spec  # noqa: E402

pytestmark = pytest.mark.torch
EQUAL = 1e-9
FULL = (3, 4, 6, 3)


def spec_of(blocks: tuple[int, ...], stride: str, size: int, classes: int) -> Spec:
    form = Resnet(blocks=blocks, classes=classes, stem="imagenet", stride=stride, momentum=0.9)
    facts = DatasetFacts(
        name="photos", image_shape=(size, size, 3), classes=classes, train=4, test=4, max_value=255, digest="sha256:0"
    )
    fields = {
        "name": "resnet",
        "dataset": "photos",
        "model": [layer.model_dump() for layer in form.layers()],
        "optimizer": {"name": "sgd", "learning_rate": 0.1},
        "batch_size": 2,
        "epochs": 1,
    }
    recipe = Recipe.model_validate(fields, strict=False)
    return Spec.model_validate({**dict(recipe), "data": facts})


def native(blocks: tuple[int, ...], classes: int, stride: str = "3x3") -> Any:
    """torchvision's network with random running statistics; for v1 the strides of its blocks change places."""
    torch.manual_seed(1)
    model = ResNet(Bottleneck, list(blocks), num_classes=classes).double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, Bottleneck) and stride == "first":
            module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
    return model


def arrays(model: Any) -> Weights:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def batch(size: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = initial.stream(0, "photos")
    return random.random((2, size, size, 3)), random.integers(0, classes, 2).astype(np.int32)


def loaded(spec: Spec, weights: Weights, precision: str = "float64") -> Any:
    program = Runner("cpu", Threads(intra=2, inter=1), 0).build(spec, "eager", precision)
    program.load(State(weights))
    return program


def nchw(images: np.ndarray) -> Any:
    return torch.tensor(images).permute(0, 3, 1, 2)


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_resnet_50_has_as_many_parameters_as_torchvisions() -> None:
    with torch.device("meta"):
        theirs = sum(parameter.numel() for parameter in torchvision.models.resnet50().parameters())
    assert spec_of(FULL, "3x3", 224, 1000).parameters == theirs == 25_557_032


def test_resnet_50_with_torchvisions_weights_gives_torchvisions_outputs() -> None:
    spec, model = spec_of(FULL, "3x3", 64, 1000), native(FULL, 1000)
    images, _ = batch(64, 1000)
    program = loaded(spec, pretrained.from_torchvision(spec, arrays(model)))
    with torch.inference_mode():
        expected = model.eval()(nchw(images)).numpy()
    assert worst(program.infer(images), expected) < EQUAL


@pytest.mark.parametrize("stride", ["3x3", "first"])
def test_a_training_pass_is_torchvisions_in_either_variant(stride: str) -> None:
    """Loss, each gradient and each running statistic, with one block to a stage."""
    spec, model = spec_of((1, 1, 1, 1), stride, 64, 10), native((1, 1, 1, 1), 10, stride)
    images, labels = batch(64, 10)
    found = loaded(spec, pretrained.from_torchvision(spec, arrays(model))).probe(images, labels)
    loss = torch.nn.functional.cross_entropy(model.train()(nchw(images)), torch.tensor(labels, dtype=torch.int64))
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=EQUAL)
    graded = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
    after = pretrained.from_torchvision(spec, {**arrays(model), **graded})
    assert found.gradients.keys() | found.statistics.keys() == after.keys()
    for name, value in {**found.gradients, **found.statistics}.items():
        assert worst(value, after[name]) < EQUAL, name


def test_the_other_stride_variant_gives_other_outputs() -> None:
    """The weights fit both, so that nothing but the outputs tells v1 from v1.5."""
    model = native((1, 1, 1, 1), 10)
    images, _ = batch(64, 10)
    outputs = []
    for stride in ("3x3", "first"):
        spec = spec_of((1, 1, 1, 1), stride, 64, 10)
        outputs.append(loaded(spec, pretrained.from_torchvision(spec, arrays(model))).infer(images))
    assert worst(outputs[0], outputs[1]) > 1e-3


def test_weights_go_back_into_torchvisions_own_network() -> None:
    spec = spec_of((1, 2, 1, 1), "3x3", 64, 10)
    weights = initial.weights(spec, 0)
    theirs = pretrained.to_torchvision(spec, weights)
    model = native((1, 2, 1, 1), 10)
    model.load_state_dict({name: torch.tensor(value) for name, value in theirs.items()})
    images, _ = batch(64, 10)
    with torch.inference_mode():
        expected = model.eval()(nchw(images)).numpy()
    assert worst(loaded(spec, weights).infer(images), expected) < EQUAL


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_of_torchvisions_is_imported_as_it_stands(suffix: str, tmp_path: Any) -> None:
    spec, model = spec_of((1, 2, 1, 1), "3x3", 64, 10), native((1, 2, 1, 1), 10)
    path = tmp_path / f"mine.{suffix}"
    if suffix == "pth":
        torch.save(model.state_dict(), path)
    else:
        stored.write(path, arrays(model))
    found, expected = pretrained.imported(path), pretrained.from_torchvision(spec, arrays(model))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
