"""A profile fitted into a time: what is left out, in which order, and what is told of it."""

from pathlib import Path

import pytest

from suite.errors import SpecError
from suite.run import estimate, fit, plan
from suite.run.plan import Plan
from suite.run.profile import Profile
from tests.support import runs

TWO = runs.SPEC + "cases: {one: {}, two: {epochs: 3}}\n"


@pytest.fixture
def wanted() -> Profile:
    return runs.profile(rounds=12, looks=(5, 8, 12), seeds=(0, 1, 2), trainings=4)


@pytest.fixture
def whole(tmp_path: Path, wanted: Profile) -> Plan:
    return runs.make(tmp_path, spec=TWO, **dict(wanted))


def drafted(whole: Plan, profile: Profile) -> Plan:
    """As a session drafts a plan: the benchmarks of a profile by the ids of specs."""
    specs = tuple(s for s in whole.specs if profile.benchmarks == ("tiny",) or s.id in profile.benchmarks)
    here = plan.Here(1, whole.machine, whole.source, whole.locks)
    return plan.make(profile, plan.Wanted(specs), here)


def test_what_fits_is_left_as_it_is(whole: Plan, wanted: Profile) -> None:
    found, notes = fit.fitted(wanted, 1e9, lambda profile: drafted(whole, profile))
    assert (found, notes) == (wanted, ())


def test_rounds_go_first_then_trainings_then_benchmarks(whole: Plan, wanted: Profile) -> None:
    seen: list[tuple[Profile, tuple[str, ...]]] = []

    def ever_less(seconds: float) -> None:
        while True:
            found, notes = fit.fitted(wanted, seconds, lambda profile: drafted(whole, profile))
            seen.extend([(found, notes)] if not seen or seen[-1][0] != found else [])
            seconds *= 0.97

    with pytest.raises(SpecError, match="the least of profile test takes"):
        ever_less(estimate.total(whole, whole.entries))
    rounds = [found.rounds for found, _ in seen]
    assert rounds == sorted(rounds, reverse=True)
    assert rounds[-1] == fit.LEAST_ROUNDS
    last, notes = seen[-1]
    assert last.looks == ()
    assert last.schedules == 1
    assert len(last.benchmarks) == 1
    assert [note for note in notes if "rounds 9 to 12" in note]
    assert [note for note in notes if "trainings 2 to 4" in note]
    assert notes[-1].endswith("tiny/two")


def test_what_is_fitted_is_predicted_to_fit(whole: Plan, wanted: Profile) -> None:
    limit = 0.6 * estimate.total(whole, whole.entries)
    found, notes = fit.fitted(wanted, limit, lambda profile: drafted(whole, profile))
    made = drafted(whole, found)
    assert notes
    assert estimate.total(made, made.entries) <= limit
