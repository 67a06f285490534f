"""A run as a whole: its plan, one worker per framework, and the proofs that can be taken over."""
