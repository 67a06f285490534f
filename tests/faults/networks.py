"""Networks as people write them, drawn at random: what the gate must let pass, whatever their form.

Convolutions and dense layers with and without bias, batch norm before and after the activation, pooling, residuals and
dropout, under every optimizer at rates from 1e-4 to 1, some decayed, scheduled or in part frozen.  Some ask for the
other semantics where frameworks differ.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from suite.spec.resolved import Spec
from tests.faults.specs import spec_of

SLOWEST, FASTEST = 1e-4, 1.0
OTHER = {
    "batch_norm": {"running_variance": "biased"},
    "average_pool": {"count_padding": True},
    "rmsprop": {"epsilon_place": "inside_root"},
    "adam": {"epsilon_place": "before_correction"},
}
"""The semantics that a layer or an optimizer may be asked for."""
Layers = list[dict[str, Any]]


def network(seed: int) -> Spec:
    """Network number ``seed``; the same on every machine."""
    draw = np.random.Generator(np.random.Philox(key=seed))
    head: dict[str, Any] = {"target": "one_hot", "loss": "mean_squared_error"} if _chance(draw, 0.15) else {}
    shape = (*((8, 8) if _chance(draw, 0.7) else (10, 7)), int(draw.choice([1, 3])))
    model = [*_convolutions(draw), *_flat(draw), *_hidden(draw), {"layer": "dense", "units": 10}]
    names, optimizer = list(_named(model)), _optimizer(draw)
    others = np.random.Generator(np.random.Philox(key=[seed, 1]))
    for part in (*model, optimizer):
        if _chance(others, 0.3):
            part.update(OTHER.get(part.get("layer") or part["name"], {}))
    return spec_of(
        f"drawn-{seed}",
        shape,
        model,
        optimizer=optimizer,
        input_range=_one(draw, [[0.0, 1.0], [-1.0, 1.0], [0.0, 16.0]], [0.6, 0.2, 0.2]),
        batch_size=int(draw.choice([8, 24, 32])),
        epochs=4,
        **head,
        **({"l2": float(10 ** draw.uniform(-4, -1))} if _chance(draw, 0.3) else {}),
        **({"schedule": {"at": [1, 3], "factor": 0.3}} if _chance(draw, 0.2) else {}),
        **({"frozen": names[:1]} if len(names) > 1 and _chance(draw, 0.15) else {}),
    )


def _chance(draw: np.random.Generator, share: float) -> bool:
    return bool(draw.random() < share)


def _one(draw: np.random.Generator, values: list[Any], shares: list[float]) -> Any:
    return values[draw.choice(len(values), p=shares)]


def _named(model: Layers) -> Iterator[str]:
    """The names of the layers that hold weights."""
    counts: dict[str, int] = {}
    for layer in model:
        kind = layer["layer"]
        counts[kind] = counts.get(kind, 0) + 1
        if kind in ("conv2d", "dense", "batch_norm"):
            yield f"{kind}_{counts[kind]}"


def _activation(draw: np.random.Generator) -> Layers:
    return [{"layer": _one(draw, ["relu", "tanh", "sigmoid"], [0.8, 0.1, 0.1])}]


def _norm(draw: np.random.Generator) -> Layers:
    momentum, epsilon = _one(draw, [(0.9, 1e-5), (0.99, 1e-3), (0.1, 1e-3)], [0.5, 0.4, 0.1])
    return [{"layer": "batch_norm", "momentum": momentum, "epsilon": epsilon}]


def _around(draw: np.random.Generator, weighted: dict[str, Any]) -> Layers:
    """A layer with its activation, and a batch norm before or behind that or not at all."""
    weighted["use_bias"] = _chance(draw, 0.75)
    norm, activation = _norm(draw), _activation(draw)
    order = _one(draw, [[norm, activation], [activation, norm], [activation]], [0.25, 0.5, 0.25])
    return [weighted, *(layer for part in order for layer in part)]


def _convolutions(draw: np.random.Generator) -> Layers:
    layers: Layers = []
    for _ in range(draw.integers(0, 3)):
        layers += _around(draw, _conv2d(draw))
        if _chance(draw, 0.3):
            layers.append(_pool(draw))
        if _chance(draw, 0.25):
            layers.append(_residual(draw))
        if _chance(draw, 0.15):
            layers.append({"layer": "dropout", "rate": 0.25})
    if _chance(draw, 0.2) and layers:  # some put the pooling between convolution and activation
        layers.insert(1, _pool(draw))
    return layers


def _conv2d(draw: np.random.Generator, **fixed: Any) -> dict[str, Any]:
    drawn = {"filters": int(draw.choice([4, 8, 16])), "kernel": int(draw.choice([1, 3, 5])), "padding": "same"}
    if drawn["kernel"] == 3 and _chance(draw, 0.3):
        drawn |= {"padding": _one(draw, ["same", 1], [0.5, 0.5]), "stride": 2}
    return {"layer": "conv2d", **drawn, **fixed}


def _pool(draw: np.random.Generator) -> dict[str, Any]:
    kind = _one(draw, ["max_pool", "average_pool"], [0.5, 0.5])
    return {"layer": kind, "window": 2, "stride": int(draw.choice([1, 2])), "padding": "same"}


def _residual(draw: np.random.Generator) -> dict[str, Any]:
    filters = int(draw.choice([4, 8]))
    body = [*_around(draw, _conv2d(draw, filters=filters, kernel=3, padding="same", stride=1))]
    body.append({"layer": "conv2d", "filters": filters, "kernel": 3, "padding": "same"})
    body += _norm(draw) if _chance(draw, 0.6) else []
    shortcut = [{"layer": "conv2d", "filters": filters, "kernel": 1, "use_bias": _chance(draw, 0.5)}]
    return {"layer": "residual", "body": body, "shortcut": shortcut}


def _flat(draw: np.random.Generator) -> Layers:
    return [{"layer": _one(draw, ["flatten", "global_average_pool"], [0.75, 0.25])}]


def _hidden(draw: np.random.Generator) -> Layers:
    layers: Layers = []
    for _ in range(draw.integers(0, 3)):
        layers += _around(draw, {"layer": "dense", "units": int(draw.choice([16, 32, 64]))})
        if _chance(draw, 0.3):
            layers.append({"layer": "dropout", "rate": 0.5})
    return layers


def _optimizer(draw: np.random.Generator) -> dict[str, Any]:
    rate = float(SLOWEST * (FASTEST / SLOWEST) ** draw.random())
    epsilon = float(draw.choice([1e-8, 1e-7, 1e-3]))
    match int(draw.integers(0, 5)):
        case 0:
            return {"name": "sgd", "learning_rate": rate}
        case 1:
            return {"name": "sgd", "learning_rate": rate, "momentum": 0.9, "nesterov": _chance(draw, 0.5)}
        case 2:
            return {
                "name": "rmsprop",
                "learning_rate": rate,
                "rho": float(draw.choice([0.9, 0.99])),
                "epsilon": epsilon,
            }
        case _:
            return {"name": "adam", "learning_rate": rate, "epsilon": epsilon}
