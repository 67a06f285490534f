"""A framework for the example of how one is added: perceptrons in NumPy."""
