"""Stages: who comes after whom, what fits, and what is left out."""

from collections.abc import Callable

import pytest

from suite.errors import DataError, SpecError
from suite.spec import stages
from suite.spec.resolved import Spec

MakeSpec = Callable[..., Spec]
MODEL = [{"layer": "flatten"}, {"layer": "dense", "units": 8}, {"layer": "dense", "units": 10}]


@pytest.fixture
def spec(make_spec: MakeSpec) -> MakeSpec:
    return lambda name, parent=None, **fields: make_spec(
        **{"name": name, "model": MODEL, **({"starts_from": parent} if parent else {}), **fields}
    )


def never(child: Spec) -> tuple[Spec, ...]:
    raise AssertionError(f"asked for the parent of {child.id}")


def test_whatever_a_stage_starts_from_comes_along_with_a_note(spec: MakeSpec) -> None:
    shelf = {"b": (spec("b", "c"),), "c": (spec("c"),)}
    found, notes = stages.with_parents((spec("a", "b"),), lambda child: shelf[child.starts_from or ""])
    assert [each.id for each in found] == ["a", "b", "c"]
    assert notes == (
        "b was added, for a starts from its weights.",
        "c was added, for b starts from its weights.",
    )
    assert stages.with_parents(found, never) == (found, ()), "they are there already"
    imported = (spec("a", "weights:some"),)
    assert stages.with_parents(imported, never) == (imported, ())


def test_a_parent_that_is_none_is_refused_by_the_childs_name(spec: MakeSpec) -> None:
    def unknown(child: Spec) -> tuple[Spec, ...]:
        raise SpecError("there is no benchmark 'b'", way_out="There are: c.")

    with pytest.raises(SpecError, match="no benchmark 'b'") as caught:
        stages.with_parents((spec("a", "b"),), unknown)
    assert (caught.value.where, caught.value.way_out) == ("a: starts_from", "There are: c.")
    cases = (spec("c").replace(name="b", case="one"), spec("c").replace(name="b", case="two"))
    with pytest.raises(SpecError, match="b is no single benchmark") as caught:
        stages.with_parents((spec("a", "b"),), lambda child: cases)
    assert "b/one, b/two" in caught.value.way_out


def test_generations_count_the_stages_before(spec: MakeSpec) -> None:
    specs = (spec("c", "b"), spec("b", "a"), spec("a"), spec("w", "weights:some"), spec("d", "a"))
    assert stages.generations(specs) == {"a": 0, "b": 1, "c": 2, "d": 1, "w": 0}


@pytest.mark.parametrize("parents", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b"}])
def test_a_circle_is_refused(spec: MakeSpec, parents: dict[str, str]) -> None:
    with pytest.raises(SpecError, match=r"leads in a circle: . from .") as caught:
        stages.generations(tuple(spec(name, parent) for name, parent in parents.items()))
    assert "starts_from" in caught.value.where


def test_a_parent_outside_the_run_is_refused(spec: MakeSpec) -> None:
    with pytest.raises(SpecError, match="b is no benchmark of this run"):
        stages.generations((spec("a", "b"),))


def test_what_is_inherited_must_be_there_in_the_same_shape(spec: MakeSpec) -> None:
    wide = [MODEL[0], {"layer": "dense", "units": 9}, MODEL[2]]
    child = spec("a", "b", model=wide)
    with pytest.raises(SpecError) as caught:
        stages.check((child, spec("b")), never)  # type: ignore[arg-type]
    assert caught.value.where == "a: starts_from"
    assert caught.value.what == "dense_1/kernel is (64, 8) in b, but (64, 9) here"
    with pytest.raises(SpecError, match="dense_2/kernel is") as caught:
        stages.check((child.replace(inherits=("dense_2",)), spec("b")), never)  # type: ignore[arg-type]
    assert caught.value.where == "a: inherits"
    shallow = spec("b", model=[MODEL[0], MODEL[2]])
    with pytest.raises(SpecError, match="b has no dense_2/kernel"):
        stages.check((spec("a", "b", inherits=["dense_2"]), shallow), never)  # type: ignore[arg-type]
    stages.check((spec("a", "b", inherits=["dense_1"]), spec("b", model=[*MODEL[:2], *MODEL[1:]])), never)  # type: ignore[arg-type]


def test_imported_weights_must_fit_as_well(spec: MakeSpec) -> None:
    child = spec("a", "weights:some", inherits=["dense_1"])
    shapes = {"dense_1/kernel": (64, 8), "dense_1/bias": (8,), "other": (1,)}
    stages.check((child,), {"some": shapes}.__getitem__)
    with pytest.raises(SpecError, match=r"dense_1/bias is \(9,\) in weights:some, but \(8,\) here"):
        stages.check((child,), {"some": {**shapes, "dense_1/bias": (9,)}}.__getitem__)


def test_what_lacks_its_data_or_its_weights_is_left_out_and_its_children_too(spec: MakeSpec) -> None:
    specs = (
        spec("grandchild", "child"), spec("child", "lost"), spec("lost").replace(dataset="mnist"), spec("kept"),
        spec("pretrained", "weights:gone"), spec("trained", "weights:here"),
    )  # fmt: skip

    def fetch(name: str) -> None:
        if name == "mnist":
            raise DataError("no mirror answers {here}")

    def weights(name: str) -> None:
        if name == "gone":
            raise DataError("there is no such file", way_out="Import them.")

    left, notes, why = stages.without_missing(specs, fetch, weights)
    assert why == {
        "lost": "its data could not be had",
        "pretrained": "its weights could not be had",
        "child": "what it starts from was left out",
        "grandchild": "what it starts from was left out",
    }
    assert [each.id for each in left] == ["kept", "trained"]
    assert notes == (
        "The data set mnist could not be had, so lost was left out: no mirror answers {here}.",
        "The weights gone could not be had, so pretrained was left out: there is no such file. Import them.",
        "child was left out as well, for want of what it starts from.",
        "grandchild was left out as well, for want of what it starts from.",
    )
