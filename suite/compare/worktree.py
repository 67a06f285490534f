"""Another commit of this checkout, put beside it for a while as a git worktree."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from suite.errors import MachineError, RunError, SpecError

NO_HOOKS = ("-c", "core.hooksPath=/dev/null")
"""A checkout must not start the hooks of the repository."""
MISLEADING = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})
"""Git sets these when it runs the suite as a hook; they would point it elsewhere."""


def resolve(root: Path, ref: str) -> str:
    """The full name of the commit that ``ref`` means in the checkout at ``root``.

    Raises MachineError where ``root`` is no git checkout, SpecError for a ref that it does not know.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top.returncode or Path(top.stdout.strip()).resolve() != root.resolve():
        said = top.stderr.strip().removeprefix("fatal: ") or f"git takes it for a part of {top.stdout.strip()}"
        raise MachineError(
            f"is not a git checkout: {said[:300]}",
            where=str(root),
            way_out="Only a clone with its history can be compared with another commit.",
        )
    known = _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}") if ref[:1] not in ("", "-") else None
    if known is None or known.returncode:
        way_out = "Name a commit, a branch or a tag; a shallow clone lacks what was not fetched (git fetch)."
        raise SpecError(f"there is no commit {ref[:200]!r}", where=str(root), way_out=way_out)
    return known.stdout.strip()


def files(root: Path, commit: str, folder: str) -> frozenset[str]:
    """The files below ``folder`` in ``commit``, by their paths in it; nothing is checked out."""
    return frozenset(_read(root, "ls-tree", "-r", "-z", "--name-only", commit, "--", folder).split("\0")) - {""}


def text(root: Path, commit: str, path: str) -> str:
    """What a file holds in ``commit``."""
    return _read(root, "show", f"{commit}:{path}")


def _read(root: Path, *words: str) -> str:
    told = _git(root, *words)
    if told.returncode:
        raise RunError(f"git could not read the commit: {told.stderr.strip()[-500:]}", where=str(root))
    return told.stdout


@contextlib.contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """A folder with ``commit`` of the checkout at ``root``, removed afterwards whatever happens."""
    with tempfile.TemporaryDirectory(prefix="parity-", ignore_cleanup_errors=True) as folder:
        place = Path(folder).resolve() / "there"
        try:
            made = _git(root, *NO_HOOKS, "worktree", "add", "--quiet", "--detach", str(place), commit)
            if made.returncode:
                raise RunError(f"git could not check out {commit[:12]}: {made.stderr.strip()[-500:]}", where=str(root))
            yield place
        finally:
            if _git(root, "worktree", "remove", "--force", str(place)).returncode:
                _git(root, "worktree", "unlock", str(place))  # an interrupted `add` leaves its own lock
                _git(root, "worktree", "remove", "--force", str(place))


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run git in ``root``, in a process group of its own, so that Ctrl-C does not stop it in the middle of a change."""
    variables = {key: value for key, value in os.environ.items() if key not in MISLEADING}
    try:
        return subprocess.run(
            ["git", "-C", str(root), *words],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=variables, process_group=0,
        )  # fmt: skip
    except OSError as error:
        raise MachineError(f"git cannot be run ({error.strerror})", way_out="Install git.") from None
