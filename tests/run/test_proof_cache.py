"""A proof that another run left is taken over as long as nothing that it depends on has changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.results import records
from suite.results.records import Proof
from suite.run import proof_cache
from suite.run.plan import Plan
from tests.support import runs


@pytest.fixture
def proven(tmp_path: Path) -> Path:
    """The one proof of a run that is done."""
    folder = tmp_path / "first"
    runs.conduct(folder, runs.make(folder, rounds=0))
    (path,) = folder.glob("results/*.json")
    return path


def later(tmp_path: Path, **changes: object) -> tuple[Path, Plan]:
    """Another run of the same proof beside it, with nothing done; ``changes`` are of its profile."""
    folder = tmp_path / "second"
    return folder, runs.make(folder, **{"rounds": 0, "timeout_seconds": 61, **changes})  # type: ignore[arg-type]


def proof(path: Path) -> Proof:
    found = records.read(path)
    assert isinstance(found, Proof)
    return found


def test_a_proof_is_taken_over_and_not_made_again(tmp_path: Path, proven: Path) -> None:
    folder, made = later(tmp_path)
    assert proof_cache.take_over(folder, made) == 1
    assert runs.conduct(folder, made) == []
    (path,) = folder.glob("results/*.json")
    old, new = proof(proven), proof(path)
    assert (new.run, new.entry) == (made.id, made.entries[0].id) != (old.run, old.entry)
    assert new == old.model_copy(update={"run": new.run, "entry": new.entry})
    assert proof_cache.take_over(folder, made) == 0


def test_of_an_entry_what_is_proven_already_is_left_as_it_is(tmp_path: Path, proven: Path) -> None:
    """A trial proves the others of its cells, and touches no result."""
    cases = "cases: {one: {}, two: {batch_size: 32}}\n"
    first = tmp_path / "cases"
    runs.conduct(first, runs.make(first, spec=runs.SPEC + cases, rounds=0))
    folder, made = later(tmp_path, spec=runs.SPEC + cases)
    assert len(made.entries) == 1
    (spoilt,) = first.glob("results/*two*.json")
    spoilt.write_text(spoilt.read_text()[:99])
    assert proof_cache.take_over(folder, made) == 1
    runs.conduct(folder, made)
    one, two = (proof(next(folder.glob(f"results/*{case}*.json"))) for case in ("one", "two"))
    assert one.started < two.started
    assert one == proof(next(first.glob("results/*one*.json"))).model_copy(update={"run": made.id})


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("identity", "key"), "sha256:" + 64 * "0"),
        (("identity", "verdict"), "unproven"),
        (("environment", "machine"), "sha256:" + 64 * "0"),
        (("environment", "place"), "container"),
        (("environment", "threads_intra"), 64),
        (("cell", "seed"), 7),
    ],
    ids=lambda part: part[-1] if isinstance(part, tuple) else "",
)
def test_a_proof_of_anything_else_is_made_anew(
    tmp_path: Path, proven: Path, place: tuple[str, str], value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.machine.environment.in_container", lambda: False)
    held = json.loads(proven.read_text())
    held[place[0]][place[1]] = value
    proven.write_text(json.dumps(held))
    proof(proven)
    folder, made = later(tmp_path)
    assert proof_cache.take_over(folder, made) == 0


@pytest.mark.parametrize(("change", "taken"), [("batch_size: 32", 0), ("batch_size: 64\ntitle: Another", 1)])
def test_a_spec_that_computes_something_else_is_proven_anew(
    tmp_path: Path, proven: Path, change: str, taken: int
) -> None:
    folder, made = later(tmp_path, spec=runs.SPEC.replace("batch_size: 64", change))
    assert proven.exists()
    assert proof_cache.take_over(folder, made) == taken
