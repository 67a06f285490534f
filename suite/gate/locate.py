"""Where outputs diverge first: the spec cut off behind one layer after another.

Asked only once outputs are known to diverge, so an identical runner pays nothing for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from suite.gate.probe import on_its_own
from suite.runners.base import Weights
from suite.spec.graph import Concat, Layer, Node, Residual, walk
from suite.spec.layers import BatchNorm, Flatten
from suite.spec.resolved import Spec
from suite.spec.targets import Loss, Target
from suite.spec.tensors import Role


@dataclass(frozen=True)
class Chain:
    """A spec cut off behind the layer ``name``: its outputs are that layer's, flattened.

    A layer within a residual or concat is reached through its own branch alone.  ``original`` tells, by the chain's
    names of tensors, those of the whole spec.
    """

    node: Node
    spec: Spec
    original: Mapping[str, str]

    def weights(self, whole: Weights) -> Weights:
        """The chain's share of the whole spec's weights."""
        return {mine: whole[name] for mine, name in self.original.items()}


def cut(spec: Spec, layers: tuple[Layer, ...], nodes: tuple[Node, ...]) -> Chain:
    """The chain of ``layers``, which stand in the whole spec as ``nodes``.

    Of what is frozen only batch norms stay so, for the others put out the same; where nothing else could be trained,
    not even they.
    """
    outputs = nodes[-1].output
    model = layers if len(outputs) == 1 else (*layers, Flatten(layer="flatten"))
    facts = {"image_shape": spec.input_shape, "train": spec.train_images, "train_counts": None}
    chain = on_its_own(
        spec,
        model=model,
        data=spec.data.model_copy(update={**facts, "classes": math.prod(outputs)}),
        target=Target.ONE_HOT,
        loss=Loss.MEAN_SQUARED_ERROR,
    )
    names = [t.name for node in walk(nodes) for t in node.tensors]
    norms = [n for n in walk(nodes) if isinstance(n.layer, BatchNorm) and spec.is_frozen(n)]
    still = {t.name for node in norms for t in node.tensors}
    layers_still = {mine.rsplit("/", 1)[0] for mine, name in zip(chain.tensors, names, strict=True) if name in still}
    if layers_still and len(still) < len(names):
        chain = chain.replace(frozen=tuple(sorted(layers_still)))
    return Chain(nodes[-1], chain, dict(zip(chain.tensors, names, strict=True)))


def locate(spec: Spec, diverges: Callable[[Chain], bool]) -> Chain | None:
    """The chain that ends in the first layer to diverge, by bisection; None if even the last layer agrees."""
    return _first(spec, spec.model, spec.graph, (), (), diverges)


def _first(
    spec: Spec,
    layers: tuple[Layer, ...],
    nodes: tuple[Node, ...],
    layers_before: tuple[Layer, ...],
    nodes_before: tuple[Node, ...],
    diverges: Callable[[Chain], bool],
) -> Chain | None:
    def chain(length: int) -> Chain:
        return cut(spec, (*layers_before, *layers[:length]), (*nodes_before, *nodes[:length]))

    if not layers or not diverges(chain(len(layers))):
        return None
    agrees, differs = 0, len(layers)
    while differs - agrees > 1:
        middle = (agrees + differs) // 2
        agrees, differs = (agrees, middle) if diverges(chain(middle)) else (middle, differs)
    layer, node = layers[agrees], nodes[agrees]
    before = ((*layers_before, *layers[:agrees]), (*nodes_before, *nodes[:agrees]))
    branches: tuple[tuple[tuple[Layer, ...], tuple[Node, ...]], ...] = ()
    if isinstance(layer, Residual):
        branches = (layer.body, node.body), (layer.shortcut, node.shortcut)
    if isinstance(layer, Concat):
        branches = tuple(zip(layer.branches, node.branches, strict=True))
    for branch, inner in branches:
        if found := _first(spec, branch, inner, *before, diverges):
            return found
    return chain(differs)


def neutral(chain: Chain, held: Weights) -> Iterator[tuple[str, Weights]]:
    """For each tensor of the chain's last layer, its name and the weights with that tensor made neutral.

    Neutral is what hides how the tensor is laid out or whether it takes part: one value throughout for a kernel or a
    table of words, 0 for a bias, beta or mean, 1 for a gamma or variance.  If a divergence goes away, it lies in that
    tensor.
    """
    for tensor in chain.node.tensors:
        mine = next(name for name, whole in chain.original.items() if whole == tensor.name)
        laid_out = tensor.role in (Role.KERNEL, Role.EMBEDDING, Role.OUTPUT_EMBEDDING)
        size = float(np.abs(held[mine]).mean()) if laid_out else None
        fill = size if size is not None else float(tensor.role in (Role.GAMMA, Role.MOVING_VARIANCE))
        yield tensor.name, {**held, mine: np.full_like(held[mine], fill)}
