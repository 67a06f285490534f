"""How far a step may be off because its gradient may be: the bound of an optimizer's step, element by element.

Two programs that agree may differ in a gradient by what stage 1 lets pass.  An adaptive optimizer can make much of it:
the bias of a filter whose relu is always on has, in front of a batch norm, the gradient 0, of which 1e-15 is left as
rounding noise, and from empty slots Adam moves it by rate * g / (abs(g) + epsilon).  So what a step may be off by is
how far the reference's own step goes when its gradient is moved by that much, either way.

Within so little a step rises or falls with its gradient, so that the ends tell how far.  Nothing is forgiven but this;
that the optimizer is right for gradients of every size, noise included, is shown apart (``given``).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from suite.gate.tolerance import TOLERANCE, Tensors, scales
from suite.runners.base import State, Weights
from suite.runners.reference.optimizers import update
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant, under


def moves(spec: Spec, before: State, gradients: Tensors, variants: frozenset[Variant]) -> dict[str, Weights]:
    """How far each element may be off behind a step from ``before``: by kind, as ``answers.changed`` names them."""
    optimizer = under(spec, variants).optimizer.model_copy(
        update={"learning_rate": float(spec.rates(before.step, 1)[0])}
    )
    found: dict[str, Weights] = defaultdict(dict)
    for name, scale in scales(gradients, noise_counts=False).items():
        held = {slot: values[name] for slot, values in before.slots.items()}
        weight, gradient = before.weights[name], gradients[name].astype(np.float64)

        def step(off: float) -> Weights:
            moved, slots = update(optimizer, weight, gradient + off, held, before.step + 1)  # noqa: B023
            return {"weights": moved} | {f"slot {slot}": values for slot, values in slots.items()}

        middle = step(0.0)
        ends = [step(TOLERANCE * scale), step(-TOLERANCE * scale)]
        for kind, value in middle.items():
            found[kind][name] = np.maximum(*(np.abs(end[kind] - value) for end in ends))
    return found
