"""Other semantics than a spec asks for: what a framework's own operation computes, told as another spec.

Where frameworks truly differ, a spec says which of the two it means (``epsilon_place``, ``running_variance``,
``count_padding``).  A variant is the choice of one of them whatever the spec says; the reference computes it as the
spec that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Literal

from suite.spec.graph import Layer, Node, rebuilt, walk
from suite.spec.layers import AveragePool, BatchNorm, Conv2D, MaxPool
from suite.spec.recipe import Adam, RmsProp
from suite.spec.resolved import Spec
from suite.spec.tensors import Padding, padding_of, window

Variant = Literal[
    "adam_epsilon_after_correction",
    "adam_epsilon_before_correction",
    "biased_running_variance",
    "padding_counted",
    "padding_not_counted",
    "rmsprop_epsilon_inside_root",
    "rmsprop_epsilon_outside_root",
    "unbiased_running_variance",
]
"""A native semantics that truly differs from that of some specs; the reference computes it as well."""
Change = Callable[[Spec, Container[str] | None], Spec]


def under(spec: Spec, variants: Iterable[Variant], at: Container[str] | None = None) -> Spec:
    """The spec that asks for ``variants``; the very spec where none of them changes what it computes.

    ``at`` names the layers that are changed, if not all are.
    """
    for variant in sorted(variants):
        spec = _CHANGES[variant](spec, at)
    return spec


def relevant(spec: Spec, variants: Iterable[Variant]) -> frozenset[Variant]:
    """The variants that change what ``spec`` computes."""
    return frozenset(variant for variant in variants if under(spec, (variant,)) is not spec)


def margins(node: Node, rule: Padding | None = None) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding before and after the rows and the columns of a convolution or pooling; by ``rule``, if not its own."""
    layer = node.layer
    assert isinstance(layer, Conv2D | MaxPool | AveragePool)
    size, stride = (layer.kernel, layer.stride) if isinstance(layer, Conv2D) else (layer.window, layer.strides)
    padding = rule or layer.padding
    rows, columns = (window(node.input[i], size[i], stride[i], padding_of(padding, i))[1:] for i in (0, 1))
    return rows, columns


def padded_means(spec: Spec) -> tuple[Node, ...]:
    """The average poolings for which it matters whether padding counts."""
    pools = (node for node in walk(spec.graph) if isinstance(node.layer, AveragePool))
    return tuple(node for node in pools if any(map(any, margins(node))))


def trained_norms(spec: Spec) -> tuple[Node, ...]:
    """The batch norms whose running statistics move: those that are not frozen."""
    return tuple(node for node in walk(spec.graph) if isinstance(node.layer, BatchNorm) and not spec.is_frozen(node))


def _adam(place: Literal["after_correction", "before_correction"]) -> Change:
    def change(spec: Spec, _: Container[str] | None) -> Spec:
        if not isinstance(spec.optimizer, Adam) or spec.optimizer.epsilon_place == place:
            return spec
        return spec.replace(optimizer=spec.optimizer.model_copy(update={"epsilon_place": place}))

    return change


def _rmsprop(place: Literal["outside_root", "inside_root"]) -> Change:
    def change(spec: Spec, _: Container[str] | None) -> Spec:
        if not isinstance(spec.optimizer, RmsProp) or spec.optimizer.epsilon_place == place:
            return spec
        return spec.replace(optimizer=spec.optimizer.model_copy(update={"epsilon_place": place}))

    return change


def _layers(found: Callable[[Spec], tuple[Node, ...]], field: str, value: object) -> Change:
    """Give ``field`` of the layers ``found`` another value."""

    def change(spec: Spec, at: Container[str] | None) -> Spec:
        there = (node for node in found(spec) if at is None or node.name in at)
        names = {node.name for node in there if getattr(node.layer, field) != value}

        def set_(node: Node) -> Layer:
            return node.layer.model_copy(update={field: value}) if node.name in names else node.layer

        return spec.replace(model=rebuilt(spec.graph, set_)) if names else spec

    return change


_CHANGES: Mapping[Variant, Change] = {
    "adam_epsilon_after_correction": _adam("after_correction"),
    "adam_epsilon_before_correction": _adam("before_correction"),
    "biased_running_variance": _layers(trained_norms, "running_variance", "biased"),
    "padding_counted": _layers(padded_means, "count_padding", True),
    "padding_not_counted": _layers(padded_means, "count_padding", False),
    "rmsprop_epsilon_inside_root": _rmsprop("inside_root"),
    "rmsprop_epsilon_outside_root": _rmsprop("outside_root"),
    "unbiased_running_variance": _layers(trained_norms, "running_variance", "unbiased"),
}
