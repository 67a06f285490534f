"""TensorFlow without Keras, as every part of its runner imports it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import numpy as np

from suite.spec.precision import Precision
from suite.spec.resolved import Spec
from suite.spec.targets import Loss

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_keras = sys.modules.setdefault("keras", cast(ModuleType, None))  # TensorFlow imports Keras if it can: here it cannot
try:
    import tensorflow as tf
    from tensorflow.python.framework.config import is_op_determinism_enabled  # which has no public name
    from tensorflow.python.util._pywrap_util_port import IsMklEnabled  # nor has this
finally:
    if _keras is None:
        del sys.modules["keras"]

__all__ = ["Function", "Tensor", "is_op_determinism_enabled", "onednn", "switch_tf32", "tf", "types"]

Tensor = Any
Function = Callable[..., Any]
onednn: Callable[[], bool] = IsMklEnabled
"""Whether TensorFlow takes oneDNN's kernels on this processor."""


def switch_tf32(device: str, precision: Precision) -> None:
    """Let products on a GPU be in TF32, or not: a switch of the process, which programs of several precisions share."""
    if "GPU" in device:
        tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")


def types(spec: Spec, real: type[np.floating[Any]]) -> tuple[type[np.generic], type[np.generic]]:
    """Of inputs and targets; words and labels are int64, for TensorFlow keeps int32 in host memory."""
    tokens, labels = spec.input_dtype == "tokens", spec.loss is Loss.SOFTMAX_CROSS_ENTROPY
    return np.int64 if tokens else real, np.int64 if labels else real
