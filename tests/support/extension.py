"""What a page of docs/how-to says, done in a copy of the repository."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "how-to"
LEFT = (".git", ".envs", ".cache", ".hypothesis", ".benchmarks", ".*_cache", "__pycache__", "reports")
"""What a copy does without: what git has, what is installed, and what runs leave."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^ {4}(?=\.envs/core/bin/|make )(.*)$", re.MULTILINE)


def page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def copied(folder: Path) -> Path:
    """The repository in ``folder``; its environments are links to the one that runs this, as if installed there."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT), symlinks=True)
    (folder / "reports").mkdir()
    (folder / ".envs").mkdir()
    link(folder, "core")
    return folder


def link(copy: Path, token: str) -> None:
    """Make an environment of the copy: this one."""
    (copy / ".envs" / token).symlink_to(sys.prefix, target_is_directory=True)


def change(copy: Path, text: str) -> None:
    """Make the changes that a page shows, and the files: of each piece what stands there must be in the file, once."""
    said, *rest = FENCE.split(text)
    for language, diff, following in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        told, said = said, following
        if saved := re.findall(r"[Ss]ave .* as `([^`]+)`", told):
            (copy / saved[-1]).write_text(diff, encoding="utf-8")
        if language != "diff":
            continue
        path = re.findall(r"\bIn `([^`]+)`", told)[-1]
        file = copy / path
        content = file.read_text(encoding="utf-8")
        for piece in diff.removesuffix("\n").split("\n@@\n"):
            lines = piece.split("\n")
            before = "".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", "-", ""))
            after = "".join(f"{line[1:]}\n" for line in lines if line[:1] in (" ", "+", ""))
            assert content.count(before) == 1, f"{path} does not hold once:\n{before}"
            content = content.replace(before, after)
        file.write_text(content, encoding="utf-8")


def touched(copy: Path) -> set[str]:
    """The files of the copy that are new, or other than here."""
    left = re.compile(r"(?:^|/)(?:\.envs|__pycache__|\.\w+_cache|\.hypothesis|reports)(?:/|$)")
    there = {path.relative_to(copy).as_posix() for path in _files(copy)}
    return {
        name for name in there
        if not left.search(name)
        and not ((ROOT / name).is_file() and filecmp.cmp(ROOT / name, copy / name, shallow=False))
    }  # fmt: skip


def _files(folder: Path) -> Iterator[Path]:
    for inside, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in (".envs", "reports")]
        yield from (Path(inside) / name for name in files)


def commands(text: str) -> list[str]:
    """The commands that a page shows, a line each."""
    return [line.partition("  #")[0].strip() for line in COMMAND.findall(text)]


def variables() -> dict[str, str]:
    """Those of this process, but for what pytest has set for itself."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def run(copy: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a page in the copy.  Of make's targets only those may be called that install nothing."""
    assert re.match(r"\.envs/core/bin/\w|make test-\w+$", command), command
    command = command.replace(
        ".envs/core/bin/suite ", ".envs/core/bin/python -m suite "
    )  # else it is the one from here
    return subprocess.run(
        command, cwd=copy, shell=True, check=False, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**variables(), "PYTHONPATH": str(copy), "COLUMNS": "200"},
    )  # fmt: skip
