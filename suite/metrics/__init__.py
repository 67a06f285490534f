"""From outputs to metrics, once, in float64 and NumPy, never in a framework."""
