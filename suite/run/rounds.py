"""One round: fresh agents of all frameworks, which open one benchmark after the other and take turns."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from suite.errors import ResultError, RunError, Unsupported
from suite.inputs import initial
from suite.results import records
from suite.results.environment import Environment
from suite.results.questions import Question, QuestionKind
from suite.results.records import Audit, Blocks, Cause, Cell, Digests, Failed, Parent, Timed
from suite.run import turns
from suite.run.agents import Lost, Refusal, checked
from suite.run.parents import ParentLine, RemoteAgent
from suite.run.plan import Entry, Plan
from suite.run.turns import Call, Seat
from suite.runners.base import INSTRUMENT
from suite.spec.resolved import Spec

CONTROL = "control"
Failure = RunError | Unsupported


@dataclass(eq=False)
class Place:
    """A cell in its turn; ``control`` is the second process of one that has a place already."""

    cell: Cell
    agent: RemoteAgent
    control: bool = False
    seat: Seat | None = None
    opened: Mapping[str, Any] | None = None
    failed: Failure | None = None
    peak: Mapping[str, Any] = field(default_factory=dict)


class Round:
    """The agents of one round; closing it ends them."""

    def __init__(
        self, folder: Path, made: Plan, parents: Mapping[str, ParentLine], number: int, entries: Sequence[Entry]
    ) -> None:
        self._folder, self._made, self._parents, self._number = folder, made, parents, number
        self._agents: dict[str, RemoteAgent] = {}
        self._alone = number <= made.profile.built_alone
        self._peaked: set[tuple[str, str]] = set()
        twice = (entry.cells[0] for entry in entries if entry.cells[0].spec == made.specs[0].id)
        self._control: Cell | None = next(twice, None) if made.profile.control else None
        """The cell that is to stand twice in its laps, as long as they are ahead."""

    def close(self) -> None:
        """End every agent."""
        for agent in self._agents.values():
            agent.end()
        self._agents = {}

    def turns(self, entry: Entry) -> Iterator[str]:
        """A benchmark's turns, from opening it to its records; yields what is going on.

        Where programs do not fit side by side, each framework has all of its laps in one piece, in drawn order.
        """
        began, clock = dt.datetime.now(dt.UTC), time.monotonic()
        profile = self._made.profile
        questions = self._questions(self._made.spec(entry.cells[0].spec))
        draw = initial.stream(0, "turns", profile.name, entry.id, self._made.source)
        together: list[Place] = []
        first = next(self._earlier(entry), None)
        if not (apart := first is not None and first.spans):
            together = self._places(entry)
            yield from self._ready(entry, together, questions)
            apart = _crowded(together)
        for places in self._one_by_one(entry, draw) if apart else [together]:
            if apart:
                yield from self._ready(entry, places, questions)
            if self._number == 1:
                yield "what the machine can do"
                self._peaks(places)
            yield f"{profile.laps} laps"
            seats = [place.seat for place in places if place.seat]
            turns.play(seats, questions, profile.laps, draw, keep=lambda question: question.kind in AUDITED)
            closed = self._close(places)
            self._write(entry, places, closed, began, time.monotonic() - clock, apart)

    def _one_by_one(self, entry: Entry, draw: np.random.Generator) -> Iterator[list[Place]]:
        """Each framework's places, when no other's agent is there."""
        self._control = None
        runners = list(dict.fromkeys(cell.runner for cell in entry.cells))
        for number in draw.permutation(len(runners)):
            self.close()
            mine = [cell for cell in entry.cells if cell.runner == runners[number]]
            yield [Place(cell, self._agent(cell.runner, cell.runner)) for cell in mine]
        self.close()

    def _ready(self, entry: Entry, places: Sequence[Place], questions: Sequence[Question]) -> Iterator[str]:
        """Start what is not there, build, warm up, and settle how long blocks are."""
        yield "building"
        late = self._start(places)
        self._open(entry, [place for place in places if not place.control])
        self._rise(late, places)
        self._open(entry, [place for place in places if place.control])
        yield "warming up"
        self._warm(entry, places, questions)
        yield "settling"
        self._settle(places, questions)

    def _warm(self, entry: Entry, places: Sequence[Place], questions: Sequence[Question]) -> None:
        """Let all warm up at once, for calls of the lengths of earlier rounds; nothing is timed yet."""
        recalled = self._recalled(entry)
        for place in places:
            if place.seat:
                place.seat.calls |= recalled.get((place.cell.runner, place.cell.program), {})

        def ask(agent: RemoteAgent) -> None:
            mine = [place.seat for place in places if place.agent is agent and place.seat]
            agent.request({"do": "warm", "modes": {seat.mode: seat.warming(questions) for seat in mine}})

        for group in _one_a_parent(_agents([place for place in places if place.seat])):
            for agent, told in self._each(group, places, ask, RemoteAgent.answer).items():
                for place in (place for place in places if place.agent is agent and place.seat):
                    self._well(place, told)

    def _settle(self, places: Sequence[Place], questions: Sequence[Question]) -> None:
        """Let every seat know how long its blocks are: as in an earlier round, and a control as its twin."""
        least = self._made.profile.lap_milliseconds * 1e6
        seats = {place.cell: place.seat for place in places if place.seat and not place.control}
        turns.settle(list(seats.values()), questions, least)
        twins = [place for place in places if place.seat and place.control]
        for place in twins:
            assert place.seat
            place.seat.calls |= seats[place.cell].calls if place.cell in seats else {}
        turns.settle([place.seat for place in twins if place.seat], questions, least)

    def _recalled(self, entry: Entry) -> dict[tuple[str, str], dict[Question, Call]]:
        """How runners answered in their modes in the first round that they have; so all rounds ask for the same."""
        known: dict[tuple[str, str], dict[Question, Call]] = {}
        for found in self._earlier(entry):
            calls = {Question(b.kind, b.batch_size): Call(b.calls, b.examples, b.own_ns) for b in found.blocks}
            known.setdefault((found.cell.runner, found.cell.program), calls)
            if len(known) == len(entry.cells):
                break
        return known

    def _earlier(self, entry: Entry) -> Iterator[Timed]:
        """The records of a benchmark's earlier rounds, as far as they can be read."""
        for other in self._made.entries:
            if other.kind == "turns" and other.round < entry.round and other.cells[0].spec == entry.cells[0].spec:
                for cell in other.cells:
                    with contextlib.suppress(ResultError, OSError):
                        found = records.read(self._folder / "results" / other.file(cell))
                        if isinstance(found, Timed):
                            yield found

    def _questions(self, spec: Spec) -> tuple[Question, ...]:
        profile = self._made.profile
        batches = [size for size in profile.latency_batches if size <= spec.data.test]
        return turns.questions(batches, profile.throughput_batches)

    def _places(self, entry: Entry) -> list[Place]:
        """Where each cell is; and the control, if it is its turn."""
        wanted = [(cell.runner, cell) for cell in entry.cells]
        if self._control in entry.cells:
            wanted.append((CONTROL, entry.cells[0]))
        return [Place(cell, self._agent(name, cell.runner), name == CONTROL) for name, cell in wanted]

    def _agent(self, name: str, runner: str) -> RemoteAgent:
        """The agent of a name, a new one where there is none."""
        if (agent := self._agents.get(name)) is None or agent.parent.gone:
            parent = self._parents.get(runner) or absent(runner)
            agent = self._agents[name] = RemoteAgent(parent, f"r{self._number:02}-{name}")
        return agent

    def _start(self, places: Sequence[Place]) -> list[RemoteAgent]:
        """Start agents that are new: one after the other where it is told how long it takes, else all at once.

        Returns those that others need not wait for: a control's, which comes up while they build.
        """
        control = self._agent(CONTROL, self._control.runner) if self._control else None
        agents = [agent for agent in self._agents.values() if not agent.told]
        if self._alone:
            for agent in agents:
                self._each([agent], places, _started_and_asked, RemoteAgent.started)
            return []
        begun = [agent for agent in agents if self._noted(agent, places, RemoteAgent.start) is not FAILED]
        self._rise([agent for agent in begun if agent is not control], places)
        return [agent for agent in begun if agent is control]

    def _rise(self, agents: Sequence[RemoteAgent], places: Sequence[Place]) -> None:
        """Wait for agents to be up."""
        for group in _one_a_parent(agents):
            self._each(group, places, RemoteAgent.rise, RemoteAgent.started)

    def _open(self, entry: Entry, places: Sequence[Place]) -> None:
        """Let every agent build its modes of the benchmark."""
        agents = _agents([place for place in places if place.failed is None])

        def ask(agent: RemoteAgent) -> None:
            modes = list(dict.fromkeys(place.cell.program for place in places if place.agent is agent))
            seed = entry.cells[0].seed
            source = {"run": str(self._folder), "entry": entry.id}
            agent.request({"do": "open", "source": source, "modes": modes, "seed": seed})

        for group in [[agent] for agent in agents] if self._alone else _one_a_parent(agents):
            for agent, told in self._each(group, places, ask, RemoteAgent.answer).items():
                for place in (place for place in places if place.agent is agent):
                    self._seated(place, told)

    def _seated(self, place: Place, told: Mapping[str, Any]) -> None:
        if self._well(place, told):
            place.opened = told
            place.seat = Seat(place.agent, place.cell.program)

    def _well(self, place: Place, told: Mapping[str, Any]) -> bool:
        """Whether the place's mode did what its agent was asked; if not, why is noted."""
        try:
            checked(told["modes"][place.cell.program])
        except (Refusal, Unsupported) as error:
            place.failed, place.seat = error, None
        return place.failed is None

    def _each(self, agents: Sequence[RemoteAgent], places: Sequence[Place], ask: Any, answer: Any) -> dict[Any, Any]:
        """Ask all of ``agents`` at once, and note whose cells have failed."""
        found: dict[RemoteAgent, Any] = {}
        asked = [agent for agent in agents if self._noted(agent, places, ask) is not FAILED]
        for agent in asked:
            if (told := self._noted(agent, places, answer)) is not FAILED:
                found[agent] = told
        return found

    def _noted(self, agent: RemoteAgent, places: Sequence[Place], do: Any) -> Any:
        try:
            return do(agent)
        except (Lost, Refusal, Unsupported) as error:
            for place in places:
                if place.agent is agent:
                    place.failed = place.failed or error
            if isinstance(error, Lost):
                self._agents = {name: other for name, other in self._agents.items() if other is not agent}
            return FAILED

    def _peaks(self, places: Sequence[Place]) -> None:
        """What the machine can do, asked of each framework once in a run and precision, in the first mode that it has.

        Before all laps, but behind the first step, whose time holds what a library does once in a process.
        """
        for place in places:
            asked = place.cell.runner, place.cell.precision
            there = place.seat and not place.seat.failed and not place.control
            if there and asked not in self._peaked and place.cell.runner not in INSTRUMENT:
                self._peaked.add(asked)
                with contextlib.suppress(Refusal, Unsupported, Lost):
                    place.peak = place.agent.ask({"do": "peak", "mode": place.cell.program})

    def _close(self, places: Sequence[Place]) -> dict[RemoteAgent, Mapping[str, Any]]:
        """What each agent tells at the end: audits, and where it ran."""
        for place in places:
            if place.seat and place.seat.failed:
                place.failed = place.failed or place.seat.failed
                if isinstance(place.failed, Lost):
                    self._agents = {n: a for n, a in self._agents.items() if a is not place.agent}
        found: dict[RemoteAgent, Mapping[str, Any]] = {}
        for group in _one_a_parent(_agents([place for place in places if place.failed is None])):
            found |= self._each(group, places, lambda agent: agent.request({"do": "close"}), RemoteAgent.answer)
        if any(place.control for place in places):
            self._control = None
            if control := self._agents.pop(CONTROL, None):
                control.end()
        return found

    def _write(
        self,
        entry: Entry,
        places: Sequence[Place],
        closed: Mapping[RemoteAgent, Mapping[str, Any]],
        began: dt.datetime,
        seconds: float,
        apart: bool,
    ) -> None:
        """The record of every place, that of the control first: an entry is finished when its cells are there."""
        for place in sorted(places, key=lambda place: not place.control):
            common = {**self._made.record(entry, place.cell, began), "seconds": seconds}
            path = self._folder / "results" / entry.file(place.cell)
            if place.failed is not None or place.seat is None or place.opened is None:
                if not place.control:
                    records.write(path, _failed(common, place.failed))
                continue
            if place.control:
                path = path.with_name(f"{path.stem}--{CONTROL}.json")
            told = closed[place.agent]
            shared, mode = place.opened, place.opened["modes"][place.cell.program]
            audits = told["audits"].get(place.cell.program, [])
            records.write(
                path,
                Timed(
                    **common,
                    environment=Environment.model_validate_json(json.dumps(told["environment"])),
                    digests=Digests.model_validate_json(json.dumps(shared["digests"])),
                    parent=Parent.model_validate_json(json.dumps(shared["parent"])) if shared["parent"] else None,
                    import_ns=place.agent.import_ns,
                    first_step_ns=mode["first_step_ns"],
                    compile_cache=mode["compile_cache"],
                    built_alone=self._alone,
                    blocks=_blocks(place.seat),
                    audits=tuple(Audit.model_validate_json(json.dumps(audit)) for audit in audits),
                    control=place.control,
                    spans=apart,
                    peak_flops=place.peak.get("flops"),
                    peak_bytes=place.peak.get("bytes"),
                    peak_ns=place.peak.get("ns"),
                ),
            )


AUDITED = frozenset({QuestionKind.LATENCY, QuestionKind.THROUGHPUT})
"""Questions whose answers are outputs."""
FAILED = object()


def absent(token: str) -> ParentLine:
    """A parent that never came."""
    return ParentLine(token, None, 0.0, gone=True)


def _started_and_asked(agent: RemoteAgent) -> None:
    agent.start()
    agent.rise()


def _agents(places: Iterable[Place]) -> list[RemoteAgent]:
    """The agents of places, each once."""
    return list(dict.fromkeys(place.agent for place in places))


def _crowded(places: Sequence[Place]) -> bool:
    """Whether a framework said that it found no memory beside others; whose process was killed said nothing."""
    errors = [place.failed or (place.seat.failed if place.seat else None) for place in places]
    short = any(isinstance(error, Refusal) and error.cause is Cause.OUT_OF_MEMORY for error in errors)
    return short and len({place.cell.runner for place in places} - INSTRUMENT.keys()) > 1


def _one_a_parent(agents: Sequence[RemoteAgent]) -> list[list[RemoteAgent]]:
    """Groups in which no parent has two agents: one parent answers one question at a time."""
    groups: list[list[RemoteAgent]] = []
    for agent in agents:
        free = [group for group in groups if all(other.parent is not agent.parent for other in group)]
        if free:
            free[0].append(agent)
        else:
            groups.append([agent])
    return groups


def _blocks(seat: Seat) -> tuple[Blocks, ...]:
    return tuple(
        Blocks(
            kind=question.kind,
            batch_size=question.batch_size,
            calls=call.calls,
            examples=call.examples,
            blocks_ns=tuple(seat.blocks[question]),
            queries_ns=tuple(seat.queries.get(question, ())),
            own_ns=call.own_ns,
        )
        for question, call in seat.calls.items()
        if seat.blocks.get(question)
    )


def _failed(common: dict[str, Any], error: Failure | None) -> Failed:
    """A cell without numbers, and why."""
    match error:
        case Unsupported():
            return Failed(**common, cause=Cause.UNSUPPORTED, reason=error.what)
        case Lost():
            return Failed(**common, cause=error.cause, reason=error.what)
        case Refusal():
            giver = common["spec"].starts_from if error.missing else None
            return Failed(**common, cause=error.cause, reason=error.what, inherited=giver)
        case _:
            return Failed(**common, cause=Cause.CRASHED, reason=str(error or "it was not asked"))
