"""The gate: whether a runner computes what the spec says, compared with the reference before anything is timed."""
