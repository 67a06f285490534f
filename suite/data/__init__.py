"""Data sets: getting them, verifying them by hash and loading them as arrays; also the user's own arrays."""
