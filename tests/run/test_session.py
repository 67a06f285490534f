"""A run's question and its folder, the environments of its runners, and what each framework sees."""

import json
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.data import datasets
from suite.errors import DataError, MachineError, ResultError, RunError, SpecError
from suite.machine import environment
from suite.results.environment import Gpu
from suite.run import plan, session
from suite.run.profile import Profile
from suite.runners import base
from tests.support import own, runs


@pytest.fixture
def wanted(tmp_path: Path) -> Callable[..., Profile]:
    """A profile whose one benchmark is a file of its own."""
    (tmp_path / "specs").mkdir()
    path = tmp_path / "specs" / "tiny.yaml"
    path.write_text(runs.SPEC)
    return lambda **changes: runs.profile(**{"benchmarks": (str(path),), **changes})


def quiet(line: str) -> None:
    """Say nothing."""


def test_the_same_question_finds_its_folder_and_another_gets_its_own(
    tmp_path: Path, wanted: Callable[..., Profile]
) -> None:
    folder, made = session.prepare(wanted(), tmp_path, "first", quiet)
    stamp = (folder / "plan.json").stat().st_mtime_ns
    again, same = session.prepare(wanted(), tmp_path, "second", quiet)
    assert (again, same) == (folder, made)
    assert same.command == "first"
    assert (folder / "plan.json").stat().st_mtime_ns == stamp
    assert session.prepare(wanted(rounds=3), tmp_path, "", quiet)[0] != folder
    assert folder.name == made.id


def test_a_profiles_files_are_taken_from_its_own_folder_whichever_link_leads_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.study(tmp_path / "study")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "study" / "profile.yaml")
    monkeypatch.chdir(tmp_path)
    for name in ("study/profile.yaml", str(tmp_path / "study" / "profile.yaml"), "link.yaml"):
        assert session.profile(name).benchmarks == (str(tmp_path / "study" / "specs" / "child.yaml"),)


def test_a_profile_that_names_a_missing_file_is_refused_unless_others_are_wanted(tmp_path: Path) -> None:
    own.study(tmp_path)
    (tmp_path / "specs" / "child.yaml").unlink()
    with pytest.raises(SpecError, match="is not there") as caught:
        session.profile(str(tmp_path / "profile.yaml"))
    assert caught.value.where == f"{tmp_path / 'profile.yaml'}: benchmarks[0]"
    assert session.profile(str(tmp_path / "profile.yaml"), benchmarks=False)


def test_a_run_is_the_same_wherever_its_files_lie_and_learns_that_they_have_moved(tmp_path: Path) -> None:
    old, new = own.study(tmp_path / "old"), tmp_path / "new" / "place"
    first = session.prepare(session.profile(str(old / "profile.yaml")), tmp_path / "reports", "first", quiet)
    new.parent.mkdir()
    old.rename(new)
    second = session.prepare(session.profile(str(new / "profile.yaml")), tmp_path / "reports", "second", quiet)
    assert second[0] == first[0]
    assert (second[1].command, second[1].id) == ("first", first[1].id)
    assert {spec.dataset for spec in second[1].specs} == {f"npz:{new / 'data' / 'own.npz'}"}
    assert plan.read(second[0]) == second[1]
    own.arrays(new / "data" / "own.npz", seed=1)
    assert session.draft(session.profile(str(new / "profile.yaml"))).id != first[1].id


def test_a_class_of_the_test_alone_is_noted_in_the_plan(tmp_path: Path) -> None:
    arrays = {"train_images": np.zeros((8, 4, 4), np.uint8), "train_labels": np.arange(8) % 3,
              "test_images": np.zeros((4, 4, 4), np.uint8), "test_labels": np.arange(4)}  # fmt: skip
    np.savez(tmp_path / "open.npz", **arrays)
    model = [{"layer": "flatten"}, {"layer": "dense", "units": 4}]
    fields = {"name": "open", "dataset": "npz:open.npz", "model": model, "optimizer": {"name": "adam"}}
    (tmp_path / "open.yaml").write_text(json.dumps({**fields, "batch_size": 4, "epochs": 1}))
    made = session.draft(session.profile("quick").model_copy(update={"benchmarks": (str(tmp_path / "open.yaml"),)}))
    (note,) = made.notes
    assert note.startswith("Of npz:open.npz class 3 occurs in the test alone, in 1 of its 4 images: ")


def test_results_do_not_say_where_ones_files_lie(tmp_path: Path) -> None:
    made = session.draft(session.profile(str(own.study(tmp_path) / "profile.yaml")))
    cell = made.entries[0].cells[0]
    recorded = made.record(made.entries[0], cell, datetime.now(UTC))["spec"]
    assert (recorded.dataset, recorded.digest) == ("npz:own.npz", made.spec(cell.spec).digest)


@pytest.mark.parametrize("rounds", [0, 1])
def test_whatever_is_wrong_with_ones_files_is_refused_before_anything_runs(tmp_path: Path, rounds: int) -> None:
    profile = session.profile(str(own.study(tmp_path) / "profile.yaml")).model_copy(update={"rounds": rounds})
    session.draft(profile)
    (tmp_path / "data" / "own.npz").write_text("no archive")
    with pytest.raises(SpecError, match=r"is not a whole \.npz file") as caught:
        session.draft(profile)
    assert caught.value.where == f"{tmp_path / 'specs' / 'child.yaml'}: dataset"
    own.arrays(tmp_path / "data" / "own.npz")
    (tmp_path / "specs" / "base.yaml").unlink()
    with pytest.raises(SpecError) as caught:
        session.draft(profile)
    assert caught.value.where == f"{tmp_path / 'specs' / 'child.yaml'}: starts_from"


def test_in_a_container_data_that_only_this_one_sees_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = session.profile(str(own.study(tmp_path / "study") / "profile.yaml"))
    reports = tmp_path / "reports"
    monkeypatch.setenv("PARITY_DATA", str(tmp_path / "cache"))
    session.prepare(wanted, reports, "", quiet, shared=True)
    shutil.rmtree(reports)
    monkeypatch.setenv("PARITY_PLACE", "container")
    with pytest.raises(DataError, match="is in this container alone") as caught:
        session.prepare(wanted, reports, "", quiet, shared=True)
    assert str(tmp_path / "study" / "data" / "own.npz") in caught.value.where
    assert "PARITY_FILES" in caught.value.way_out
    assert not reports.exists()
    for variable, folder in (("PARITY_FILES", tmp_path / "study"), ("PARITY_DATA", tmp_path)):
        with monkeypatch.context() as mounted:
            mounted.setenv(variable, str(folder))
            assert session.prepare(wanted, reports, "", quiet, shared=True)[1].specs


def test_another_gpu_is_another_question_only_where_one_computes(
    wanted: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids: dict[str, list[str]] = {"cpu": [], "cuda": []}
    for uuid in ("GPU-a", "GPU-b"):
        monkeypatch.setattr(environment, "gpus", lambda uuid=uuid: (Gpu(name="x", uuid=uuid),))
        for device in ids:
            ids[device].append(session.draft(wanted(device=device)).id)
    assert len(set(ids["cpu"])) == 1
    assert len(set(ids["cuda"])) == 2


def test_a_draft_writes_nothing_and_fetches_nothing(
    tmp_path: Path, wanted: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> Path:
        raise AssertionError("fetched")

    monkeypatch.setattr(datasets, "fetch", refuse)
    before = sorted(tmp_path.rglob("*"))
    made = session.draft(wanted())
    assert sorted(tmp_path.rglob("*")) == before
    monkeypatch.undo()
    assert session.prepare(wanted(), tmp_path, "", quiet)[1].id == made.id


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which the digits alone can be had."""
    fetch = datasets.fetch

    def try_to(name: str, say: Callable[[str], None]) -> Path:
        if name != "digits":
            raise DataError(f"{name} cannot be reached", way_out="Connect.")
        return fetch(name, say)

    monkeypatch.setattr(datasets, "fetch", try_to)


def test_a_benchmark_whose_data_cannot_be_had_is_left_out_with_a_note(
    tmp_path: Path, wanted: Callable[..., Profile], unreachable: None
) -> None:
    mine = wanted().benchmarks[0]
    _, made = session.prepare(wanted(benchmarks=(mine, "mnist-mlp-128")), tmp_path, "", quiet)
    assert [spec.id for spec in made.specs] == ["tiny"]
    (note,) = made.notes
    assert "mnist-mlp-128/tensorflow-recipe, mnist-mlp-128/pytorch-recipe was left out" in note
    assert "mnist cannot be reached" in note


def test_without_any_data_there_is_no_run(tmp_path: Path, wanted: Callable[..., Profile], unreachable: None) -> None:
    with pytest.raises(RunError, match="no benchmark is left to run") as caught:
        session.prepare(wanted(benchmarks=("mnist-cnn",)), tmp_path, "", quiet)
    assert "mnist cannot be reached" in caught.value.way_out
    assert not list(tmp_path.glob("test-*"))


@pytest.mark.parametrize(
    ("runners", "sentence"),
    [
        ({"flax": ("jit",)}, rf"no runner 'flax'[\s\S]*There are: {', '.join(base.tokens())}"),
        ({"torch": ("eager", "fast")}, r"torch has no mode 'fast'[\s\S]*It has: eager, compile"),
    ],
)
def test_a_runner_or_mode_that_is_unknown_is_refused_before_anything_starts(
    tmp_path: Path, wanted: Callable[..., Profile], runners: dict[str, tuple[str, ...]], sentence: str
) -> None:
    with pytest.raises(SpecError, match=sentence):
        session.prepare(wanted(runners=runners), tmp_path, "", quiet)
    assert not list(tmp_path.glob("test-*"))


def test_every_profile_that_is_there_can_be_read_and_drafted() -> None:
    profiles = sorted((session.BENCHMARKS / "profiles").glob("*.yaml"))
    assert profiles
    for path in profiles:
        found = session.profile(path.stem)
        assert found.name == path.stem
        assert session.profile(str(path)) == found
        assert len(session.draft(found).entries) == len({entry.id for entry in session.draft(found).entries})


def test_an_unknown_profile_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(SpecError, match=r"no profile 'slow'[\s\S]*There are: .*quick"):
        session.profile("slow")


def test_a_profiles_wrong_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nbenchmarks: [tiny]\nrunners: {torch: [eager]}\nrounds: -1\nseeds: [0]\n")
    with pytest.raises(SpecError, match="rounds") as caught:
        session.profile(str(path))
    assert "mine.yaml" in caught.value.where


def test_a_missing_environment_is_named_with_the_way_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ENVIRONMENTS", tmp_path)
    with pytest.raises(MachineError, match="the environment of torch is missing") as caught:
        session.pythons(("null", "torch"))
    assert (caught.value.where, "make envs" in caught.value.way_out) == (
        str(tmp_path / "torch" / "bin" / "python"),
        True,
    )
    assert session.pythons(("null", "reference")) == {"null": Path(sys.executable), "reference": Path(sys.executable)}
    (tmp_path / "torch" / "bin").mkdir(parents=True)
    (tmp_path / "torch" / "bin" / "python").touch()
    assert session.pythons(("torch",)) == {"torch": tmp_path / "torch" / "bin" / "python"}


def test_what_a_framework_sees_is_asked_in_its_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the environments are scripts: one answers, one dies with a word, one without, one is not there."""
    locks = {"answers": "sha256:1", "dies": "sha256:2", "falls": "sha256:3", "absent": "sha256:4"}
    monkeypatch.setattr(environment, "lock_digest", locks.get)
    monkeypatch.setattr(session, "ENVIRONMENTS", tmp_path)
    answers = 'echo noise >&2; echo noise; echo "$3 sees $4"'
    dies = "echo noise; printf 'long\\ntrouble\\n' >&2; exit 1"
    for token, line in (("answers", answers), ("dies", dies), ("falls", "kill -9 $$")):
        script = tmp_path / token / "bin" / "python"
        script.parent.mkdir(parents=True)
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
    found = session.devices(("answers", "dies", "falls", "absent", "null"), "cuda")
    assert found == {
        "answers": (True, "answers sees cuda"),
        "dies": (False, "trouble"),
        "falls": (False, "it ended with status -9"),
        "absent": (False, "the environment of absent is missing; `make envs` makes it."),
    }


@pytest.mark.parametrize(("well", "notes"), [((True, True), 0), ((True, False), 1)])
def test_a_framework_that_does_not_compute_on_the_device_gets_a_note(well: tuple[bool, ...], notes: int) -> None:
    asked = {token: session.Answer(each, "why") for token, each in zip(("torch", "tf"), well, strict=True)}
    assert session.unfit(asked, "cuda") == ("tf does not compute on cuda, so its cells will fail",) * notes


def test_a_run_on_a_gpu_that_no_framework_sees_is_refused_with_the_way_out() -> None:
    asked = {"torch": session.Answer(False, "no driver"), "tf": session.Answer(False, "finds no GPU")}
    with pytest.raises(MachineError, match="torch: no driver; tf: finds no GPU") as caught:
        session.unfit(asked, "cuda")
    assert "--device cpu" in caught.value.way_out
    assert len(session.unfit(asked, "cpu")) == 2
    assert session.unfit({}, "cuda") == ()


def test_a_plan_that_was_damaged_is_not_run(tmp_path: Path, wanted: Callable[..., Profile]) -> None:
    folder, _ = session.prepare(wanted(), tmp_path, "", quiet)
    (folder / "plan.json").write_text('{"profile": ')
    with pytest.raises(ResultError, match=r"plan\.json"):
        session.prepare(wanted(), tmp_path, "", quiet)
