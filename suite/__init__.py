"""Parity Suite: one benchmark spec, every framework, and proof that it was the same benchmark."""

__version__ = "0.1.0"
