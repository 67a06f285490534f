"""Short forms stand for the networks of their papers."""

import json

import pytest
from pydantic import ValidationError

from suite.spec.dataset import DatasetFacts
from suite.spec.graph import Residual, walk
from suite.spec.layers import BatchNorm, Conv2D, Dense, Dropout, MaxPool
from suite.spec.presets import EXPANSION, Form, Mlp, Resnet
from suite.spec.resolved import Spec
from suite.spec.tensors import Role

IMAGENET = DatasetFacts(
    name="imagenet",
    image_shape=(224, 224, 3),
    classes=1000,
    train=1_281_167,
    test=50_000,
    max_value=255,
    digest="sha256:0",
)
CIFAR = DatasetFacts(
    name="cifar10", image_shape=(32, 32, 3), classes=10, train=50_000, test=10_000, max_value=255, digest="sha256:0"
)
RESNET_50 = {"blocks": [3, 4, 6, 3], "classes": 1000, "stem": "imagenet", "stride": "3x3"}


def form(**fields) -> Form:
    return Form.model_validate_json(json.dumps(fields))


@pytest.fixture
def resnet(make_spec):
    def make(data: DatasetFacts = IMAGENET, **fields) -> Spec:
        layers = form(resnet={**RESNET_50, **fields}).layers()
        return make_spec(data, dataset=data.name, model=[layer.model_dump(mode="json") for layer in layers])

    return make


def convolutions(spec: Spec) -> list[Conv2D]:
    return [node.layer for node in walk(spec.graph) if isinstance(node.layer, Conv2D)]


def test_resnet_50_has_the_parameters_and_multiply_adds_of_torchvisions(resnet):
    """torchvision documents 25,557,032 parameters and 4.09 billion operations of its ResNet-50."""
    spec = resnet()
    assert spec.parameters == 25_557_032
    assert round(spec.flops / 2 / 1e9, 2) == 4.09
    assert len(convolutions(spec)) == 1 + 3 * 16 + 4
    assert [node.output for node in spec.graph if isinstance(node.layer, Residual)] == (
        [(56, 56, 256)] * 3 + [(28, 28, 512)] * 4 + [(14, 14, 1024)] * 6 + [(7, 7, 2048)] * 3
    )


def test_the_stride_on_the_first_convolution_costs_what_the_paper_says(resnet):
    """He et al. 2015, table 1: 3.8 billion multiply-adds for 50 layers; the parameters stay."""
    spec = resnet(stride="first")
    assert spec.parameters == 25_557_032
    assert 3.8 <= spec.flops / 2 / 1e9 < 3.9


def test_the_stride_falls_on_one_convolution_of_a_stages_first_block(resnet):
    for stride, place in (("first", 0), ("3x3", 1)):
        blocks = [node for node in resnet(stride=stride).graph if isinstance(node.layer, Residual)]
        for number, block in enumerate(blocks):
            inside = [layer for layer in block.layer.body if isinstance(layer, Conv2D)]
            halved = number in (3, 7, 13)
            assert [layer.stride for layer in inside] == [(2, 2) if halved and i == place else (1, 1) for i in range(3)]
            assert [layer.kernel for layer in inside] == [(1, 1), (3, 3), (1, 1)]
            assert bool(block.layer.shortcut) is (number == 0 or halved)


def test_all_padding_is_symmetric_as_torchvision_has_it(resnet):
    spec = resnet()
    for layer in convolutions(spec):
        reach = layer.kernel[0] // 2
        assert layer.padding == ((reach, reach) if reach else "valid")
    (pool,) = [layer for layer in spec.model if isinstance(layer, MaxPool)]
    assert (pool.window, pool.strides, pool.padding) == ((3, 3), (2, 2), (1, 1))


def test_the_stem_for_cifar_leaves_images_of_32_pixels_whole(resnet):
    spec = resnet(CIFAR, stem="cifar", classes=10)
    assert spec.graph[0].output == (32, 32, 64)
    assert not any(isinstance(layer, MaxPool) for layer in spec.model)
    assert [node.output for node in spec.graph if isinstance(node.layer, Residual)][-1] == (4, 4, 2048)


def test_width_depth_and_biases_are_as_asked_for(resnet):
    spec = resnet(CIFAR, stem="cifar", classes=10, blocks=[1, 2], width=8, use_bias=True)
    outputs = [node.output for node in spec.graph if isinstance(node.layer, Residual)]
    assert outputs == [(32, 32, 8 * EXPANSION)] + [(16, 16, 16 * EXPANSION)] * 2
    kernels = [name for name, tensor in spec.tensors.items() if tensor.role is Role.KERNEL]
    assert all(name.replace("kernel", "bias") in spec.tensors for name in kernels)
    plain = resnet(CIFAR, stem="cifar", classes=10, blocks=[1, 2], width=8)
    assert [name for name in plain.tensors if name.endswith("/bias")] == ["dense_1/bias"]


def test_a_residual_networks_constants_reach_every_layer(resnet):
    spec = resnet(
        CIFAR, stem="cifar", classes=10, blocks=[1], momentum=0.99, epsilon=0.001, kernel_init="he_uniform",
        dropout=0.3, running_variance="biased",
    )  # fmt: skip
    norms = [node.layer for node in walk(spec.graph) if isinstance(node.layer, BatchNorm)]
    assert {(layer.momentum, layer.epsilon, layer.running_variance) for layer in norms} == {(0.99, 0.001, "biased")}
    assert {layer.kernel_init for layer in convolutions(spec)} == {"he_uniform"}
    assert [layer.rate for layer in spec.model if isinstance(layer, Dropout)] == [0.3]
    assert isinstance(spec.model[-1], Dense)
    assert isinstance(spec.model[-2], Dropout)


def test_the_short_form_of_a_perceptron_is_its_layers():
    plain = [layer.layer for layer in Mlp(hidden=(5, 4)).layers()]
    assert plain == ["flatten", "dense", "relu", "dense", "relu", "dense"]
    full = Mlp(hidden=(5,), classes=3, activation="tanh", dropout=0.2, batch_norm={}).layers()
    assert [layer.layer for layer in full] == ["flatten", "dense", "batch_norm", "tanh", "dropout", "dense"]
    assert full[2] == BatchNorm(layer="batch_norm")
    own = form(mlp={"hidden": [5], "batch_norm": {"momentum": 0.99, "epsilon": 0.001}}).layers()
    assert own[2] == BatchNorm(layer="batch_norm", momentum=0.99, epsilon=0.001)
    biased = form(mlp={"hidden": [5], "batch_norm": {"running_variance": "biased"}}).layers()
    assert biased[2] == BatchNorm(layer="batch_norm", running_variance="biased")
    assert full[-1].units == 3


@pytest.mark.parametrize("fields", [{}, {"mlp": {"hidden": [4]}, "resnet": RESNET_50}], ids=["none", "both"])
def test_a_form_is_exactly_one(fields):
    with pytest.raises(ValidationError, match="must be a list of layers, or one short form: mlp or resnet"):
        form(**fields)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"blocks": []}, "blocks"),
        ({"blocks": [1] * 5}, "blocks"),
        ({"stem": "large"}, "stem"),
        ({"dropout": 1}, "dropout"),
    ],
)
def test_a_residual_network_that_is_none_is_refused(fields, field):
    with pytest.raises(ValidationError) as caught:
        form(resnet={**RESNET_50, **fields})
    assert caught.value.errors()[0]["loc"][:2] == ("resnet", field)


def test_a_form_knows_its_name():
    assert (form(mlp={"hidden": [4]}).name, form(resnet=RESNET_50).name) == ("mlp", "resnet")
    assert isinstance(form(resnet=RESNET_50).resnet, Resnet)
