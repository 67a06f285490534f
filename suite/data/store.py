"""The cache of decoded arrays: one folder per data set, verified on the way in and on the way out.

Its place is the environment variable PARITY_DATA, or the user's cache folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from suite.data import content, npy
from suite.data.content import DTYPES, NAMES, Arrays, Decoded
from suite.data.fetch import DISK_FULL
from suite.data.registry import Dataset
from suite.errors import DataError

_ORIGIN = "origin.txt"
_FILES = (*(f"{name}.npy" for name in NAMES), _ORIGIN)


def root() -> Path:
    """Where all data sets are kept."""
    if place := os.environ.get("PARITY_DATA"):
        return Path(place).absolute()
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
            if (place / f"{name}.npy").stat().st_size <= expected.bytes(name):
                return None
        return (place / _ORIGIN).read_text(errors="replace")[:200].strip() or None
    except OSError:
        return None


def read(dataset: Dataset) -> Arrays:
    """The cached arrays, verified.  Raises DataError naming a file that is missing or damaged."""
    way_out = f"Run: suite data fetch {dataset.name}"
    arrays = {}
    for name, expected in dataset.contents.items():
        path = folder(dataset) / f"{name}.npy"
        try:
            with path.open("rb") as stream:
                header = npy.read_header(stream, str(path))
                if (header.shape, header.dtype) != (expected.shape, DTYPES[name]):
                    raise DataError(f"is damaged: it holds {header.dtype} of shape {header.shape}", where=str(path))
                arrays[name] = npy.read_values(stream, header, str(path))
            content.check(name, arrays[name], expected, str(path))
        except FileNotFoundError as error:
            raise DataError(f"{dataset.name} is not in the cache", where=str(path), way_out=way_out) from error
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})", where=str(path), way_out=way_out) from error
        except DataError as error:
            raise DataError(error.what, where=error.where, way_out=way_out) from error
    source = origin(dataset)
    if source is None:
        raise DataError("is missing or empty", where=str(folder(dataset) / _ORIGIN), way_out=way_out)
    return Arrays(**arrays, facts=dataset.facts, origin=source)


def remove(dataset: Dataset) -> bool:
    """Remove the data set's files, and no others; say whether there were any."""
    paths = [folder(dataset) / file for file in _FILES]
    found = [path for path in paths if path.exists()]
    for path in found:
        path.unlink()
    return bool(found)


def write(dataset: Dataset, arrays: Decoded, source: str, workspace: Path) -> None:
    """Put verified arrays into the cache: each file is whole and durable before it gets its name, the origin last."""
    for name, array in arrays.items():
        npy.write(workspace / f"{name}.npy", array)
    (workspace / _ORIGIN).write_text(source + "\n")
    place = folder(dataset)
    place.mkdir(exist_ok=True)
    for file in _FILES:
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
            needed = sum(expected.bytes(name) for name, expected in dataset.contents.items())
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
