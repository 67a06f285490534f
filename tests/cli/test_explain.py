"""``suite explain``: one page and a trace for each framework, or a reason why not."""

import json
import re
import sys
from pathlib import Path

import pytest

from suite.cli.commands import main
from suite.cli.display import err, out
from tests.support import runs


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


@pytest.mark.torch
def test_a_framework_is_explained_in_a_page_a_table_and_a_trace(suite, tmp_path: Path):
    (tmp_path / "tiny.yaml").write_text(runs.SPEC)
    words = [tmp_path / "tiny.yaml", "-r", "torch:eager", "--threads", 1, "--steps", 3, "--reports", tmp_path]
    status, said = suite(*words)
    assert status == 0, said
    assert re.search(r"A step of torch:eager takes .*: .* %", said)
    assert "matrix products" in said
    (folder,) = tmp_path.glob("explain-tiny-*")
    assert "aten::addmm" in (folder / "explain.md").read_text()
    assert json.loads((folder / "torch-eager.trace.json").read_text())["traceEvents"]
