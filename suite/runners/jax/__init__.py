"""JAX: pure functions over a tree of arrays, an epoch as one jitted call, or op by op."""
