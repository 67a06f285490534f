"""The documents tell the truth: links and paths lead somewhere, commands exist, and one thing has one name."""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from suite.spec.recipe import Recipe
from tests.support.documents import ROOT, Document, all_documents, problems, read

LONGEST_README = 120
DOCUMENTS = all_documents()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_a_document_is_right(document: Document) -> None:
    assert problems(document) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[there](nowhere.md)", "the link nowhere.md leads nowhere"),
        ("![chart](charts/gone.svg)", "the link charts/gone.svg leads nowhere"),
        ("[there][1]\n\n[1]: gone.md", "the link gone.md leads nowhere"),
        ("[root](/README.md)", "the link /README.md leads nowhere"),
        ("[there](glossary.md#no-such-word)", "the link glossary.md#no-such-word leads to no heading"),
        ("# A title\n\n[here](#another)", "the link #another leads to no heading"),
        ("Type `make benches`.", "no target benches"),
        ("    make alarms-torch KOUNT=3", "no variable KOUNT"),
        ("Say `suite compair`.", "suite has no command compair"),
        ("Say `suite data lst`.", "suite data has no command lst"),
        ("    .envs/core/bin/suite run quick --roundz 5", "No such option"),
        ("    .envs/core/bin/suite run quick --rounds five", "valid integer"),
        ("    .envs/core/bin/suite run swift", "nothing in benchmarks/profiles is called swift"),
        ("    .envs/core/bin/suite run -b digits-mpl", "nothing in benchmarks/specs is called digits-mpl"),
        ("    .envs/core/bin/suite show", "Missing parameter"),
        ("```sh\n$ suite run quick --roundz 5\n```", "No such option"),
        ("    python -m benchmarks.gone", "no module benchmarks.gone"),
        ("    docker compose -f docker/compose.gpu.yml up", "no file docker/compose.gpu.yml"),
        ("    docker compose upp", "docker compose has no command upp"),
        ("    PARITY_PROFILE=quick docker compose up theano", "no service theano"),
        ("Run `docker/motor.sh stop`.", "no script docker/motor.sh"),
        ("Save it as `suite/toy.py`. See `suite/toys.py`.", "there is no suite/toys.py"),
        ("See `suite/shelf.py`.", "there is no suite/shelf.py"),
        ("See suite/runners/<token>/missing.py for that.", "there is no suite/runners/<token>/missing.py"),
        ("```mermaid\nflowchart\n  a[\"benchmarks/sepcs/*.yaml\"]\n```", "there is no benchmarks/sepcs/*.yaml"),
        ("An arena is what is compared.", "says 'arena' and means comparison group"),
        ("One switch at a\ntime.", "says 'switch' and means"),
        ("## Where the\ntime went", "says 'Where the time went' and means Time breakdown"),
        ("## What the models are worth", "says 'worth' and means task metrics"),
        ("The class `Contender`.", "names 'Contender'"),
        ("The module `duel.py`.", "names 'duel.py'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_seen(text: str, said: str) -> None:
    found = problems(Document("docs/planted.md", f"{text}\n"))
    assert any(said in told for told in found), found


@pytest.mark.parametrize(
    "text",
    [
        "[a run](../reports/examples/quick/report.md#the-answer), [there](https://example.org/x.md)",
        "# A title\n\n[here](#a-title)",
        "`make faults-torch`, `COUNT`, `LOCAL=1 make docker-bench` and `make`",
        "    make alarms-torch COUNT=100  # fewer\n    .envs/core/bin/suite run quick -r torch -r tf:eager,xla",
        "`suite`, `suite COMMAND --help`, `suite show NAME`, `suite weights import`, `suite data list`",
        "`suite compare --against`, `suite compare RUN RUN`",
        "    docker compose -f docker-compose.yml up torch null",
        "```yaml\nmake: benches\n```",
        "Save it as\n`suite/spec/tasks/toy.py`. The file `suite/spec/tasks/toy.py` is all.",
        "`suite/runners/<token>/own.py`, `docker/locks/*.in`, https://example.org/tests/gone.py",
        "fine-tuned, outstanding, `tunings`, `suite run tuning`, [`tuning`](../reports/examples/tuning/report.md)",
    ],
)  # fmt: skip
def test_what_is_right_is_left_alone(text: str) -> None:
    assert problems(Document("docs/planted.md", f"{text}\n")) == []


def test_headings_are_anchors_as_sites_write_them() -> None:
    text = "# `make`, and *why*\n\n## [A link](x.md)\n\n## Twice\n\n## Twice\n\n    # no heading\n\n```\n# none\n```\n"
    assert Document("x.md", text).anchors == {"make-and-why", "a-link", "twice", "twice-1"}


def test_the_readme_can_be_read_at_a_sitting() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= LONGEST_README


def test_every_page_is_reached_from_the_readme() -> None:
    found, asking = set(), [ROOT / "README.md"]
    while asking:
        page = asking.pop()
        found.add(page)
        for target in read(page).targets:
            path = Path(page.parent / target.partition("#")[0]).resolve()
            asking += [path] if path.suffix == ".md" and path.is_file() and path not in found else []
    assert {document.name for document in DOCUMENTS} <= {page.relative_to(ROOT).as_posix() for page in found}


def test_the_picture_and_the_table_of_folders_name_each() -> None:
    told = read(ROOT / "docs" / "architecture.md")
    (picture,) = [block for language, block in told.blocks if language == "mermaid"]
    folders = {path.parent.name for path in (ROOT / "suite").glob("*/__init__.py")}
    assert set(re.findall(r"<b>(\w+)</b>", picture)) == folders
    assert set(re.findall(r"^\| `suite/(\w+)/` \|", told.text, re.MULTILINE)) == folders


@pytest.mark.parametrize("name", ["README.md", "docs/how-to/add-a-benchmark.md"])
def test_the_benchmark_that_a_page_shows_is_one(name: str) -> None:
    (shown,) = [block for language, block in read(ROOT / name).blocks if language == "yaml"]
    written = YAML(typ="safe", pure=True).load(shown)
    assert Recipe.model_validate_json(json.dumps(written)).name == "my-mlp"
