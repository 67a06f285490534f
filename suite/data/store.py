"""The cache of decoded arrays: one folder per data set, verified on the way in and on the way out.

Its place is the environment variable PARITY_DATA, or the user's cache folder.  What the registry knows no hashes of is
verified on the way out by those of the arrays as they came, kept beside them.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from suite.data import content, npy, words
from suite.data.content import WORDS, Arrays, Content, Decoded
from suite.data.fetch import DISK_FULL
from suite.data.registry import Dataset
from suite.errors import DataError

_ORIGIN = "origin.txt"
_RECORD = "sha256.txt"


def root() -> Path:
    """Where all data sets are kept."""
    if place := os.environ.get("PARITY_DATA"):
        return Path(os.path.expanduser(place)).absolute()  # noqa: PTH111 - which never raises
    try:
        import platformdirs
    except ImportError as error:
        raise DataError(
            "the place of the data cache is not known", way_out="Set the environment variable PARITY_DATA to a folder."
        ) from error
    return Path(platformdirs.user_cache_dir("parity-suite")) / "data"


def folder(dataset: Dataset) -> Path:
    """Where one data set is kept."""
    return root() / dataset.name


def origin(dataset: Dataset) -> str | None:
    """The mirror the cached files came from; None if they are not all there, each with its right size or more."""
    place = folder(dataset)
    try:
        for name, expected in dataset.contents.items():
            if (place / f"{name}.npy").stat().st_size <= expected.bytes:
                return None
        return (place / _ORIGIN).read_text(errors="replace")[:200].strip() or None
    except OSError:
        return None


def read(dataset: Dataset) -> Arrays:
    """The cached arrays, verified.  Raises DataError naming a file that is missing or damaged.

    Where the registry knows no hash of the arrays, those that were recorded when they came must hold.
    """
    way_out = f"Run: suite data fetch {dataset.name}"
    path = folder(dataset) / _RECORD
    arrays: Decoded = {}
    try:
        contents = dataset.contents if dataset.sha256 else _recorded(path, dataset.contents)
        for name, expected in contents.items():
            path = folder(dataset) / f"{name}.npy"
            arrays[name] = _values(path, expected)
    except FileNotFoundError as error:
        raise DataError(f"{dataset.name} is not in the cache", where=str(path), way_out=way_out) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(path), way_out=way_out) from error
    except DataError as error:
        raise DataError(error.what, where=error.where, way_out=way_out) from error
    source = origin(dataset)
    if source is None:
        raise DataError("is missing or empty", where=str(folder(dataset) / _ORIGIN), way_out=way_out)
    known = words.unpacked(arrays.pop(WORDS)) if WORDS in arrays else ()
    return Arrays(**arrays, facts=dataset.facts, origin=source, words=known)


def _values(path: Path, expected: Content) -> NDArray[Any]:
    with path.open("rb") as stream:
        header = npy.read_header(stream, str(path))
        if (header.shape, header.dtype) != (expected.shape, expected.dtype):
            raise DataError(f"is damaged: it holds {header.dtype} of shape {header.shape}", where=str(path))
        values = npy.read_values(stream, header, str(path))
    content.check(values, expected, str(path))
    return values


def _recorded(path: Path, contents: Mapping[str, Content]) -> dict[str, Content]:
    """The contents with the hashes that ``write`` recorded, a line to each.  Raises DataError for anything else."""
    with path.open(errors="replace") as stream:
        found = re.findall(r"([0-9a-f]{64})  (\w+)\n", stream.read(1 << 12))
    if [name for _, name in found] != list(contents):
        raise DataError(f"is damaged: it must hold the hashes of {', '.join(contents)}", where=str(path))
    return {name: replace(contents[name], sha256=sha256) for sha256, name in found}


def _files(dataset: Dataset) -> tuple[str, ...]:
    """What the folder of a data set holds, in the order in which they come there."""
    record = () if dataset.sha256 else (_RECORD,)
    return (*(f"{name}.npy" for name in dataset.contents), *record, _ORIGIN)


def remove(dataset: Dataset) -> bool:
    """Remove the data set's files, and no others; say whether there were any."""
    paths = [folder(dataset) / file for file in _files(dataset)]
    found = [path for path in paths if path.exists()]
    for path in found:
        path.unlink()
    return bool(found)


def write(dataset: Dataset, arrays: Decoded, source: str, workspace: Path) -> None:
    """Put verified arrays into the cache: each file is whole and durable before it gets its name, the origin last."""
    for name, array in arrays.items():
        npy.write(workspace / f"{name}.npy", array)
    if not dataset.sha256:
        hashes = (f"{content.sha256_of(array)}  {name}\n" for name, array in arrays.items())
        (workspace / _RECORD).write_text("".join(hashes))
    (workspace / _ORIGIN).write_text(source + "\n")
    place = folder(dataset)
    place.mkdir(exist_ok=True)
    for file in _files(dataset):
        (workspace / file).replace(place / file)
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def workspace(dataset: Dataset, say: Callable[[str], None]) -> Iterator[Path]:
    """A temporary folder beside the data set, for one process at a time; it and all in it ends with the block.

    Raises DataError for a full disk and for a cache that cannot be written.
    """
    prefix = f".{dataset.name}-"
    place = root()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (place / f"{prefix}lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"{dataset.name}: waiting for another process that fetches it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            for left in place.glob(f"{prefix}work-*"):  # of a process that was killed: we hold its lock
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=place, prefix=f"{prefix}work-") as temporary:
                yield Path(temporary)
    except OSError as error:
        if error.errno in DISK_FULL:
            needed = sum(expected.bytes for expected in dataset.contents.values())
            raise DataError(
                f"the disk is full: {dataset.name} takes {needed / 1e6:,.0f} MB, several times that during the fetch",
                where=str(place),
                way_out="Free space, or set PARITY_DATA to a folder on another disk. Nothing half-written was left.",
            ) from error
        raise DataError(
            f"cannot be used as the data cache ({error.strerror or error})",
            where=str(place),
            way_out="Set PARITY_DATA to a folder that you can write.",
        ) from error
