"""Each layer of the reference against finite differences, an independent library and numbers worked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal, special

from suite.runners.reference import layers
from suite.spec.graph import KINDS
from suite.spec.tensors import Padding

SAME, VALID = Padding.SAME, Padding.VALID
TOKENS = np.array([[0, 3, 3], [2, 0, 4]], np.int32)
CANDIDATES = np.array([[0, 3, 3, 1, 2], [2, 0, 4, 1, 1]], np.int32)
GEOMETRIES = [
    ((3, 3), (1, 1), SAME),
    ((3, 3), (2, 2), SAME),
    ((2, 3), (2, 1), SAME),
    ((2, 2), (3, 3), SAME),
    ((1, 1), (2, 2), SAME),
    ((5, 6), (1, 1), VALID),
    ((3, 2), (2, 3), VALID),
    ((2, 2), (2, 2), VALID),
    ((1, 2), (3, 2), VALID),
    ((3, 3), (2, 2), (1, 1)),
    ((3, 2), (1, 2), (0, 1)),
    ((2, 3), (3, 1), (1, 0)),
]


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def batch_norm(x, gamma, beta):
    return layers.batch_norm(x, gamma, beta, 1e-3)[:2]


def frozen_batch_norm(x):
    gamma, beta, mean, variance = (draw(2, seed=i).astype(np.float16).astype(x.dtype) for i in range(4))
    return layers.frozen_batch_norm(x, gamma, beta, mean, 1 + variance**2, 1e-3)


def dropout(x):
    return layers.dropout(x, 0.4, np.random.default_rng(7))


def counting_pool(*arguments):
    return layers.average_pool(*arguments, count_padding=True)


POOLS = {
    "max pool": layers.max_pool,
    "average pool": layers.average_pool,
    "average pool that counts padding": counting_pool,
}
IMAGES = draw(3, 5, 6, 2)
VECTORS = draw(4, 5)
CASES = {
    "flatten": (layers.flatten, IMAGES),
    "dense": (layers.dense, VECTORS, draw(5, 3), draw(3)),
    "dense without bias": (layers.dense, VECTORS, draw(5, 3)),
    "global average pool": (layers.global_average_pool, IMAGES),
    "batch norm of vectors": (batch_norm, VECTORS, draw(5), draw(5, seed=1)),
    "batch norm of images": (batch_norm, IMAGES, draw(2), draw(2, seed=1)),
    "frozen batch norm": (frozen_batch_norm, IMAGES),
    "dropout": (dropout, VECTORS),
    "relu": (layers.relu, IMAGES),
    "tanh": (layers.tanh, IMAGES),
    "sigmoid": (layers.sigmoid, IMAGES),
    "softmax": (layers.softmax, VECTORS),
    "softmax of images": (layers.softmax, IMAGES),
}
for size, stride, padding in GEOMETRIES:
    place = f"{size} by {stride} {padding}"
    for name, pool in POOLS.items():
        CASES[f"{name} {place}"] = (lambda x, f=pool, g=(size, stride, padding): f(x, *g), IMAGES)
    CASES[f"conv2d {place}"] = (
        lambda x, k, b, g=(stride, padding): layers.conv2d(x, k, b, *g),
        IMAGES,
        draw(*size, 2, 3),
        draw(3),
    )
CASES["conv2d without bias"] = (lambda x, k: layers.conv2d(x, k, None, (1, 1), SAME), IMAGES, draw(3, 3, 2, 3))


def slope(function, at, step=1e-5):
    """The gradient of a scalar function by central differences."""
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        high, low = at.copy(), at.copy()
        high[index] += step
        low[index] -= step
        gradient[index] = (function(high) - function(low)) / (2 * step)
    return gradient


def test_every_layer_is_here():
    """Those apart compute something else in training, or are made of layers."""
    assert layers.STATELESS.keys() == KINDS - {"batch_norm", "dropout", "residual", "concat"}


@pytest.mark.parametrize("case", CASES)
def test_backward_agrees_with_finite_differences(case):
    function, *arrays = CASES[case]
    y, backward = function(*arrays)
    weighting = draw(*y.shape, seed=9)
    gradients = backward(weighting)
    assert len(gradients) == len(arrays)
    for i, gradient in enumerate(gradients):
        expected = slope(
            lambda value, i=i: (function(*arrays[:i], value, *arrays[i + 1 :])[0] * weighting).sum(), arrays[i]
        )
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-8, err_msg=f"array {i}")


LOOKUPS = {
    "embedding": (lambda e: layers.embedding(TOKENS, e), draw(5, 4)),
    "sampled scores": (lambda e, o: layers.sampled_scores(CANDIDATES, e, o, 3), draw(5, 4), draw(5, 4, seed=1)),
}


@pytest.mark.parametrize("case", LOOKUPS)
def test_backward_of_words_agrees_with_finite_differences_in_every_table(case):
    """A word stands twice in one row, and one in no row: the first takes its gradient twice, the second none."""
    function, *tables = LOOKUPS[case]
    y, backward = function(*tables)
    weighting = draw(*y.shape, seed=9)
    by_tokens, *gradients = backward(weighting)
    assert not by_tokens.any()
    assert len(gradients) == len(tables)
    for i, gradient in enumerate(gradients):
        expected = slope(
            lambda value, i=i: (function(*tables[:i], value, *tables[i + 1 :])[0] * weighting).sum(), tables[i]
        )
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9, err_msg=f"table {i}")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize("case", LOOKUPS)
def test_words_are_looked_up_in_the_type_of_the_tables(case, dtype):
    function, *tables = LOOKUPS[case]
    y, backward = function(*(table.astype(dtype) for table in tables))
    assert {a.dtype for a in (y, *backward(y))} == {np.dtype(dtype)}


def test_an_embedding_is_the_mean_of_its_rows():
    table = np.array([[1.0, 0], [0, 1], [4, 4]])
    assert layers.embedding(np.array([[0, 0, 2, 2]], np.int32), table)[0].tolist() == [[2.5, 2]]


def test_a_candidate_is_scored_by_its_own_table_against_the_mean_of_the_context():
    table, output = np.array([[1.0, 0], [3, 2], [9, 9]]), np.array([[1.0, 1], [10, 0], [0, 5]])
    scores, _ = layers.sampled_scores(np.array([[0, 1, 2, 1]], np.int32), table, output, 2)
    assert scores.tolist() == [[5 * 1, 10 * 2]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize("case", CASES)
def test_a_layer_computes_in_the_type_it_is_given(case, dtype):
    function, *arrays = CASES[case]
    y, backward = function(*(a.astype(dtype) for a in arrays))
    assert [a.dtype for a in (y, *backward(y))] == [dtype] * (1 + len(arrays))
    exact = function(*(a.astype(dtype).astype(np.longdouble) for a in arrays))[0]
    np.testing.assert_allclose(y.astype(np.longdouble), exact, rtol=0, atol=100 * np.finfo(dtype).eps)


def padded(x, size, stride, padding, value):
    """Padding as TensorFlow documents it, or as many rows and columns as told, worked out apart from the suite."""
    if padding is VALID:
        return x
    if padding is not SAME:
        rows, columns = padding
        return np.pad(x, [(0, 0), (rows, rows), (columns, columns), (0, 0)], constant_values=value)
    margins = [(0, 0)]
    for axis in (0, 1):
        extent, k, s = x.shape[1 + axis], size[axis], stride[axis]
        total = max(k - s if extent % s == 0 else k - extent % s, 0)
        margins.append((total // 2, total - total // 2))
    return np.pad(x, [*margins, (0, 0)], constant_values=value)


@pytest.mark.parametrize(("size", "stride", "padding"), GEOMETRIES)
def test_convolution_agrees_with_scipy(size, stride, padding):
    kernel, bias = draw(*size, 2, 3), draw(3)
    x = padded(IMAGES, size, stride, padding, 0)
    expected = np.stack(
        [[signal.correlate(image, kernel[..., f], "valid")[..., 0] + bias[f] for f in range(3)] for image in x]
    ).transpose(0, 2, 3, 1)[:, :: stride[0], :: stride[1]]
    y, _ = layers.conv2d(IMAGES, kernel, bias, stride, padding)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("size", "stride", "padding"), GEOMETRIES)
def test_max_pooling_agrees_with_scipy(size, stride, padding):
    x = padded(IMAGES - 10, size, stride, padding, -np.inf)
    filtered = ndimage.maximum_filter(x, (1, *size, 1))
    rows, columns = (slice(k // 2, n - k + k // 2 + 1, s) for k, n, s in zip(size, x.shape[1:3], stride, strict=True))
    np.testing.assert_array_equal(layers.max_pool(IMAGES - 10, size, stride, padding)[0], filtered[:, rows, columns])


@pytest.mark.parametrize(("size", "stride", "padding"), GEOMETRIES)
def test_average_pooling_agrees_with_scipy(size, stride, padding):
    ones = np.ones((1, *size, 1))
    sums, counts = (
        signal.correlate(padded(x, size, stride, padding, 0), ones, "valid")[:, :: stride[0], :: stride[1]]
        for x in (IMAGES, np.ones_like(IMAGES))
    )
    y, _ = layers.average_pool(IMAGES, size, stride, padding)
    np.testing.assert_allclose(y, sums / counts, rtol=0, atol=1e-13)
    counted, _ = counting_pool(IMAGES, size, stride, padding)
    np.testing.assert_allclose(counted, sums / np.prod(size), rtol=0, atol=1e-13)


def row(*values):
    return np.array(values, float).reshape(1, 1, -1, 1)


def test_same_padding_falls_on_the_far_side():
    y, _ = layers.conv2d(row(1, 2, 3, 4), np.ones((1, 3, 1, 1)), np.array([0.5]), (1, 2), SAME)
    assert y.ravel().tolist() == [1 + 2 + 3 + 0.5, 3 + 4 + 0.5]


def test_padding_is_not_counted_in_an_average_and_never_wins_a_maximum():
    assert layers.average_pool(row(1, 2, 3), (1, 2), (1, 2), SAME)[0].ravel().tolist() == [1.5, 3]
    assert layers.max_pool(row(-1, -2, -3), (1, 2), (1, 2), SAME)[0].ravel().tolist() == [-1, -3]


def test_padding_that_counts_is_zeros_in_the_mean():
    assert counting_pool(row(1, 2, 3), (1, 2), (1, 2), SAME)[0].ravel().tolist() == [1.5, 1.5]
    y, backward = counting_pool(row(3, 6, 9), (1, 3), (1, 1), (0, 1))
    assert y.ravel().tolist() == [3, 6, 5]
    assert backward(row(3, 3, 3))[0].ravel().tolist() == [2, 3, 2]


def test_explicit_padding_falls_on_both_sides_of_its_axis_alone():
    column = row(1, 2, 3, 4).transpose(0, 2, 1, 3)
    for x, padding in ((row(1, 2, 3, 4), (0, 1)), (column, (1, 0))):
        size = (1, 3) if x.shape[1] == 1 else (3, 1)
        y, _ = layers.conv2d(x, np.ones((*size, 1, 1)), None, (1, 1), padding)
        assert y.ravel().tolist() == [3, 6, 9, 7]
        assert layers.max_pool(-x, size, (1, 1), padding)[0].ravel().tolist() == [-1, -1, -2, -3]
        assert layers.average_pool(x, size, (1, 1), padding)[0].ravel().tolist() == [1.5, 2, 3, 3.5]


def test_convolution_does_not_flip_its_kernel():
    y, backward = layers.conv2d(row(1, 2, 3), row(10, 1).transpose(1, 2, 0, 3), None, (1, 1), VALID)
    assert y.ravel().tolist() == [12, 23]
    dx, d_kernel = backward(row(1, 2))
    assert dx.ravel().tolist() == [10, 21, 2]
    assert d_kernel.ravel().tolist() == [5, 8]


def test_the_first_of_equal_maxima_takes_the_gradient():
    _, backward = layers.max_pool(np.zeros((1, 4, 4, 2)), (2, 2), (2, 2), VALID)
    dx = backward(np.ones((1, 2, 2, 2)))[0]
    assert dx[:, ::2, ::2].tolist() == np.ones((1, 2, 2, 2)).tolist()
    assert dx.sum() == 8


def test_the_derivative_of_relu_at_zero_is_zero():
    _, backward = layers.relu(np.array([-1.0, 0.0, 1.0]))
    assert backward(np.ones(3))[0].tolist() == [0, 0, 1]


def test_flatten_keeps_nhwc_order():
    x = np.arange(12.0).reshape(1, 2, 3, 2)
    assert layers.flatten(x)[0].tolist() == [list(range(12))]


def test_batch_norm_normalises_by_the_biased_variance():
    x = np.array([[1.0], [3.0], [5.0]])
    y, _, mean, variance = layers.batch_norm(x, np.array([2.0]), np.array([7.0]), 1 / 3)
    assert mean.tolist() == [3]
    np.testing.assert_allclose(variance, [8 / 3])
    np.testing.assert_allclose(y.ravel(), [7 - 4 / np.sqrt(3), 7, 7 + 4 / np.sqrt(3)])


def test_a_frozen_batch_norm_normalises_by_the_statistics_it_is_given_and_passes_the_gradient_on():
    gamma, beta, mean, variance = (np.array([value]) for value in (2.0, 1.0, 1.0, 3.0))
    y, backward = layers.frozen_batch_norm(np.array([[5.0], [1.0]]), gamma, beta, mean, variance, 1.0)
    assert y.tolist() == [[5.0], [1.0]]
    assert [g.tolist() for g in backward(np.array([[3.0], [-1.0]]))] == [[[3.0], [-1.0]]]


def test_normalise_uses_the_statistics_it_is_given():
    y = layers.normalise(np.array([[5.0]]), np.array([2.0]), np.array([1.0]), np.array([1.0]), np.array([3.0]), 1.0)
    assert y.tolist() == [[2 * 4 / 2 + 1]]


def test_momentum_is_the_share_of_the_old_value():
    assert layers.running(np.array([8.0]), np.array([4.0]), 0.75).tolist() == [7]


def test_dropout_zeroes_at_its_rate_and_scales_the_rest():
    x = np.full((200, 500), 2.0)
    y, backward = layers.dropout(x, 0.2, np.random.default_rng(0))
    assert set(np.unique(y)) == {0, 2.5}
    assert abs((y == 0).mean() - 0.2) < 5 * np.sqrt(0.2 * 0.8 / x.size)
    np.testing.assert_array_equal(backward(x)[0], y)


def test_dropout_at_rate_zero_changes_nothing():
    np.testing.assert_array_equal(layers.dropout(VECTORS, 0.0, np.random.default_rng(0))[0], VECTORS)


def test_activations_neither_overflow_nor_lose_small_values():
    x = np.array([[-1e4, -700.0, 0.0, 700.0, 1e4]])
    np.testing.assert_allclose(layers.sigmoid(x)[0], special.expit(x), rtol=1e-14)
    np.testing.assert_allclose(layers.softmax(x)[0], special.softmax(x, axis=-1), rtol=1e-14)
    np.testing.assert_allclose(layers.tanh(x)[0], np.sign(x))


@st.composite
def convolutions(draw):
    padding = draw(st.sampled_from([*Padding, (1, 0), (0, 1), (2, 2)]))
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    if isinstance(padding, tuple):  # a window of padding alone has no average
        size = tuple(max(length, 2 * margin) for length, margin in zip(size, padding, strict=True))
    smallest = (1, 1) if padding is SAME else size
    image = tuple(draw(st.integers(low, 8)) for low in smallest)
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    batch, channels, filters = (draw(st.integers(1, 3)) for _ in range(3))
    return (batch, *image, channels), (*size, channels, filters), stride, padding


@settings(deadline=None)
@given(convolutions(), st.integers(0, 2**32))
def test_convolution_backward_is_the_adjoint_of_forward(geometry, seed):
    """<conv(x, K), y> = <x, conv_T(y, K)> = <K, correlation of x and y>."""
    shape, kernel_shape, stride, padding = geometry
    random = np.random.default_rng(seed)
    x, kernel = random.normal(size=shape), random.normal(size=kernel_shape)
    out, backward = layers.conv2d(x, kernel, None, stride, padding)
    y = random.normal(size=out.shape)
    dx, d_kernel = backward(y)
    wanted, tolerance = (out * y).sum(), 1e-12 * (1 + np.abs(out * y).sum())
    assert abs((x * dx).sum() - wanted) <= tolerance
    assert abs((kernel * d_kernel).sum() - wanted) <= tolerance


@settings(deadline=None)
@given(convolutions(), st.integers(0, 2**32))
def test_pooling_backward_is_the_adjoint_of_forward(geometry, seed):
    """Both poolings are linear near almost every x, and so equal their own derivative there."""
    shape, kernel_shape, stride, padding = geometry
    random = np.random.default_rng(seed)
    x = random.normal(size=shape)
    for pool in POOLS.values():
        out, backward = pool(x, kernel_shape[:2], stride, padding)
        y = random.normal(size=out.shape)
        assert abs((x * backward(y)[0]).sum() - (out * y).sum()) <= 1e-12 * (1 + np.abs(out * y).sum())
