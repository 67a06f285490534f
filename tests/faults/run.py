"""Plant every fault and every harmless mutant, ask the gate, and print what it caught; and what audits caught."""

import argparse
import importlib
import importlib.util
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from unittest.mock import patch

from rich.console import Console
from rich.progress import track
from rich.table import Table

from suite.errors import Unsupported
from suite.gate import gate, probe
from suite.gate.reference_answers import ReferenceAnswers
from suite.results.identity import Identity, Verdict
from suite.runners.base import Precision, Runner, find
from suite.runners.reference.runner import Runner as Reference
from suite.spec.precision import TIMED
from suite.spec.resolved import Spec, digest
from tests.faults import audited
from tests.faults.catalogue import FAULTS, Fault
from tests.faults.harmless import ANYWHERE, Mutant
from tests.faults.specs import SPECS

AUDIT = "audit"
PRECISIONS: Mapping[Precision, Collection[str]] = {"float32": SPECS, "bfloat16": ("mlp", "cnn", "sampled", "usual")}
"""In which, and in which benchmarks, harmless mutants are looked at: these four hold what a low precision is about."""
THREADS = audited.THREADS


def memory() -> ReferenceAnswers:
    """The reference, which keeps what it has answered about every spec."""
    return ReferenceAnswers(lambda variants: Reference("cpu", THREADS, 0, variants=variants), len(SPECS))


def examine(
    spec: Spec, runner: Runner, mode: str, asked: ReferenceAnswers | None = None, precision: Precision = TIMED
) -> Identity:
    """What the gate says of a timed precision; ``asked`` is the reference and what it has answered."""
    return gate.examine(spec, runner, asked or memory(), mode, precision, key=digest(spec.id))


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: the smallest magnitude caught, and what was named at the largest.

    ``missed`` are magnitudes that had to be caught and were not, ``misnamed`` what was named instead of the expected.
    ``lacks`` says what the runner has not that the fault would be planted in; then nothing was asked.
    """

    fault: Fault
    smallest: float | None
    named: str
    missed: tuple[float, ...]
    misnamed: tuple[str, ...]
    lacks: str = ""

    @property
    def right(self) -> bool:
        return self.smallest is not None and not self.missed and not self.misnamed


def try_fault(
    fault: Fault, runner: Runner, mode: str, asked: ReferenceAnswers | None = None, *, partial: bool = False
) -> Outcome:
    """Down the ladder until the gate sees nothing any more; the name counts as far down as the fault must be caught.

    A runner that is not ``partial`` has all that is asked for; else Unsupported goes through.
    """
    asked = asked or memory()
    smallest, named = None, ""
    misnamed: list[str] = []
    for magnitude in fault.ladder:
        try:
            found = examine(SPECS[fault.spec], fault.plant(runner, magnitude), mode, asked, fault.precision)
        except Unsupported as error:
            if not partial:
                raise
            return Outcome(fault, None, "", (), (), error.what)
        if found.verdict is not Verdict.UNPROVEN or found.divergence is None:
            break
        smallest = magnitude
        said = f"{found.divergence.section}: {found.divergence.tensor}"
        named = named or said
        if fault.must_catch(magnitude) and not re.fullmatch(fault.expected, said):
            misnamed.append(said)
    caught = fault.ladder[: fault.ladder.index(smallest) + 1] if smallest is not None else ()
    missed = tuple(m for m in fault.ladder if fault.must_catch(m) and m not in caught)
    return Outcome(fault, smallest, named, missed, tuple(misnamed))


def false_alarms(
    mutants: Sequence[Mutant], runner: Runner, mode: str, seeds: int, *, partial: bool = False
) -> Iterator[tuple[str, str]]:
    """For each mutant, benchmark, precision and probe: its name, and what the gate found wrong, or nothing.

    Where a ``partial`` runner lacks what a benchmark asks for, nothing is said of it.
    """
    for seed in range(seeds):
        asked = memory()
        for mutant in mutants:
            for (name, spec), precision in product(SPECS.items(), PRECISIONS):
                if name not in PRECISIONS[precision]:
                    continue
                try:
                    with patch.object(probe, "SEED", seed):
                        found = examine(spec, mutant.plant(runner), mode, asked, precision).divergence
                except Unsupported:
                    if not partial:
                        raise
                    continue
                yield mutant.name, f"{spec.name}, probe {seed}, {found.section}: {found.tensor}" if found else ""


def native(token: str) -> tuple[tuple[Fault, ...], tuple[Mutant, ...]]:
    """Faults and mutants that a runner's own code is replaced for, as ``in_<token>.py`` states them; else none."""
    name = f"tests.faults.in_{token}"
    if importlib.util.find_spec(name) is None:
        return (), ()
    module = importlib.import_module(name)
    return module.FAULTS, module.MUTANTS


def is_partial(token: str) -> bool:
    """Whether a runner may lack what benchmarks ask for: it has no ``in_<token>.py``, or states ``PARTIAL`` there."""
    name = f"tests.faults.in_{token}"
    return importlib.util.find_spec(name) is None or getattr(importlib.import_module(name), "PARTIAL", False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 if a fault is missed or misnamed, a harmless mutant is not let pass, or an audit is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runner", default="reference", help="the runner to plant faults in")
    parser.add_argument("--mode", help="its mode; the first it has unless given")
    parser.add_argument("--seeds", type=int, default=1, help="probes per harmless mutant and benchmark")
    parser.add_argument("--only", default="", help="what has this in its name; audit: all cheats, alone")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    runner = find(options.runner)("cpu", THREADS, 0)
    mode = options.mode or runner.modes[0]
    faults, mutants = native(options.runner)
    faults = tuple(fault for fault in (*FAULTS, *faults) if options.only in fault.name)
    mutants = tuple(mutant for mutant in (*ANYWHERE, *mutants) if options.only in mutant.name)

    quiet = not console.is_terminal
    asked = memory()
    partial = is_partial(options.runner)
    if options.only == AUDIT:
        return 0 if audited.report(console, options.runner, runner, mode, partial=partial) else 1
    outcomes = [
        try_fault(f, runner, mode, asked, partial=partial)
        for f in track(faults, "faults", console=console, disable=quiet)
    ]
    table = Table("fault", "in", "caught", "smallest caught", "named", title=f"Faults in {options.runner} {mode}")
    for outcome in outcomes:
        graded = len(outcome.fault.ladder) > 1 and outcome.smallest is not None
        wrong = [f"missed {m:g}" for m in outcome.missed] + [f"named {name}" for name in outcome.misnamed]
        table.add_row(
            outcome.fault.name,
            outcome.fault.spec,
            outcome.lacks or ("[green]yes" if outcome.right else "[red]" + "; ".join(wrong)),
            f"{outcome.smallest:g} {outcome.fault.unit}".rstrip() if graded else "",
            outcome.named,
        )
    console.print(table)

    alarms = list(
        track(
            false_alarms(mutants, runner, mode, options.seeds, partial=partial),
            "mutants",
            console=console,
            disable=quiet,
            total=None,
        )
    )
    table = Table("harmless mutant", "let pass", title=f"Harmless mutants of {options.runner} {mode}")
    for mutant in mutants:
        found = [said for name, said in alarms if name == mutant.name]
        said = [s for s in found if s]
        table.add_row(mutant.name, "[red]" + "; ".join(said) if said else f"[green]{len(found)} of {len(found)}")
    console.print(table)

    right = sum(outcome.right for outcome in outcomes)
    false = sum(bool(said) for _, said in alarms)
    lacking = sum(bool(outcome.lacks) for outcome in outcomes)
    less = f"; {lacking} more are in what {options.runner} has not" if lacking else ""
    console.print(f"caught and rightly named: {right} of {len(outcomes) - lacking} kinds of fault{less}")
    console.print(f"false alarms: {false} of {len(alarms)} ({len(mutants)} harmless mutants)")
    sound = audited.report(console, options.runner, runner, mode, partial=partial, only=options.only)
    return 0 if right == len(outcomes) - lacking and not false and sound else 1
