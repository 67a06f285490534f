"""A profile fitted into a time: what it costs least to go without is left out first, and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from suite.errors import SpecError
from suite.run import estimate
from suite.run.estimate import LEAST_ROUNDS
from suite.run.plan import Plan
from suite.run.profile import Profile


def fitted(wanted: Profile, seconds: float, draft: Callable[[Profile], Plan]) -> tuple[Profile, tuple[str, ...]]:
    """``wanted`` with so much left out that it is predicted to take ``seconds`` at most; and what that is, in words.

    Rounds beyond the first look go first, then trainings beyond one seed, then benchmarks, the last first.  Raises
    SpecError where even the least takes longer, and as ``draft``.
    """
    made = draft(wanted)
    notes: list[str] = []
    for smaller, told in _steps(wanted, made):
        if estimate.most(made, made.entries) <= seconds:
            return wanted, tuple(notes)
        wanted, made = smaller, draft(smaller)
        notes.append(told)
    if estimate.most(made, made.entries) <= seconds:
        return wanted, tuple(notes)
    least = estimate.most(made, made.entries) / 60
    raise SpecError(
        f"{seconds / 60:g} minutes are too few: the least of profile {wanted.name} takes about {least:.0f}",
        way_out="Give it more time, or fewer benchmarks (-b) or frameworks (-r).",
    )


def _steps(profile: Profile, made: Plan) -> Iterator[tuple[Profile, str]]:
    """Ever smaller profiles, each with what it leaves out that the one before had."""
    looks = [look for look in profile.looks if look >= LEAST_ROUNDS] or [profile.rounds]
    while len(looks) > 1:
        cut = looks.pop()
        profile = profile.model_copy(update={"rounds": looks[-1], "looks": tuple(looks) if len(looks) > 1 else ()})
        yield profile, f"left out for want of time: rounds {looks[-1] + 1} to {cut}"
    if profile.rounds > LEAST_ROUNDS:
        cut = profile.rounds
        profile = profile.model_copy(update={"rounds": LEAST_ROUNDS, "looks": ()})
        yield profile, f"left out for want of time: rounds {LEAST_ROUNDS + 1} to {cut}"
    if profile.schedules > 1:
        cut = profile.schedules
        profile = profile.model_copy(update={"trainings": 1})
        yield profile, f"left out for want of time: trainings 2 to {cut}, and so whether accuracies are equivalent"
    names = [spec.id for spec in made.specs]
    while len(names) > 1:
        cut_name = names.pop()
        profile = profile.asking(names)
        yield profile, f"left out for want of time: {cut_name}"
