"""From results to evidence: proofs joined, doubles dropped, comparisons made, claims judged."""
