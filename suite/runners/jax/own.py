"""Where the API that JAX's users take, Optax' optimizers and Flax' layers, differs from a spec, told without JAX.

What Optax does is seen in Optax 0.2.8, what Flax does in the ``nnx`` of Flax 0.12.8.
"""

from __future__ import annotations

from collections.abc import Iterator

from suite.spec.differences import OPTIMIZER, Difference, DifferenceKind, differing, drawn, factor, grouped, names
from suite.spec.graph import Node, walk
from suite.spec.layers import AveragePool, BatchNorm, Conv2D, Dense, Embedding, SampledScores
from suite.spec.recipe import Adam, RmsProp
from suite.spec.resolved import Spec
from suite.spec.semantics import padded_means, trained_norms
from suite.spec.tensors import Initialiser

FORMULA = "the spec's formula in jax.numpy, which XLA fuses into one operation a tensor"
DEFAULTS: dict[str, dict[str, float]] = {
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8},
    "rmsprop": {"rho": 0.9, "epsilon": 1e-8},
    "sgd": {"momentum": 0.0},
    "batch_norm": {"momentum": 0.99, "epsilon": 1e-5},
}
"""Of Optax' optimizers, whose rate must be given, and of Flax' batch norm."""


def own(spec: Spec) -> tuple[Difference, ...]:
    """Where Optax' optimizers and Flax' layers would compute or hold something else than ``spec`` asks."""
    parts = _optimizer(spec), _decay(spec), _norms(spec), _means(spec), _defaults(spec)
    return tuple(difference for part in parts for difference in part)


def _optimizer(spec: Spec) -> Iterator[Difference]:
    match spec.optimizer:
        case RmsProp(epsilon_place="outside_root"):
            yield Difference(
                kind=DifferenceKind.SEMANTICS,
                at=(OPTIMIZER,),
                api="optax.rmsprop",
                does="divides by sqrt(s + epsilon) unless it is given eps_in_sqrt=False; this spec divides by sqrt(s) "
                "+ epsilon",
                here=FORMULA,
                variant="rmsprop_epsilon_inside_root",
            )
        case Adam(epsilon_place="before_correction"):
            yield Difference(
                kind=DifferenceKind.SEMANTICS,
                at=(OPTIMIZER,),
                api="optax.adam",
                does="adds epsilon after bias correction, to sqrt(v / (1 - beta_2^t)); this spec adds it before, to "
                "sqrt(v)",
                here=FORMULA,
                variant="adam_epsilon_after_correction",
            )


def _decay(spec: Spec) -> Iterator[Difference]:
    if spec.l2:
        yield Difference(
            kind=DifferenceKind.SEMANTICS,
            at=(OPTIMIZER,),
            api="optax.adamw(weight_decay=...) and its kin",
            does="shrink every weight, biases too unless they are masked, by rate * weight_decay apart from the "
            "gradient (decoupled); this spec's l2 is in the loss, and falls on kernels alone",
            here=f"2 * l2 * kernel, that is {2 * spec.l2:g} * kernel, is added to the gradient of each kernel",
            reason="No figure: the reference has no decoupled decay",
        )


def _norms(spec: Spec) -> Iterator[Difference]:
    trained = trained_norms(spec)
    unbiased = tuple(n for n in trained if isinstance(n.layer, BatchNorm) and n.layer.running_variance == "unbiased")
    if unbiased:
        yield Difference(
            kind=DifferenceKind.SEMANTICS,
            at=names(unbiased),
            api="flax.nnx.BatchNorm",
            does="takes the batch's biased variance into its running one; this spec takes the unbiased, "
            f"{factor(spec, unbiased)}",
            here="the factor is known when a step is built, and multiplied into what the running variance takes",
            variant="biased_running_variance",
        )
    if trained:
        yield Difference(
            kind=DifferenceKind.CONVENTION,
            at=names(trained),
            api="flax.nnx.BatchNorm",
            does="takes the mean of squares less the square of the mean for a variance (use_fast_variance=True), which "
            "loses digits where inputs lie far from 0",
            here="the mean of squared distances from the mean, in a second pass",
        )


def _means(spec: Spec) -> Iterator[Difference]:
    means = padded_means(spec)
    if plain := tuple(n for n in means if isinstance(n.layer, AveragePool) and not n.layer.count_padding):
        yield Difference(
            kind=DifferenceKind.SEMANTICS,
            at=names(plain),
            api="flax.nnx.avg_pool",
            does="counts padding in its means by default (count_include_pad=True); in this spec padding does not count",
            here="sums of windows over how many of their values are not padding",
            variant="padding_counted",
        )


def _defaults(spec: Spec) -> Iterator[Difference]:
    """What a script that leaves these out would have instead."""
    name = spec.optimizer.name
    if told := differing(DEFAULTS[name], spec.optimizer):
        does = f"has by default {told}"
        yield Difference(kind=DifferenceKind.CONVENTION, at=(OPTIMIZER,), api=f"optax.{name}", does=does)
    for told, nodes in grouped(spec, _norm_defaults).items():
        does = f"has by default {told}"
        yield Difference(kind=DifferenceKind.CONVENTION, at=nodes, api="flax.nnx.BatchNorm", does=does)
    for told, nodes in grouped(spec, _drawn).items():
        yield Difference(
            kind=DifferenceKind.CONVENTION,
            at=nodes,
            api="flax.nnx.Linear and flax.nnx.Conv",
            does=f"draw kernels by a truncated lecun_normal and begin with biases of 0; here {told}",
        )
    if tables := tuple(node for node in walk(spec.graph) if isinstance(node.layer, Embedding | SampledScores)):
        yield Difference(
            kind=DifferenceKind.CONVENTION,
            at=names(tables),
            api="flax.nnx.Embed",
            does="draws its rows from a normal distribution of variance 1 / features; here they are drawn as the spec "
            "says",
        )


def _drawn(node: Node) -> str:
    truncated = isinstance(node.layer, Dense | Conv2D) and node.layer.kernel_init is Initialiser.LECUN_NORMAL
    told = drawn(node, Initialiser.LECUN_NORMAL, Initialiser.ZEROS)
    return " and ".join(filter(None, ("kernels lecun_normal, which is not truncated" if truncated else "", told)))


def _norm_defaults(node: Node) -> str:
    return differing(DEFAULTS["batch_norm"], node.layer) if isinstance(node.layer, BatchNorm) else ""
