"""What proves the numbers: the gate's verdicts, and the numbers that are not comparable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import median

from suite.report.evidence.comparison import NotRanked, by_round, questions, unlike, unranked
from suite.report.evidence.gaps import Gaps
from suite.report.evidence.merge import (
    UNRANKED,
    ComparisonGroup,
    Evidence,
    divergence,
    in_order,
    position,
    program,
    way,
)
from suite.report.sections.answers import cost
from suite.report.text.markdown import DASH, Markdown, Notes, md, table
from suite.results.identity import Check, Verdict
from suite.results.records import InferenceOptions, Numbers, Proof

Labels = Mapping[ComparisonGroup, str]


def identity(evidence: Evidence) -> list[Markdown]:
    """The gate's verdict per distinct proof, with the benchmarks that it covers."""
    notes = Notes()
    rows = []
    for proof, covered in distinct(evidence):
        found = proof.identity
        worst = max(found.checks, key=_excess, default=None)
        cell = proof.cell
        words = {Verdict.VARIANT: f"{found.verdict}: {', '.join(found.variants)}"}.get(
            found.verdict, str(found.verdict)
        )
        verdict = md("{}" if found.verdict.proven else "**{}**", words)
        if found.gentleness:
            verdict = notes.mark(
                verdict, "proven from smaller initial weights: from the usual ones the reference itself overflows"
            )
        if found.variant_shift is not None:
            verdict = notes.mark(
                verdict, f"the variant changes the weights by {found.variant_shift:.1e}, relative to their size"
            )
        rows.append(
            [
                several(covered), cell.runner, cell.mode, cell.device, verdict, f"{found.compared:,}",
                _check(worst) if worst else notes.dash("no check was recorded"),
                divergence(found) if found.divergence else "none",
                f"{found.drift:.1e}" if found.drift is not None else notes.dash("not taken"),
            ]
        )  # fmt: skip
    if not rows:
        return [Markdown("The gate has not run: nothing is ranked.")]
    heads = ["benchmarks", "framework", "mode", "device", "verdict", "compared"]
    heads += ["worst error / bound", "first divergence", "drift"]
    return [
        table(heads, rows, "lllllrllr"),
        *notes.lines(),
        Markdown(
            "Before anything is timed, each framework and mode is compared with a NumPy reference: first the digests; "
            "then outputs, loss, the gradient of each tensor and ten single optimizer steps in float64; then the very "
            "call that is timed. One proof covers all benchmarks with the same network, loss, optimizer and shapes. "
            "*Drift* is the largest relative difference of the weights after ten steps in a row. It is shown and not "
            "judged."
        ),
    ]


NAMED = 3
"""Benchmarks of a proof that are named; the others are counted."""


def several(names: Sequence[str]) -> str:
    """The first few of ``names``, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def distinct(evidence: Evidence) -> list[tuple[Proof, list[str]]]:
    """One proof of each computation, way and program, the worst verdict first, and the specs that it covers."""
    found: dict[tuple[object, ...], list[Proof]] = defaultdict(list)
    for proof in evidence.proofs:
        found[_subject(proof)].append(proof)
    covered: dict[tuple[object, ...], set[str]] = defaultdict(set)
    everyone: list[Proof | Numbers | InferenceOptions] = [
        *evidence.proofs,
        *evidence.numbers,
        *evidence.controls,
        *evidence.tuned,
    ]
    for result in everyone:
        covered[_subject(result)].add(result.cell.spec)
    worst_first = (Verdict.UNPROVEN, Verdict.NOT_PROVABLE, Verdict.VARIANT, Verdict.IDENTICAL)
    chosen = [min(proofs, key=lambda p: worst_first.index(p.identity.verdict)) for proofs in found.values()]
    listed = [(proof, sorted(covered[_subject(proof)])) for proof in chosen]
    return sorted(listed, key=lambda item: (item[1][0], position(item[0].cell.runner), item[0].cell.mode))


def _subject(result: Proof | Numbers | InferenceOptions) -> tuple[object, ...]:
    return result.spec.computation, way(result.cell), program(result.environment)


def _excess(check: Check) -> float:
    if check.error is None:
        return float("inf")
    return check.error / check.bound if check.bound > 0 else check.error


def _check(check: Check) -> str:
    error = "not finite" if check.error is None else f"{check.error:.1e}"
    return f"{error} / {check.bound:.1e}, {check.section}, {check.tensor}"


def not_comparable(evidence: Evidence, labels: Labels, lost: Gaps) -> list[Markdown]:
    """Numbers without a proof, and those too short to time, with the reason; and how much has no number."""
    rows = []
    for group, cells in evidence.groups.items():
        for framework_mode, results in cells.items():
            for question in questions(results) if framework_mode.runner not in UNRANKED else ():
                proof_status = unranked(evidence, group, framework_mode, question)
                if isinstance(proof_status, NotRanked):
                    value = cost(question, median(by_round(results, question).values()))
                    shown = value if proof_status.failure or proof_status.shown else DASH
                    rows.append(
                        [
                            labels[group],
                            framework_mode.runner,
                            framework_mode.mode,
                            str(question),
                            shown,
                            proof_status.reason,
                        ]
                    )
        runners = in_order(c.runner for c in cells if c.runner not in UNRANKED)
        for one, other in combinations(runners, 2):
            if reason := unlike(evidence, group, one, other):
                rows.append([labels[group], f"{one} with {other}", "all", "all", DASH, reason])
    heads = ["benchmark", "framework", "mode", "question", "number", "why it is not ranked"]
    blocks = [table(heads, rows, "llllrl")] if rows else []
    if lost.found:
        specs = len({gap.benchmark.spec for gap in lost.found})
        count = len({(gap.benchmark, gap.runner, gap.mode) for gap in lost.found})
        several = f"{specs:,} benchmark{'s' if specs > 1 else ''}"
        what = "1 mode has" if count == 1 else f"{count:,} modes have"
        whole = "" if rows or not evidence.numbers else "Every number that is shown is proven. "
        words = f'{whole}In {several} {what} no number or no proof in at least one round: see "Failed and unsupported".'
        blocks.append(Markdown(words))
    elif not rows:
        blocks.append(Markdown("None: every number is proven." if evidence.numbers else "There is no number."))
    return blocks
