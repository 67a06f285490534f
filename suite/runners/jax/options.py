"""Inference in JAX with one option changed: another memory format, or a narrower type."""

from __future__ import annotations

from collections.abc import Callable

from suite.errors import Unsupported
from suite.runners.base import InferenceOption
from suite.runners.jax.core import Array, jnp
from suite.runners.jax.network import Network, Tensors
from suite.spec.graph import walk
from suite.spec.layers import BatchNorm, Conv2D
from suite.spec.resolved import Spec


def applied(
    spec: Spec, weights: Tensors, option: InferenceOption
) -> tuple[Callable[[Tensors, Array], Array], dict[str, Array]]:
    """Evaluation under ``option``, from inputs to outputs in float32, and the weights that it takes.

    Raises Unsupported where JAX has no such thing, or the option changes nothing.
    """
    if option in ("int8_dynamic", "int8_static"):
        raise Unsupported("JAX itself quantises no model: packages beside it do")
    full = {name: value.astype(jnp.float32) for name, value in weights.items()}
    if option == "bfloat16":
        norms = {t.name for node in walk(spec.graph) if isinstance(node.layer, BatchNorm) for t in node.tensors}
        narrow = {name: value if name in norms else value.astype(jnp.bfloat16) for name, value in full.items()}
        return Network(spec, "bfloat16", 0).evaluate, narrow
    if not any(isinstance(node.layer, Conv2D) for node in walk(spec.graph)):
        raise Unsupported(f"{spec.id} has no convolution, so that no memory format changes it")
    return Network(spec, "float32", 0, "NCHW" if option == "channels_first" else "NHWC").evaluate, full
