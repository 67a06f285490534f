"""Where a process of a run computes, as its records tell it: described before the framework is imported, told after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from suite.machine import environment
from suite.results.environment import Environment
from suite.runners.base import Runner, Threads


@dataclass(frozen=True)
class Here:
    """The process of ``token``, which has ``threads``; ``before`` is what was there before its framework was."""

    token: str
    device: str
    threads: Threads
    before: Environment

    @classmethod
    def describe(cls, token: str, device: str, threads: Threads, *, metered: bool = False) -> Here:
        """Of this process, by now."""
        return cls(token, device, threads, environment.describe(token, device=device, metered=metered))

    def told(self, runner: Runner) -> Environment:
        """The environment, with what the runner tells and the processor as it is by now."""
        return self.before.model_copy(
            update={
                "libraries": runner.versions(),
                "devices": runner.devices(),
                "settings": runner.settings(),
                "threads_intra": self.threads.intra,
                "threads_inter": self.threads.inter,
                "denormals": self._denormals(),
                "after": environment.processor(),
            }
        )

    def _denormals(self) -> Literal["flushed", "kept"] | None:
        """What becomes of denormals; null on a GPU, where each kernel has its own way."""
        if not environment.lock_digest(self.token):
            return "kept"  # by NumPy
        return "flushed" if self.device == "cpu" else None
