"""Ask the gate about many drawn networks in a runner as it is: whatever it objects to is a false alarm.

python -m tests.faults.alarms --runner torch --count 500
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.progress import track

from suite.errors import Unsupported
from suite.gate.reference_answers import ReferenceAnswers
from suite.results.identity import Verdict
from suite.runners.base import find
from suite.runners.reference.runner import Runner as Reference
from tests.faults.networks import network
from tests.faults.run import THREADS, examine, is_partial

LACKS = "unsupported"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 if the gate objects to any network."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.alarms", description=__doc__)
    parser.add_argument("--runner", default="reference", help="the runner that is proven")
    parser.add_argument("--modes", default="", help="its modes, joined by commas; the first it has unless given")
    parser.add_argument("--count", type=int, default=500, help="networks")
    parser.add_argument("--first", type=int, default=0, help="number of the first network")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    runner = find(options.runner)("cpu", THREADS, 0)
    modes = options.modes.split(",") if options.modes else runner.modes[:1]
    partial = is_partial(options.runner)
    seen: Counter[str] = Counter()
    numbers = range(options.first, options.first + options.count)
    for number in track(numbers, "networks", console=console, disable=not console.is_terminal):
        spec = network(number)
        memory = ReferenceAnswers(lambda variants: Reference("cpu", THREADS, 0, variants=variants))
        for mode in modes:
            try:
                found = examine(spec, runner, mode, memory)
            except Unsupported as error:
                if not partial:
                    raise
                seen[f"{mode}: {LACKS}"] += 1
                console.print(f"{spec.name} {mode} {error}", soft_wrap=True)
                continue
            seen[f"{mode}: {found.verdict}"] += 1
            if found.verdict is not Verdict.IDENTICAL:
                worst = found.divergence
                what = f"{worst.section}: {worst.tensor} {worst.error} over {worst.bound:.1e}" if worst else ""
                console.print(f"{spec.name} {mode} {spec.optimizer} {what}", soft_wrap=True)
    for words, count in sorted(seen.items()):
        console.print(f"{words}: {count} of {options.count}")
    return 0 if all(words.endswith((str(Verdict.IDENTICAL), LACKS)) for words in seen) else 1


if __name__ == "__main__":
    sys.exit(main())
