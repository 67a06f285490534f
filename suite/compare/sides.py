"""The two sides of a comparison: an agent inside each checkout's package, started and building beside each other.

Either is the agent of this checkout (``suite/trial/agent.py``), which imports the suite of its own side.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import RunError, Unsupported
from suite.run import trials
from suite.run.agents import AgentProcess, Lost, Refusal, checked, command
from suite.run.plan import Plan

SHARED = {"spec": "spec", "dataset": "data set", "weights": "initial weights", "order": "batch order"}
"""The digests that must be equal on both sides, in words."""


@dataclass(frozen=True, eq=False)
class Checkout:
    """A checkout that takes part, and the interpreters in which its runners run."""

    name: str
    root: Path
    pythons: Mapping[str, Path]


@dataclass(frozen=True, order=True)
class ComparedCell:
    """A spec under a runner in a mode; ``benchmark`` is what finds the spec in either checkout: a name, or a file."""

    spec: str
    runner: str
    mode: str
    benchmark: str


@dataclass(frozen=True)
class Refused:
    """Why a cell is not compared.  ``failure``: it should have been."""

    reason: str
    failure: bool


def refusal(tree: Checkout, error: RunError | Unsupported) -> Refused:
    """What ``tree`` answered with instead, and that it was this side."""
    reason = error.what if isinstance(error, Lost) else f"{tree.name}: {error.what}"
    return Refused(reason, failure=not isinstance(error, Unsupported))


class Side:
    """One checkout's agent of one runner."""

    def __init__(self, tree: Checkout, token: str, made: Plan, work: Path) -> None:
        self.tree, self._made = tree, made
        self._root = str(tree.root.resolve())
        caches = work / tree.name
        caches.mkdir(exist_ok=True)
        threads = made.threads
        words = command(tree.pythons[token], token, made.profile.device, threads.intra, threads.inter)
        variables = {**trials.trial_environment(caches, made), "PYTHONPATH": self._root}
        self.agent = AgentProcess(tree.name, words, variables, work / f"{tree.name}-{token}.log")

    def arrive(self) -> None:
        """Wait until it is up, and see that it runs its own checkout.  Raises RunError."""
        if (found := self.agent.greeting()["root"]) != self._root:
            raise RunError(f"ran the suite of {found} instead of {self._root}")

    def ask_open(self, cells: Sequence[ComparedCell]) -> None:
        """Let it begin to build these cells of one benchmark.  Raises Lost."""
        first, profile = cells[0], self._made.profile
        source = {"root": self._root, "benchmark": first.benchmark, "spec": first.spec}
        self.agent.request(
            {"do": "open", "source": source, "modes": [cell.mode for cell in cells], "seed": profile.seeds[0]}
        )

    def opened(self) -> dict[str, Any]:
        """What it says of what it was asked to build.  Raises Unsupported and RunError."""
        return checked(self.agent.reply())


@contextlib.contextmanager
def started(
    trees: tuple[Checkout, Checkout], token: str, made: Plan, work: Path, *, turned: bool
) -> Iterator[tuple[Side, Side]]:
    """Both sides' agents, on their way up; ``turned`` starts the second first.  They end with the context."""
    with contextlib.ExitStack() as stack:
        found = []
        for tree in reversed(trees) if turned else trees:
            found.append(Side(tree, token, made, work))
            stack.enter_context(found[-1].agent)
        one, other = reversed(found) if turned else found
        yield one, other


def arrived(both: Sequence[Side]) -> Refused | None:
    """Wait for both; or why nothing can be compared."""
    for side in both:
        try:
            side.arrive()
        except RunError as error:
            return refusal(side.tree, error)
    return None


def opened(both: Sequence[Side], cells: Sequence[ComparedCell]) -> dict[ComparedCell, Refused]:
    """Let both build these cells of one benchmark, beside each other; returns those that cannot be compared."""
    told: list[dict[str, Any]] = []
    failed: Refused | None = None
    for do in (lambda side: side.ask_open(cells), lambda side: told.append(side.opened())):
        for side in both:
            try:
                do(side)
            except (RunError, Unsupported) as error:
                failed = failed or refusal(side.tree, error)
    if failed is None and (differing := _differing(*told)):
        failed = Refused(f"not the same {' and '.join(differing)} in both", failure=False)
    if failed is not None:
        return dict.fromkeys(cells, failed)
    refused: dict[ComparedCell, Refused] = {}
    for side, found in zip(both, told, strict=True):
        for cell in cells:
            try:
                checked(found["modes"][cell.mode])
            except (Refusal, Unsupported) as error:
                refused.setdefault(cell, refusal(side.tree, error))
    return refused


def _differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What both would not share, in words."""
    return [words for name, words in SHARED.items() if one["digests"][name] != other["digests"][name]]
