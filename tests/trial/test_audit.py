"""Outputs of timed calls are compared with the reference's: who answers fast and wrong is caught, and nobody else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.inputs.initial import stream
from suite.runners.base import State
from suite.runners.reference.runner import Runner as Reference
from suite.spec.precision import TIMED
from suite.trial import audit
from suite.trial.agent import MOVED
from tests.faults import audited
from tests.faults.audited import AUDITED, AUDITS_OF, CALLS, MANY, THREADS, Audited
from tests.faults.cheats import CHEATS, PASS, QUERY, always
from tests.faults.plant import Planted

RUNNER = Reference("cpu", THREADS, 0)


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_a_cheat_is_caught_in_every_question_where_it_cheats(cheat):
    draws = 1 if cheat.odds is always else audited.MORE
    chosen = replace(cheat, specs=cheat.specs[:1])
    seen = list(audited.cheats(RUNNER, "numpy", [chosen], draws))
    assert seen
    assert all(each.right for each in seen), seen


def test_without_the_audit_no_cheat_would_be_caught(monkeypatch):
    monkeypatch.setattr(audit, "bound", lambda *_: 1e30)
    (cheat,) = (cheat for cheat in CHEATS if cheat.name == "half of a batch, then zeros")
    assert not any(each.right for each in audited.cheats(RUNNER, "numpy", [replace(cheat, specs=("cnn",))], 1))


def test_one_cached_answer_is_caught_when_its_query_is_drawn():
    """The draw of a round decides, and whoever has it can tell beforehand."""
    (cheat,) = (cheat for cheat in CHEATS if cheat.name == "one query's answer from a cache")
    cheating = Audited(AUDITS_OF["mlp"], Planted(RUNNER, program=cheat.program), "numpy")
    question = AUDITED[1]
    queries = cheating.asked(question).queries
    caught, drawn = [], []
    for number in range(8):
        told = cheating.round(number, RUNNER)[question]
        assert told is not None
        caught.append(not told.right)
        kept = next(k for k in cheating.agent.seat.kept if (k.question, k.batch_size) == (QUERY, question.batch_size))
        first = cheating.agent.seat.images[: question.batch_size]
        drawn.append(np.array_equal(kept.asked, first))
    assert caught == drawn
    assert {True, False} == set(caught)
    assert cheat.odds(cheating.asked(question)) == -(-CALLS // queries) / CALLS


def test_honest_programs_raise_no_alarm():
    told = list(audited.alarms(RUNNER, "numpy", 1))
    assert len(told) == len(AUDITS_OF) * len(AUDITED)
    assert all(each is not None and each.right for _, _, each in told)


@pytest.mark.parametrize(("count", "batch"), [(40, 16), (10_000, 32), (10_000, 256), (MANY, 16), (1025, 1)])
def test_rows_of_both_halves_of_every_batch_are_compared(count, batch):
    spec = AUDITS_OF["mlp"]
    rows = audit.rows_to_check(spec, batch, count, stream(0, "test"))
    assert rows[-1] == count - 1
    assert len(rows) <= max(audit.MOST_EXAMPLES, -(-count // batch)) + 1
    halves = {(row // batch, row % batch >= batch / 2) for row in rows.tolist()}
    if count // batch * 2 <= audit.MOST_EXAMPLES:
        assert {(each, half) for each in range(count // batch) for half in (False, True)} <= halves
    else:
        assert {each for each, _ in halves} == set(range(-(-count // batch)))


def kept(weights, question=PASS):
    spec = AUDITS_OF["mlp"]
    cell = Audited(spec, RUNNER, "numpy")
    images = cell.agent.seat.images
    program = RUNNER.build(spec, "numpy", TIMED)
    program.load(State(weights(cell.agent.seat.program.state().weights)))
    asked = images if question == PASS else images[:1]
    with np.errstate(all="ignore"):
        return audit.keep(spec, question, 16, program.state().weights, asked, program.infer(asked), images, 5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_of_weights_that_ran_away_nothing_is_said(value):
    output = kept(lambda weights: {name: np.full_like(held, value) for name, held in weights.items()})
    assert audit.audit(AUDITS_OF["mlp"], RUNNER, THREADS, output) is None


def test_what_a_framework_flushes_to_zero_is_no_error():
    output = kept(
        lambda weights: {name: held * (1e-41 if name[:7] == "dense_3" else 1) for name, held in weights.items()}
    )
    assert output.got is not None
    assert 0 < np.abs(output.got).max() < np.finfo(TIMED).tiny
    told = audit.audit(AUDITS_OF["mlp"], RUNNER, THREADS, replace(output, got=np.zeros_like(output.got)))
    assert told is not None
    assert told["error"] <= told["bound"]


def test_a_single_output_is_measured_by_those_of_others_too():
    output = kept(lambda weights: weights, QUERY)
    assert len(output.asked) == 1
    assert len(output.others) == audit.ENOUGH - 1


@pytest.mark.parametrize("shape", [(), (39, 10), (40, 9), (40, 10, 1)])
def test_outputs_of_another_shape_are_wrong(shape):
    output = kept(lambda weights: weights)
    spec, images = AUDITS_OF["mlp"], output.asked
    wrong = audit.keep(spec, PASS, 16, output.weights, images, np.zeros(shape, TIMED), images, 5)
    told = audit.audit(spec, RUNNER, THREADS, wrong)
    assert told is not None
    assert told["error"] is None


def test_kept_outputs_are_of_weights_that_no_other_block_held():
    assert 0 < MOVED < 1
    cell = Audited(AUDITS_OF["frozen"], RUNNER, "numpy")
    seat = cell.agent.seat
    cell.seat.block(AUDITED[0])
    before = seat.program.state().weights
    for question in AUDITED[:2]:
        cell.seat.block(question, keep=7)
    assert all(np.any(seat.kept[0].weights[name] != before[name]) for name in seat.spec.trainable)
    assert all(seat.kept[1].weights[name] is held for name, held in seat.kept[0].weights.items())
    assert all(np.array_equal(seat.kept[0].weights[name], before[name]) for name in seat.spec.frozen_names)
