"""Two versions beside each other: a commit against the working tree, or two stored runs."""
