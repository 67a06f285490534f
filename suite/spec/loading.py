"""From a spec file to Specs: each case joined with the facts of its data, every path in it made absolute."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from suite.errors import DataError, SpecError
from suite.spec import paths, stages
from suite.spec.dataset import DatasetFacts
from suite.spec.presets import Form
from suite.spec.recipe import NAME, NAME_PATTERN, Recipe
from suite.spec.resolved import Spec
from suite.spec.yaml import read_yaml, refuse, validated


class StatedFields(NamedTuple):
    """A spec, and the file of what it starts from, where it names that by its path."""

    spec: Spec
    parent: Path | None


def load(path: Path, describe: Callable[[str], DatasetFacts]) -> tuple[Spec, ...]:
    """Read a spec file: one Spec, or one per case.

    ``describe`` tells the facts of a data set by name and raises DataError for one that it does not know.
    Raises SpecError with the file, the field and the way out.
    """
    return tuple(found.spec for found in stated(path, describe))


def stated(path: Path, describe: Callable[[str], DatasetFacts]) -> tuple[StatedFields, ...]:
    """The same, with the files that it leads to.  Paths in the file are taken from its folder and made absolute."""
    shared = read_yaml(path)
    cases = _cases(path, shared.pop("cases")) if "cases" in shared else {None: {}}
    return tuple(_resolve(path, shared, case, cases, describe) for case in cases)


def _cases(path: Path, cases: object) -> dict[str | None, dict[str, Any]]:
    where = f"{path}: cases"
    if not isinstance(cases, dict) or not cases:
        raise SpecError("must map the name of each case to the fields that it replaces", where=where)
    for case, fields in cases.items():
        if not re.fullmatch(NAME_PATTERN, case):
            raise SpecError(f"a case's name must be {NAME}", where=f"{where}.{case}")
        if not isinstance(fields, dict):
            raise SpecError("must map fields to the values that replace the shared ones", where=f"{where}.{case}")
        if "name" in fields:
            raise SpecError("a case cannot rename its spec", where=f"{where}.{case}.name", way_out="Drop it.")
    return cases


def _resolve(
    path: Path,
    shared: Mapping[str, Any],
    case: str | None,
    cases: Mapping[str | None, Mapping[str, Any]],
    describe: Callable[[str], DatasetFacts],
) -> StatedFields:
    """Join what a file says with the facts of its data."""
    fields = {**shared, **cases[case]}

    def place(field: str) -> str:
        if isinstance(fields.get("model"), dict) and field.startswith("model["):
            field = f"model.{next(iter(fields['model']))}"
        return f"cases.{case}.{field}" if re.split(r"[.\[]", field)[0] in cases[case] else field

    recipe = validated(path, Recipe, fields, place)
    for i, assumption in enumerate(recipe.assumptions):
        if assumption.alternative not in (None, *cases):
            where = f"{path}: {place(f'assumptions[{i}].alternative')}"
            known = ", ".join(name for name in cases if name) or "none"
            raise SpecError(f"there is no case {assumption.alternative}", where=where, way_out=f"There are: {known}.")
    folder = paths.folder_of(path)
    try:
        dataset = paths.dataset(recipe.dataset, folder)
        facts = describe(dataset)
    except (DataError, SpecError) as error:
        what = ": ".join(filter(None, (error.where, error.what)))
        raise SpecError(what, where=f"{path}: {place('dataset')}", way_out=error.way_out) from None
    parent, starts_from = _parent(recipe.starts_from, folder, f"{path}: {place('starts_from')}")
    layers = recipe.model.layers() if isinstance(recipe.model, Form) else recipe.model
    changed = {"dataset": dataset, "starts_from": starts_from, "model": layers, "case": case, "data": facts}
    try:
        return StatedFields(Spec.model_validate({**dict(recipe), **changed}), parent)
    except ValidationError as error:
        refuse(path, Spec, error, place)


def _parent(name: str | None, folder: Path, where: str) -> tuple[Path | None, str | None]:
    """The file that ``starts_from`` names by its path, and the id of the benchmark in it; of a name that itself."""
    imported = name.removeprefix(stages.IMPORTED) if name and name.startswith(stages.IMPORTED) else None
    if imported is not None and not re.fullmatch(NAME_PATTERN, imported):
        way_out = "It takes the name under which `suite weights import` keeps them, and no path."
        raise SpecError(f"{imported!r} is no name for weights", where=where, way_out=way_out)
    if name is None or imported is not None or (own := paths.split(name)) is None:
        return None, name
    try:
        file = paths.absolute(own.file, folder)
        shared = read_yaml(file)
    except SpecError as error:
        what = ": ".join(filter(None, (error.where, error.what)))
        raise SpecError(what, where=where, way_out=error.way_out) from None
    cases = shared.get("cases")
    known = [f"{shared.get('name')}/{case}" for case in cases] if isinstance(cases, dict) else [str(shared.get("name"))]
    found = [each for each in known if own.case in ("", each.partition("/")[2])]
    if len(found) != 1:
        what = f"has no case {own.case!r}" if own.case else "is no single benchmark"
        ways = ", ".join(f"{own.file}/{each.partition('/')[2]}" for each in known if "/" in each) or own.file
        raise SpecError(f"{own.file} {what}", where=where, way_out=f"There are: {ways}.")
    return file, found[0]
