"""What ``suite show`` prints of one benchmark: what it states and implies, and what a porter must know of it."""

from __future__ import annotations

from itertools import chain, islice

from rich.markup import escape

from suite.cli import display
from suite.cli.display import out
from suite.gate import shift
from suite.machine import environment
from suite.runners import base
from suite.spec.differences import Difference
from suite.spec.resolved import Spec


def benchmark(found: Spec, among: int = 1) -> None:
    """Print it: layers, fields, and where each framework's own API differs; it is one of so many that are shown."""
    out.print(f"[bold]{escape(found.id)}[/]  {escape(found.title)}")
    if found.description:
        out.print(escape(found.description.strip()))
    out.print(display.layers(found))
    out.print(display.facts(found))
    out.print()
    for part in display.differences(differences(found, shift.QUICK / among)):
        out.print(part)
    out.print()


def differences(found: Spec, most: float) -> dict[str, tuple[Difference, ...]]:
    """Where each framework's own API differs, by its token; what that does, where all of it costs at most ``most``."""
    stated = {token: base.differences(token, found) for token in base.tokens()}
    told = iter(shift.told(found, chain.from_iterable(stated.values()), _reference, most))
    return {token: tuple(islice(told, len(each))) for token, each in stated.items() if each}


def _reference() -> base.Runner:
    threads = base.Threads(intra=environment.cores(), inter=1)
    return base.find("reference")("cpu", threads, 0)
