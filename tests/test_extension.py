"""A framework and a layer are added to a copy of the repository as docs/how-to says, and by nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from suite.data import datasets
from suite.errors import Unsupported
from suite.runners.base import Precision
from suite.runners.null import runner as null
from suite.spec.resolved import Spec
from tests.faults.catalogue import FAULTS
from tests.faults.harmless import ANYWHERE
from tests.faults.run import THREADS, false_alarms, is_partial, try_fault
from tests.support import extension
from tests.support.extension import PAGES, ROOT, page
from tests.support.frameworks import of_each_framework

FRAMEWORK, LAYER = page("add-a-framework.md"), page("add-a-layer.md")
ROW = re.compile(r"^\| `([^`]+)` \| [^|]* \| (.*) \|$", re.MULTILINE)
NEW = {name.replace("<token>", "toy"): theirs for name, theirs in ROW.findall(FRAMEWORK)}
"""The files of a framework, as its page lists them, with the toy's."""
FILES = "test_imports", "test_layout", "test_workflow", "test_docker_files"
WORDS = "toy or stands_before or every_image or parents or an_image_and_a_service or names_no_framework"
"""The tests of the copy's files that a framework changes something for."""


def add_the_toy(copy: Path) -> None:
    """The page's files and its stanza; the environment is the core's, whose lock it has."""
    for name, theirs in NEW.items():
        file = copy / name
        file.parent.mkdir(exist_ok=True)
        assert not file.exists(), "only new files"
        if example := re.search(r"\]\((toy/[^)]+)\)", theirs):
            shutil.copy(PAGES / example[1], file)
        elif name == "docker/locks/toy.txt":
            shutil.copy(ROOT / "docker" / "locks" / "core.txt", file)
        else:
            assert (name, theirs) == ("Dockerfile.toy", "`Dockerfile.torch` with `toy` for `torch`, say")
            file.write_text((ROOT / "Dockerfile.torch").read_text(encoding="utf-8").replace("torch", "toy"))
    extension.change(copy, FRAMEWORK)
    extension.link(copy, "toy")


def run(copy: Path, command: str) -> str:
    """Run a command in the copy, which must end well; what it said."""
    done = extension.run(copy, command)
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def run_as_told(copy: Path, page: str, start: str) -> str:
    """The same with the one command of a page that begins so."""
    (command,) = (line for line in extension.commands(page) if line.startswith(start))
    return run(copy, command)


@pytest.fixture(scope="module")
def with_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    datasets.fetch("digits")
    copy = extension.copied(tmp_path_factory.mktemp("framework") / "copy")
    add_the_toy(copy)
    return copy


def test_a_framework_is_new_files_and_a_stanza(with_toy: Path) -> None:
    assert extension.touched(with_toy) == {
        *("suite/runners/toy/__init__.py", "suite/runners/toy/runner.py", "suite/runners/toy/own.py"),
        *("tests/runners/toy/test_runner.py", "docker/locks/toy.in", "docker/locks/toy.txt", "Dockerfile.toy"),
        "docker-compose.yml",
    }
    assert extension.touched(with_toy) == {*NEW, "docker-compose.yml"}
    before, after = (set((place / "docker-compose.yml").read_text().splitlines()) for place in (ROOT, with_toy))
    assert before <= after, "lines are added alone"


def test_the_doctor_lists_it(with_toy: Path) -> None:
    said = run_as_told(with_toy, FRAMEWORK, ".envs/core/bin/suite doctor")
    assert re.search(r"toy on cpu +toy 1\.0 computes on the processor \(NumPy\)", said)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
def test_it_keeps_the_contract(with_toy: Path) -> None:
    said = run_as_told(with_toy, FRAMEWORK, "make test-toy")
    assert re.search(r"tests/runners/toy/test_runner.py \.+", said)
    assert re.search(r"tests/trial/test_instrument.py \.+", said), "a test of each framework"


def test_the_gate_finds_it_identical(with_toy: Path) -> None:
    said = run_as_told(with_toy, FRAMEWORK, ".envs/core/bin/suite identity")
    assert re.search(r"toy, plain +identical ", said)


def test_it_is_proven_measured_and_reported(with_toy: Path) -> None:
    said = run_as_told(with_toy, FRAMEWORK, ".envs/core/bin/suite run")
    assert re.search(r"training +[\d,]+ \w+/s \(plain\) +nothing to compare with", said)
    folder = (with_toy / "reports" / "latest").resolve()
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert re.search(r"^\| benchmark +\| question +\| toy, best mode +\|", report, re.MULTILINE)
    assert re.search(r"^\| digits-mlp +\| training +\| [\d,]+ \w+/s \(plain\) ", report, re.MULTILINE)
    assert re.search(r"^\| digits-mlp +\| toy +\| plain +\| cpu +\| identical ", report, re.MULTILINE)
    assert list(folder.glob("charts/training-*.svg"))


def test_faults_that_are_planted_in_it_are_caught(with_toy: Path) -> None:
    said = run(with_toy, ".envs/core/bin/python -m tests.faults --runner toy --only epsilon")
    found = re.search(
        r"caught and rightly named: (\d+) of (\d+) kinds of fault; \d+ more are in what toy has not", said
    )
    assert found
    assert found[1] == found[2] != "0"


class Lacking(null.Runner):
    """A runner without any layer."""

    def build(self, spec: Spec, mode: str, precision: Precision) -> null.Program:
        raise Unsupported("has no layers")


def test_only_a_runner_that_may_lack_something_is_asked_for_what_is_left() -> None:
    """One with faults of its own has every layer, or its file says that it has not: a loss is no pass."""
    runner = Lacking("cpu", THREADS, 0)
    with pytest.raises(Unsupported):
        try_fault(FAULTS[0], runner, "null")
    with pytest.raises(Unsupported):
        list(false_alarms(ANYWHERE, runner, "null", 1))
    assert try_fault(FAULTS[0], runner, "null", partial=True).lacks == "has no layers"
    assert list(false_alarms(ANYWHERE, runner, "null", 1, partial=True)) == []
    assert is_partial("null")
    assert not is_partial("reference")


def test_law_layout_make_and_containers_know_it(with_toy: Path) -> None:
    files = " ".join(f"tests/{name}.py" for name in FILES)
    said = run(with_toy, f".envs/core/bin/python -m pytest -v -p no:cacheprovider {files} -k '{WORDS}'")
    for name in FILES:
        assert re.search(rf"^tests/{name}\.py::\S+ PASSED", said, re.MULTILINE), name
    assert re.search(
        r"^tests/test_workflow\.py::test_make_finds_every_framework_by_its_token\[toy\] ", said, re.MULTILINE
    )


@pytest.fixture(scope="module")
def with_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    datasets.fetch("digits")
    copy = extension.copied(tmp_path_factory.mktemp("layer") / "copy")
    extension.change(copy, LAYER)
    return copy


def test_a_layer_is_a_few_lines_in_the_files_that_the_page_names(with_layer: Path) -> None:
    run_as_told(with_layer, LAYER, ".envs/core/bin/suite schema")
    assert extension.touched(with_layer) == {
        *("suite/spec/layers.py", "suite/spec/vocabulary/layers.py", "suite/runners/reference/layers.py"),
        *("suite/runners/torch/layers.py", "suite/runners/tf/network.py", "tests/runners/reference/test_layers.py"),
        *("tests/support/contract.py", "tests/faults/specs.py", "tests/faults/catalogue.py"),
        *("benchmarks/spec.schema.json", "leaky.yaml"),
    }
    table = LAYER.partition("| file |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert extension.touched(with_layer) == named | {"leaky.yaml"}
    run(with_layer, ".envs/core/bin/python -m ruff check --no-cache suite tests")
    run(with_layer, ".envs/core/bin/python -m ruff format --no-cache --check suite tests")


def test_a_benchmark_with_the_layer_is_shown(with_layer: Path) -> None:
    said = run_as_told(with_layer, LAYER, ".envs/core/bin/suite show")
    assert re.search(r"leaky_relu_1 +16 .* slope 0\.2", said)


def test_its_gradient_is_held_to_finite_differences_and_its_word_is_known(with_layer: Path) -> None:
    (command,) = (line for line in extension.commands(LAYER) if " -m pytest " in line)
    said = run(with_layer, f"{command} -v -p no:cacheprovider -k 'leaky or kind or place'")
    assert "test_backward_agrees_with_finite_differences[leaky relu] PASSED" in said


def test_a_fault_in_it_is_caught(with_layer: Path) -> None:
    said = run_as_told(with_layer, LAYER, ".envs/core/bin/python -m tests.faults")
    assert "caught and rightly named: 1 of 1 kinds of fault\n" in said
    assert re.search(r"slope below 0 .* yes .* 1e-0[89] .* float64 training outputs: leaky_relu_1", said)


def test_the_gate_knows_it_and_a_runner_that_lacks_it_says_so(with_layer: Path) -> None:
    add_the_toy(with_layer)
    said = run_as_told(with_layer, LAYER, ".envs/core/bin/suite identity")
    assert re.search(r"reference, numpy +identical ", said)
    assert re.search(r"toy, plain +unsupported +leaky_relu_1: toy has no layer 'leaky_relu'", said)


@of_each_framework
def test_a_framework_that_has_the_layer_keeps_the_contract(tmp_path: Path, token: str) -> None:
    """In its own environment, which runs this."""
    if f"`suite/runners/{token}/" not in LAYER:
        pytest.skip(f"the page gives {token} no such layer")
    copy = extension.copied(tmp_path / "copy")
    extension.change(copy, LAYER)
    test = f"tests/runners/{token}/test_runner.py -m '{token} and not cuda' -k 'leaky and (pass or probe)'"
    said = run(copy, f".envs/core/bin/python -m pytest -q -p no:cacheprovider {test}")
    assert re.search(r"[1-9]\d* passed", said)
