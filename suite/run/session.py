"""What a run is of, and where: its plan and folder, the interpreters of frameworks, what each computes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from suite import files
from suite.data import datasets, store
from suite.errors import DataError, MachineError, RunError, SpecError
from suite.inputs import checkpoint, initial
from suite.machine import environment
from suite.machine.environment import ROOT
from suite.run import plan
from suite.run import profile as profiles
from suite.run.plan import Plan
from suite.run.profile import Profile
from suite.runners import base
from suite.spec import paths, selection, stages
from suite.spec.spelling import hint, listed, shown
from suite.spec.tensors import Shape
from suite.spec.vocabulary.tables import Place

BENCHMARKS = ROOT / "benchmarks"
REPORTS = ROOT / "reports"
ENVIRONMENTS = ROOT / ".envs"
ANSWER_SECONDS = 300
"""How long a framework may take to be imported and to answer."""


def profile(name: str, *, benchmarks: bool = True, device: str | None = None) -> Profile:
    """A profile of benchmarks/profiles, or the caller's own YAML file, from whose folder its paths are taken.

    ``device`` is the one that it is read for, in the place of its own.  Raises SpecError, also for a spec file that is
    not there, but where its ``benchmarks`` are not wanted.
    """
    if name.lower().endswith(paths.YAML):
        path = paths.absolute(name)
    else:
        known = sorted(p.stem for p in (BENCHMARKS / "profiles").glob("*.yaml"))
        if name not in known:
            way_out = f"{hint(name, known)}{listed(known).removesuffix('.')}; or give the path of a YAML file."
            raise SpecError(f"there is no profile {shown(name)!r}", way_out=way_out)
        path = BENCHMARKS / "profiles" / f"{name}.yaml"
    found = profiles.read(path, device)
    items = tuple(paths.benchmark(item, paths.folder_of(path)) for item in found.benchmarks)
    for i, item in enumerate(items if benchmarks else ()):
        if (own := paths.split(item)) and not os.path.exists(own.file):  # noqa: PTH110 - false for any path that is none
            where = f"{path}: benchmarks[{i}]"
            raise SpecError(f"{own.file} is not there", where=where, way_out=paths.way_out())
    return found.model_copy(update={"benchmarks": items})


def catalogue() -> tuple[str, ...]:
    """The names of all benchmarks that the suite brings."""
    return tuple(sorted(path.stem for path in (BENCHMARKS / "specs").glob("*.yaml")))


def find(wanted: tuple[str, ...]) -> selection.Chosen:
    """Benchmarks by their names or paths, and what they start from.  Raises SpecError."""
    return selection.resolve(wanted, BENCHMARKS / "specs", datasets.describe)


def draft(wanted: Profile, command: str = "", fetch: Callable[[str], object] = str) -> Plan:
    """The plan of ``wanted``, written nowhere.

    What a benchmark starts from is taken in, with a note.  Benchmarks are left out, with a note, whose data ``fetch``
    cannot get or whose imported weights are not there; where nothing is measured neither is needed.  The user's own
    files are read here, so that none is refused only later.

    Raises SpecError for an unknown runner, mode, inference option or benchmark and for stages that do not fit together,
    DataError, ResultError for imported weights that are none, and RunError where no benchmark is left.
    """
    for token, modes in wanted.runners.items():
        if token not in base.tokens():
            way_out = f"{hint(token, base.tokens(), Place.RUNNER)}{listed(base.tokens())}"
            raise SpecError(f"there is no runner {shown(token)!r}", way_out=way_out)
        known = base.modes(token)
        for mode in modes:
            if mode not in known:
                way_out = f"{hint(mode, known, Place.MODE)}{listed(known, 'It has')}"
                raise SpecError(f"runner {token} has no mode {shown(mode)!r}", way_out=way_out)
    for option in wanted.tunings:
        plan.check_option(option)
    chosen = find(wanted.benchmarks)
    specs = chosen.asked
    notes: tuple[str, ...] = ()
    why: dict[str, str] = {}
    if wanted.rounds:
        specs, left_out, why = stages.without_missing(chosen.whole, fetch, checkpoint.imported)
        notes = (*chosen.notes, *left_out)
    if not specs:
        raise RunError("no benchmark is left to run", way_out=" ".join(notes))
    notes = (*notes, *dict.fromkeys(caution for spec in specs for caution in spec.cautions))
    names = dict.fromkeys(filter(None, map(stages.imported, specs)) if wanted.rounds else ())
    imported = {name: _imported(checkpoint.imported(name)) for name in names}
    here = plan.Here(
        cores=environment.cores(),
        machine=environment.machine(environment.gpus() if wanted.device == "cuda" else ()),
        source=environment.source_digest(),
        locks={token: environment.lock_digest(token) for token in wanted.runners},
    )
    return plan.make(wanted, plan.Wanted(specs, imported, why, notes), here, command)


def _imported(path: Path) -> tuple[str, dict[str, Shape]]:
    shapes = checkpoint.shapes(path)
    return initial.fingerprint(checkpoint.read(path, shapes)), shapes


def prepare(
    wanted: Profile, reports: Path, command: str, say: Callable[[str], None], *, shared: bool = False
) -> tuple[Path, Plan]:
    """Fetch the data, make the plan and its folder; the same question finds its old folder.  Raises as ``draft``.

    Where the user's own files have moved since, the old plan learns of it.  ``shared`` says that other containers will
    do the work: raises DataError for data that they would not see.
    """
    made = draft(wanted, command, lambda name: datasets.fetch(name, say))
    if shared:
        _refuse_unshared(made, reports)
    folder = reports / made.id
    if (folder / "plan.json").exists():
        old = plan.read(folder)
        if old.specs == made.specs:
            return folder, old
        made = old.model_copy(update={"profile": made.profile, "specs": made.specs})
    files.write_bytes(folder / "plan.json", made.model_dump_json(indent=1).encode() + b"\n")
    return folder, plan.read(folder)


def _refuse_unshared(made: Plan, reports: Path) -> None:
    """Raises DataError for data that the containers of the frameworks do not see; natively all see the same."""
    mounted = filter(None, [os.environ.get("PARITY_FILES")])
    shared = [folder.resolve() for folder in (store.root(), reports, ROOT, *map(Path, mounted))]
    for spec in made.specs if environment.in_container() else ():
        place = paths.file_of(spec.dataset)
        if place and not any(place.resolve().is_relative_to(folder) for folder in shared):
            raise DataError("is in this container alone", where=f"{spec.id}: {place}", way_out=paths.IN_CONTAINER)


def refuse_unwritable(reports: Path) -> None:
    """Raises RunError, with the way out, where this user cannot write into the folder of reports."""
    if os.access(reports, os.W_OK | os.X_OK):
        return
    user, group = os.getuid(), os.getgid()
    owner = reports.stat() if reports.exists() else None
    what = f"user {user}, group {group}, cannot write here" if owner else "does not exist"
    way_out = (
        "Run as its owner: PARITY_UID=$(id -u) PARITY_GID=$(id -g) docker compose up; `make docker-bench` does so."
    )
    if owner:
        way_out += f" Or give it away: chown {user}:{group} reports. It belongs to user {owner.st_uid}."
    raise RunError(what, where=str(reports), way_out=way_out)


def point(link: Path, folder: Path) -> None:
    """Let the symbolic link ``link`` lead to ``folder``, which lies beside it, whatever it led to before."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.symlink_to(folder.name)
    temporary.replace(link)


def pythons(tokens: tuple[str, ...]) -> dict[str, Path]:
    """The interpreter of each runner's environment; a runner without one runs in the core's.

    Raises MachineError where a framework's environment is missing.
    """
    found = {}
    for token in tokens:
        own = ENVIRONMENTS / token / "bin" / "python"
        if environment.lock_digest(token) and not own.exists():
            raise MachineError(
                f"the environment of {token} is missing", where=str(own), way_out="`make envs` makes it."
            )
        found[token] = own if own.exists() else Path(sys.executable)
    return found


class Answer(NamedTuple):
    """What a framework answers when it is asked to compute on a device: whether it does, and on what, or why not."""

    well: bool
    said: str


def devices(tokens: tuple[str, ...], device: str) -> dict[str, Answer]:
    """Whether each framework computes on a device of this machine, asked in its own environment, all at once."""
    asked: dict[str, subprocess.Popen[str] | Answer] = {}
    for token in tokens:
        if not environment.lock_digest(token):
            continue
        try:
            python = pythons((token,))[token]
        except MachineError as error:
            asked[token] = Answer(False, f"{error.what}; {error.way_out}")
            continue
        asked[token] = subprocess.Popen(
            [str(python), "-m", "suite.machine.doctor", token, device], cwd=ROOT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
    return {token: found if isinstance(found, Answer) else _answer(found) for token, found in asked.items()}


def _answer(process: subprocess.Popen[str]) -> Answer:
    """The last line that a framework says; a framework that dies says it where errors go."""
    try:
        said, complained = process.communicate(timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Answer(False, f"it did not answer in {ANSWER_SECONDS} s")
    lines = (complained if process.returncode else said).strip().splitlines()
    return Answer(not process.returncode, lines[-1] if lines else f"it ended with status {process.returncode}")


def unfit(asked: Mapping[str, Answer], device: str) -> tuple[str, ...]:
    """A note on each framework that does not compute on ``device``.  Raises MachineError if none does on a GPU."""
    lost = [token for token, answer in asked.items() if not answer.well]
    notes = tuple(f"{token} does not compute on {device}, so its cells will fail" for token in lost)
    if device == "cuda" and notes and len(notes) == len(asked):
        raise MachineError(
            "no framework computes on a GPU here: " + "; ".join(f"{token}: {a.said}" for token, a in asked.items()),
            way_out="`suite doctor` says what this machine has; `--device cpu` measures without a GPU.",
        )
    return notes
