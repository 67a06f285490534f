"""PyTorch: native modules, fused optimizers, eager, compiled, and as CUDA graphs."""
