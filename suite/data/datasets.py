"""Data sets: what there is, getting it, and loading it verified.

``describe`` and ``load`` need NumPy alone and never the network; ``fetch`` uses it.  A name is one of the registry's
(``digits``, ``mnist``, ...) or ``npz:PATH`` for the user's own file (see ``suite.data.npz``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from suite.data import npz, store
from suite.data.content import Arrays
from suite.data.fetch import obtain
from suite.data.registry import DATASETS, find
from suite.errors import DataError
from suite.spec.dataset import DatasetFacts


@dataclass(frozen=True)
class Listing:
    """A line of ``suite data list``: ``origin`` is None until it is fetched; ``bytes`` is the size of its arrays."""

    name: str
    facts: DatasetFacts
    origin: str | None
    cached: bool
    bytes: int
    path: Path


def describe(name: str) -> DatasetFacts:
    """The facts of a data set, without network or cache; ``npz:PATH`` is read.  Raises DataError."""
    return npz.read(name).facts if name.startswith(npz.PREFIX) else find(name).facts


def load(name: str) -> Arrays:
    """The arrays, out of the cache, verified by their hashes.  Raises DataError with the way to get them."""
    return npz.read(name) if name.startswith(npz.PREFIX) else store.read(find(name))


def fetch(name: str, progress: Callable[[str], None] | None = None) -> Path:
    """Make sure that ``load`` will work, and return where the arrays lie; does nothing where they already do.

    ``progress`` gets one line for each mirror tried and for each that failed.  Raises DataError.
    """
    say = progress or (lambda _line: None)
    if name.startswith(npz.PREFIX):
        npz.read(name)
        return npz.path_of(name)
    dataset = find(name)
    place = store.folder(dataset)
    if _problem(name) is None:
        return place
    with store.workspace(dataset, say) as workspace:
        problem = _problem(name)
        if problem is None:  # another process fetched it while we waited
            return place
        if store.remove(dataset):
            say(f"{name}: {problem.where}: {problem.what}; removed, and fetched again")
        arrays, source = obtain(dataset, workspace, say)
        store.write(dataset, arrays, source, workspace)
    what = "words in their contexts" if dataset.vocabulary else "images"
    how = "verified" if dataset.sha256 else "verified as published, hashes of the arrays recorded"
    say(f"{name}: {dataset.train:,} + {dataset.test:,} {what} from {source}, {how}, in {place}")
    return place


def available() -> list[Listing]:
    """Every data set of the registry, and whether it is cached (by file sizes; ``load`` verifies the values)."""
    return [
        Listing(
            name=dataset.name,
            facts=dataset.facts,
            origin=(origin := store.origin(dataset)),
            cached=origin is not None,
            bytes=sum(content.bytes for content in dataset.contents.values()),
            path=store.folder(dataset),
        )
        for dataset in DATASETS.values()
    ]


def _problem(name: str) -> DataError | None:
    try:
        load(name)
    except DataError as error:
        return error
    return None
