"""A commit whose suite has another layout is refused in a sentence, before anything is fetched, installed or built."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from suite.cli import commands
from suite.compare import commits, compatible, worktree
from suite.errors import SpecError
from suite.machine.environment import ROOT
from suite.run import session

GIT = "git", "-c", "user.name=test", "-c", "user.email=test@localhost"
FLAT = ("data/__init__.py", "runners/base.py", "meters/clock.py", "run.py", "trial.py", "measure.py", "errors.py")
"""Some files of the layout before folders: ``suite/run.py`` where ``suite/run/`` is now."""


def committed(root: Path, files: dict[str, str]) -> Path:
    """A git checkout whose only commit holds these files below ``suite/``."""
    for name, text in files.items():
        path = root / "suite" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for words in (("init", "--quiet"), ("add", "suite"), ("commit", "--quiet", "--message", "all")):
        subprocess.run([*GIT, "-C", str(root), *words], check=True, capture_output=True)
    return root


def like_ours() -> dict[str, str]:
    folder = ROOT / "suite"
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")}


def test_the_old_layout_is_refused_before_anything_is_done(tmp_path, monkeypatch, capfd):
    root = committed(tmp_path / "old", dict.fromkeys(FLAT, ""))
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(commits, "ROOT", root)
    done = []
    for module, name in ((session, "draft"), (session, "pythons"), (commits, "pythons"), (worktree, "worktree")):
        monkeypatch.setattr(module, name, lambda *_, name=name: done.append(name))
    monkeypatch.setattr(sys, "argv", ["suite", "compare", "--against", "HEAD"])
    status = commands.main()
    for number, handler in before.items():
        signal.signal(number, handler)
    said = " ".join("".join(capfd.readouterr()).split())
    assert status == 2
    assert "the suite at 'HEAD' has another layout than the suite here" in said
    assert "suite compare RUN RUN" in said
    assert "Traceback" not in said
    assert done == []


def test_a_suite_like_ours_is_taken(tmp_path):
    root = committed(tmp_path, like_ours())
    compatible.refuse_another_layout(root, "HEAD", "HEAD")


@pytest.mark.parametrize(
    ("file", "now", "before", "lacks"),
    [
        ("meters/clock.py", "def gc_disabled(", "def quiet(", "suite.meters.clock.gc_disabled"),
        ("trial/measure.py", "def splits(", "def parts(", "suite.trial.measure.splits"),
        ("runners/base.py", "class Threads(", "class Threads(  # (", "suite.runners.base."),
    ],
    ids=["a name", "what is called by its module", "not readable"],
)
def test_one_name_that_the_agent_uses_and_the_other_commit_lacks_is_enough(tmp_path, file, now, before, lacks):
    files = like_ours()
    assert now in files[file]
    root = committed(tmp_path, {**files, file: files[file].replace(now, before)})
    with pytest.raises(SpecError) as refused:
        compatible.refuse_another_layout(root, "HEAD", "main")
    assert "the suite at 'main' has another layout" in str(refused.value)
    assert f"it has no {lacks}" in str(refused.value)


def test_names_are_found_however_they_are_taken():
    lines = "from suite.data import datasets", "from suite.errors import Unsupported as U", "datasets.describe(os.sep)"
    assert compatible.used("\n".join(lines), ROOT) == {
        "suite.data.datasets": frozenset({"describe"}),
        "suite.errors": frozenset({"Unsupported"}),
    }
