"""A profile for one device: what its file says there, whole, and what single benchmarks have otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.cli import profiles
from suite.errors import SpecError
from suite.run import estimate, profile, session
from suite.run.profile import Profile, Single
from tests.support import runs

PLAIN = """
name: mine
benchmarks: [digits-mlp, cifar-resnet50]
runners: {torch: [eager, compile], tf: [xla]}
rounds: 5
seeds: [0, 1]
"""


@pytest.fixture
def read(tmp_path: Path):
    def reading(more: str, device: str | None = None) -> Profile:
        path = tmp_path / "mine.yaml"
        path.write_text(PLAIN + more)
        return profile.read(path, device)

    return reading


def test_a_device_replaces_whole_fields_and_no_others(read) -> None:
    there = "on: {cuda: {benchmarks: [mnist-cnn], precisions: [tf32, bfloat16], laps: 3}}"
    here, gpu = read(there), read(there, "cuda")
    assert here == read("") == read(there, "cpu")
    changed = {"benchmarks": ("mnist-cnn",), "precisions": ("tf32", "bfloat16"), "laps": 3, "device": "cuda"}
    assert gpu == here.model_copy(update=changed)
    assert read("device: cuda\n" + there) == gpu
    assert read("", "cuda") == read("").model_copy(update={"device": "cuda"})


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("on: {gpu: {laps: 3}}", "on.gpu: there is no device 'gpu'"),
        ("on: {cuda: {lapps: 3}}", "on.cuda.lapps: "),
        ("on: {cuda: {laps: 0}}", "on.cuda.laps: "),
        ("on: {cuda: {seeds: [-1]}}", r"on.cuda.seeds\[0\]: "),
        ("on: {cuda: {device: cpu}}", "on.cuda.device: is the same on every device"),
        ("on: {cuda: {name: other}}", "on.cuda.name: is the same on every device"),
        ("on: {cuda: {on: {cpu: {laps: 2}}}}", "on.cuda.on: is the same on every device"),
        ("on: {cuda: {}}", "on.cuda: must be a mapping of fields"),
        ("on: [cuda]", "on: must be a mapping of devices"),
        ("on: {cuda: {rounds: 9, looks: [5, 8]}}", "looks rise"),
        ("single: {digits-mlp: {runners: {torch: [fast]}}}", "single.digits-mlp.runners: torch is not asked for fast"),
        ("single: {digits-mlp: {trainings: 0}}", "single.digits-mlp.trainings: "),
        ("single: {digits-mlp: {laps: 3}}", "single.digits-mlp.laps: "),
        ("single: {digits-mlp: {runners: {torch: []}}}", "single.digits-mlp.runners"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_place_on_every_device(read, more: str, told: str) -> None:
    for device in (None, "cpu", "cuda"):
        with pytest.raises(SpecError) as error:
            read(more, device)
        place = told.replace("\\", "")
        assert place in f"{error.value.where}: {error.value.what}", str(error.value)


def test_single_benchmarks_are_measured_and_trained_otherwise(tmp_path: Path) -> None:
    own = {"tiny": {"runners": {"torch": ("eager",)}, "epochs": 1, "trainings": 1}}
    runners = {"torch": ("compile", "eager"), "tf": ("xla",)}
    changes = {"runners": runners, "rounds": 1, "trainings": 3, "epochs": 2}
    made = runs.make(tmp_path, single=own, **changes)
    found = {
        kind: [c for e in made.entries if e.kind == kind for c in e.cells] for kind in ("prove", "measure", "turns")
    }
    assert [(c.runner, c.mode) for c in found["prove"]] == [("torch", "eager")]
    assert [(c.runner, c.mode, c.round) for c in found["measure"]] == [("torch", "eager", 1)]
    assert {(c.runner, c.mode) for c in found["turns"]} == {("torch", "eager"), ("null", "null")}
    assert made.profile.epochs_of(made.specs[0]) == 1
    assert made.donor("tiny", 1) is not None
    every = runs.make(tmp_path / "every", **changes)
    assert every.profile.epochs_of(every.specs[0]) == 2
    assert sum(e.kind == "measure" for e in every.entries) == 2 * 2 + 2


def test_what_is_single_must_be_a_benchmark_of_the_run_and_is_left_where_others_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"other.* is no benchmark of this run"):
        runs.make(tmp_path, single={"other": {"epochs": 1}})
    asked = runs.profile(benchmarks=("a", "b/x"), single={"a/one": {"epochs": 1}, "b": {"epochs": 2}})
    assert asked.asking(["a"]).single == {"a/one": Single(epochs=1)}
    assert asked.asking(["b/x"]).single == {"b": Single(epochs=2)}
    assert asked.asking(["bb"]).single == {}


def test_who_gives_weights_is_trained_as_often_as_who_takes_them(tmp_path: Path) -> None:
    stages = """
name: tiny
dataset: digits
model: {mlp: {hidden: [8]}}
optimizer: {name: sgd, learning_rate: 0.1}
batch_size: 64
epochs: 2
cases:
  first: {}
  second: {starts_from: tiny/first}
"""
    with pytest.raises(SpecError, match="tiny/first is trained less often than tiny/second"):
        runs.make(tmp_path, spec=stages, trainings=2, single={"tiny/first": {"trainings": 1}})
    alone = stages.replace("first: {}", "first: {speed_alone: true}")
    with pytest.raises(SpecError, match="tiny/first"):
        runs.make(tmp_path, spec=alone, trainings=2)


def test_a_benchmark_of_speed_alone_is_proven_and_timed_and_never_trained(tmp_path: Path) -> None:
    made = runs.make(tmp_path, spec=runs.SPEC + "speed_alone: true\n", rounds=2, trainings=3, tunings=("batch:8",))
    assert {entry.kind for entry in made.entries} == {"prove", "turns"}


def test_standard_on_a_gpu_has_resnet_50_in_three_precisions_within_the_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session.environment, "cores", lambda: 8)
    made = session.draft(profiles.profile("standard", device="cuda"))
    asked = {(c.spec, c.precision) for e in made.entries for c in e.cells if e.kind == "turns"}
    precisions = ("float32", "tf32", "bfloat16")
    names = ("mnist-mlp-128/pytorch-recipe", "mnist-cnn", "cifar-resnet50/cifar10", "resnet50-224")
    assert asked == {(name, precision) for name in names for precision in precisions}
    trained = {c.spec for e in made.entries for c in e.cells if e.kind == "measure"}
    assert trained == {*names} - {"resnet50-224"}
    first = [e for e in made.entries if e.kind == "prove" or (e.kind, e.round) == ("turns", 1)]
    assert estimate.most(made, first) < 600
    assert estimate.most(made, made.entries) < 3600
    assert profiles.profile("standard", device="cpu") == profiles.profile("standard"), "and a processor is as before"


def test_a_command_that_names_modes_asks_for_them_everywhere() -> None:
    plain = profiles.profile("standard", device="cuda")
    assert plain.single["resnet50-224"].runners == {"torch": ("eager",), "tf": ("xla",)}
    asked = profiles.profile("standard", device="cuda", runners={"torch": ("compile",)}, benchmarks=("resnet50-224",))
    assert asked.single == {"resnet50-224": Single()}
