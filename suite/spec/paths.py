"""What a path means.

One that a file states is taken from the folder of that file, one of the command line from the current folder; ``~`` is
the home.  Both are made absolute where they are read, so that a trial, another checkout and a container, each of which
has a current folder of its own, take them for the same.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from suite.errors import SpecError

NPZ = "npz:"
"""What the name of a data set begins with that is the user's own file."""
YAML = (".yaml", ".yml")
LONGEST = 4096
"""Characters of a path, as Linux has it."""
IN_CONTAINER = (
    "In a container only what is mounted is seen: PARITY_DATA as /data, PARITY_REPORTS as /reports, and the folder "
    "PARITY_FILES under its own path."
)


class StatedPath(NamedTuple):
    """The path of a spec file as somebody wrote it, and the case after it, or nothing: ``my.yaml/small``."""

    file: str
    case: str


def way_out() -> str:
    """From where a path is taken, for whoever named one that leads nowhere."""
    seen = f" {IN_CONTAINER}" if os.environ.get("PARITY_PLACE") == "container" else ""
    return f"A path in a file is taken from that file's folder, one of a command from the current folder.{seen}"


def here() -> Path:
    """The current folder.  Raises SpecError where it has been removed."""
    try:
        return Path.cwd()
    except OSError:
        raise SpecError("the current folder is no longer there", way_out="Change to one that is.") from None


def folder_of(file: Path) -> Path:
    """The folder from which the paths in ``file`` are taken: that of the file itself, whichever link leads to it."""
    return _real(file).parent


def absolute(text: str, folder: Path | None = None) -> Path:
    """The path ``text``, absolute, taken from ``folder``, or from the current one.  It need not be there.

    Its own name stays where it is a link.  Raises SpecError for a path that is not UTF-8: JSON cannot hold it.
    """
    path = Path(text)
    with contextlib.suppress(RuntimeError):  # there is no such user, and so no such file
        path = path.expanduser()
    if not path.is_absolute():
        path = (folder or here()) / path
    found = _real(path.parent) / path.name
    try:
        str(found).encode()
    except UnicodeEncodeError:
        shown = ascii(str(found))[1:-1]
        raise SpecError("is a path that is not UTF-8", where=shown, way_out="Rename the file, or its folder.") from None
    return found


def _real(path: Path) -> Path:
    """The path without links and ``..``, as far as it is there."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):  # too long, or no path at all: whoever opens it says so
        return path


def split(item: str) -> StatedPath | None:
    """Where a spec is stated that is named by a path; None for what is a name in the catalogue."""
    if item.lower().endswith(YAML):
        return StatedPath(item, "")
    head, slash, case = item.rpartition("/")
    return StatedPath(head, case) if slash and head.lower().endswith(YAML) else None


def benchmark(item: str, folder: Path | None = None) -> str:
    """A benchmark as a profile or a command names it: a name stays, a path becomes absolute."""
    if (own := split(item)) is None:
        return item
    return f"{absolute(own.file, folder)}{'/' if own.case else ''}{own.case}"


def benchmarks(items: Iterable[str] | None) -> tuple[str, ...]:
    """Benchmarks as a command names them, paths made absolute; it need not name any."""
    return tuple(benchmark(item) for item in items or ())


def is_own(dataset: str) -> bool:
    """Whether a data set is the user's own file."""
    return dataset.startswith(NPZ)


def file_of(dataset: str) -> Path | None:
    """The user's own file that a data set is; null for one of the registry's."""
    return Path(dataset.removeprefix(NPZ)) if is_own(dataset) else None


def dataset(name: str, folder: Path | None = None) -> str:
    """The name of a data set, the path of ``npz:PATH`` made absolute."""
    return f"{NPZ}{absolute(name.removeprefix(NPZ), folder)}" if is_own(name) else name


def label(name: str) -> str:
    """The name of a data set without its place on this machine: of ``npz:PATH``, the file's own name is left."""
    return f"{NPZ}{Path(name.removeprefix(NPZ)).name}" if is_own(name) else name


def check_regular(path: Path) -> None:
    """Raises OSError for what is not there or no regular file: a pipe would keep its reader waiting for ever."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file")
