"""The layers a model is made of: a small tagged union, with shapes, parameters and FLOPs derived.

Images are NHWC, so a shape here is ``(height, width, channels)`` or ``(features,)``, always without the batch.
A layer knows what it computes on (``tensors``), what it leaves (``output_shape``) and what it costs (``flops``);
how it computes is the reference's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args

from pydantic import Field
from typing_extensions import override

from suite.spec.layers import Plain, Single
from suite.spec.tensors import (
    LARGEST_TENSOR,
    MisfitError,
    Shape,
    Tensor,
)


class Concat(Single):
    """Branches from the same input, each to (features,), side by side: ``[branch 1(x), branch 2(x), ...]``."""

    layer: Literal["concat"]
    branches: Annotated[tuple[Annotated[tuple[Layer, ...], Field(min_length=1)], ...], Field(min_length=2)]

    @override
    def output_shape(self, shape: Shape) -> Shape:
        return self.join(tuple(graph(b, shape, "", f"branches[{i}]") for i, b in enumerate(self.branches)))

    @staticmethod
    def join(branches: tuple[tuple[Node, ...], ...]) -> Shape:
        """Shape of the concatenation; raises MisfitError unless every branch ends in (features,)."""
        ends = [branch[-1].output for branch in branches]
        if any(len(end) != 1 for end in ends):
            raise MisfitError(f"its branches end in {ends}; each must end in (features,)")
        return (sum(end[0] for end in ends),)


class Residual(Single):
    """``body(x) + shortcut(x)``; an empty shortcut is the identity (He et al. 2015)."""

    layer: Literal["residual"]
    body: Annotated[tuple[Layer, ...], Field(min_length=1)]
    shortcut: tuple[Layer, ...] = ()

    @override
    def output_shape(self, shape: Shape) -> Shape:
        return self.join(graph(self.body, shape, "", "body"), graph(self.shortcut, shape, "", "shortcut"), shape)

    @staticmethod
    def join(body: tuple[Node, ...], shortcut: tuple[Node, ...], shape: Shape) -> Shape:
        """Shape of the sum of two branches from an input of ``shape``; raises MisfitError unless they end alike."""
        ends = [branch[-1].output if branch else shape for branch in (body, shortcut)]
        if ends[0] != ends[1]:
            raise MisfitError(
                f"the body ends in {ends[0]}, the shortcut in {ends[1]}",
                way_out="Make them equal; a 1x1 conv2d in the shortcut changes stride and channels.",
            )
        return ends[0]


Layer = Annotated[Plain | Concat | Residual, Field(discriminator="layer")]
Concat.model_rebuild()
Residual.model_rebuild()
KINDS = frozenset(
    kind for cls in get_args(get_args(Layer)[0]) for kind in get_args(cls.model_fields["layer"].annotation)
)
"""The names that ``layer:`` can take."""


@dataclass(frozen=True)
class Node:
    """A layer in its place: canonical name, shapes without the batch, its tensors and its multiply-adds.

    A residual holds its two branches as nodes, a concat its several; their tensors and multiply-adds are their own.
    """

    name: str
    layer: Layer
    input: Shape
    output: Shape
    tensors: tuple[Tensor, ...]
    macs: int
    body: tuple[Node, ...] = ()
    shortcut: tuple[Node, ...] = ()
    branches: tuple[tuple[Node, ...], ...] = ()


def graph(layers: tuple[Layer, ...], shape: Shape, prefix: str = "", field: str = "model") -> tuple[Node, ...]:
    """Place ``layers`` one after another from an input of ``shape``.

    Names count within their branch: ``conv2d_2``, ``residual_1/body/conv2d_2``, ``concat_1/2/dense_1``.  Raises
    MisfitError, with its place as ``field[i]``, where a layer cannot take what the one before leaves or makes an array
    that is too large.
    """
    nodes: list[Node] = []
    counts: dict[str, int] = {}
    for i, layer in enumerate(layers):
        counts[layer.layer] = counts.get(layer.layer, 0) + 1
        here = f"{field}[{i}]"
        node = _place(layer, shape, f"{prefix}{layer.layer}_{counts[layer.layer]}", here)
        for extent in (node.output, *(tensor.shape for tensor in node.tensors)):
            if math.prod(extent) > LARGEST_TENSOR:
                raise MisfitError(f"{extent} has {math.prod(extent):,} elements, over {LARGEST_TENSOR:,}", here)
        nodes.append(node)
        shape = node.output
    return tuple(nodes)


def _place(layer: Layer, shape: Shape, name: str, field: str) -> Node:
    body: tuple[Node, ...] = ()
    shortcut: tuple[Node, ...] = ()
    branches: tuple[tuple[Node, ...], ...] = ()
    if isinstance(layer, Residual):
        body = graph(layer.body, shape, f"{name}/body/", f"{field}.body")
        shortcut = graph(layer.shortcut, shape, f"{name}/shortcut/", f"{field}.shortcut")
    if isinstance(layer, Concat):
        numbered = enumerate(layer.branches)
        branches = tuple(graph(b, shape, f"{name}/{i + 1}/", f"{field}.branches[{i}]") for i, b in numbered)
    try:
        match layer:
            case Residual():
                output = layer.join(body, shortcut, shape)
            case Concat():
                output = layer.join(branches)
            case _:
                output = layer.output_shape(shape)
    except MisfitError as error:
        raise MisfitError(error.what, field, error.way_out) from None
    tensors = tuple(replace(tensor, name=f"{name}/{tensor.role}") for tensor in layer.tensors(shape))
    return Node(name, layer, shape, output, tensors, layer.macs(shape), body, shortcut, branches)


def rebuilt(nodes: tuple[Node, ...], change: Callable[[Node], Layer]) -> tuple[Layer, ...]:
    """The layers of ``nodes``, each as ``change`` makes it; those of several branches keep theirs, changed."""
    made: list[Layer] = []
    for node in nodes:
        match node.layer:
            case Residual() as layer:
                branches = {"body": rebuilt(node.body, change), "shortcut": rebuilt(node.shortcut, change)}
                made.append(layer.model_copy(update=branches))
            case Concat() as layer:
                parts = tuple(rebuilt(branch, change) for branch in node.branches)
                made.append(layer.model_copy(update={"branches": parts}))
            case _:
                made.append(change(node))
    return tuple(made)


def walk(nodes: tuple[Node, ...]) -> Iterator[Node]:
    """Every node, a residual or concat before its branches: the order in which layers run."""
    for node in nodes:
        yield node
        for branch in (node.body, node.shortcut, *node.branches):
            yield from walk(branch)
