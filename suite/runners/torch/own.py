"""Where PyTorch's own API differs from what a spec asks, told without PyTorch.

Read from PyTorch 2.15.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from suite.spec.differences import OPTIMIZER, Difference, DifferenceKind, differing, drawn, factor, grouped, names
from suite.spec.graph import Node, walk
from suite.spec.layers import AveragePool, BatchNorm, Conv2D, Embedding, Flatten, MaxPool, SampledScores
from suite.spec.recipe import Adam, RmsProp
from suite.spec.resolved import Spec
from suite.spec.semantics import margins, padded_means, trained_norms
from suite.spec.tensors import Initialiser

CLASSES = {"adam": "Adam", "rmsprop": "RMSprop", "sgd": "SGD"}
DEFAULTS: dict[str, dict[str, float]] = {
    "adam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8},
    "rmsprop": {"learning_rate": 0.01, "rho": 0.99, "epsilon": 1e-8},
    "sgd": {"learning_rate": 0.001, "momentum": 0.0},
    "batch_norm": {"momentum": 0.9, "epsilon": 1e-5},
}
"""Of PyTorch's optimizers and its batch norm, as a spec would state them: of a momentum of 0.1, what is kept, 0.9."""


def own(spec: Spec) -> tuple[Difference, ...]:
    """Where PyTorch's own modules and optimizers would compute or hold something else than ``spec`` asks."""
    parts = _optimizer(spec), _decay(spec), _norms(spec), _means(spec), _padding(spec), _layout(spec), _defaults(spec)
    return tuple(difference for part in parts for difference in part)


def _optimizer(spec: Spec) -> Iterator[Difference]:
    match spec.optimizer:
        case RmsProp(epsilon_place="inside_root"):
            yield Difference(
                kind=DifferenceKind.SEMANTICS,
                at=(OPTIMIZER,),
                api="torch.optim.RMSprop",
                does="divides by sqrt(s) + epsilon, with epsilon outside the root; this spec divides by sqrt(s + "
                "epsilon)",
                here="composed of five operations over all tensors at once, as many as "
                "torch.optim.RMSprop(foreach=True) takes itself",
                composed=True,
                variant="rmsprop_epsilon_outside_root",
            )
        case Adam(epsilon_place="before_correction"):
            yield Difference(
                kind=DifferenceKind.SEMANTICS,
                at=(OPTIMIZER,),
                api="torch.optim.Adam",
                does="adds epsilon after bias correction, to sqrt(v / (1 - beta_2^t)); this spec adds it before, to "
                "sqrt(v)",
                here="torch.optim.Adam(fused=True), given epsilon / sqrt(1 - beta_2^t) in step t, which comes to the "
                "same",
                variant="adam_epsilon_after_correction",
            )


def _decay(spec: Spec) -> Iterator[Difference]:
    if spec.l2:
        yield Difference(
            kind=DifferenceKind.CONVENTION,
            at=(OPTIMIZER,),
            api=f"torch.optim.{CLASSES[spec.optimizer.name]}(weight_decay=...)",
            does="adds weight_decay * w to the gradient of every parameter it is given, biases and batch norms too; "
            "this spec's l2 * sum(kernel^2) falls on kernels alone and has twice l2 for a gradient",
            here=f"kernels are a group of their own, with weight_decay {2 * spec.l2:g}",
        )


def _norms(spec: Spec) -> Iterator[Difference]:
    biased = tuple(
        node
        for node in trained_norms(spec)
        if isinstance(node.layer, BatchNorm) and node.layer.running_variance == "biased"
    )
    if biased:
        yield Difference(
            kind=DifferenceKind.SEMANTICS,
            at=names(biased),
            api="torch.nn.BatchNorm1d and torch.nn.BatchNorm2d",
            does=f"take the batch's unbiased variance into the running one, {factor(spec, biased)}; this spec takes "
            "the biased",
            here="PyTorch's operation on the running variance times n / (n - 1), and what it makes of it times the "
            "inverse: two more operations on a number a channel",
            composed=True,
            variant="unbiased_running_variance",
        )


def _means(spec: Spec) -> Iterator[Difference]:
    """Average poolings by how their padding falls: PyTorch counts it by default, and pads both sides alike."""
    means = padded_means(spec)
    counted = tuple(n for n in means if isinstance(n.layer, AveragePool) and n.layer.count_padding)
    if plain := tuple(node for node in means if node not in counted):
        yield Difference(
            kind=DifferenceKind.SEMANTICS,
            at=names(plain),
            api="torch.nn.AvgPool2d",
            does="counts padding in its means by default (count_include_pad=True); in this spec padding does not count",
            here="count_include_pad=False, or, where padding is uneven at a stride of 1, a product that takes the "
            "zeros out",
            variant="padding_counted",
        )
    if uneven := tuple(node for node in counted if _is_uneven(node)):
        yield Difference(
            kind=DifferenceKind.SEMANTICS,
            at=names(uneven),
            api="torch.nn.AvgPool2d(ceil_mode=True)",
            does="does not count what ceil_mode adds on the far side, with or without count_include_pad; this spec "
            "counts all padding",
            here="divisor_override is the window's size, or, at a stride of 1, the image is padded beforehand",
            reason="No figure: PyTorch's count is neither of the reference's",
        )


def _padding(spec: Spec) -> Iterator[Difference]:
    """SAME padding that falls unevenly, which PyTorch has only for convolutions of stride 1."""
    uneven = [n for n in walk(spec.graph) if isinstance(n.layer, Conv2D | MaxPool | AveragePool) and _is_uneven(n)]
    convolutions = tuple(node for node in uneven if isinstance(node.layer, Conv2D))
    strided = tuple(n for n in convolutions if isinstance(n.layer, Conv2D) and n.layer.stride != (1, 1))
    if strided:
        yield Difference(
            kind=DifferenceKind.MISSING,
            at=names(strided),
            api="torch.nn.Conv2d",
            does='refuses padding="same" at strides above 1, and pads by numbers alike on both sides, so that windows '
            "fall elsewhere; this spec pads the far side more, as TensorFlow does",
            here="composed of torch.nn.ZeroPad2d and torch.nn.Conv2d",
        )
    if plain := tuple(node for node in convolutions if node not in strided):
        yield Difference(
            kind=DifferenceKind.COMPOSED,
            at=names(plain),
            api='torch.nn.Conv2d(padding="same")',
            does="pads the far side more within one call, as this spec does",
            here="composed of torch.nn.ZeroPad2d and torch.nn.Conv2d",
            composed=True,
        )
    if pools := tuple(node for node in uneven if node not in convolutions):
        yield Difference(
            kind=DifferenceKind.MISSING,
            at=names(pools),
            api="torch.nn.MaxPool2d and torch.nn.AvgPool2d",
            does="know no same, and pad by numbers alike on both sides; this spec pads the far side more",
            here="ceil_mode adds the row on the far side; at a stride of 1 the image is padded beforehand, which makes "
            "two operations, or three, of one",
        )


def _is_uneven(node: Node) -> bool:
    return any(before != after for before, after in margins(node))


def _layout(spec: Spec) -> Iterator[Difference]:
    """PyTorch's images are NCHW; a model that begins by flattening is given none."""
    nodes = tuple(walk(spec.graph))
    if isinstance(nodes[0].layer, Flatten):
        nodes = nodes[1:]
    flat = tuple(node for node in nodes if isinstance(node.layer, Flatten) and len(node.input) == 3)
    if reordered := tuple(node for node in flat if node.input[-1] > 1 and math.prod(node.input[:-1]) > 1):
        yield Difference(
            kind=DifferenceKind.CONVENTION,
            at=names(reordered),
            api="torch.nn.Flatten",
            does="puts channel after channel; this spec's features go pixel by pixel (NHWC), so that the rows of the "
            "dense kernel behind it stand in another order",
            here="the image is seen as NHWC beforehand, which moves nothing",
        )
    images = (Conv2D, MaxPool, AveragePool, BatchNorm)
    if laid := tuple(node for node in nodes if isinstance(node.layer, images) and len(node.input) == 3):
        yield Difference(
            kind=DifferenceKind.CONVENTION,
            at=names(laid),
            api="torch.nn.Conv2d and its kin",
            does="hold images in memory channel after channel by default (NCHW)",
            here="torch.channels_last, which is NHWC in memory: the same numbers, another speed",
        )


def _defaults(spec: Spec) -> Iterator[Difference]:
    """What a script that leaves these out would have instead."""
    name = spec.optimizer.name
    if told := differing(DEFAULTS[name], spec.optimizer):
        does = f"has by default {told}"
        yield Difference(kind=DifferenceKind.CONVENTION, at=(OPTIMIZER,), api=f"torch.optim.{CLASSES[name]}", does=does)
    for told, nodes in grouped(spec, _norm_defaults).items():
        api = "torch.nn.BatchNorm1d and torch.nn.BatchNorm2d"
        does = f"have by default, momentum as what is kept, {told}"
        yield Difference(kind=DifferenceKind.CONVENTION, at=nodes, api=api, does=does)
    for told, nodes in grouped(
        spec, lambda n: drawn(n, Initialiser.FAN_IN_UNIFORM, Initialiser.FAN_IN_UNIFORM)
    ).items():
        api = "torch.nn.Linear and torch.nn.Conv2d"
        does = f"draw kernels and biases by fan_in_uniform; here {told}"
        yield Difference(kind=DifferenceKind.CONVENTION, at=nodes, api=api, does=does)
    if tables := tuple(node for node in walk(spec.graph) if isinstance(node.layer, Embedding | SampledScores)):
        yield Difference(
            kind=DifferenceKind.CONVENTION,
            at=names(tables),
            api="torch.nn.Embedding and torch.nn.EmbeddingBag",
            does="draw their rows from a normal distribution of variance 1; here they are drawn as the spec says",
        )


def _norm_defaults(node: Node) -> str:
    return differing(DEFAULTS["batch_norm"], node.layer) if isinstance(node.layer, BatchNorm) else ""
