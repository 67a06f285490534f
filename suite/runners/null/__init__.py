"""A runner that computes nothing.  Timing it shows what the instrument itself costs."""
