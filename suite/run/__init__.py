"""A run as a whole: its plan, who asks the frameworks in turns, and the proofs that can be taken over."""
