"""Words that other frameworks use, and what this suite calls the same thing or offers instead."""
