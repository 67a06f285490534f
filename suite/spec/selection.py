"""Which benchmarks are meant: by a name in the catalogue, or by the path of a file, with what they start from.

Whatever is wrong with a benchmark, its data, or the stages before it is found here, for every command alike.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from suite.errors import SpecError
from suite.spec import loading, paths, stages
from suite.spec.dataset import DatasetFacts
from suite.spec.resolved import Spec
from suite.spec.spelling import hint, listed

Describe = Callable[[str], DatasetFacts]


@dataclass(frozen=True)
class Chosen:
    """The specs that are asked for; ``whole`` holds what they start from as well, and ``notes`` tell what was added."""

    asked: tuple[Spec, ...]
    whole: tuple[Spec, ...]
    notes: tuple[str, ...]


def resolve(wanted: tuple[str, ...], folder: Path, describe: Describe) -> Chosen:
    """The benchmarks ``wanted`` and their stages, checked as far as it goes without data and imported weights.

    ``folder`` is the catalogue's.  Raises SpecError with the file and the field.
    """
    finder = Finder(folder, describe)
    asked = finder.asked(wanted)
    try:
        whole, notes = stages.with_parents(asked, finder.parent)
        stages.generations(whole)
        stages.check(whole)
    except SpecError as error:
        file = finder.file(error.where.partition(":")[0])
        where = error.where if file is None or file.parent == folder else f"{file}: {error.where}"
        raise SpecError(error.what, where=where, way_out=error.way_out) from None
    return Chosen(asked, whole, notes)


class Finder:
    """Finds benchmarks, and remembers the file of each: what a stage starts from may be there."""

    def __init__(self, folder: Path, describe: Describe) -> None:
        self._folder = folder
        self._describe = functools.cache(describe)  # the cases of a file share its data, which may be large
        self._files: dict[Path, tuple[Spec, ...]] = {}
        self._known: dict[str, tuple[Spec, Path]] = {}

    def asked(self, wanted: tuple[str, ...]) -> tuple[Spec, ...]:
        """Every spec that is wanted, once.  Raises SpecError, also where two benchmarks have one name."""
        return tuple({spec.id: spec for item in wanted for spec in self._find(item)}.values())

    def parent(self, child: Spec) -> tuple[Spec, ...]:
        """The specs under the name of what ``child`` starts from: those of files already read, else the catalogue's."""
        wanted = stages.parent(child) or ""
        name = wanted.partition("/")[0]
        if mine := tuple(spec for spec, _ in self._known.values() if spec.name == name):
            return mine
        try:
            return self._find(wanted)
        except SpecError as error:
            file = self.file(child.id)
            beside = file is not None and file.parent != self._folder and (file.parent / f"{name}.yaml").is_file()
            way_out = f"By its path it is {wanted.replace(name, f'{name}.yaml', 1)}." if beside else error.way_out
            raise SpecError(error.what, where=error.where, way_out=way_out) from None

    def file(self, spec_id: str) -> Path | None:
        """The file that states a spec; null for one that was not read."""
        return self._known[spec_id][1] if spec_id in self._known else None

    def _find(self, item: str) -> tuple[Spec, ...]:
        if own := paths.split(item):
            file, case = paths.absolute(own.file), own.case
        else:
            name, _, case = item.partition("/")
            file = self._folder / f"{name}.yaml"
            if not os.path.isfile(file):  # which, unlike Path.is_file, says no to a name that is too long  # noqa: PTH113
                raise SpecError(f"there is no benchmark {_short(item)!r}", way_out=self._ways(item))
        specs = self._load(file)
        found = tuple(spec for spec in specs if not case or spec.case == case)
        if not found:
            known = [spec.case or "none" for spec in specs]
            way_out = f"{hint(case, known)}{listed(known, 'It has')}"
            raise SpecError(f"{file.stem} has no case {_short(case)!r}", where=str(file), way_out=way_out)
        return found

    def _ways(self, item: str) -> str:
        known = sorted(path.stem for path in self._folder.glob("*.yaml"))
        beside = next((f"{item}{end}" for end in paths.YAML if os.path.isfile(f"{item}{end}")), None)  # noqa: PTH113
        if beside:
            return f"By its path it is {beside}."
        told = hint(item.partition("/")[0], known)
        return f"{told}{listed(known).removesuffix('.')}; or give the path of a YAML file."

    def _load(self, file: Path) -> tuple[Spec, ...]:
        """The specs of a file, read once, and with it the files that it leads to."""
        if file in self._files:
            return self._files[file]
        stated = loading.stated(file, self._describe)
        self._files[file] = tuple(found.spec for found in stated)
        for spec in self._files[file]:
            other, place = self._known.setdefault(spec.id, (spec, file))
            if other.placeless != spec.placeless:
                way_out = f"The other is that of {place}. Rename one."
                raise SpecError(f"{spec.id} is the name of two benchmarks", where=f"{file}: name", way_out=way_out)
        for parent in dict.fromkeys(found.parent for found in stated if found.parent):
            self._load(parent)
        return self._files[file]


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."
