import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from suite.spec import layers
from suite.spec.graph import KINDS, Concat, Layer, Residual, graph, walk
from suite.spec.tensors import MisfitError, Padding, Role, window

LAYERS = TypeAdapter(tuple[Layer, ...])


def place(shape, *model):
    return graph(LAYERS.validate_json(str(list(model)).replace("'", '"').replace("False", "false")), shape)


def cost(nodes):
    tensors = [t for node in walk(nodes) for t in node.tensors]
    return sum(math.prod(t.shape) for t in tensors if t.role.trainable), sum(node.macs for node in walk(nodes))


FLATTEN, RELU, NORM = {"layer": "flatten"}, {"layer": "relu"}, {"layer": "batch_norm"}


def dense(units, **fields):
    return {"layer": "dense", "units": units, **fields}


def conv(filters, kernel, **fields):
    return {"layer": "conv2d", "filters": filters, "kernel": kernel, **fields}


def pool(window, kind="max_pool", **fields):
    return {"layer": kind, "window": window, **fields}


def test_the_784_128_10_perceptron_has_101770_parameters():
    nodes = place((28, 28, 1), FLATTEN, dense(128), RELU, dense(10))
    assert [node.output for node in nodes] == [(784,), (128,), (128,), (10,)]
    assert cost(nodes) == (784 * 128 + 128 + 128 * 10 + 10, 784 * 128 + 128 * 10)
    assert cost(nodes)[0] == 101_770


def test_lenet_5_has_the_figures_of_its_paper():
    """LeCun et al. 1998 with full connections and plain pooling: C1 156, C3 2,416, C5 48,120, F6 10,164, output 850."""
    nodes = place(
        (32, 32, 1), conv(6, 5), RELU, pool(2), conv(16, 5), RELU, pool(2), conv(120, 5), FLATTEN, dense(84), dense(10)
    )
    assert [n.output for n in nodes if n.tensors or "pool" in n.name] == [
        (28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (1, 1, 120), (84,), (10,),
    ]  # fmt: skip
    per_layer = [sum(math.prod(t.shape) for t in n.tensors) for n in nodes if n.tensors]
    assert per_layer == [156, 2416, 48_120, 10_164, 850]
    assert [n.macs for n in nodes if n.macs] == [117_600, 240_000, 48_000, 10_080, 840]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "wanted"),
    [
        (7, 3, 1, "valid", (5, 0, 0)),
        (7, 3, 2, "valid", (3, 0, 0)),
        (8, 3, 2, "valid", (3, 0, 0)),
        (7, 3, 1, "same", (7, 1, 1)),
        (7, 3, 2, "same", (4, 1, 1)),
        (8, 3, 2, "same", (4, 0, 1)),  # an odd amount: the far side takes more
        (8, 2, 1, "same", (8, 0, 1)),
        (5, 4, 3, "same", (2, 1, 1)),
        (5, 1, 2, "same", (3, 0, 0)),
        (224, 7, 2, "same", (112, 2, 3)),
        (2, 5, 1, "same", (2, 2, 2)),
        (1, 1, 1, "valid", (1, 0, 0)),
        (7, 3, 1, 1, (7, 1, 1)),
        (8, 3, 2, 1, (4, 1, 1)),
        (7, 3, 2, 0, (3, 0, 0)),
        (224, 7, 2, 3, (112, 3, 3)),
        (5, 1, 2, 2, (5, 2, 2)),
    ],
)
def test_outputs_and_padding_along_an_axis_match_hand_work(size, kernel, stride, padding, wanted):
    assert window(size, kernel, stride, padding if isinstance(padding, int) else Padding(padding)) == wanted


def test_explicit_padding_is_rows_then_columns_and_one_number_stands_for_both():
    assert place((7, 6, 3), conv(4, [3, 1], padding=[1, 2]))[0].output == (7, 10, 4)
    assert place((7, 6, 3), conv(4, 3, padding=1))[0].output == (7, 6, 4)
    assert place((8, 8, 3), pool(3, stride=2, padding=[1, 0]))[0].output == (4, 3, 3)


@pytest.mark.parametrize("padding", [-1, [1], [1, 2, 3], 1.5, "full"])
def test_padding_that_is_neither_a_rule_nor_rows_and_columns_is_refused(padding):
    with pytest.raises(ValueError, match="must be valid, same, or the rows and columns"):
        place((7, 6, 3), conv(4, 3, padding=padding))


def test_a_pool_may_not_be_padded_by_more_than_half_its_window():
    """Otherwise a window could lie on padding alone, which has neither a mean nor a maximum."""
    with pytest.raises(ValueError, match="at most half of the window"):
        place((7, 6, 3), pool(3, padding=2))


def test_an_embedding_holds_a_row_to_a_word_and_leaves_their_mean():
    (node,) = place((8,), {"layer": "embedding", "vocabulary": 4096, "units": 100})
    assert (node.output, node.macs) == ((100,), 0)
    assert [(t.name, t.role, t.shape, t.fan_in) for t in node.tensors] == [
        ("embedding_1/embedding", Role.EMBEDDING, (4096, 100), 100)
    ]
    assert cost((node,)) == (409_600, 0)


def test_sampled_scores_hold_two_tables_and_leave_a_score_to_a_candidate():
    (node,) = place((8 + 6,), {"layer": "sampled_scores", "vocabulary": 50, "units": 10, "context": 8})
    assert node.output == (6,)
    assert [(t.role, t.shape) for t in node.tensors] == [
        (Role.EMBEDDING, (50, 10)), (Role.OUTPUT_EMBEDDING, (50, 10))
    ]  # fmt: skip
    assert cost((node,)) == (1000, 60)


def test_branches_are_counted_from_one_and_lie_side_by_side():
    branches = [[FLATTEN, dense(3)], [{"layer": "global_average_pool"}], [FLATTEN, dense(2, use_bias=False), RELU]]
    (node,) = place((4, 4, 5), {"layer": "concat", "branches": branches})
    assert node.output == (3 + 5 + 2,)
    assert [n.name for n in walk((node,))] == [
        "concat_1",
        "concat_1/1/flatten_1",
        "concat_1/1/dense_1",
        "concat_1/2/global_average_pool_1",
        "concat_1/3/flatten_1",
        "concat_1/3/dense_1",
        "concat_1/3/relu_1",
    ]
    assert cost((node,)) == (80 * 3 + 3 + 80 * 2, 80 * 5)
    assert node.layer.output_shape((4, 4, 5)) == node.output


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5))
def test_every_same_window_sees_a_real_pixel_and_every_valid_one_lies_inside(size, kernel, stride):
    out, before, after = window(size, kernel, stride, Padding.SAME)
    assert out == math.ceil(size / stride)
    assert 0 <= after - before <= 1
    assert before < kernel
    assert (out - 1) * stride - before < size
    if kernel <= size:
        out, *_ = window(size, kernel, stride, Padding.VALID)
        assert (out - 1) * stride + kernel <= size < out * stride + kernel


def test_a_convolution_over_an_odd_image_with_unequal_strides_matches_hand_work():
    (node,) = place((7, 10, 3), conv(4, [3, 5], stride=[2, 3], padding="same"))
    assert node.output == (4, 4, 4)
    assert {t.name: t.shape for t in node.tensors} == {"conv2d_1/kernel": (3, 5, 3, 4), "conv2d_1/bias": (4,)}
    assert node.macs == (4 * 4 * 4) * (3 * 5 * 3)
    assert {(t.fan_in, t.fan_out) for t in node.tensors} == {(3 * 5 * 3, 3 * 5 * 4)}
    (valid,) = place((7, 10, 3), conv(4, [3, 5], stride=[2, 3]))
    assert valid.output == (3, 2, 4)


def test_a_pool_strides_by_its_window_unless_told_otherwise():
    assert place((7, 7, 3), pool(2))[0].output == (3, 3, 3)
    assert place((7, 7, 3), pool(2, padding="same"))[0].output == (4, 4, 3)
    assert place((7, 7, 3), pool(3, "average_pool", stride=1))[0].output == (5, 5, 3)
    assert place((7, 7, 3), {"layer": "global_average_pool"})[0].output == (3,)


def test_a_layer_without_bias_holds_a_kernel_alone():
    nodes = place((4, 4, 2), conv(3, 1, use_bias=False), FLATTEN, dense(5, use_bias=False))
    assert [t.role for n in nodes for t in n.tensors] == [Role.KERNEL, Role.KERNEL]


def test_running_statistics_are_not_parameters():
    (node,) = place((4, 4, 6), NORM)
    assert [t.shape for t in node.tensors] == [(6,)] * 4
    assert cost((node,)) == (12, 0)


def test_a_downsampling_residual_block_matches_hand_work():
    """The first block of stage two of ResNet-18: 64 to 128 channels, 56 to 28 pixels."""
    body = [
        conv(128, 3, stride=2, padding="same", use_bias=False), NORM, RELU,
        conv(128, 3, padding="same", use_bias=False), NORM,
    ]  # fmt: skip
    shortcut = [conv(128, 1, stride=2, padding="same", use_bias=False), NORM]
    (node,) = place((56, 56, 64), {"layer": "residual", "body": body, "shortcut": shortcut})
    assert node.output == (28, 28, 128)
    parameters = 3 * 3 * 64 * 128 + 3 * 3 * 128 * 128 + 64 * 128 + 3 * 2 * 128
    macs = 28 * 28 * 128 * (3 * 3 * 64 + 3 * 3 * 128 + 64)
    assert cost((node,)) == (parameters, macs) == (230_144, 179_830_784)
    assert [n.name for n in walk((node,))] == [
        "residual_1",
        "residual_1/body/conv2d_1",
        "residual_1/body/batch_norm_1",
        "residual_1/body/relu_1",
        "residual_1/body/conv2d_2",
        "residual_1/body/batch_norm_2",
        "residual_1/shortcut/conv2d_1",
        "residual_1/shortcut/batch_norm_1",
    ]
    assert node.layer.output_shape((56, 56, 64)) == node.output


def test_an_empty_shortcut_is_the_identity():
    (node,) = place((4, 4, 2), {"layer": "residual", "body": [RELU]})
    assert node.output == (4, 4, 2)
    assert node.shortcut == ()


@pytest.mark.parametrize(
    ("shape", "layers", "field", "says"),
    [
        ((8, 8, 1), [RELU, dense(3)], "model[1]", r"dense takes \(features,\), but is given \(8, 8, 1\)"),
        ((8, 8, 1), [conv(1, 9)], "model[0]", r"window of \(9, 9\) does not fit into \(8, 8\)"),
        ((8,), [pool(2)], "model[0]", r"max_pool takes \(height, width, channels\)"),
        ((8,), [{"layer": "global_average_pool"}], "model[0]", "global_average_pool takes"),
        ((1 << 20,), [dense(1 << 20)], "model[0]", "has 1,099,511,627,776 elements"),
        ((8, 8, 1), [{"layer": "residual", "body": [conv(2, 3)]}], "model[0]", r"body ends in \(6, 6, 2\)"),
        ((8, 8, 1), [{"layer": "residual", "body": [RELU, conv(2, 9)]}], "model[0].body[1]", "window"),
        ((8, 8, 1), [{"layer": "residual", "body": [RELU], "shortcut": [dense(1)]}], "model[0].shortcut[0]", "dense"),
        ((8, 8, 1), [{"layer": "concat", "branches": [[FLATTEN], [RELU]]}], "model[0]", r"must end in \(features,\)"),
        ((8, 8, 1), [{"layer": "concat", "branches": [[FLATTEN], [dense(1)]]}], "model[0].branches[1][0]", "dense"),
        ((8, 8, 1), [{"layer": "embedding", "vocabulary": 5, "units": 2}], "model[0]", r"embedding takes \(tokens,\)"),
        ((5,), [{"layer": "sampled_scores", "vocabulary": 5, "units": 2, "context": 4}], "model[0]", "1 candidates"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused_with_its_place(shape, layers, field, says):
    with pytest.raises(MisfitError, match=says) as caught:
        place(shape, *layers)
    assert caught.value.field == field


def test_every_class_of_layers_is_a_layer_and_every_kind_has_a_name_of_its_own():
    stated = [one for one in vars(layers).values() if isinstance(one, type) and issubclass(one, layers.Single)]
    classes = [cls for cls in (*stated, Concat, Residual) if "layer" in cls.model_fields]
    assert sorted(kind for cls in classes for kind in get_args(cls.model_fields["layer"].annotation)) == sorted(KINDS)
    assert {"dense", "residual", "relu", "average_pool"} <= KINDS
