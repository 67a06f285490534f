"""What several commands say of the same argument or option."""

from __future__ import annotations

ABOUT_BENCHMARK = "a name from `suite list`, or the path of a YAML file; name/case or path/case selects one case"
ABOUT_DETERMINISTIC = "ask each framework for deterministic algorithms"
ABOUT_THREADS = "threads of a framework inside one operation, one operation at a time; at most the machine's cores"
ABOUT_PRECISION = "float32, bfloat16 (mixed) or, on a GPU, tf32; may be repeated"
ABOUT_RUNNER = "a framework, or some of its modes: torch, or torch:eager,compile; may be repeated"
