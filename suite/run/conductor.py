"""The conductor: who asks whom, from the first proof to the last round, natively and in containers alike.

Proofs and trainings run side by side, for nothing is timed meanwhile.  In each round fresh agents of all frameworks
open a benchmark after the other and take turns.  After each look only those benchmarks go on that hold a comparison
which is neither decided nor precise enough.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from suite.errors import ResultError
from suite.results import records
from suite.results.records import Cause, Measured
from suite.run import estimate, wire
from suite.run.agents import Lost
from suite.run.decisions import waived
from suite.run.folder import files, finished
from suite.run.parent import ARRIVAL_SECONDS
from suite.run.parents import ParentLine, gathered, native, nobody
from suite.run.plan import Entry, Plan
from suite.run.rounds import Round
from suite.run.trials import record_failure
from suite.spec import stages

SHORT_SECONDS = 20.0
"""A training that is predicted to take no longer fills the time in which others prove."""
LOOK_SECONDS = 1.0
"""How often it is told how far trials are."""
Busy = dict[ParentLine, tuple[Entry, ...]]
"""Parents, and the trials that each runs now."""


@dataclass(frozen=True)
class Progress:
    """What is going on, what is done, and the seconds that the rest will take, as far as anyone can tell.

    ``doing`` says it in words.  ``news`` are sentences on the trainings that diverged in trials that ended since the
    last time.  ``ended`` is the round that has just ended, or null: a report can be written.
    """

    doing: str
    done: int
    total: int
    seconds_left: float
    news: tuple[str, ...] = ()
    ended: int | None = None


def left_to_do(folder: Path, made: Plan) -> tuple[Entry, ...]:
    """Entries still to do, in order, without those rounds that benchmarks need no more."""
    needless = waived(folder, made)
    return tuple(entry for entry in made.entries if entry.id not in needless and not finished(folder, entry))


def conduct(folder: Path, made: Plan, interpreters: Mapping[str, Path] | None) -> Generator[Progress]:
    """Do what is left of a run, and tell now and then how far it is.

    ``interpreters`` are those in which this process starts the parents; without them parents come by themselves, from
    their containers, and all of them are waited for, also where nothing is left: whoever is not hung up on would wait.
    Closing the iterator, or an exception in it, ends all that runs.  Raises RunError where nobody can go on, a full
    disk for one.  What an end from outside leaves undone is done by the next call.
    """
    todo = left_to_do(folder, made)
    if not todo and interpreters is not None:
        return
    tokens = sorted({cell.runner for entry in (made.entries if interpreters is None else todo) for cell in entry.cells})
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(wire.listening(folder))
        processes = stack.enter_context(native(folder, interpreters)) if interpreters is not None else {}
        parents = gathered(listener, made, tokens, ARRIVAL_SECONDS, processes)
        for parent in parents.values():
            stack.callback(parent.close)
        if not todo:
            return
        if not parents:
            raise nobody(folder, tokens)
        yield from Conductor(folder, made, parents, todo).play()


class Conductor:
    """One run with its parents; ``todo`` is what was left when it began."""

    def __init__(self, folder: Path, made: Plan, parents: Mapping[str, ParentLine], todo: Iterable[Entry]) -> None:
        self._folder, self._made, self._parents = folder, made, parents
        self._todo = list(todo)
        self._needless = waived(folder, made)
        self._forecast = estimate.Forecast(made, self._todo)
        self._began = time.monotonic()

    def play(self) -> Generator[Progress]:
        """Proofs, the first round, trainings, the other rounds, inference options."""
        yield from self._side_by_side("proving", "prove", self._short_trainings())
        rounds = sorted({entry.round for entry in self._todo if entry.kind == "turns"})
        staged = any(stages.parent(spec) for spec in self._made.specs)
        first = [number for number in rounds if number == 1 and not staged]
        for number in first:
            yield from self._round(number)
        yield from self._side_by_side("training", "measure")
        for number in (number for number in rounds if number not in first):
            yield from self._round(number)
        yield from self._side_by_side("inference options", "tune")
        yield self._told("finished")

    def _told(self, doing: str, news: tuple[str, ...] = (), ended: int | None = None) -> Progress:
        left = [e for e in self._todo if e.id not in self._needless and not finished(self._folder, e)]
        ahead = self._forecast.remaining(left, time.monotonic() - self._began)
        total = len(self._made.entries) - len(self._needless)
        return Progress(doing, total - len(left), total, ahead, news, ended)

    def _round(self, number: int) -> Generator[Progress]:
        """One round of all benchmarks that are open still."""
        mine = [e for e in self._todo if e.kind == "turns" and e.round == number and e.id not in self._needless]
        if not mine:
            return
        doing = f"round {number} of {self._made.profile.rounds}"
        yield self._told(doing)
        round_ = Round(self._folder, self._made, self._parents, number, mine)
        for entry in mine:
            spec = entry.cells[0].spec
            for step in round_.turns(entry):
                yield self._told(f"{doing}: {spec}, {step}")
        round_.close()  # whoever breaks it off hangs up, and does not wait for an answer that is owed
        self._needless = waived(self._folder, self._made)
        yield self._told(doing, ended=number)

    def _short_trainings(self) -> list[Entry]:
        """What a framework that has proven may do while others prove; nobody should wait long for the first round."""
        if self._made.profile.metered:
            return []
        mine = [e for e in self._todo if e.kind == "measure" and not finished(self._folder, e)]
        return [entry for entry in mine if estimate.seconds(self._made, entry) <= SHORT_SECONDS]

    def _side_by_side(self, doing: str, kind: str, meanwhile: Sequence[Entry] = ()) -> Generator[Progress]:
        """Trials of one kind, side by side, each when what it starts from is there.

        Each parent runs one at a time; trainings take the place of parents that have none left.  A parent that has no
        more does those ``meanwhile``, one after the other, until the others are done.
        Where a GPU is metered, only one: its memory and energy are told of all that is on it.  And one where inference
        options are timed.
        """
        alone = kind == "tune" or (kind == "measure" and self._made.profile.metered)
        queue = [entry for entry in self._todo if entry.kind == kind and not finished(self._folder, entry)]
        queue.sort(key=lambda entry: -estimate.seconds(self._made, entry))  # the shortest fill the gaps at the end
        busy: Busy = {}
        deadlines: dict[ParentLine, float] = {}
        fillers = list(meanwhile)
        while queue or busy:
            if any(entry.kind == kind for entries in busy.values() for entry in entries):
                queue += self._fillers(fillers, queue, busy)
            for token in dict.fromkeys(entry.runner for entry in queue):
                mine = [entry for entry in queue if entry.runner == token]
                parent = self._parents.get(token or "")
                if parent is None or parent.gone:
                    queue = [entry for entry in queue if entry not in mine]
                    self._fail(mine, Lost(f"the parent of {token}'s processes is gone", Cause.WORKER_DIED))
                elif parent not in busy and not (alone and busy):
                    unfinished = [*queue, *(entry for entries in busy.values() for entry in entries)]
                    able = [entry for entry in mine if self._ready(entry, unfinished)]
                    room = 1 if alone or kind == "prove" else self._room(mine, queue, busy)
                    if now := able if room > 1 else able[:1]:
                        queue = [entry for entry in queue if entry not in now]
                        self._begin(parent, now, room, busy)
                        deadlines[parent] = time.monotonic() + parent.limit(sum(len(entry.cells) for entry in now))
            if not busy:
                continue
            ended = self._ended(busy, deadlines)
            names = ", ".join(f"{parent.token}: {_benchmarks(entries)}" for parent, entries in busy.items())
            yield self._told(f"{doing}, {names}" if names else doing, self._news(ended))

    def _ended(self, busy: Busy, deadlines: Mapping[ParentLine, float]) -> list[Entry]:
        """Trials that end within a look; those of a parent that is late as failures."""
        ended: list[Entry] = []
        lines = wire.ready([parent.line for parent in busy if parent.line], LOOK_SECONDS)
        late = [parent for parent in busy if parent.line not in lines and time.monotonic() > deadlines[parent]]
        for parent in late:  # frozen: a trial that takes too long its parent would have ended
            entries = busy.pop(parent)
            self._fail(entries, parent.late())
            ended += entries
        for parent in [parent for parent in busy if parent.line in lines]:
            entries = busy.pop(parent)
            try:
                parent.answer()
            except Lost as error:
                self._fail(entries, error)
            ended += entries
        return ended

    def _room(self, mine: Sequence[Entry], queue: Sequence[Entry], busy: Busy) -> int:
        """How many trainings a parent may run at once: one, and as many as parents have nothing left to do."""
        engaged = {entry.runner for entry in queue if entry not in mine} | {parent.token for parent in busy}
        running = sum(len(entries) for entries in busy.values())
        waiting = len(engaged - {parent.token for parent in busy})
        return max(1, self._made.threads.intra // self._share - running - waiting)

    @property
    def _share(self) -> int:
        """The threads of a training that others may run beside."""
        return max(1, self._made.threads.intra // max(1, len(self._made.profile.runners)))

    def _fillers(self, fillers: list[Entry], queue: Sequence[Entry], busy: Busy) -> Iterator[Entry]:
        """One of ``fillers``, which loses it, for each parent that has nothing else to do."""
        engaged = {entry.runner for entry in queue} | {parent.token for parent in busy}
        for token in self._parents.keys() - engaged:
            fill = next((e for e in fillers if e.runner == token and self._ready(e, self._todo)), None)
            if fill is not None:
                fillers.remove(fill)
                yield fill

    def _begin(self, parent: ParentLine, entries: Sequence[Entry], room: int, busy: Busy) -> None:
        """A training has its framework's share of the cores, alone or not: else a seed would not repeat to the bit."""
        cpu = self._made.profile.device == "cpu"
        beside = entries[0].kind == "measure" and cpu and self._share < self._made.threads.intra
        ids = [entry.id for entry in entries]
        try:
            parent.tell(do="trials", entries=ids, at_once=room, threads=self._share if beside else None)
        except Lost as error:
            self._fail(entries, error)
        else:
            busy[parent] = tuple(entries)

    def _ready(self, entry: Entry, unfinished: Iterable[Entry]) -> bool:
        """Whether everything that the cells start from has been trained."""
        giving = {
            id(found[0])
            for cell in entry.cells
            if (giver := stages.parent(self._made.spec(cell.spec))) and (found := self._made.donor(giver, cell.round))
        }
        return not any(id(other) in giving for other in unfinished if other is not entry)

    def _fail(self, entries: Iterable[Entry], error: Lost) -> None:
        for entry in entries:
            record_failure(self._folder, self._made, entry, entry.cells, error.cause, error.what)

    def _news(self, ended: Iterable[Entry]) -> tuple[str, ...]:
        """A sentence on each training that diverged."""
        told = []
        for entry in (entry for entry in ended if entry.kind == "measure"):
            for cell, path in zip(entry.cells, files(self._folder, entry), strict=True):
                with contextlib.suppress(ResultError):  # whoever makes the report refuses it
                    found = records.read(path)
                    diverged = found.training.divergence if isinstance(found, Measured) and found.training else None
                    who = f"{cell.spec}, {cell.runner} ({cell.mode}), seed {cell.seed}"
                    told += [f"{who}: {diverged}"] if diverged else []
        return tuple(told)


def _benchmarks(entries: Iterable[Entry]) -> str:
    return "; ".join(dict.fromkeys(cell.spec for entry in entries for cell in entry.cells))
