"""The report as a pure function of results: the same results give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.errors import ResultError
from suite.report import pages
from suite.report.charts import study
from suite.report.charts.benchmarks import charts
from suite.report.evidence import differences, diverged
from suite.report.evidence.claims import accuracies, claims
from suite.report.evidence.comparison import AnswerRow, comparisons, decide, drafts, judged
from suite.report.evidence.gaps import gaps
from suite.report.evidence.merge import ComparisonGroup, Evidence, merge
from suite.report.evidence.studies import studies_of
from suite.report.evidence.unanswered import Unanswered, unanswered
from suite.report.evidence.unanswered import head as unanswered_head
from suite.report.evidence.unanswered import lines as failure_lines
from suite.report.sections import (
    accuracy,
    answers,
    container_vs_native,
    device,
    energy,
    environment,
    failures,
    gains,
    instrument,
    memory,
    own_api,
    parts,
    performance,
    precisions,
    published,
    pytest_benchmark,
    repeatability,
    verification,
)
from suite.report.text.markdown import Markdown, bullets, md
from suite.results.pytest_benchmark import Timing
from suite.results.records import Cause, Record

MOST_IMAGES = 6
"""The most charts of one kind in the report itself. If there are more, the report links to the pages that show them."""


@dataclass(frozen=True)
class Document:
    """A report: its Markdown, its charts by file name, the answer as plain rows (header first), and the verdict.

    ``pages`` are the studies' and their index, and that on gains, by their path beside the report; ``warnings`` are
    sentences that belong to the answer wherever it is shown.

    ``failed``: a cell failed that is not merely unsupported, or a benchmark could not be compared.  ``differences`` are
    those between several runs as plain rows (header first), ``notes`` lines on what has no number, both for a terminal.
    """

    markdown: str
    charts: Mapping[str, bytes]
    answer: tuple[tuple[str, ...], ...]
    failed: bool
    pages: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    differences: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


def build(
    results: Iterable[Record],
    plan: Mapping[str, Any],
    refused: Iterable[ResultError] = (),
    timings: Iterable[Timing] = (),
    plans: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    draw: bool = True,
) -> Document:
    """Make the report of ``results``; ``plan`` may be empty, ``refused`` are files that were no results.

    ``timings`` are pytest-benchmark's; ``plans`` are those of all runs, where there are several.  If not told to
    ``draw`` there are no charts.
    """
    evidence = merge(results, plan, refused, plans)
    beside = pytest_benchmark.section(evidence, timings)
    lost = gaps(evidence)
    asked, of_energy = drafts(evidence, lost), energy.drafts(evidence, lost)
    count = judged(asked) + judged(of_energy)
    rows, joules = decide(asked, count), decide(of_energy, count)
    without = unanswered(evidence, lost, rows)
    labels, imprecise = names(evidence), names(evidence, precise=False)
    runs = differences.sides(evidence)
    differ = differences.between(runs) if len(runs) > 1 else []
    studies = studies_of(evidence)
    judgements = claims(evidence, rows)
    drawn = charts(evidence, rows, labels, studies) | study.charts(evidence, rows, labels, studies) if draw else {}
    book = pages.Book(evidence, rows, labels, judgements, studies, tuple(drawn))

    def images(kind: str, words: str) -> list[Markdown]:
        found = [n for n in drawn if n.startswith(kind)]
        if len(found) > MOST_IMAGES:
            return [Markdown("The charts are on [the pages of the studies](studies/index.md).")]
        return [Markdown(f"![{words}](charts/{n})") for n in found]

    sections: dict[str, list[Markdown]] = {
        "What differs between the runs": differences.section(runs, differ),
        "The answer": answers.answers(
            evidence, rows, without, labels, "ratios.svg" if "ratios.svg" in drawn else None, comparisons(joules)
        ),
        "Identity": [*verification.identity(evidence), *own_api.section(evidence)],
        "Diverged": diverged.section(evidence, labels),
        "Not comparable": verification.not_comparable(evidence, labels, lost),
        "Accuracy": accuracy.section(evidence, labels, accuracies(evidence, rows)),
        "Published numbers": published.section(labels, judgements, studies),
        "Latency": [
            *performance.latency(evidence, labels),
            *images("latency", "Median latency by batch size"),
            *book.tuned(),
        ],
        "Throughput": performance.throughput(evidence, labels),
        "Training": performance.training(evidence, labels) + images("training", "Loss and accuracy by epoch"),
        "Gains over the quickstart": gains.section(evidence, imprecise, rows),
        "Precisions": precisions.section(evidence, imprecise, rows),
        "Where the difference comes from": parts.section(evidence, labels, rows),
        "Memory": memory.section(evidence, labels),
        "GPU memory": device.memory(evidence, labels),
        "Energy": energy.section(evidence, labels, joules),
        "GPU state": device.condition(evidence, labels),
        "In a container and natively": container_vs_native.section(evidence, names(evidence, placed=False)),
        "Repeatability": repeatability.section(evidence, labels),
        "pytest-benchmark": beside,
        "The instrument": instrument.section(evidence, labels),
        "Time breakdown": performance.time_spent(evidence),
        "Failed and unsupported": failures.section(lost),
        "Refused files": failures.refused(evidence.refused, evidence.doubles),
        "Environment": environment.section(evidence),
        "Reproduce": environment.command(evidence),
    }
    head = unanswered_head(lost, rows, without)
    blocks = [Markdown("# Parity Suite report"), *_head(evidence, labels, head), *book.pointer()]
    for title, body in sections.items():
        blocks += [Markdown(f"## {title}"), *body] if body else []
    return Document(
        "\n\n".join(blocks) + "\n",
        drawn,
        tuple(answers.answer_rows(rows, without, evidence.frameworks, labels, evidence.runs)),
        _failed(evidence, rows, without, beside),
        book.pages() | _gained(gains.page(evidence, imprecise, rows, book.tuned())),
        tuple(diverged.head(evidence, labels)),
        differences.told(runs, differ),
        (*([] if rows or without else [answers.nothing(evidence)]), *head, *failure_lines(lost, rows)),
    )


def _gained(page: Sequence[Markdown]) -> dict[str, str]:
    """The page on what an expert gains, by its name, if there is one."""
    return {gains.PAGE: "\n\n".join(page) + "\n"} if page else {}


def _failed(
    evidence: Evidence, rows: Sequence[AnswerRow], without: Sequence[Unanswered], beside: Sequence[Markdown]
) -> bool:
    """A run that only proves is judged by its proofs; one that measures, by what it set out to compare."""
    if any(f.cause not in (Cause.UNSUPPORTED, Cause.DIVERGED) for f in evidence.failed) or failures.missing(evidence):
        return True
    if beside and not evidence.results:
        return False  # nothing was to be compared
    if rows or without or not evidence.proofs:
        return not rows or any(row.failed for row in rows) or any(none.failed for none in without)
    return not all(proof.identity.verdict.proven for proof in evidence.proofs)


def _head(evidence: Evidence, labels: Mapping[ComparisonGroup, str], unanswered: Sequence[str]) -> list[Markdown]:
    """What a reader must know before the first number: the plan's notes, and what is missing."""
    notes = evidence.plan.get("notes")
    lines = [n for n in notes if isinstance(n, str)] if isinstance(notes, list | tuple) else []
    lines += instrument.wrong(evidence, labels)
    lines += instrument.warnings(evidence, labels)
    lines += instrument.apart(evidence, labels)
    lines += unanswered
    lines += failures.missing(evidence)
    lines += diverged.head(evidence, labels)
    lines += device.warnings(evidence, labels)
    if evidence.refused:
        lines.append(f"Files refused, and listed below: {len(evidence.refused):,}.")
    blocks = [bullets([md("**{}**", line) for line in lines])] if lines else []
    profile = evidence.plan.get("profile")
    told = []
    if isinstance(profile, Mapping) and isinstance(profile.get("name"), str):
        told.append(md("profile {}", profile["name"]))
    if evidence.results:
        first, last = (f(r.started for r in evidence.results) for f in (min, max))
        told.append(
            Markdown(f"{len(evidence.results):,} results, begun {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC")
        )
        told += [md("run {}", run) for run in sorted({r.run for r in evidence.results})[:5]]
    return [*blocks, Markdown(", ".join(told) + ".")] if told else blocks


def names(evidence: Evidence, *, placed: bool = True, precise: bool = True) -> dict[ComparisonGroup, str]:
    """What to call each group: the benchmark, and whatever else tells it from the others.

    Its place only if ``placed``, and its precision only if ``precise``.
    """
    groups = list(evidence.specs)
    runs, machines = evidence.runs, sorted({a.machine for a in groups})
    where = {a.place for a in groups}
    several = any(len({a.run for a in groups if a.place == place}) > 1 for place in where)
    devices, precisions = {a.device for a in groups}, {a.precision for a in groups}
    found = {}
    for a in groups:
        parts = [a.spec]
        parts += [a.spec_digest[7:13]] if len({b.spec_digest for b in groups if b.spec == a.spec}) > 1 else []
        parts += [a.device] if len(devices) > 1 else []
        parts += [a.precision] if precise and len(precisions) > 1 else []
        parts += [a.place] if placed and len(where) > 1 else []
        parts += [f"run {runs.index(a.run) + 1}"] if several else []
        parts += [f"machine {machines.index(a.machine) + 1}"] if len(machines) > 1 else []
        found[a] = ", ".join(parts)
    return found
