"""The mathematics of a Spec in plain NumPy, for any NumPy float type: layers, losses, optimizers and the network.

It is written to be read against the papers, not to be fast.  All arithmetic stays in the type of the arrays given:
Python numbers are weak in NumPy, and nothing here creates an array of another float type.
"""
