"""`docker compose up`, from the question to the report, and that it is the same benchmark as without containers."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from suite.report import writer
from suite.report.evidence.sources import read_source
from suite.results.identity import Verdict
from suite.results.records import Measured, Numbers, Proof, Record, Timed
from tests.docker.stack import PARENTS, ROOT, TOKENS, USER, Stack, native

pytestmark = pytest.mark.docker
ROUNDS = 5
"""As many as an interval takes."""


@pytest.fixture(scope="module")
def ran(stacks: Callable[..., Stack]) -> Stack:
    """A whole run, with rounds enough to rank."""
    stack = stacks("up", rounds=ROUNDS, control=True)
    done = stack.up()
    assert done.returncode == 0, done.stdout[-8000:]
    return stack


@pytest.fixture(scope="module")
def natively(ran: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same run without containers."""
    return native(ran.reports / "profile.yaml", tmp_path_factory.mktemp("native"))


def trained(results: Iterable[Record]) -> list[Measured]:
    return [r for r in results if isinstance(r, Measured)]


def timed(results: Iterable[Record]) -> list[Timed]:
    return [r for r in results if isinstance(r, Timed)]


def test_every_framework_is_proven_identical_trained_and_timed_in_turns(ran: Stack) -> None:
    proofs = [r for r in ran.results if isinstance(r, Proof)]
    assert {p.cell.runner for p in proofs} == set(TOKENS)
    assert {p.identity.verdict for p in proofs} == {Verdict.IDENTICAL}
    assert {r.cell.runner for r in trained(ran.results)} == set(TOKENS)
    assert all(r.beside for r in trained(ran.results)), "what is trained beside other work is no sample of speed"
    expected = {(token, number, False) for token in PARENTS for number in range(1, ROUNDS + 1)}
    controls = {(TOKENS[0], number, True) for number in range(1, ROUNDS + 1)}
    assert {(r.cell.runner, r.cell.round, r.control) for r in timed(ran.results)} == expected | controls
    assert all(audit.right for r in timed(ran.results) for audit in r.audits)


def test_parents_end_well_when_the_conductor_hangs_up(ran: Stack) -> None:
    assert {service: ran.state(service) for service in (*PARENTS, "conductor", "verdict")} == dict.fromkeys(
        (*PARENTS, "conductor", "verdict"), ("exited", 0)
    )


def test_the_head_says_what_each_framework_computes_on(ran: Stack) -> None:
    said = ran.compose("logs", "--no-color", *TOKENS).stdout
    assert said.count("computes on the processor") == len(TOKENS)


def test_nothing_else_runs_while_a_benchmark_is_timed(ran: Stack) -> None:
    spans = {r.entry: (r.started.timestamp(), r.started.timestamp() + r.seconds) for r in ran.results}
    turns = {r.entry for r in timed(ran.results)}
    for one, other in itertools.combinations(spans, 2):
        if {one, other} & turns:
            (began, ended), (began_other, ended_other) = spans[one], spans[other]
            assert ended <= began_other or ended_other <= began, (one, other)


def test_the_report_compares_the_frameworks_and_says_where_it_ran(ran: Stack) -> None:
    text = (ran.reports / "latest" / "report.md").read_text()
    assert "torch" in text.partition("## Identity")[0]
    assert "None: every number is proven" in text
    assert "container" in text


def test_everything_belongs_to_the_caller(ran: Stack) -> None:
    owner = USER if os.getuid() == 0 else os.getuid()
    strange = {str(path) for path in ran.run.rglob("*") if path.lstat().st_uid != owner}
    assert strange == set()


def test_results_name_the_build_they_come_from(ran: Stack) -> None:
    git = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    numbers: list[Numbers] = [*trained(ran.results), *timed(ran.results)]
    for found in numbers:
        service = found.cell.runner
        here, labels = found.environment, ran.inspect(service)["Config"]["Labels"]
        assert here.place == "container"
        assert here.image == ran.inspect(service)["Image"]
        assert (
            (here.commit or "").rstrip("+")
            == git.stdout.strip()
            == labels["org.opencontainers.image.revision"].rstrip("+")
        )
        assert here.lock == labels["parity.lock"]
        assert (here.build["base"], here.build["inputs"]) == (labels["parity.base"], labels["parity.inputs"])


def test_only_preparing_had_a_network(ran: Stack) -> None:
    modes = {s: ran.inspect(s)["HostConfig"]["NetworkMode"] for s in (*PARENTS, "conductor", "verdict")}
    assert set(modes.values()) == {"none"}
    assert ran.inspect("prepare")["HostConfig"]["NetworkMode"] != "none"


PROBE = """
import os, socket
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print("uid", os.getuid(), "capabilities", int(status["CapEff"], 16) | int(status["CapBnd"], 16))
print("privileges", status["NoNewPrivs"].strip(), "interfaces", sorted(os.listdir("/sys/class/net")))
for path in ("/opt/parity/suite/x", "/etc/x", "/x"):
    try:
        open(path, "w")
        print("wrote", path)
    except OSError as error:
        print("refused", error.errno)
try:
    socket.create_connection(("192.0.2.1", 80), 2)
except OSError as error:
    print("network", error.errno)
"""


@pytest.mark.parametrize("service", [*PARENTS, "conductor"])
def test_a_container_can_neither_write_its_root_nor_reach_a_network_nor_gain_rights(ran: Stack, service: str) -> None:
    owner = USER if os.getuid() == 0 else os.getuid()
    lines = ran.python(service, PROBE).stdout.splitlines()
    assert f"uid {owner} capabilities 0" in lines
    assert "privileges 1 interfaces ['lo']" in lines
    assert lines.count("refused 30") == 3, "a read-only file system"
    assert "network 101" in lines, "unreachable"


def test_the_container_and_the_native_run_are_of_one_question(ran: Stack, natively: Path) -> None:
    assert natively.name == ran.run.name, "the digest of the plan"


def test_the_container_and_the_native_run_computed_the_same(ran: Stack, natively: Path) -> None:
    there = read_source(natively).results
    inside, outside = ({r.cell.runner: r for r in trained(results)} for results in (ran.results, there))
    assert set(inside) == set(outside)
    for token, found in inside.items():
        assert found.digests == outside[token].digests
        assert found.training is not None
        assert found.training.weights == outside[token].training.weights, token  # type: ignore[union-attr]
        assert found.environment.machine == outside[token].environment.machine
    asked, also = ({(r.entry, r.cell.runner, r.control): r.digests for r in timed(rs)} for rs in (ran.results, there))
    assert asked == also


def test_the_report_puts_containers_against_native(ran: Stack, natively: Path, tmp_path: Path) -> None:
    writer.write(tmp_path, natively, ran.run)
    section = (tmp_path / "report.md").read_text().partition("## In a container and natively")[2].partition("\n## ")[0]
    for token in TOKENS:
        assert any(token in line and "latency" in line and " to " in line for line in section.splitlines()), section


def test_a_second_up_measures_nothing_anew(ran: Stack) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in (ran.run / "results").iterdir()}
    done = ran.up()
    assert done.returncode == 0, done.stdout[-4000:]
    assert before == {path.name: path.stat().st_mtime_ns for path in (ran.run / "results").iterdir()}
