"""The record: what is written comes back, what is no result is refused by file and place, a full disk loses nothing."""

from __future__ import annotations

import json
import os
import resource
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tests.support.results as make
from suite import files
from suite.errors import ResultError, RunError
from suite.results import records
from suite.results.questions import Question, QuestionKind
from suite.results.records import Audit, Blocks, Timed

VALID = json.loads(make.measured(samples=2, epochs=1).model_dump_json())


LAPS = 4
TRAINING = Blocks(
    kind=QuestionKind.TRAINING, batch_size=0, calls=1, examples=6400, blocks_ns=(64_000,) * LAPS, own_ns=500
)
LATENCY = Blocks(
    kind=QuestionKind.LATENCY, batch_size=8, calls=2, examples=8, blocks_ns=(30, 50, 30, 50),
    queries_ns=(10, 20, 20, 30, 10, 20, 20, 30),
)  # fmt: skip
THROUGHPUT = Blocks(kind=QuestionKind.THROUGHPUT, batch_size=256, calls=3, examples=360, blocks_ns=(108_000,) * LAPS)


def timed(**fields: Any) -> Timed:
    """A cell's speed in one round, as turns leave it."""
    measured = make.measured()
    common = {name: getattr(measured, name) for name in ("run", "entry", "cell", "spec", "started", "seconds")}
    known = {
        "environment": measured.environment, "digests": measured.digests, "import_ns": 5, "first_step_ns": 7,
        "compile_cache": "cold", "built_alone": True, "blocks": (TRAINING, LATENCY, THROUGHPUT),
        "audits": (Audit(kind=QuestionKind.LATENCY, batch_size=8, error=1e-7, bound=1e-6),),
    }  # fmt: skip
    return Timed(**{**common, **known, **fields})


@pytest.mark.parametrize(
    "outcome",
    [
        make.measured(), make.proof(), make.failed(), make.tuned(), timed(), timed(control=True, audits=(), spans=True),
        timed(audits=(Audit(kind=QuestionKind.THROUGHPUT, batch_size=256, error=None, bound=1e-6),)),
        make.measured(beside=True, latency=(), throughput=()),
    ],
    ids=["measured", "proof", "failed", "tuned", "timed", "control", "timed wrongly", "trained beside"],
)  # fmt: skip
def test_what_is_written_comes_back(tmp_path: Path, outcome: Any) -> None:
    path = tmp_path / "results" / "one.json"
    records.write(path, outcome)
    assert records.read(path) == outcome
    assert [p.name for p in path.parent.iterdir()] == ["one.json"]


def test_what_turns_tell_is_the_cost_of_one_in_every_lap() -> None:
    """Of an example, or of a query, whose times are there one by one as well."""
    found = timed()
    assert found.laps(Question(QuestionKind.TRAINING)) == (10.0,) * LAPS
    assert found.laps(Question(QuestionKind.LATENCY, 8)) == (15.0, 25.0, 15.0, 25.0)
    assert found.samples(Question(QuestionKind.LATENCY, 8)) == (10.0, 20.0, 20.0, 30.0) * 2
    assert found.laps(Question(QuestionKind.THROUGHPUT, 256)) == (100.0,) * LAPS
    assert found.laps(Question(QuestionKind.LATENCY, 1)) == found.samples(Question(QuestionKind.THROUGHPUT, 8)) == ()
    assert found.samples(Question(QuestionKind.TRAINING)) == (10.0,) * LAPS


def test_a_training_beside_other_work_tells_no_times() -> None:
    assert make.measured().samples(Question(QuestionKind.TRAINING))
    assert make.measured(beside=True).samples(Question(QuestionKind.TRAINING)) == ()


@pytest.mark.parametrize(("error", "right"), [(0.0, True), (1e-6, True), (1.1e-6, False), (None, False)])
def test_an_audit_is_right_within_its_bound(error: float | None, right: bool) -> None:
    assert Audit(kind=QuestionKind.LATENCY, batch_size=1, error=error, bound=1e-6).right is right


@pytest.mark.parametrize("version", records.READABLE)
def test_records_of_every_version_are_read(tmp_path: Path, version: int) -> None:
    """Those before the fifth knew of no turns."""
    path = tmp_path / "old.json"
    fields = {name: value for name, value in VALID.items() if version > 4 or name != "beside"}
    path.write_text(json.dumps({**fields, "schema_version": version}))
    found = records.read(path)
    assert isinstance(found, records.Measured)
    assert (found.schema_version, found.beside) == (version, False)
    assert records.SCHEMA == max(records.READABLE) == make.failed().schema_version


SPEED = json.loads(timed().model_dump_json())
BLOCK = SPEED["blocks"][0]
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no blocks": ({"blocks": []}, "blocks"),
    "a block without laps": ({"blocks": [{**BLOCK, "blocks_ns": []}]}, "blocks_ns"),
    "no calls": ({"blocks": [{**BLOCK, "calls": 0}]}, "calls"),
    "no examples": ({"blocks": [{**BLOCK, "examples": 0}]}, "examples"),
    "absurdly many calls": ({"blocks": [{**BLOCK, "calls": 2**31}]}, "calls"),
    "time that went back": ({"blocks": [{**BLOCK, "blocks_ns": [-1]}]}, "blocks_ns"),
    "an unknown question": ({"blocks": [{**BLOCK, "kind": "elegance"}]}, "kind"),
    "an unknown field of a block": ({"blocks": [{**BLOCK, "surprise": 1}]}, "surprise"),
    "a thousand questions": ({"blocks": [BLOCK] * 1000}, "blocks"),
    "an audit without a bound": ({"audits": [{"kind": "latency", "batch_size": 1, "error": 0.0}]}, "bound"),
    "a cache in between": ({"compile_cache": "lukewarm"}, "compile_cache"),
    "no word of how it was built": ({"built_alone": None}, "built_alone"),
    "a training's field": ({"training": None}, "training"),
}


@pytest.mark.parametrize(("fields", "says"), WRONG.values(), ids=WRONG.keys())
def test_what_turns_could_not_have_left_is_refused_by_place(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**SPEED, **fields}))
    with pytest.raises(ResultError, match=says) as refused:
        records.read(path)
    assert refused.value.where == str(path)


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        records.write(tmp_path / name, make.measured())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def changed(**fields: Any) -> bytes:
    return json.dumps({**VALID, **fields}).encode()


NESTED = {"cell": {**VALID["cell"], "seed": [[[]]]}}
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not whole"),
    "truncated": (json.dumps(VALID).encode()[:-100], "not whole"),
    "NaN": (changed(seconds=float("nan")), "NaN"),
    "Infinity": (changed(seconds=float("inf")), "Infinity"),
    "minus Infinity": (changed(seconds=-float("inf")), "Infinity"),
    "a number that overflows": (json.dumps(VALID).replace('"seconds": 9.0', '"seconds": 1e999').encode(), "seconds"),
    "doubled key": (json.dumps(VALID).replace('"run":', '"run": "x", "run":', 1).encode(), "'run' stands twice"),
    "deeply nested": (b"[" * 100_000, "nested over 48"),
    "nested, with brackets in strings": (b'{"a": "]]]]", "b": ' + b"[" * 60 + b"]" * 60 + b"}", "nested over 48"),
    "integer of 5,000 digits": (json.dumps(VALID).replace("9.0", "9" * 5000).encode(), "not whole"),
    "integer of 400 digits": (changed(import_ns=10**400), "import_ns"),
    "integer beyond 64 bits": (changed(import_ns=2**63), "import_ns"),
    "negative time": (changed(import_ns=-1), "import_ns"),
    "later schema": (changed(schema_version=6), "schema version '6'"),
    "no schema": (b"{}", "schema version 'None'"),
    "unknown field": (changed(surprise=1), "surprise"),
    "unknown outcome": (changed(outcome="won"), "outcome"),
    "wrong type": (changed(run=7), "run"),
    "text for a number": (changed(seconds="9"), "seconds"),
    "no cell": (json.dumps({k: v for k, v in VALID.items() if k != "cell"}).encode(), "cell"),
    "a list where a number belongs": (changed(**NESTED), "cell.seed"),
    "no UTF-8": (b"\xff\xfe{}", "UTF-8"),
    "a list": (b"[]", "no JSON object"),
    "a word": (b"true", "no JSON object"),
    "half a surrogate": (json.dumps({**VALID, "run": "\ud800"}).encode(), "run|JSON"),
}


@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_result_is_refused_by_file_and_place(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ResultError, match=says) as refused:
        records.read(path)
    assert refused.value.where == str(path)
    assert len(str(refused.value)) < 1000


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.json"):
        with pytest.raises(ResultError, match="cannot be read"):
            records.read(path)


def test_a_file_of_absurd_size_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(files.MAX_FILE_BYTES + 1)
    with pytest.raises(ResultError, match="over 32 MiB"):
        records.read(path)


def test_a_bad_file_loses_nothing_else(tmp_path: Path) -> None:
    records.write(tmp_path / "a.json", make.measured())
    (tmp_path / "b.json").write_bytes(b"{")
    (tmp_path / "c.json").mkdir()
    records.write(tmp_path / "d.json", make.proof())
    (tmp_path / "notes.txt").write_text("no result")
    refused: list[ResultError] = []
    assert len(records.read_all(tmp_path, refused.append)) == 2
    assert [Path(error.where).name for error in refused] == ["b.json", "c.json"]


def test_nesting_is_counted_outside_strings_alone() -> None:
    for text in ('{"a": "[[[[", "b": [[1], {}]}', r'{"\"[": ["\\"]}', "[]", "1", '"["', "{}{[]}"):
        depth = deepest = 0
        inside = False
        previous = ""
        for character in text:
            if character == '"' and previous != "\\":
                inside = not inside
            elif not inside:
                depth += (character in "[{") - (character in "]}")
                deepest = max(deepest, depth)
            previous = "" if previous == "\\" else character
        assert files._depth(text.encode()) == deepest


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Limit the size of files, as a disk with so many bytes left would, and only here: pytest may write to one."""
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    records.write(path, make.failed())
    before = path.read_bytes()
    with small_disk(100):
        with pytest.raises(RunError, match="cannot be written"):
            records.write(path, make.measured())
        with pytest.raises(RunError, match="cannot be written"):
            records.write(tmp_path / "two.json", make.measured())
    assert [p.name for p in tmp_path.iterdir()] == ["one.json"]
    assert path.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="cannot be written"):
        records.write(tmp_path / "one.json", make.failed())


def test_a_file_in_the_folders_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        records.write(tmp_path / "results" / "one.json", make.failed())


def read_bytes(content: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.json"
        path.write_bytes(content)
        try:
            return records.read(path)
        except ResultError as error:
            return error


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_without_a_traceback(content: bytes) -> None:
    assert isinstance(read_bytes(content), ResultError)


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**300, 10**310), st.floats(), st.text(max_size=20),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)  # fmt: skip


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*here, key))


PLACES = [place for place in places(VALID) if place]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(PLACES), st.sampled_from(["set", "drop", "double"]), VALUES), min_size=1, max_size=3
    )
)
def test_any_change_of_a_valid_file_gives_a_result_or_a_refusal(
    changes: list[tuple[tuple[Any, ...], str, Any]],
) -> None:
    whole = json.loads(json.dumps(VALID))
    for (*road, last), what, value in changes:
        holder = whole
        try:
            for step in road:
                holder = holder[step]
            if what == "set":
                holder[last] = value
            elif what == "drop":
                del holder[last]
            else:
                holder["new" if isinstance(holder, dict) else 0] = holder[last]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took this place away
    assert isinstance(
        read_bytes(json.dumps(whole).encode()), records.Measured | records.Proof | records.Failed | ResultError
    )


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.binary(max_size=8), st.integers(0, 20))
def test_any_splice_into_a_valid_file_gives_a_result_or_a_refusal(at: int, splice: bytes, cut: int) -> None:
    content = json.dumps(VALID).encode()
    at %= len(content)
    outcome = read_bytes(content[:at] + splice + content[at + cut :])
    assert isinstance(outcome, records.Measured | records.Proof | records.Failed | ResultError)


def test_residuals_within_residuals_are_read_in_time_that_grows_with_the_file() -> None:
    def deep(depth: int) -> bytes:
        layer: dict[str, Any] = {"layer": "relu"}
        for _ in range(depth):
            layer = {"layer": "residual", "body": [layer], "shortcut": []}
        model = [layer, *VALID["spec"]["model"]]
        return changed(spec={**VALID["spec"], "model": model})

    spent = []
    for depth in (4, 16):
        begun = time.perf_counter()
        read_bytes(deep(depth))
        spent.append(time.perf_counter() - begun)
    assert spent[1] < 200 * spent[0]
