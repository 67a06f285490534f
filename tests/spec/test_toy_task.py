"""A task is one file: the example of docs/how-to/add-a-task.md, added to a copy of the suite, and nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite.data import datasets
from suite.machine.environment import ROOT

PAGE = ROOT / "docs" / "how-to" / "add-a-task.md"
PROFILE = """
name: toy
benchmarks: [ranked.yaml]
runners: {reference: [numpy]}
rounds: 1
seeds: [0]
laps: 2
lap_milliseconds: 0.5
control: false
threads: 1
latency_batches: [1]
latency_samples: 3
throughput_batches: [64]
throughput_seconds: 0.01
timeout_seconds: 120
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The suite with the page's file, and its benchmark."""
    root = tmp_path / "copy"
    shutil.copytree(ROOT / "suite", root / "suite", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docker" / "locks", root / "docker" / "locks")
    shutil.copytree(ROOT / "benchmarks" / "specs", root / "benchmarks" / "specs")
    (code,), (spec,) = blocks("python"), blocks("yaml")
    (root / "suite" / "spec" / "tasks" / "ranking.py").write_text(code, encoding="utf-8")
    (root / "ranked.yaml").write_text(spec, encoding="utf-8")
    (root / "toy.yaml").write_text(PROFILE, encoding="utf-8")
    return root


def suite(root: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "suite", *words], cwd=root, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr  # one round of the reference alone ranks nothing
    return done.stdout


def test_a_task_is_shown_run_and_reported_by_one_file(copy: Path) -> None:
    datasets.fetch("digits")
    added = {p.relative_to(copy).as_posix() for p in copy.rglob("*.py")} - {
        p.relative_to(ROOT).as_posix() for p in (ROOT / "suite").rglob("*.py")
    }
    assert added == {"suite/spec/tasks/ranking.py"}
    assert "ranking" in suite(copy, "show", "ranked.yaml", "--json")
    suite(copy, "run", "toy.yaml", "--reports", str(copy / "reports"))
    run = (copy / "reports" / "latest").resolve()
    (measured,) = (
        found
        for path in (run / "results").glob("*.json")
        if (found := json.loads(path.read_text()))["outcome"] == "measured" and found["cell"]["runner"] == "reference"
    )
    told = measured["training"]["assessment"]
    assert told["kind"] == "ranking"
    assert told["among"] >= measured["training"]["test"]["accuracy"] > 0.5
    for path in (run / "results").glob("*.json"):  # no report ranks the reference: another name makes it a framework
        path.write_text(re.sub(r'"runner":\s*"reference"', '"runner": "toy"', path.read_text()))
    suite(copy, "report", str(run))
    page = (run / "studies" / "ranked.md").read_text()
    assert "**Ranking**: the true class is among the best." in page
    assert f"{100 * told['among']:.2f} %" in page


def test_a_mistake_in_it_is_told_like_any_other(copy: Path) -> None:
    spec = copy / "ranked.yaml"
    spec.write_text(spec.read_text().replace("best: 2", "best: 0"))
    done = subprocess.run(
        [sys.executable, "-m", "suite", "show", "ranked.yaml"], cwd=copy, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(copy)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "task.best" in done.stdout + done.stderr
