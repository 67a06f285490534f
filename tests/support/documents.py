"""What is wrong with a document: links, commands and paths that lead nowhere, and words that have been replaced."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import typer.main

from suite.cli.commands import app
from tests.support import makefile

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(```+)(\w*)\n(.*?)^\1`*$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}.*\n?|\n(?= {4}))+", re.MULTILINE)
SPAN = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n\n).)+?)(?<!`)\1(?!`)", re.DOTALL)
TARGET = re.compile(
    r"\]\(<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s*(\S+)|(?:href|src)=\"([^\"]+)\"", re.MULTILINE
)
HEADING = re.compile(r"^#{1,6} +(.+?)(?: +#+)? *$", re.MULTILINE)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
TREE = re.compile(r"(?<![\w./<>*$-])(?:suite|tests|benchmarks|docs|docker|reports/examples)/[\w./<>*-]*[\w/>*]")
MADE = re.compile(r"\b(?:save (?:it|this|them) as|create) `([^`]+)`", re.IGNORECASE)
"""How a page names a file that its reader makes."""
SHELLS = ("", "sh", "bash", "shell", "console")
COMPOSE = frozenset({"build", "config", "down", "exec", "logs", "ps", "run", "stop", "up", "version"})
INCOMPLETE = frozenset({"MissingParameter", "BadOptionUsage", "BadArgumentUsage"})
"""What click calls a command that lacks words: enough to name it in a sentence, not to call it."""

WORDS = {
    r"arenas?": "comparison group",
    r"contenders?": "framework mode",
    r"standings?": "proof status",
    r"worth|assess(?:e[sd]|ments?)?": "task metrics",
    r"heritage|orphan(?:s|ed)?": "inherited, or missing parent",
    r"lineages?": "stages",
    r"shel(?:f|ves)": "assets",
    r"duels?|duell?ists?|contests?": "agent, comparison or compared cell",
    r"(?<!fine-)tun(?:e[sd]?|ings?)|switch(?:es|ed)?": "inference option, or setting",
    r"\*again\*": "baseline repeat",
    r"law of speed": "the same rule as speed",
    r"as the patient": "faults injected into the reference",
    r"what it hangs on": "Assumptions",
    r"where the time went": "Time breakdown",
    r"repeat it": "Reproduce",
    r"what the models are worth": "Task metrics",
}
"""What used to be said, as a pattern of whole words, and what is said now."""
NAMES = re.compile(
    r"(?:.*/)?(?:Arena|Assessment|Contender|Contest|Duelist|Heritage|Match|Orphaned|Tree|Tunings?|assess|duel|facts|forms|"
    r"heritage|kinds|lineage|places|pth|quiet|screen|settled|shelf|standing|stored|trust|worth)(?:\.py)?"
)
"""What used to stand in the code."""


@dataclass(frozen=True)
class Document:
    """A Markdown file: its path below the root, and its text."""

    name: str
    text: str

    @cached_property
    def blocks(self) -> list[tuple[str, str]]:
        """Blocks of code with their language."""
        fenced = [(language, body) for _, language, body in FENCE.findall(self.text)]
        rest = FENCE.sub("", self.text)
        return fenced + [("", block) for block in INDENTED.findall(rest)]

    @cached_property
    def _flowing(self) -> str:
        return INDENTED.sub("\n", FENCE.sub("", self.text))

    @cached_property
    def spans(self) -> list[str]:
        """Code in sentences, each in one line."""
        return [" ".join(body.split()) for _, body in SPAN.findall(self._flowing)]

    @cached_property
    def linked(self) -> str:
        """The text without code: sentences and links."""
        return SPAN.sub("``", self._flowing)

    @cached_property
    def targets(self) -> list[str]:
        """Where its links lead."""
        return [next(filter(None, found)) for found in TARGET.findall(self.linked)]

    @cached_property
    def anchors(self) -> set[str]:
        """What can stand behind ``#``: headings, as code-hosting sites write them."""
        seen: dict[str, int] = {}
        found = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", self._flowing))
        for heading in HEADING.findall(self._flowing):
            said = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
            slug = re.sub(r"[^\w\- ]", "", said.lower()).replace(" ", "-")
            seen[slug] = seen.get(slug, -1) + 1
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        return found

    @cached_property
    def commands(self) -> Iterator[tuple[str, bool]]:
        """Whatever may be a command, and whether it stands there to be typed as it is."""
        for language, block in self.blocks:
            if language in SHELLS:
                for line in block.replace("\\\n", " ").splitlines():
                    yield line.strip().removeprefix("$ "), True
        for span in self.spans:
            yield span, False


def read(path: Path) -> Document:
    return Document(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))


def all_documents() -> list[Document]:
    """Those for readers: the changelog tells of the past in the words of its time."""
    paths = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "reports/README.md")]
    return [read(path) for path in (*paths, *sorted((ROOT / "docs").rglob("*.md")))]


def problems(document: Document) -> list[str]:
    """Everything that is wrong, a sentence each."""
    checks = [dead_links] if document.name == "CHANGELOG.md" else [dead_links, commands, paths, old_words]
    return [f"{document.name}: {told}" for check in checks for told in check(document)]


def dead_links(document: Document) -> Iterator[str]:
    """Relative links to files and headings that are not there."""
    for target in document.targets:
        if SCHEME.match(target):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / document.name).parent / file if file else ROOT / document.name
        if file.startswith("/") or (file and not path.exists()):
            yield f"the link {target} leads nowhere"
        elif anchor and path.suffix == ".md":
            there = read(path.resolve()) if file else document
            if anchor not in there.anchors:
                yield f"the link {target} leads to no heading"


def commands(document: Document) -> Iterator[str]:
    """Commands that do not exist as they stand."""
    for line, whole in document.commands:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            words = line.split()
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        for told in _command(words, whole=whole):
            yield f"{told} in `{line}`"


def _command(words: list[str], *, whole: bool) -> Iterable[str]:
    match words:
        case ["make", *_]:
            yield from (f"no target {target}" for target in makefile.called(words) if not makefile.known(target))
            names = [word.partition("=")[0] for word in words[1:] if "=" in word]
            yield from (f"no variable {name}" for name in names if name not in makefile.VARIABLES)
        case [program, *rest] if re.fullmatch(r"(\.envs/\w+/bin/)?suite", program):
            yield from _suite(rest, whole=whole)
        case [program, "-m", "suite", *rest] if program.rpartition("/")[2] in ("python", "python3"):
            yield from _suite(rest, whole=whole)
        case [program, "-m", module, *_] if program.rpartition("/")[2] in ("python", "python3"):
            path = ROOT / module.replace(".", "/")
            if module != "pytest" and not (path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()):
                yield f"no module {module}"
        case ["docker", "compose", *rest]:
            yield from _compose(rest)
        case [script, *rest] if re.fullmatch(r"docker/[\w.-]+\.sh", script):
            if not (ROOT / script).is_file():
                yield f"no script {script}"
            elif script == "docker/compose.sh":
                yield from _compose(rest)


def _compose(words: list[str]) -> Iterator[str]:
    while words[:1] == ["-f"]:
        if not words[1:] or not (ROOT / words[1]).is_file():
            yield f"no file {' '.join(words[1:2])}"
        words = words[2:]
    if words and words[0] not in COMPOSE:
        yield f"docker compose has no command {words[0]}"
    stated = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for service in words[1:]:
        if not service.startswith("-") and not re.search(rf'^  "?{re.escape(service)}"?:$', stated, re.MULTILINE):
            yield f"no service {service}"


def _suite(words: list[str], *, whole: bool) -> Iterator[str]:
    command: Any = typer.main.get_command(app)
    path: list[str] = []
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0].isupper():
            return  # stands for any command
        if words[0] not in command.commands:
            yield f"suite {' '.join(path)} has no command {words[0]}".replace("  ", " ")
            return
        command = command.commands[words[0]]
        path.append(words[0])
        words = words[1:]
    words = [word for word in words if word != "--help"]
    if not words and not (whole and path):
        return
    try:
        given = command.make_context("suite", list(words)).params
    except Exception as error:  # noqa: BLE001 - whatever click says of a command is the answer
        if whole or type(error).__name__ not in INCOMPLETE:
            yield str(getattr(error, "message", "") or error or type(error).__name__).rstrip(".")
        return
    benchmarks = given.get("benchmark") or ()
    for folder, names in (
        ("profiles", [given.get("profile") or ""]),
        ("specs", [benchmarks] if isinstance(benchmarks, str) else benchmarks),
    ):
        for name in (name.partition("/")[0] for name in names if not re.search(r"\.ya?ml", name)):
            if name and not name.isupper() and not (ROOT / "benchmarks" / folder / f"{name}.yaml").is_file():
                yield f"nothing in benchmarks/{folder} is called {name}"


def paths(document: Document) -> Iterator[str]:
    """Files and folders of this repository that are not there; ``<token>`` and ``*`` stand for any name.

    A file that the page tells its reader to make, and its folder, need not be there.
    """
    text = TARGET.sub("]", document.text)
    made = {path for file in MADE.findall(" ".join(text.split())) for path in (file, f"{file.rpartition('/')[0]}/")}
    for named in sorted(set(TREE.findall(re.sub(r"\S+://\S+", "", text))) - made):
        pattern = re.sub(r"<[^>]*>", "*", named)
        found = list(ROOT.glob(pattern)) if "*" in pattern else [ROOT / pattern]
        if not any(path.is_dir() if named.endswith("/") else path.exists() for path in found):
            yield f"there is no {named}"


def old_words(document: Document) -> Iterator[str]:
    """Words that have been replaced: in sentences, and as names in code."""
    prose = " ".join(TARGET.sub("]", document.linked).split())
    for pattern, now in WORDS.items():
        for found in re.finditer(rf"(?<![\w-])(?:{pattern})(?!\w)", prose, re.IGNORECASE):
            yield f"says {found.group()!r} and means {now}"
    for span in document.spans:
        if NAMES.fullmatch(span):
            yield f"names {span!r}, which is called something else now"
