"""What training minimises in PyTorch, and what moves the parameters: a native criterion and a fused optimizer."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from suite.spec.recipe import Adam, RmsProp, Sgd
from suite.spec.resolved import Spec
from suite.spec.targets import Loss

Implementation = Literal["default", "fused", "recorded"]
SLOTS = {"velocity": "momentum_buffer", "m": "exp_avg", "v": "exp_avg_sq", "square": "square_avg"}
"""What PyTorch's optimizers call what they remember."""


class DetectionLoss(nn.Module):  # type: ignore[misc]
    """Cross-entropy of the class, and ``box_weight`` times the mean squared error of the box.

    Outputs (n, classes + 4) are logits and a box, targets (n, 5) a class and a box.
    """

    def __init__(self, box_weight: float) -> None:
        super().__init__()
        self.box_weight = box_weight

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        classes = functional.cross_entropy(outputs[:, :-4], targets[:, 0].long())
        return classes + self.box_weight * functional.mse_loss(outputs[:, -4:], targets[:, 1:])


def criterion(spec: Spec) -> nn.Module:
    """The data loss, a mean over the batch."""
    match spec.loss:
        case Loss.SOFTMAX_CROSS_ENTROPY:
            return nn.CrossEntropyLoss()
        case Loss.SIGMOID_CROSS_ENTROPY:
            return nn.BCEWithLogitsLoss()
        case Loss.MEAN_SQUARED_ERROR:
            return nn.MSELoss()
        case Loss.DETECTION:
            return DetectionLoss(spec.box_weight)


class RmsPropInside(torch.optim.Optimizer):  # type: ignore[misc]
    """RMSprop with epsilon inside the root, which PyTorch has not: as many operations over all tensors as its own.

    ``s = rho * s + (1 - rho) * g**2; w -= lr * g / sqrt(s + epsilon)``, the slot under PyTorch's name for it.
    """

    def __init__(self, groups: list[dict[str, Any]], rate: float, rho: float, epsilon: float) -> None:
        super().__init__(groups, {"lr": rate, "alpha": rho, "eps": epsilon, "weight_decay": 0.0})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self) -> None:
        """One step along the gradients that the parameters hold."""
        for group in self.param_groups:
            weights: list[torch.Tensor] = group["params"]
            gradients = [weight.grad for weight in weights]
            squares = [self.state[weight]["square_avg"] for weight in weights]
            if group["weight_decay"]:
                gradients = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
            torch._foreach_mul_(squares, group["alpha"])
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["alpha"])
            roots = torch._foreach_add(squares, group["eps"])
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(weights, gradients, roots, value=-group["lr"])


def optimizer(
    spec: Spec,
    kernels: list[torch.Tensor],
    others: list[torch.Tensor],
    implementation: Implementation = "fused",
) -> torch.optim.Optimizer:
    """The decay of kernels is the gradient of ``l2 * sum(kernel ** 2)``, which each of them adds to the gradient.

    By ``default`` PyTorch chooses between its implementations: foreach on a GPU, else one tensor after another.  What
    is to be ``recorded`` in a CUDA graph is fused, too, and counts its steps on the GPU.
    """
    fused, foreach = (None if implementation == "default" else True,) * 2
    recorded = implementation == "recorded"
    groups: list[dict[str, Any]] = [{"params": kernels + others}]
    if spec.l2 and kernels:  # each group is a launch of its own
        groups = [{"params": kernels, "weight_decay": 2 * spec.l2}, *([{"params": others}] if others else [])]
    match spec.optimizer:
        case Sgd(learning_rate=rate, momentum=momentum, nesterov=nesterov):
            return torch.optim.SGD(groups, rate, momentum, nesterov=nesterov, fused=fused)
        case Adam(learning_rate=rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon):
            return torch.optim.Adam(groups, rate, (beta_1, beta_2), epsilon, fused=fused, capturable=recorded)
        case RmsProp(learning_rate=rate, rho=rho, epsilon=epsilon, epsilon_place="inside_root"):
            return RmsPropInside(groups, rate, rho, epsilon)
        case RmsProp(learning_rate=rate, rho=rho, epsilon=epsilon):
            # There is no fused one.
            return torch.optim.RMSprop(groups, rate, rho, epsilon, foreach=foreach, capturable=recorded)


def epsilons(spec: Spec, step: int, count: int) -> list[float | None]:
    """The epsilon of each step after ``step``; None where the optimizer's own stays.

    PyTorch's Adam adds its epsilon after bias correction, to ``sqrt(v / (1 - b2^t))``.  One that is to be added before
    it, to ``sqrt(v)``, is ``epsilon / sqrt(1 - b2^t)`` there.
    """
    optimizer = spec.optimizer
    if not isinstance(optimizer, Adam) or optimizer.epsilon_place == "after_correction":
        return [None] * count
    steps = np.arange(step + 1, step + count + 1)
    given: list[float | None] = (optimizer.epsilon / np.sqrt(1 - optimizer.beta_2**steps)).tolist()
    return given


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the learning rate of the steps to come."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def set_epsilon(optimizer: torch.optim.Optimizer, epsilon: float) -> None:
    """Give every group the epsilon of the next step."""
    for group in optimizer.param_groups:
        group["eps"] = epsilon
