"""Predictions: more work takes longer, and a run corrects them by what it has seen."""

from pathlib import Path

import pytest

from suite.run import estimate
from suite.run.plan import Plan
from suite.runners.base import Threads
from tests.support import runs


@pytest.fixture
def made(tmp_path: Path) -> Plan:
    return runs.make(tmp_path, runners={"torch": ("eager", "compile"), "reference": ("numpy",)}, rounds=2)


def test_a_total_is_the_sum_of_its_trials(made: Plan) -> None:
    assert estimate.total(made, made.entries) == pytest.approx(sum(estimate.seconds(made, e) for e in made.entries))
    assert estimate.total(made, ()) == 0
    assert all(estimate.seconds(made, entry) > 0 for entry in made.entries)


def test_rounds_that_may_not_be_needed_count_by_half(tmp_path: Path) -> None:
    plan = runs.make(tmp_path, runners={"torch": ("eager",)}, rounds=9, looks=(2, 6, 9))
    late = [entry for entry in plan.entries if entry.kind == "turns" and entry.round > 6]
    assert len(late) == 3, "the look after two rounds decides nothing"
    assert estimate.most(plan, plan.entries) == pytest.approx(
        estimate.total(plan, plan.entries) + estimate.most(plan, late) / 2
    )
    shown = estimate.Forecast(plan, plan.entries).remaining(plan.entries, 0.0)
    assert shown == pytest.approx(estimate.total(plan, plan.entries))


def test_more_of_anything_takes_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def total(name: str, **changes: object) -> float:
        plan = runs.make(tmp_path / name, **{"runners": {"torch": ("eager",)}, **changes})
        return estimate.total(plan, plan.entries)

    least = total("least")
    assert total("rounds", rounds=3) > least
    assert total("modes", runners={"torch": ("eager", "compile")}) > least
    assert total("trainings", trainings=5) > least
    assert total("laps", laps=30) > least
    assert total("blocks", lap_milliseconds=50.0) > least
    assert total("spans", throughput_batches=(64, 256, 512)) > least
    dear = {"spec": runs.SPEC.replace("[8]", "[4000, 4000]")}
    alone = total("one thread", **dear)
    monkeypatch.setattr(runs, "CORES", 8)
    assert alone > total("two threads", **dear, threads=Threads(intra=2)) == total("eight threads", **dear)
    monkeypatch.undo()
    longer = total("longer", epochs=None, spec=runs.SPEC.replace("epochs: 2", "epochs: 200"))
    assert (
        longer > total("capped", epochs=1, spec=runs.SPEC.replace("epochs: 2", "epochs: 200")) == pytest.approx(least)
    )


def test_every_kind_of_trial_is_predicted(tmp_path: Path) -> None:
    def seconds(name: str, kind: str, spec: str = runs.SPEC, **changes: object) -> float:
        plan = runs.make(tmp_path / name, spec=spec, runners={"torch": ("eager",)}, **changes)
        return estimate.seconds(plan, next(e for e in plan.entries if e.kind == kind))

    deep = runs.SPEC.replace("[8]", "[2000, 2000, 2000]")
    assert seconds("deep proof", "prove", deep) > 1 + seconds("proof", "prove")
    assert seconds("two", "tune", tunings=("batch:8", "bfloat16")) > seconds("one", "tune", tunings=("batch:8",))
    augmented = runs.SPEC + "augmentation: {flip: true}\n"
    assert seconds("augmented", "measure", augmented) > seconds("plain", "measure")
    assert seconds("gpu", "measure", deep, device="cuda") < seconds("cpu", "measure", deep)


def test_turns_take_as_long_however_long_a_training_is(tmp_path: Path) -> None:
    """Steps are timed, not schedules."""
    totals = []
    for name, epochs in (("short", 2), ("long", 10_000)):
        spec = runs.SPEC.replace("epochs: 2", f"epochs: {epochs}")
        plan = runs.make(tmp_path / name, spec=spec, epochs=None)
        totals.append(estimate.seconds(plan, next(e for e in plan.entries if e.kind == "turns")))
    assert totals[0] == totals[1]


def test_rounds_in_which_frameworks_build_alone_take_longer(tmp_path: Path) -> None:
    plan = runs.make(tmp_path, runners={"torch": ("eager",), "tf": ("xla",)}, built_alone=1)
    first, second = (estimate.seconds(plan, entry) for entry in plan.entries if entry.kind == "turns")
    assert first > second


def test_trials_that_run_side_by_side_take_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many at once as there are frameworks and cores."""
    found = {}
    monkeypatch.setattr(runs, "CORES", 2)
    for name, cores in (("one", 1), ("two", 2)):
        plan = runs.make(tmp_path / name, runners={"torch": ("eager",), "tf": ("xla",)}, threads=cores)
        found[name] = sum(estimate.seconds(plan, entry) for entry in plan.entries if entry.kind != "turns")
    assert found["two"] < found["one"]


def test_the_rest_is_predicted_by_how_long_the_first_part_took(made: Plan) -> None:
    entries = made.entries
    first, rest = entries[:2], entries[2:]
    forecast = estimate.Forecast(made, entries)
    assert forecast.remaining(entries, 5.0) == estimate.total(made, entries)
    half = estimate.total(made, first) / 2
    assert forecast.remaining(rest, half) == pytest.approx(estimate.total(made, rest) / 2)
    assert forecast.remaining((), 5.0) == 0
    assert estimate.Forecast(made, ()).remaining((), 5.0) == 0


def test_what_is_left_is_told_without_predicting_anew(made: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for every second of a run, while a trial is timed on the same cores."""
    forecast = estimate.Forecast(made, made.entries)
    monkeypatch.setattr(estimate, "seconds", lambda *_: pytest.fail("predicted anew"))
    assert forecast.remaining(made.entries, 5.0) > 0
