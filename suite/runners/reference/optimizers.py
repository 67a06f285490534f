"""Each optimizer's step for one tensor: new weight and new slots from the gradient.

Hyperparameters are rounded to the weights' type before any arithmetic on them, as a kernel of that precision receives
them: ``1 - beta_2`` in float32 is off by 1e-5, and a program in float32 cannot be blamed for it.
"""

from __future__ import annotations

import numpy as np

from suite.runners.base import SLOTS, Array
from suite.spec.recipe import Adam, Optimizer, RmsProp, Sgd

Step = tuple[Array, dict[str, Array]]


def slots(optimizer: Optimizer) -> tuple[str, ...]:
    """The names of what ``optimizer`` remembers per trainable tensor."""
    if isinstance(optimizer, Sgd) and not optimizer.momentum:
        return ()
    return SLOTS[optimizer.name]


def update(optimizer: Optimizer, weight: Array, gradient: Array, held: dict[str, Array], step: int) -> Step:
    """Step number ``step``, counted from 1."""
    match optimizer:
        case Sgd():
            return sgd(optimizer, weight, gradient, held)
        case Adam():
            return adam(optimizer, weight, gradient, held, step)
        case RmsProp():
            return rmsprop(optimizer, weight, gradient, held)


def sgd(optimizer: Sgd, weight: Array, gradient: Array, held: dict[str, Array]) -> Step:
    """``v = momentum * v + g``; ``w -= rate * v``, or ``w -= rate * (g + momentum * v)`` with Nesterov's momentum.

    Source: PyTorch's documentation of ``torch.optim.SGD`` with dampening 0; Sutskever et al. 2013.
    """
    real = weight.dtype.type
    rate, momentum = real(optimizer.learning_rate), real(optimizer.momentum)
    if not optimizer.momentum:
        return weight - rate * gradient, {}
    velocity = momentum * held["velocity"] + gradient
    direction = gradient + momentum * velocity if optimizer.nesterov else velocity
    return weight - rate * direction, {"velocity": velocity}


def adam(optimizer: Adam, weight: Array, gradient: Array, held: dict[str, Array], step: int) -> Step:
    """Kingma & Ba 2014, algorithm 1.

    ``m = b1 * m + (1 - b1) * g``; ``v = b2 * v + (1 - b2) * g^2``; with ``m^ = m / (1 - b1^t)`` and
    ``v^ = v / (1 - b2^t)``, ``w -= rate * m^ / (sqrt(v^) + epsilon)``.  With epsilon before correction it is the form
    of their section 2, ``w -= rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon)``, as TensorFlow documents
    ``ResourceApplyAdam``: its epsilon meets the uncorrected root.
    """
    real = weight.dtype.type
    rate, beta_1, beta_2 = real(optimizer.learning_rate), real(optimizer.beta_1), real(optimizer.beta_2)
    epsilon = real(optimizer.epsilon)
    m = beta_1 * held["m"] + (1 - beta_1) * gradient
    v = beta_2 * held["v"] + (1 - beta_2) * np.square(gradient)
    correction_1, correction_2 = 1 - beta_1**step, 1 - beta_2**step
    if optimizer.epsilon_place == "before_correction":
        change = rate * np.sqrt(correction_2) / correction_1 * m / (np.sqrt(v) + epsilon)
    else:
        change = rate * (m / correction_1) / (np.sqrt(v / correction_2) + epsilon)
    return weight - change, {"m": m, "v": v}


def rmsprop(optimizer: RmsProp, weight: Array, gradient: Array, held: dict[str, Array]) -> Step:
    """``s = rho * s + (1 - rho) * g^2``; ``w -= rate * g / (sqrt(s) + epsilon)``.

    Source: Hinton 2012, lecture 6e; the epsilon as PyTorch documents it.  With epsilon inside the root it is
    ``w -= rate * g / sqrt(s + epsilon)``, as TensorFlow documents ``ResourceApplyRMSProp`` (at momentum 0).
    """
    real = weight.dtype.type
    rate, rho, epsilon = real(optimizer.learning_rate), real(optimizer.rho), real(optimizer.epsilon)
    square = rho * held["square"] + (1 - rho) * np.square(gradient)
    inside = optimizer.epsilon_place == "inside_root"
    root = np.sqrt(square + epsilon) if inside else np.sqrt(square) + epsilon
    return weight - rate * gradient / root, {"square": square}
