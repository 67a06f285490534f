"""Another commit beside the checkout: found, put there, and removed whatever happens."""

import subprocess
from pathlib import Path

import pytest

from suite.compare import worktree
from suite.errors import MachineError, RunError, SpecError

GIT = "git", "-c", "user.name=test", "-c", "user.email=test@localhost"


def git(root: Path, *words: str) -> str:
    return subprocess.run([*GIT, "-C", str(root), *words], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits, of which the last changed the file, and a change that is in none."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet")
    for text in ("first", "second"):
        (root / "file").write_text(text)
        git(root, "add", "file")
        git(root, "commit", "--quiet", "--message", text)
    (root / "file").write_text("third")
    return root


def test_a_commit_is_put_beside_the_working_tree_and_removed(repository: Path) -> None:
    commit = worktree.resolve(repository, "HEAD~1")
    assert commit == git(repository, "rev-parse", "HEAD~1")
    with worktree.worktree(repository, commit) as place:
        assert (place / "file").read_text() == "first"
        assert (repository / "file").read_text() == "third"
    assert not place.parent.exists()
    assert git(repository, "worktree", "list").count("\n") == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, RunError])
def test_it_is_removed_after_an_error_and_after_an_interruption(repository: Path, error: type[BaseException]) -> None:
    commit = worktree.resolve(repository, "HEAD")
    places = []

    def use() -> None:
        with worktree.worktree(repository, commit) as place:
            places.append(place)
            (place / "made").mkdir()
            raise error("enough")

    with pytest.raises(error):
        use()
    (place,) = places
    assert not place.parent.exists()
    assert git(repository, "worktree", "list").count("\n") == 0


def test_what_is_no_commit_is_refused_by_name(repository: Path) -> None:
    for ref in ("zork", "HEAD~9", "--all", "", "HEAD:file", "x" * 300):
        with pytest.raises(SpecError, match="there is no commit"):
            worktree.resolve(repository, ref)


def test_a_folder_that_is_no_checkout_is_refused_also_inside_another_one(repository: Path, tmp_path: Path) -> None:
    inside = repository / "inside"
    inside.mkdir()
    for folder in (tmp_path, inside):
        with pytest.raises(MachineError, match="is not a git checkout"):
            worktree.resolve(folder, "HEAD")


def test_the_checkouts_hooks_are_not_run(repository: Path) -> None:
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {repository}/hooked\n")
    hook.chmod(0o755)
    with worktree.worktree(repository, worktree.resolve(repository, "HEAD")):
        pass
    assert not (repository / "hooked").exists()


def test_a_hook_that_starts_us_does_not_lead_git_astray(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository / "elsewhere"))
    assert len(worktree.resolve(repository, "HEAD")) == 40
