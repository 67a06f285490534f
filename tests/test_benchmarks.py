"""`pytest benchmarks` in this environment: it times what it says, and says what it times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import planted, subjects, test_inference, test_training
from suite.data import datasets
from suite.machine import environment
from suite.results import pytest_benchmark
from suite.results.pytest_benchmark import Timing
from suite.run import plan, session
from suite.runners.null import runner as null
from suite.trial import measure
from tests.support import own
from tests.support.results import spec

ROOT = Path(__file__).parents[1]


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmarks") / "core.json"
    done = started("--spec", "digits-mlp", "--benchmark-json", str(path))
    assert done.returncode == 0, done.stdout
    return path


@pytest.fixture(scope="module")
def timings(path: Path) -> tuple[Timing, ...]:
    return pytest_benchmark.read(path) or ()


def test_each_question_is_asked_of_every_runner_of_this_environment(timings: tuple[Timing, ...]) -> None:
    asked = {(t.cell.runner, t.told.question, t.told.batch_size) for t in timings}
    questions = {("latency", 1), ("latency", 64), ("throughput", 256), ("training", 32)}
    assert asked == {(runner, *question) for runner in ("null", "reference") for question in questions}


def test_a_number_says_what_a_proof_would_say(timings: tuple[Timing, ...]) -> None:
    of = plan.choose(("digits-mlp",), session.BENCHMARKS / "specs", datasets.describe)[0]
    for t in timings:
        assert t.digests == measure.digests(of, t.cell.seed)
        assert t.environment.machine == environment.machine()
        assert t.environment.source == environment.source_digest()
        assert t.environment.lock == environment.lock_digest("core")


def test_images_are_those_of_one_timed_call(timings: tuple[Timing, ...]) -> None:
    images = {(t.told.question, t.told.batch_size): t.told.images for t in timings}
    facts = spec().data
    one_call = {("latency", 1): 1, ("latency", 64): 64, ("throughput", 256): facts.test, ("training", 32): facts.train}
    assert images == one_call


def test_a_round_is_one_call_and_no_garbage_is_collected_in_it(path: Path) -> None:
    for benchmark in json.loads(path.read_text())["benchmarks"]:
        assert benchmark["stats"]["iterations"] == 1
        assert benchmark["options"]["disable_gc"]


def test_a_file_names_no_host(path: Path) -> None:
    file = json.loads(path.read_text())
    assert set(file["machine_info"]) == {"machine", "cpu", "cores", "memory_bytes", "system", "python"}
    assert set(file["commit_info"]) == {"id", "dirty"}


def test_untimed_each_call_is_made_once() -> None:
    done = started("--spec", "digits-mlp", "--mode", "null", "--benchmark-disable")
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


@pytest.mark.parametrize(
    ("option", "name", "way_out"),
    [
        ("--spec", "no-such-benchmark", "There are: anomaly-autoencoder, cbow, "),
        ("--spec", "digits-mlp/no-such-case", "It has: "),
        ("--mode", "xla", "Here null has null; reference has numpy."),
    ],
)
def test_what_is_unknown_is_refused_in_a_sentence(option: str, name: str, way_out: str) -> None:
    done = started(option, name)
    assert done.returncode != 0
    assert way_out in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_ones_own_file_is_timed_or_refused_before_anything_is(tmp_path: Path) -> None:
    """The path is taken from where pytest is called, its data from the file."""
    study = own.study(tmp_path)
    (found,) = subjects.specs([os.path.relpath(study / "specs" / "base.yaml")])
    assert (
        subjects.build(found, null.Runner("cpu", subjects.THREADS, 0), "null", "null").held["train"].images.shape[0]
        == 8
    )
    (study / "data" / "own.npz").unlink()
    done = started("--spec", str(study / "specs" / "base.yaml"))
    assert done.returncode != 0
    assert "base.yaml: dataset: " in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_what_cannot_be_had_is_skipped_with_the_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "--spec", "mnist-cnn", "--mode", "null"]
    away = {"PARITY_DATA": str(tmp_path / "data"), "PATH": "/nonexistent", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(
        [*command, "--benchmark-json", str(tmp_path / "null.json")],
        cwd=ROOT, env=os.environ | away, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 skipped" in done.stdout
    assert "mnist: no mirror gave it" in done.stdout


class Recorder:
    """In the place of the fixture: keeps what is to be timed, and calls it once as the plugin would."""

    def pedantic(self, target: Any, args: Any = (), setup: Any = None, rounds: int = 0, **counts: int) -> Any:
        self.target, self.rounds = target, rounds
        return target(*(setup()[0] if setup else args))


def test_the_plugins_clock_holds_nothing_but_the_runners_own_call() -> None:
    of = subjects.specs(["digits-mlp"])[0]
    subject = subjects.build(of, null.Runner("cpu", subjects.THREADS, subjects.SEED), "null", "null")
    subject.begin()
    told: list[Any] = []
    calls = {
        test_inference.test_latency: (subject.program.infer, {"batch_size": 8}),
        test_inference.test_throughput: (subject.program.predict, {"batch_size": 8}),
        test_training.test_training: (subject.program.train, {}),
    }
    for function, (call, given) in calls.items():
        recorder = Recorder()
        function(recorder, subject, lambda *stated: told.append(stated), **given)
        assert recorder.target == call
        assert recorder.rounds > 1
    assert told == [("latency", 8, 8), ("throughput", 8, of.data.test), ("training", of.batch_size, of.train_images)]


def test_what_a_comparison_of_commits_prints_is_read_and_counted() -> None:
    """As the table stands on a terminal; rounds are those that were played."""
    said = """round 1 of 12 at most: torch
round 5 of 12 at most: torch, about 36 s left at most

benchmark, framework, mode
  question               time, here / there      verdict
digits-mlp, torch, eager
  training               1.051 (1.030 to 1.060)  slower
  latency, batch 1       1.044 (0.884 to 1.234)  undecided
digits-mlp, tf, graph
  training               1.000 (0.990 to 1.024)  not slower
"""
    told = planted.read(said, 41.6)
    assert told.slower == ("torch training",)
    assert [verdict for _, verdict in told.verdicts] == ["slower", "undecided", "not slower"]
    assert (told.training, told.rounds) == ("1.051 (1.030 to 1.060)", 5)
    fine = planted.read(said.replace("  slower", "  not slower").replace("round 5", "round 8"), 50.0)
    _, _, first, second = planted.table([told, fine], [fine], 0.05).splitlines()
    assert first == "| 5% in every step of torch training | found 1 of 2 | 5 to 8 | 46 | 50 |"
    assert second == "| the same code | flagged 0 of 1 | 8 | 50 | 50 |"
