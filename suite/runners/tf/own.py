"""Where TensorFlow's own API, Keras' among it, differs from what a spec asks, told without TensorFlow.

What Keras does is read from Keras 3.15, what the core does from TensorFlow 2.21.
"""

from __future__ import annotations

from collections.abc import Iterator

from suite.spec.differences import LOSS, OPTIMIZER, Difference, DifferenceKind, differing, drawn, factor, grouped, names
from suite.spec.graph import Node, walk
from suite.spec.layers import AveragePool, BatchNorm, Conv2D, Dropout, MaxPool
from suite.spec.recipe import Adam, RmsProp, Sgd
from suite.spec.resolved import Spec
from suite.spec.semantics import margins, padded_means, trained_norms
from suite.spec.targets import Loss
from suite.spec.tensors import Initialiser, Padding

KERAS = {"adam": "Adam", "rmsprop": "RMSprop", "sgd": "SGD"}
DEFAULTS: dict[str, dict[str, float]] = {
    "adam": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "rmsprop": {"learning_rate": 0.001, "rho": 0.9, "epsilon": 1e-7},
    "sgd": {"learning_rate": 0.01, "momentum": 0.0},
    "batch_norm": {"momentum": 0.99, "epsilon": 1e-3},
}
"""Of Keras' optimizers and its batch norm."""


def own(spec: Spec) -> tuple[Difference, ...]:
    """Where TensorFlow's own operations and Keras' layers would compute or hold something else than ``spec`` asks."""
    parts = _optimizer(spec), _decay(spec), _norms(spec), _pools(spec), _convolutions(spec), _defaults(spec)
    return tuple(difference for part in parts for difference in part)


def _optimizer(spec: Spec) -> Iterator[Difference]:
    match spec.optimizer:
        case RmsProp(epsilon_place="outside_root"):
            yield Difference(
                kind=DifferenceKind.SEMANTICS,
                at=(OPTIMIZER,),
                api="tf.raw_ops.ResourceApplyRMSProp and tf.keras.optimizers.RMSprop",
                does="divide by sqrt(s + epsilon), with epsilon inside the root; this spec divides by sqrt(s) + "
                "epsilon",
                here="composed of elementary operations (square, root, division, two assignments) where TensorFlow has "
                "one fused",
                composed=True,
                variant="rmsprop_epsilon_inside_root",
            )
        case Adam(epsilon_place="after_correction"):
            yield Difference(
                kind=DifferenceKind.SEMANTICS,
                at=(OPTIMIZER,),
                api="tf.raw_ops.ResourceApplyAdam and tf.keras.optimizers.Adam",
                does="add epsilon to sqrt(v), before bias correction; this spec adds it after, to sqrt(v / (1 - "
                "beta_2^t))",
                here="tf.raw_ops.ResourceApplyAdam, given epsilon * sqrt(1 - beta_2^t) in step t, which comes to the "
                "same",
                variant="adam_epsilon_before_correction",
            )
        case Sgd(momentum=momentum) if momentum and spec.schedule:
            yield Difference(
                kind=DifferenceKind.SEMANTICS,
                at=(OPTIMIZER,),
                api="tf.keras.optimizers.SGD",
                does="multiplies the learning rate into the velocity: after a change of the rate, gradients from "
                "before it go on at the old one; this spec multiplies the velocity by the rate of the step",
                here="tf.raw_ops.ResourceApplyMomentum, which does as this spec",
                reason="No figure: while the rate stays, both are the same",
            )


def _decay(spec: Spec) -> Iterator[Difference]:
    if spec.l2:
        yield Difference(
            kind=DifferenceKind.SEMANTICS,
            at=(OPTIMIZER,),
            api=f"tf.keras.optimizers.{KERAS[spec.optimizer.name]}(weight_decay=...)",
            does="shrinks every weight, biases too, by rate * weight_decay apart from the gradient (decoupled); this "
            "spec's l2 is in the loss, as tf.keras.regularizers.L2 of each kernel",
            here=f"2 * l2 * kernel, that is {2 * spec.l2:g} * kernel, is added to the gradient of each kernel",
            reason="No figure: the reference has no decoupled decay",
        )


def _norms(spec: Spec) -> Iterator[Difference]:
    trained = trained_norms(spec)
    unbiased = tuple(node for node in trained if _norm(node).running_variance == "unbiased")
    biased = tuple(node for node in trained if _norm(node).running_variance == "biased")
    if unbiased:
        yield Difference(
            kind=DifferenceKind.SEMANTICS,
            at=names(unbiased),
            api="tf.keras.layers.BatchNormalization",
            does="takes the batch's biased variance into its running one, and is not the fused operation; this spec "
            f"takes the unbiased, {factor(spec, unbiased)}",
            here="tf.raw_ops.FusedBatchNormV3, whose variance is unbiased",
            variant="biased_running_variance",
        )
    if biased:
        yield Difference(
            kind=DifferenceKind.SEMANTICS,
            at=names(biased),
            api="tf.raw_ops.FusedBatchNormV3",
            does=f"gives the batch's unbiased variance, {factor(spec, biased)}; this spec, like "
            "tf.keras.layers.BatchNormalization, takes the biased one into the running variance",
            here="its variance enters the running one times (n - 1) / n, a factor that is known when a step is built",
            variant="unbiased_running_variance",
        )
    every = tuple(node for node in walk(spec.graph) if isinstance(node.layer, BatchNorm))
    if every:
        yield Difference(
            kind=DifferenceKind.COMPOSED,
            at=names(every),
            api="tf.raw_ops.FusedBatchNormV3",
            does="knows no float64",
            here="in float64, where the mathematics is proven, elementary operations take its place; what is timed is "
            "fused",
            composed=True,
        )
    if alone := unfusable(spec.graph):
        yield Difference(
            kind=DifferenceKind.COMPOSED,
            at=tuple(node.name for node in every if node.name in alone),
            api="tf.raw_ops.FusedBatchNormV3",
            does="is fused with the convolution before and the tanh behind it where nothing is trained, and then says "
            "that this fusion is not implemented",
            here="elementary operations in evaluation",
            composed=True,
        )


def _norm(node: Node) -> BatchNorm:
    assert isinstance(node.layer, BatchNorm)
    return node.layer


def _stated(spec: Spec, kind: type[Conv2D | MaxPool]) -> tuple[Node, ...]:
    """Layers whose padding TensorFlow has no name for: it does not fall as SAME lets it fall."""
    found = (node for node in walk(spec.graph) if isinstance(node.layer, kind))
    return tuple(node for node in found if any(map(any, margins(node))) and not _is_same(node))


def _is_same(node: Node) -> bool:
    return margins(node) == margins(node, Padding.SAME)


def _pools(spec: Spec) -> Iterator[Difference]:
    means = padded_means(spec)
    counted = tuple(n for n in means if isinstance(n.layer, AveragePool) and n.layer.count_padding)
    named = tuple(node for node in counted if _is_same(node))
    stated = tuple(node for node in means if not _is_same(node))
    if named:
        yield Difference(
            kind=DifferenceKind.SEMANTICS,
            at=names(named),
            api='tf.nn.avg_pool2d(padding="SAME") and tf.keras.layers.AveragePooling2D(padding="same")',
            does="leave padding out of each mean; this spec counts it as zeros",
            here="composed of tf.pad and tf.nn.avg_pool2d",
            composed=True,
            variant="padding_not_counted",
        )
    if plain := tuple(node for node in stated if node not in counted):
        yield Difference(
            kind=DifferenceKind.SEMANTICS,
            at=names(plain),
            api="tf.nn.avg_pool2d and tf.keras.layers.AveragePooling2D",
            does="take padding by name alone, and behind tf.pad or tf.keras.layers.ZeroPadding2D they count its zeros; "
            "in this spec padding does not count",
            here="composed of tf.pad, tf.nn.avg_pool2d and a product that takes the zeros out of the mean",
            composed=True,
            variant="padding_counted",
        )
    if padded := tuple(node for node in stated if node in counted):
        yield Difference(
            kind=DifferenceKind.MISSING,
            at=names(padded),
            api="tf.nn.avg_pool2d and tf.keras.layers.AveragePooling2D",
            does="take padding by name alone, and this spec states rows and columns",
            here="composed of tf.pad and tf.nn.avg_pool2d, which counts the zeros as this spec does",
        )
    if largest := _stated(spec, MaxPool):
        yield Difference(
            kind=DifferenceKind.COMPOSED,
            at=names(largest),
            api="tf.nn.max_pool2d",
            does="takes rows and columns of padding itself; tf.keras.layers.MaxPooling2D knows valid and same alone, "
            "and behind tf.keras.layers.ZeroPadding2D a zero may win",
            here="composed of tf.pad, by the lowest number there is, and tf.nn.max_pool2d",
            composed=True,
        )


def _convolutions(spec: Spec) -> Iterator[Difference]:
    if stated := _stated(spec, Conv2D):
        yield Difference(
            kind=DifferenceKind.MISSING,
            at=names(stated),
            api="tf.keras.layers.Conv2D",
            does="knows valid and same alone, and its same pads the far side more where the amount is odd; this spec "
            "states rows and columns on either side",
            here="tf.nn.conv2d, which takes the padding itself",
        )


def _defaults(spec: Spec) -> Iterator[Difference]:
    """What a script that leaves these out would have instead."""
    name = spec.optimizer.name
    if told := differing(DEFAULTS[name], spec.optimizer):
        yield Difference(
            kind=DifferenceKind.CONVENTION,
            at=(OPTIMIZER,),
            api=f"tf.keras.optimizers.{KERAS[name]}",
            does=f"has by default {told}",
        )
    for told, nodes in grouped(spec, _norm_defaults).items():
        api = "tf.keras.layers.BatchNormalization"
        yield Difference(kind=DifferenceKind.CONVENTION, at=nodes, api=api, does=f"has by default {told}")
    for told, nodes in grouped(spec, lambda n: drawn(n, Initialiser.GLOROT_UNIFORM, Initialiser.ZEROS)).items():
        yield Difference(
            kind=DifferenceKind.CONVENTION,
            at=nodes,
            api="tf.keras.layers.Dense and tf.keras.layers.Conv2D",
            does=f"draw kernels by glorot_uniform and begin with biases of 0; here {told}",
        )
    if spec.loss in (Loss.SOFTMAX_CROSS_ENTROPY, Loss.SIGMOID_CROSS_ENTROPY):
        softmax = spec.loss is Loss.SOFTMAX_CROSS_ENTROPY
        yield Difference(
            kind=DifferenceKind.CONVENTION,
            at=(LOSS,),
            api=f"tf.keras.losses.{'SparseCategoricalCrossentropy' if softmax else 'BinaryCrossentropy'}",
            does="takes probabilities unless it is given from_logits=True; this spec's model ends in logits",
            here=f"tf.nn's {'sparse softmax' if softmax else 'sigmoid'} cross-entropy with logits",
        )


def _norm_defaults(node: Node) -> str:
    return differing(DEFAULTS["batch_norm"], node.layer) if isinstance(node.layer, BatchNorm) else ""


def unfusable(nodes: tuple[Node, ...]) -> frozenset[str]:
    """Batch norms that must be elementary operations where nothing is trained.

    TensorFlow 2.21 fuses a convolution without a bias, its batch norm and a tanh into an operation that then says
    "Fusion is not implemented: [FusedBatchNorm,Tanh]".
    """
    there = [node for node in nodes if not isinstance(node.layer, Dropout)]
    found = {
        norm.name
        for before, norm, after in zip(there, there[1:], there[2:], strict=False)
        if isinstance(before.layer, Conv2D) and not before.layer.use_bias
        if isinstance(norm.layer, BatchNorm) and after.layer.layer == "tanh"
    }
    branches = (branch for node in nodes for branch in (node.body, node.shortcut, *node.branches))
    return frozenset(found).union(*map(unfusable, branches))
