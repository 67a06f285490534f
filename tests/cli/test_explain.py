"""``suite explain``: one page and a trace for each framework, or a reason why not."""

import re
import sys
from pathlib import Path

import pytest

from suite.cli.commands import main
from suite.cli.display import err, out
from suite.results.attribution import Unexplained
from suite.results.questions import QuestionKind
from suite.run import explain
from suite.run.explain import Asked
from suite.run.plan import Plan
from tests.support import runs
from tests.support.attributions import attribution


@pytest.fixture
def suite(monkeypatch, capfd):
    for console in (out, err):
        monkeypatch.setattr(console, "width", 200)

    def call(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["suite", "explain", *map(str, words)])
        status = main()
        said = capfd.readouterr()
        return status, said.out + said.err

    return call


def test_who_has_no_profiler_is_named_with_the_reason_and_the_page_stands(suite, tmp_path: Path):
    (tmp_path / "tiny.yaml").write_text(runs.SPEC)
    status, said = suite(tmp_path / "tiny.yaml", "-r", "reference", "--reports", tmp_path)
    assert status == 1
    assert "reference:numpy is not here: no profiler is known for reference" in said
    (page,) = tmp_path.glob("explain-tiny-*/explain.md")
    assert "no profiler is known for reference" in page.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mnist-mlp-128"], "mnist-mlp-128 has 2 cases, and one is explained at a time"),
        (["digits-mlp", "--batch-size", "4"], "training has the benchmark's own batch size"),
        (["digits-mlp", "-r", "torhc"], "there is no runner 'torhc'"),
        (["digits-mlp", "-r", "reference:fast"], "runner reference has no mode 'fast'"),
        (["digits-mlp", "--precision", "tf32"], "TF32"),
        (["digits-mlp", "--threads", "9999"], "--threads"),
        (["digits-mpl"], "digits-mlp"),
    ],
)
def test_a_callers_mistake_is_a_sentence(suite, tmp_path: Path, words, said):
    status, told = suite(*words, "--reports", tmp_path)
    assert status == 2
    assert said.lower() in told.lower()
    assert "Traceback" not in told


def test_what_was_found_is_shown_and_stands_in_the_page(suite, tmp_path: Path, monkeypatch):
    seen = attribution(product=0.6, idle=0.4), Unexplained(who="tf:xla", reason="ended by SIGSEGV")
    asked: list[object] = []

    def explained(folder: Path, made: Plan, interpreters: dict[str, Path], of: Asked):
        asked.append(of)
        yield from (("torch:compile", None), ("torch:compile", seen[0]), ("tf:xla", None), ("tf:xla", seen[1]))

    monkeypatch.setattr(explain, "explain", explained)
    (tmp_path / "tiny.yaml").write_text(runs.SPEC)
    words = [tmp_path / "tiny.yaml", "-r", "reference", "-q", "latency", "--steps", 7, "--reports", tmp_path]
    status, said = suite(*words)
    (folder,) = tmp_path.glob("explain-tiny-*")
    assert status == 1
    assert asked == [Asked("tiny", QuestionKind.LATENCY, 1, 7)]
    assert "A step of torch:compile takes 1.00 ms: 60 % in matrix products and 40 % between operations." in said
    assert "tf:xla is not here: ended by SIGSEGV" in said
    assert re.search(r"matrix products +600 µs \(60 %\)", said)
    assert f"trace: {folder / 'torch-compile.trace.json'}" in said
    assert "Made by: suite explain" in (folder / "explain.md").read_text()
    monkeypatch.setattr(explain, "explain", lambda *_: [("torch:compile", seen[0])])
    assert suite(*words)[0] == 0
