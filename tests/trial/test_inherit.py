"""Stages, trial by trial, in one process: every framework takes over the same weights, or says why it cannot."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from suite.data import datasets, store
from suite.inputs import checkpoint, initial
from suite.results import records
from suite.results.divergence import Divergence, What
from suite.results.records import Cause, Failed, Measured, Parent
from suite.run import plan
from suite.run.plan import Plan
from suite.spec import loading
from suite.trial import __main__, inherit, planned
from tests.support import runs

STAGES = (
    runs.SPEC.replace("epochs: 2\n", "epochs: 1\n")
    + """
cases:
  grandchild: {starts_from: tiny/child, frozen: [dense_1]}
  child: {starts_from: tiny/parent, inherits: [dense_1]}
  parent: {}
"""
)


def play(folder: Path, made: Plan, *specs: str) -> dict[tuple[str, str, int], records.Record]:
    """Run the measuring entries in order, of ``specs`` alone if any are named; results by case, runner and round."""
    found = {}
    for entry in made.entries:
        cases = {cell.spec.partition("/")[2] for cell in entry.cells}
        if entry.kind == "measure" and (not specs or cases & {*specs}):
            __main__.main(folder, entry.id)
            for cell in entry.cells:
                case = cell.spec.partition("/")[2]
                found[case, cell.runner, cell.round] = records.read(folder / "results" / entry.file(cell))
    return found


def test_a_stage_starts_where_its_parent_ended_in_the_same_round(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=STAGES)
    found = play(tmp_path, made)
    assert len(found) == 6
    ends = {}
    for number, seed in ((1, 0), (2, 1)):
        parent, child, grandchild = (found[case, "reference", number] for case in ("parent", "child", "grandchild"))
        assert isinstance(parent, Measured)
        assert isinstance(child, Measured)
        assert isinstance(grandchild, Measured)
        assert parent.training
        assert child.training
        assert parent.parent is None
        assert child.parent == Parent(
            spec="tiny/parent", runner="reference", mode="numpy", weights=parent.training.weights, complete=True
        )
        assert grandchild.parent
        assert grandchild.parent.weights == child.training.weights
        entry, cell = made.donor("tiny/parent", number) or pytest.fail("no donor")
        spec = made.spec("tiny/child")
        left = checkpoint.read(inherit.file(tmp_path, entry, cell), {n: t.shape for n, t in spec.tensors.items()})
        start = initial.weights(spec, seed)
        start |= {n: left[n].astype(np.float64) for n in ("dense_1/kernel", "dense_1/bias")}
        assert child.digests.weights == initial.fingerprint(start)
        assert grandchild.digests.weights not in (child.digests.weights, parent.digests.weights)
        ends[number] = child.digests.weights
    assert ends[1] != ends[2]
    assert len(list((tmp_path / "weights").iterdir())) == 4, "the last stage gives to nobody"


def test_a_round_starts_from_what_the_first_training_left(tmp_path: Path) -> None:
    """Of every seed: what is timed are steps, and they take as long from any weights."""
    made = runs.make(tmp_path, spec=STAGES, trainings=1)
    found = play(tmp_path, made, "parent")["parent", "reference", 1]
    assert isinstance(found, Measured)
    assert found.training
    for entry in (e for e in made.entries if e.kind == "turns" and e.cells[0].spec == "tiny/child"):
        spec, told, begin = planned.opened(tmp_path, entry.id, "reference")
        assert spec == made.spec("tiny/child")
        assert told["parent"]["weights"] == found.training.weights
        assert told["digests"]["weights"] == initial.fingerprint(begin.weights)


def test_a_round_that_has_nothing_to_start_from_says_so(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=STAGES)
    entry = next(e for e in made.entries if e.kind == "turns" and e.cells[0].spec == "tiny/child")
    with pytest.raises(inherit.MissingParent, match="left no weights"):
        planned.opened(tmp_path, entry.id, "reference")


def test_without_its_parent_a_stage_fails_and_says_so(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=STAGES, rounds=1)
    found = play(tmp_path, made, "child", "grandchild")
    child, grandchild = (found[case, "reference", 1] for case in ("child", "grandchild"))
    assert isinstance(child, Failed)
    assert isinstance(grandchild, Failed)
    assert child.cause is grandchild.cause is Cause.CRASHED
    assert child.reason.startswith("tiny/parent by reference numpy, which this starts from, left no weights:")
    assert grandchild.reason.startswith(
        "tiny/child by reference numpy, which this starts from, failed: crashed: tiny/par"
    )


@pytest.mark.parametrize("cause", [Cause.UNSUPPORTED, Cause.OUT_OF_MEMORY])
def test_a_failure_is_handed_down(tmp_path: Path, cause: Cause) -> None:
    made = runs.make(tmp_path, spec=STAGES, rounds=1)
    entry, cell = made.donor("tiny/parent", 1) or pytest.fail("no donor")
    common = made.record(entry, cell, datetime.now(UTC))
    records.write(tmp_path / "results" / entry.file(cell), Failed(**common, cause=cause, reason="no such layer"))
    found = play(tmp_path, made, "child")["child", "reference", 1]
    assert isinstance(found, Failed)
    assert (found.cause, "no such layer" in found.reason) == (cause, True)


@pytest.mark.parametrize("fault", ["other weights", "damaged", "gone"])
def test_weights_that_are_not_those_of_the_parents_result_are_not_taken(tmp_path: Path, fault: str) -> None:
    made = runs.make(tmp_path, spec=STAGES, rounds=1)
    play(tmp_path, made, "parent")
    entry, cell = made.donor("tiny/parent", 1) or pytest.fail("no donor")
    path = inherit.file(tmp_path, entry, cell)
    if fault == "other weights":
        shapes = {n: t.shape for n, t in made.spec("tiny/parent").tensors.items()}
        checkpoint.write(path, {n: value + 1 for n, value in checkpoint.read(path, shapes).items()})
    elif fault == "damaged":
        path.write_bytes(path.read_bytes()[:-4])
    else:
        path.unlink()
    found = play(tmp_path, made, "child")["child", "reference", 1]
    assert isinstance(found, Failed)
    assert "left no weights" in found.reason


@pytest.mark.parametrize("whole", [True, False])
def test_a_stage_is_complete_only_if_what_came_before_its_parent_was(tmp_path: Path, whole: bool) -> None:
    made = runs.make(tmp_path, spec=STAGES, rounds=1)
    play(tmp_path, made, "parent", "child")
    entry, cell = made.donor("tiny/child", 1) or pytest.fail("no donor")
    path = tmp_path / "results" / entry.file(cell)
    child = records.read(path)
    assert isinstance(child, Measured)
    assert child.parent is not None
    records.write(path, child.model_copy(update={"parent": child.parent.model_copy(update={"complete": whole})}))
    grandchild = play(tmp_path, made, "grandchild")["grandchild", "reference", 1]
    assert isinstance(grandchild, Measured)
    assert grandchild.parent is not None
    assert child.complete
    assert grandchild.parent.complete is whole


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_what_starts_from_weights_that_diverged_has_diverged(tmp_path: Path) -> None:
    """Whatever it is then, it is no failure, and no seed of a later stage is left out."""
    wild = STAGES.replace("parent: {}", "parent: {optimizer: {name: sgd, learning_rate: 1.0e+30}}")
    made = runs.make(tmp_path, spec=wild, rounds=1)
    found = play(tmp_path, made)
    for case, before in (("child", "parent"), ("grandchild", "child")):
        stage, parent = found[case, "reference", 1], found[before, "reference", 1]
        assert isinstance(stage, Measured)
        assert isinstance(parent, Measured)
        assert stage.training
        assert stage.parent
        assert parent.training
        assert stage.training.diverged == Divergence(epoch=1, what=What.START, ended="weights")
        assert (stage.parent.diverged, stage.parent.complete) == (parent.training.diverged, False)


def test_only_a_training_that_says_so_gives_weights_that_are_not_finite(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=STAGES, rounds=1)
    play(tmp_path, made, "parent")
    entry, cell = made.donor("tiny/parent", 1) or pytest.fail("no donor")
    path = inherit.file(tmp_path, entry, cell)
    shapes = {n: t.shape for n, t in made.spec("tiny/parent").tensors.items()}
    checkpoint.write(path, {n: value * np.nan for n, value in checkpoint.read(path, shapes).items()})
    child = play(tmp_path, made, "child")["child", "reference", 1]
    assert isinstance(child, Failed)
    assert "is not finite throughout" in child.reason


def test_finite_weights_of_a_training_that_diverged_are_given_with_the_word(tmp_path: Path) -> None:
    """As where the best epoch's came back; what starts from them did not start from a finished training."""
    made = runs.make(tmp_path, spec=STAGES, rounds=1)
    play(tmp_path, made, "parent")
    entry, cell = made.donor("tiny/parent", 1) or pytest.fail("no donor")
    path = tmp_path / "results" / entry.file(cell)
    parent = records.read(path)
    assert isinstance(parent, Measured)
    assert parent.training
    diverged = Divergence(epoch=1, what=What.TEST_LOSS)
    taught = parent.training.model_copy(update={"diverged": diverged})
    records.write(path, parent.model_copy(update={"training": taught}))
    child = play(tmp_path, made, "child")["child", "reference", 1]
    assert isinstance(child, Measured)
    assert child.parent
    assert (child.parent.diverged, child.parent.complete) == (diverged, False)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The digits and a place for imported weights beside them."""
    datasets.fetch("digits")
    real = datasets.load("digits")
    monkeypatch.setattr(datasets, "load", lambda name: real)
    monkeypatch.setattr(store, "root", lambda: tmp_path / "data")
    return tmp_path / "data" / "weights" / "some.safetensors"


def test_imported_weights_are_taken_as_planned_and_no_others(shelf: Path, tmp_path: Path) -> None:
    spec = runs.SPEC + "starts_from: weights:some\ninherits: [dense_1]\n"
    path = tmp_path / "tiny.yaml"
    path.write_text(spec)
    held = {
        "dense_1/kernel": np.full((64, 8), 0.01, np.float32), "dense_1/bias": np.zeros(8, np.float32),
        "head/kernel": np.zeros((8, 1000), np.float32),
    }  # fmt: skip
    checkpoint.write(shelf, held)
    specs = loading.load(path, datasets.describe)
    imported = {"some": (initial.fingerprint(held), checkpoint.shapes(shelf))}
    made = plan.make(runs.profile(rounds=1), plan.Wanted(specs, imported), plan.Here(1, "m", "s", {}))
    (tmp_path / "plan.json").write_text(made.model_dump_json())
    _, cell = made.donor("tiny", 1) or pytest.fail("no cell")
    taken = inherit.of(tmp_path, made, cell)
    assert taken.parent == Parent(
        spec="weights:some", runner=None, mode=None, weights=imported["some"][0], complete=None
    )
    assert sorted(taken.weights) == ["dense_1/bias", "dense_1/kernel"]
    checkpoint.write(shelf, {**held, "dense_1/bias": np.ones(8, np.float32)})
    with pytest.raises(inherit.MissingParent, match="cannot be taken"):
        inherit.of(tmp_path, made, cell)
