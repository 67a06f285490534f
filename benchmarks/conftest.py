"""`pytest benchmarks` times the runners' own calls, in the environment of one framework.

    .envs/torch/bin/python -m pytest benchmarks --spec digits-cnn --mode eager --benchmark-json torch.json

The core's environment has no framework and times the instrument and the reference.  Each benchmark states what it is
of in its ``extra_info``, so that `suite report FOLDER torch.json` can show it beside a run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks import subjects
from benchmarks.subjects import PROFILE, SEED, THREADS, Subject
from suite.errors import DataError, SuiteError, Unsupported
from suite.machine import environment
from suite.meters.clock import gc_disabled, gc_frozen
from suite.results.pytest_benchmark import Told
from suite.results.questions import QuestionKind
from suite.runners import base
from suite.runners.base import Runner


def pytest_addoption(parser: pytest.Parser) -> None:
    """What to time."""
    group = parser.getgroup("parity suite")
    group.addoption(
        "--spec", action="append", default=[], metavar="NAME",
        help="a benchmark's name or the path of a YAML file, or one case of it as name/case; may be repeated; those of "
        "the profile quick by default",
    )  # fmt: skip
    group.addoption(
        "--mode", action="append", default=[], help="a mode of the framework; may be repeated; by default as quick has"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before the plugin reads its options: garbage is never collected while its clock runs.

    Where all is skipped there is nothing to save, which the plugin tells by a warning: no error here.
    """
    config.option.benchmark_disable_gc = True
    warnings.filterwarnings("default", "Not saving anything")


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:  # noqa: ARG001 - a hook's name
    """A machine in the suite's words, which name no host."""
    here = environment.describe("core")
    return here.model_dump(mode="json", include={"machine", "cpu", "cores", "memory_bytes", "system", "python"})


def pytest_benchmark_generate_commit_info(config: pytest.Config) -> dict[str, Any]:  # noqa: ARG001 - a hook's name
    """The commit as results have it."""
    commit = environment.commit()
    return {"id": commit, "dirty": commit is not None and commit.endswith("+")}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every spec that is asked for, in every mode."""
    if "subject" not in metafunc.fixturenames:
        return
    try:
        cells = list(subjects.cells(metafunc.config.getoption("spec"), metafunc.config.getoption("mode")))
    except SuiteError as error:
        raise pytest.UsageError(str(error)) from None
    names = [f"{spec.id}-{token}-{mode}" for spec, token, mode in cells]
    metafunc.parametrize("subject", cells, indirect=True, ids=names, scope="session")  # built once for both files


@pytest.fixture(scope="session")
def runners() -> Callable[[str], Runner]:
    """The runner of a token, made once: a framework takes its threads once per process."""
    made: dict[str, Runner] = {}

    def runner(token: str) -> Runner:
        if token not in made:
            made[token] = base.find(token)(PROFILE.device, THREADS, SEED)
        return made[token]

    return runner


@pytest.fixture(scope="session")
def subject(request: pytest.FixtureRequest, runners: Callable[[str], Runner]) -> Subject:
    """What is timed; skipped with the reason where the data cannot be had or the mode is not offered."""
    spec, token, mode = request.param
    try:
        return subjects.build(spec, runners(token), token, mode)
    except (DataError, Unsupported) as error:
        pytest.skip(str(error))


@pytest.fixture
def ready(subject: Subject) -> Iterator[None]:
    """The spec's own start; garbage of the past is collected, and none while the rounds last."""
    subject.begin()
    with gc_frozen(), gc_disabled():
        yield


@pytest.fixture
def tell(benchmark: Any, subject: Subject) -> Callable[[QuestionKind, int, int], None]:
    """State what the number is of: question, batch size, and images of one timed call."""

    def told(question: QuestionKind, batch_size: int, images: int) -> None:
        benchmark.group = f"{subject.spec.id}: {question}"
        benchmark.group += f", batch {batch_size}" if question is not QuestionKind.TRAINING else ""
        stated = Told.model_validate(
            {
                "question": question, "batch_size": batch_size, "images": images, "cell": subject.cell,
                "digests": subject.digests(), "environment": subject.environment(),
            }
        )  # fmt: skip
        benchmark.extra_info |= stated.model_dump(mode="json")
        benchmark.params = {"spec": subject.spec.id, "runner": subject.cell.runner, "mode": subject.cell.mode}

    return told
