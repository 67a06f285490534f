"""Inference in PyTorch with one option changed: another memory format, or a narrower type.

Quantisation is PyTorch's own, of eager modules in int8 (``torch.ao.quantization``), which computes on the processor
alone; the kind that can be compiled lives in another package, torchao.
"""

from __future__ import annotations

import warnings
from itertools import chain

import torch
from torch import nn
from torch.ao import quantization
from torch.ao.quantization import quantize_fx

from suite.errors import Unsupported
from suite.runners.base import InferenceOption
from suite.runners.torch import layers as native
from suite.spec.graph import walk
from suite.spec.layers import Conv2D, Dense
from suite.spec.resolved import Spec
from suite.spec.semantics import under


class Contiguous(nn.Module):  # type: ignore[misc]
    """NCHW in memory as well."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.contiguous()


def applied(
    model: nn.Sequential, spec: Spec, option: InferenceOption, calibration: torch.Tensor, compiled: bool
) -> nn.Module:
    """A twin of ``model`` in evaluation under ``option``, from inputs to outputs in float32.

    Raises Unsupported where PyTorch, the device or the mode has no such thing.
    """
    if calibration.dtype.is_floating_point:
        calibration = calibration.float()
    # Built anew, as the program itself was, so that nothing but the option is another.  What a running variance takes
    # is of no matter in evaluation, and quantisation knows PyTorch's own batch norms alone.
    plain = under(spec, ("unbiased_running_variance",))
    made = native.model(plain, {}).to(calibration.device, torch.float32, memory_format=torch.channels_last)
    made.load_state_dict(model.state_dict())
    made.eval().requires_grad_(False)
    match option:
        case "channels_last" | "channels_first":
            return _laid_out(made, spec, option)
        case "bfloat16":
            first = [native.Cast(torch.bfloat16)] if spec.input_dtype == "float" else []
            return nn.Sequential(*first, made.to(torch.bfloat16), native.Cast(torch.float32))
        case "int8_dynamic" | "int8_static":
            _quantisable(spec, option, calibration.device, compiled)
            with warnings.catch_warnings(action="ignore"):  # it is deprecated in favour of torchao
                return _dynamic(made) if option == "int8_dynamic" else _static(made, calibration)


def _laid_out(model: nn.Sequential, spec: Spec, option: InferenceOption) -> nn.Sequential:
    """Programs are channels_last already."""
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        raise Unsupported(f"{spec.id} has no convolution, so that no memory format changes it")
    if option == "channels_last":
        return model
    parts = ((part, Contiguous()) if isinstance(part, native.ChannelsFirst) else (part,) for part in model)
    return nn.Sequential(*chain.from_iterable(parts)).to(memory_format=torch.contiguous_format)


def _quantisable(spec: Spec, option: InferenceOption, device: torch.device, compiled: bool) -> None:
    if device.type != "cpu":
        raise Unsupported("PyTorch's own quantised modules compute on the processor alone")
    if compiled:
        raise Unsupported("PyTorch's own quantised modules cannot be compiled; those of another package, torchao, can")
    if torch.backends.quantized.engine == "none":
        raise Unsupported("this PyTorch is built without an engine for quantised modules")
    kinds = Dense if option == "int8_dynamic" else (Dense, Conv2D)
    if not any(isinstance(node.layer, kinds) for node in walk(spec.graph)):
        raise Unsupported(f"{spec.id} has no layer that PyTorch quantises by {option}")


def _dynamic(model: nn.Sequential) -> nn.Module:
    """Dense layers alone: their weights in int8, their inputs as each query brings them."""
    return quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def _static(model: nn.Sequential, calibration: torch.Tensor) -> nn.Module:
    """Convolutions and dense layers with what surrounds them, the ranges learnt from ``calibration``."""
    mapping = quantization.get_default_qconfig_mapping(torch.backends.quantized.engine)
    for kind in (nn.Embedding, nn.EmbeddingBag):
        mapping = mapping.set_object_type(kind, None)  # looking up is no arithmetic
    prepared = quantize_fx.prepare_fx(model, mapping, (calibration[:1],))
    with torch.inference_mode():
        prepared(calibration)
    return quantize_fx.convert_fx(prepared)
