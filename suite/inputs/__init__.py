"""What every framework is given: initial weights, batch order, derived examples and stored weights.

All of it is made in NumPy from named random streams, the same for everyone.
"""
