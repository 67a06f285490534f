"""Ask the audit of timed outputs about programs that cheat, and about honest ones, as the turns of a run do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from suite.errors import Unsupported
from suite.gate import probe
from suite.inputs.initial import stream
from suite.results.questions import Question, QuestionKind
from suite.results.records import Audit
from suite.run import turns
from suite.runners.base import Runner, State, Threads
from suite.spec.precision import TIMED
from suite.spec.resolved import Spec
from suite.trial import audit
from suite.trial.agent import Seat
from tests.faults.cheats import CHEATS, PASS, QUERY, Asked, Cheat, always
from tests.faults.plant import Planted
from tests.faults.specs import SPECS

THREADS = Threads(intra=1, inter=1)
LATENCY, THROUGHPUT = (1, 16), (16,)
QUESTIONS = turns.questions(LATENCY, THROUGHPUT)
AUDITED = tuple(question for question in QUESTIONS if question.kind in (QUERY, PASS))
LAPS, CALLS = 2, 25
DRAWS, MORE = 3, 16
"""Rounds of a cheat that always shows, and of one that shows at times."""
MANY = 2605
"""Images of a pass of 163 batches, of which the audit takes six rows each."""


def _many() -> Spec:
    spec = SPECS["early"]
    return spec.replace(name="many", data=spec.data.model_copy(update={"test": MANY}))


AUDITS_OF: Mapping[str, Spec] = {**SPECS, "many": _many()}
"""Benchmarks by name: those of the faults, and one of many batches."""


class Near:
    """An agent in this process, with one program."""

    def __init__(self, spec: Spec, runner: Runner, mode: str) -> None:
        program = runner.build(spec, mode, TIMED)
        held = {split: probe.batch(spec, getattr(spec.data, split), split) for split in ("train", "test")}
        held = {split: tuple(probe.cast(values, TIMED) for values in both) for split, both in held.items()}
        for split, (images, targets) in held.items():
            program.stage(split, images, targets)
        begin = State(probe.start(spec))
        program.load(begin)
        self.seat = Seat(program, begin, spec, held["test"][0], 1)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """As an agent answers."""
        asked = dict(request)
        do = asked.pop("do")
        asked.pop("mode")
        answered: dict[str, Any] = getattr(self.seat, do)(**asked)
        return answered


@dataclass
class Audited:
    """A program that is audited in rounds, each of which draws anew."""

    spec: Spec
    runner: Runner
    mode: str
    agent: Near = field(init=False)
    seat: turns.Seat = field(init=False)

    def __post_init__(self) -> None:
        self.agent = Near(self.spec, self.runner, self.mode)
        self.seat = turns.Seat(self.agent, self.mode)
        size = self.spec.batch_size
        examples = {QuestionKind.TRAINING: 4 * size, PASS: self.spec.data.test}
        for question in QUESTIONS:
            calls = CALLS if question.kind is QUERY else 1
            self.seat.calls[question] = turns.Call(calls, examples.get(question.kind, question.batch_size), None)
            self.seat.block(question)

    def asked(self, question: Question) -> Asked:
        """How it asks a question."""
        batch = question.batch_size
        return Asked(question.kind, batch, self.seat.calls[question].calls, self.spec.data.test // batch)

    def round(self, number: int, honest: Runner) -> dict[Question, Audit | None]:
        """What the audits of one round say; ``honest`` is the runner without anything planted."""
        self.agent.seat.kept = []
        draw = stream(0, "turns", "faults", self.spec.name, number)
        turns.play([self.seat], QUESTIONS, LAPS, draw, keep=lambda question: question.kind in (QUERY, PASS))
        if isinstance(self.seat.failed, BaseException):
            raise self.seat.failed
        found = {}
        for kept in self.agent.seat.kept:
            told = audit.audit(self.spec, honest, THREADS, kept)
            question = next(q for q in AUDITED if (q.kind, q.batch_size) == (kept.question, kept.batch_size))
            found[question] = Audit.model_validate_json(json.dumps(told)) if told else None
        return found


@dataclass(frozen=True)
class Seen:
    """A cheat in one benchmark and question: in how many of so many audits it was caught, and the odds of one."""

    cheat: Cheat
    spec: str
    question: Question
    caught: int
    draws: int
    odds: float

    @property
    def right(self) -> bool:
        """Always caught where it always shows; else about as often as the odds say, within three deviations."""
        spread = (self.draws * self.odds * (1 - self.odds)) ** 0.5
        return abs(self.caught - self.draws * self.odds) <= 3 * spread + 1e-9


def cheats(
    runner: Runner, mode: str, chosen: Sequence[Cheat] = CHEATS, draws: int | None = None, *, partial: bool = False
) -> Iterator[Seen]:
    """Every cheat in every benchmark and question where it shows; none of those that a ``partial`` runner lacks."""
    for cheat in chosen:
        for name in cheat.specs:
            try:
                cheating = Audited(AUDITS_OF[name], Planted(runner, program=cheat.program), mode)
            except Unsupported:
                if not partial:
                    raise
                continue
            count = draws or (DRAWS if cheat.odds is always else MORE)
            rounds = [cheating.round(number, runner) for number in range(count)]
            for question in AUDITED:
                if question.kind in cheat.kinds and question.batch_size >= cheat.smallest:
                    told = [found[question] for found in rounds]
                    caught = sum(each is not None and not each.right for each in told)
                    yield Seen(cheat, name, question, caught, len(told), cheat.odds(cheating.asked(question)))


def alarms(
    runner: Runner, mode: str, draws: int = DRAWS, *, partial: bool = False
) -> Iterator[tuple[str, Question, Audit | None]]:
    """What audits say of a runner as it is, in every benchmark; null where nothing can be said."""
    for name, spec in AUDITS_OF.items():
        try:
            honest = Audited(spec, runner, mode)
        except Unsupported:
            if not partial:
                raise
            continue
        for number in range(draws):
            for question, told in honest.round(number, runner).items():
                yield name, question, told


def report(console: Console, token: str, runner: Runner, mode: str, *, partial: bool, only: str = "") -> bool:
    """Print what audits caught of the cheats whose name holds ``only``; whether that is what they have to.

    Honest programs are asked about where no cheat is left out.
    """
    chosen = tuple(cheat for cheat in CHEATS if only in cheat.name)
    quiet = not console.is_terminal
    found = cheats(runner, mode, chosen, partial=partial)
    seen = list(track(found, "cheats", console=console, disable=quiet, total=None))
    table = Table("cheat", "in", "question", "caught", "odds", title=f"Audits of cheats in {token} {mode}")
    for each in seen:
        caught = f"[{'green' if each.right else 'red'}]{each.caught} of {each.draws} draws"
        table.add_row(each.cheat.name, each.spec, str(each.question), caught, f"{each.odds:.2g}")
    console.print(table)
    told = [] if only else list(alarms(runner, mode, partial=partial))
    false = [(name, question, each) for name, question, each in told if each is not None and not each.right]
    for name, question, each in false:
        console.print(f"[red]{name}, {question}: {each.error} over {each.bound:.1e}")
    sure = [each for each in seen if each.cheat.odds is always]
    rest = [each for each in seen if each.cheat.odds is not always]
    worst = max((each.error / each.bound for _, _, each in told if each and each.error is not None), default=0.0)
    silent = sum(each is None for _, _, each in told)
    always_, at_times = (
        f"{sum(e.caught for e in some)} of {sum(e.draws for e in some)} draws" for some in (sure, rest)
    )
    console.print(
        f"audits of {len(chosen)} kinds of cheat: caught in {always_} where they always show, in {at_times} where at "
        f"times ({sum(each.draws * each.odds for each in rest):.0f} expected)"
    )
    console.print(
        f"false alarms of audits: {len(false)} of {len(told)} (at most {worst:.2f} of the bound; of {silent} nothing "
        "could be said)"
    )
    return not false and all(each.right for each in seen)
