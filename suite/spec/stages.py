"""Stages: benchmarks that start from the trained weights of others, and what follows for a plan.

A stage comes a generation after its parent.  Weights that were imported (``weights:NAME``) are nobody's, and there
before everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from suite.errors import DataError, SpecError
from suite.spec import paths
from suite.spec.resolved import Spec
from suite.spec.tensors import Shape

IMPORTED = "weights:"


def parent(spec: Spec) -> str | None:
    """The id of the benchmark whose trained weights ``spec`` starts from; None for imported ones, too."""
    return None if imported(spec) else spec.starts_from


def imported(spec: Spec) -> str | None:
    """The name of the imported weights that ``spec`` starts from."""
    found = spec.starts_from or ""
    return found.removeprefix(IMPORTED) if found.startswith(IMPORTED) else None


def with_parents(
    specs: tuple[Spec, ...], find: Callable[[Spec], tuple[Spec, ...]]
) -> tuple[tuple[Spec, ...], tuple[str, ...]]:
    """The specs and all that they start from, directly or not, with a note on each that was added.

    ``find`` gives the specs under the name of what a spec starts from, and raises SpecError for an unknown one.
    """
    chosen = {spec.id: spec for spec in specs}
    notes, asking = [], list(specs)
    while asking:
        child = asking.pop(0)
        name = parent(child)
        if name is None or name in chosen:
            continue
        where = f"{child.id}: starts_from"
        try:
            found = {spec.id: spec for spec in find(child)}
        except SpecError as error:
            raise SpecError(error.what, where=where, way_out=error.way_out) from None
        if name not in found:
            way_out = f"Name one of its cases: {', '.join(found)}."
            raise SpecError(f"{name} is no single benchmark", where=where, way_out=way_out)
        chosen[name] = found[name]
        asking.append(found[name])
        notes.append(f"{name} was added, for {child.id} starts from its weights.")
    return tuple(chosen.values()), tuple(notes)


def generations(specs: tuple[Spec, ...]) -> dict[str, int]:
    """How many stages come before each benchmark, by its id.  Raises SpecError for a circle, or a parent not there."""
    known = {spec.id: spec for spec in specs}

    def depth(spec: Spec, trail: tuple[str, ...]) -> int:
        where = f"{spec.id}: starts_from"
        if spec.id in trail:
            circle = " from ".join((*trail[trail.index(spec.id) :], spec.id))
            raise SpecError(f"leads in a circle: {circle}", where=where, way_out="Let one of them start afresh.")
        name = parent(spec)
        if name is None:
            return 0
        if name not in known:
            raise SpecError(f"{name} is no benchmark of this run", where=where)
        return 1 + depth(known[name], (*trail, spec.id))

    return {spec.id: depth(spec, ()) for spec in specs}


def check(specs: tuple[Spec, ...], shapes_of: Callable[[str], Mapping[str, Shape]] | None = None) -> None:
    """Raises SpecError where a stage inherits a tensor that its parent does not have, or has in another shape.

    ``shapes_of`` tells the shapes of imported weights, by the tensors' names; without it they are taken on trust.
    """
    known = {spec.id: spec for spec in specs}
    for spec in specs:
        if (name := imported(spec)) is not None:
            if shapes_of is not None:
                _check(spec, f"{IMPORTED}{name}", shapes_of(name))
        elif (name := parent(spec)) is not None:
            if known[name].speed_alone:
                raise SpecError(
                    f"{name} is never trained: it states speed_alone",
                    where=f"{spec.id}: starts_from",
                    way_out="Start from one that is trained.",
                )
            _check(spec, name, {n: tensor.shape for n, tensor in known[name].tensors.items()})


def _check(spec: Spec, giver: str, given: Mapping[str, Shape]) -> None:
    where = f"{spec.id}: {'inherits' if spec.inherits else 'starts_from'}"
    way_out = "Name under `inherits` the layers that are the same in both."
    for name, tensor in spec.tensors.items():
        if name not in spec.inherited_names:
            continue
        if name not in given:
            raise SpecError(f"{giver} has no {name}", where=where, way_out=way_out)
        if given[name] != tensor.shape:
            both = f"{given[name]} in {giver}, but {tensor.shape} here"
            raise SpecError(f"{name} is {both}", where=where, way_out=way_out)


def without_missing(
    specs: tuple[Spec, ...], fetch: Callable[[str], object], weights: Callable[[str], object]
) -> tuple[tuple[Spec, ...], tuple[str, ...], dict[str, str]]:
    """The specs whose data and imported weights can be had, a note on those that cannot, and why, by id, in few words.

    Both callables raise DataError for what is not there.  A stage goes with its parent.  The user's own files have been
    read before, or there would be no spec.
    """
    notes: list[str] = []
    why: dict[str, str] = {}
    left = list(specs)

    def leave_out(these: list[Spec], before: str, after: str, words: str) -> None:
        if these:
            why.update((spec.id, words) for spec in these)
            notes.append(f"{before}{', '.join(spec.id for spec in these)} was left out{after}")
            left[:] = [spec for spec in left if spec not in these]

    for dataset in dict.fromkeys(spec.dataset for spec in specs if not paths.is_own(spec.dataset)):
        try:
            fetch(dataset)
        except DataError as error:
            lost = [spec for spec in left if spec.dataset == dataset]
            leave_out(
                lost, f"The data set {dataset} could not be had, so ", f": {error.what}.", "its data could not be had"
            )
    for name in dict.fromkeys(filter(None, map(imported, specs))):
        try:
            weights(name)
        except DataError as error:
            lost = [spec for spec in left if imported(spec) == name]
            after = f": {error.what}. {error.way_out}"
            leave_out(lost, f"The weights {name} could not be had, so ", after, "its weights could not be had")
    while lost := [spec for spec in left if parent(spec) not in (None, *(other.id for other in left))]:
        leave_out(lost, "", " as well, for want of what it starts from.", "what it starts from was left out")
    return tuple(left), tuple(notes), why
