"""PyTorch: native modules, fused optimizers, eager and compiled."""
