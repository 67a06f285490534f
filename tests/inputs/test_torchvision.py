"""Weights of torchvision's ResNets by canonical names; torchvision itself is asked in test_torchvision.py."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from suite.errors import DataError
from suite.inputs import checkpoint, initial, torchvision
from suite.spec.presets import Resnet


@pytest.fixture
def resnet(make_spec):
    def make(blocks=(2, 1), **fields):
        form = Resnet(blocks=blocks, classes=10, **{"stem": "imagenet", "stride": "3x3", "width": 2, **fields})
        return make_spec(model=[layer.model_dump(mode="json") for layer in form.layers()])

    return make


@pytest.fixture
def theirs(resnet):
    spec = resnet()
    return torchvision.to_torchvision(spec, initial.weights(spec, 0))


@pytest.mark.parametrize(
    "fields", [{}, {"stride": "first"}, {"stem": "cifar"}, {"blocks": (3, 4, 6, 3)}, {"use_bias": True}]
)
def test_weights_come_back_from_torchvisions_names_as_they_were(resnet, fields):
    spec = resnet(**fields)
    drawn = initial.weights(spec, 0)
    theirs = torchvision.to_torchvision(spec, drawn)
    back = torchvision.from_torchvision(spec, theirs)
    assert list(back) == list(spec.tensors)
    assert len(theirs) == len(drawn)
    for name, value in drawn.items():
        np.testing.assert_array_equal(back[name], value)


def test_both_stride_variants_have_the_same_names(resnet):
    one, other = resnet(), resnet(stride="first")
    drawn = initial.weights(one, 0)
    assert torchvision.to_torchvision(one, drawn).keys() == torchvision.to_torchvision(other, drawn).keys()


@pytest.mark.parametrize(
    ("name", "native"),
    [
        ("conv2d_1/kernel", "conv1.weight"),
        ("batch_norm_1/gamma", "bn1.weight"),
        ("residual_1/shortcut/conv2d_1/kernel", "layer1.0.downsample.0.weight"),
        ("residual_2/body/conv2d_3/kernel", "layer1.1.conv3.weight"),
        ("residual_3/body/batch_norm_2/moving_mean", "layer2.0.bn2.running_mean"),
        ("residual_3/shortcut/batch_norm_1/moving_variance", "layer2.0.downsample.1.running_var"),
        ("dense_1/kernel", "fc.weight"),
        ("dense_1/bias", "fc.bias"),
    ],
)
def test_a_tensor_has_the_name_that_torchvision_gives_it(resnet, name, native):
    spec = resnet()
    marked = {n: np.full(tensor.shape, float(n == name)) for n, tensor in spec.tensors.items()}
    found = torchvision.to_torchvision(spec, marked)
    assert [n for n, value in found.items() if value.any()] == [native]


def test_kernels_are_turned_into_the_canonical_layout(theirs):
    found = torchvision.canonical(theirs)
    kernel, dense = theirs["conv1.weight"], theirs["fc.weight"]
    assert kernel.shape == (2, 1, 7, 7)
    assert found["conv2d_1/kernel"][3, 5, 0, 1] == kernel[1, 0, 3, 5]
    assert found["dense_1/kernel"][2, 7] == dense[7, 2]
    assert found["conv2d_1/kernel"].flags.c_contiguous


def test_the_counters_of_batch_norms_are_left_out(theirs):
    counted = {**theirs, "layer1.0.bn1.num_batches_tracked": np.array(7)}
    assert torchvision.canonical(counted).keys() == torchvision.canonical(theirs).keys()


@pytest.mark.parametrize("name", ["layer1.0.conv4.weight", "model.conv1.weight", "layer3.1.bn1.weight", "fc.scale"])
def test_a_tensor_that_no_such_network_has_is_named(theirs, name):
    with pytest.raises(DataError, match=f"'{name}' is no tensor of torchvision's"):
        torchvision.canonical({**theirs, name: np.zeros(2)})


@pytest.mark.parametrize("name", ["layer1.1.conv3.weight", "fc.bias", "bn1.running_var"])
def test_a_tensor_that_is_missing_is_named(theirs, name):
    del theirs[name]
    with pytest.raises(DataError, match=f"{name}.* is missing"):
        torchvision.canonical(theirs)


def test_a_network_of_other_shape_is_refused_with_the_first_tensor_that_differs(resnet, theirs):
    with pytest.raises(DataError, match=r"conv2d_1/kernel is \(7, 7, 1, 2\), but small has \(7, 7, 1, 4\)"):
        torchvision.from_torchvision(resnet(width=4), theirs)
    with pytest.raises(DataError, match="residual_3/shortcut/batch_norm_1/beta is in the file alone"):
        torchvision.from_torchvision(resnet(blocks=(3,)), theirs)
    with pytest.raises(DataError, match="conv2d_1/bias is in small alone"):
        torchvision.from_torchvision(resnet(use_bias=True), theirs)


def test_a_network_that_torchvision_does_not_have_has_no_names_there(make_spec, resnet):
    with pytest.raises(DataError, match="small is no residual network"):
        torchvision.to_torchvision(make_spec(), {})
    longer = [layer.model_dump(mode="json") for layer in resnet().model]
    longer += [{"layer": "relu"}, {"layer": "dense", "units": 10}]
    with pytest.raises(DataError, match="dense_2/kernel of small has no counterpart"):
        torchvision.to_torchvision(make_spec(model=longer), {})


@pytest.mark.parametrize(("given", "kept"), [("<f4", "<f4"), ("<f8", "<f8"), ("<f2", "<f4")])
def test_a_users_safetensors_are_imported_so_that_a_stage_may_start_from_them(resnet, theirs, tmp_path, given, kept):
    source, target = tmp_path / "mine.safetensors", tmp_path / "store" / "canonical.safetensors"
    save_file({name: np.ascontiguousarray(value, given) for name, value in theirs.items()}, source)
    spec = resnet()
    checkpoint.write(target, torchvision.imported(source))
    found = checkpoint.read(target, {name: tensor.shape for name, tensor in spec.tensors.items()})
    for name, value in torchvision.from_torchvision(spec, theirs).items():
        np.testing.assert_array_equal(found[name], value.astype(given).astype(kept), strict=True)


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pth"])
def test_a_file_that_is_damaged_or_not_there_is_the_users_error_with_its_name(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(DataError, match=f"{name}: cannot be read"):
        torchvision.imported(path)
    path.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(DataError, match=f"{name}: holds no tensors: it is safetensors that breaks off"):
        torchvision.imported(path)


def test_wrappers_in_front_of_all_names_are_dropped_and_said(theirs, tmp_path):
    path = tmp_path / "wrapped.safetensors"
    wrapped = {f"module._orig_mod.{name}": value.astype(np.float32) for name, value in theirs.items()}
    save_file(wrapped, path)
    found = torchvision.opened(path)
    assert found.arrays.keys() == theirs.keys()
    assert [note.partition(",")[0] for note in found.notes] == [
        "All names began with module.",
        "All names began with _orig_mod.",
    ]
    save_file({**wrapped, "other": np.ones(1, np.float32)}, path)
    assert torchvision.opened(path).notes == ()


def safetensors(**types):
    """Bytes of a file whose tensors, of one value each, are of these types."""
    sizes = {"BF16": 2, "F8_E4M3": 1}
    header, at = {}, 0
    for name, kind in types.items():
        header[name] = {"dtype": kind, "shape": [1], "data_offsets": [at, at + sizes[kind]]}
        at += sizes[kind]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(at)


def test_types_that_numpy_has_not_are_counted_and_some_are_named(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(a="BF16", b="BF16", c="F8_E4M3", d="BF16", e="BF16"))
    with pytest.raises(DataError, match=r"holds 5 tensors \(a \(BF16\), b \(BF16\), c .* and 2 more\)") as error:
        torchvision.opened(path)
    assert "x.float()" in error.value.way_out


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.ones(2, np.int64), r"holds 1 tensor \(fc.bias \(int64\)\) that are neither float16"),
        (np.array([1, np.nan]), r"holds 1 tensor \(fc.bias\) that are not finite"),
        (None, "holds no tensors"),
    ],
)
def test_values_that_are_no_finite_floats_are_refused(tmp_path, value, told):
    path = tmp_path / "x.safetensors"
    save_file({"fc.bias": value} if value is not None else {}, path)
    with pytest.raises(DataError, match=told):
        torchvision.opened(path)


def test_all_that_differs_from_a_network_is_counted_and_some_is_named(theirs):
    shapes = {name: value.shape for name, value in theirs.items()}
    torchvision.compare(theirs, shapes, "the network")
    renamed = {f"backbone.{name}": value for name, value in theirs.items()}
    with pytest.raises(DataError) as error:
        torchvision.compare(renamed, shapes, "the network")
    count = len(theirs)
    assert f"it lacks {count} tensors (conv1.weight, bn1.weight, bn1.bias and {count - 3} more)" in error.value.what
    assert f"it holds {count} tensors (backbone.conv1.weight, " in error.value.what
    assert "All names begin with 'backbone'" in error.value.way_out
    head = {**theirs, "fc.weight": np.zeros((7, 3)), "fc.bias": np.zeros(7)}
    with pytest.raises(DataError, match=r"it has 2 tensors \(fc.weight: \(7, 3\), not ") as error:
        torchvision.compare(head, shapes, "the network")
    assert "Its head has other classes" in error.value.way_out
    fewer = {name: value for name, value in theirs.items() if not name.startswith("layer2")}
    with pytest.raises(DataError, match="is not network: it lacks") as error:
        torchvision.compare(fewer, shapes, "network")
    assert "It has (2,) blocks to a stage" in error.value.way_out
