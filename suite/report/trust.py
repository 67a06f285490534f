"""What the numbers rest on: identity, accuracy, published claims, repeatability."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from suite.report.answers import cost
from suite.report.claims import AccuracyRow, ClaimRow, per_seed
from suite.report.compare import NotRanked, by_round, questions, unranked
from suite.report.markdown import DASH, Markdown, Notes, bullets, md, table
from suite.report.merge import UNRANKED, Arena, Evidence, divergence
from suite.report.units import digits, percent
from suite.result import Check, Verdict
from suite.stats import ClaimVerdict, Equivalence, Prediction, TooFew, prediction

Labels = Mapping[Arena, str]


def identity(evidence: Evidence) -> list[Markdown]:
    """The gate's verdict per spec, framework and mode."""
    notes = Notes()
    rows = []
    for proof in evidence.proofs:
        found = proof.identity
        worst = max(found.checks, key=_excess, default=None)
        cell = proof.cell
        words = {Verdict.VARIANT: f"{found.verdict}: {', '.join(found.variants)}"}.get(
            found.verdict, str(found.verdict)
        )
        verdict = md("**{}**" if found.verdict is Verdict.UNPROVEN else "{}", words)
        if found.variant_shift is not None:
            verdict = notes.mark(verdict, f"the variant moves the weights by {found.variant_shift:.1e}, relative")
        rows.append(
            [
                cell.spec, cell.runner, cell.mode, cell.device, verdict, f"{found.compared:,}",
                _check(worst) if worst else notes.dash("no check was recorded"),
                divergence(found) if found.divergence else "none",
                f"{found.drift:.1e}" if found.drift is not None else notes.dash("not taken"),
            ]
        )  # fmt: skip
    if not rows:
        return [Markdown("The gate has not run: nothing is ranked.")]
    heads = ["benchmark", "framework", "mode", "device", "verdict", "compared"]
    heads += ["worst error / bound", "first divergence", "drift"]
    return [
        table(heads, rows, "lllllrllr"),
        *notes.lines(),
        Markdown(
            "Each framework and mode is compared with a NumPy reference before anything is timed: digests, then "
            "outputs, loss, the gradient of each tensor and ten single optimizer steps in float64, then the very call "
            "that is timed. *Drift* is the largest relative difference of weights after ten free steps: not judged."
        ),
    ]


def _excess(check: Check) -> float:
    if check.error is None:
        return float("inf")
    return check.error / check.bound if check.bound > 0 else check.error


def _check(check: Check) -> str:
    error = "not finite" if check.error is None else f"{check.error:.1e}"
    return f"{error} / {check.bound:.1e}, {check.section}, {check.tensor}"


def not_comparable(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """Numbers without proof, and those that the instrument drowns, with the reason."""
    rows = []
    for arena, cells in evidence.arenas.items():
        for contender, results in cells.items():
            for question in questions(results) if contender.runner not in UNRANKED else ():
                standing = unranked(evidence, arena, contender, question)
                if isinstance(standing, NotRanked):
                    value = cost(question, median(by_round(results, question).values()))
                    shown = value if standing.failure else DASH
                    rows.append(
                        [labels[arena], contender.runner, contender.mode, str(question), shown, standing.reason]
                    )
    if not rows:
        return [Markdown("None: every number is proven.")]
    return [table(["benchmark", "framework", "mode", "question", "number", "why it is not ranked"], rows, "llllrl")]


def accuracy(evidence: Evidence, labels: Labels, pairs: Sequence[AccuracyRow]) -> list[Markdown]:
    """Test accuracy per framework and mode over seeds, and the equivalence tests."""
    notes = Notes()
    rows: list[list[str]] = []
    for arena, cells in evidence.arenas.items():
        for contender, results in cells.items():
            seeds = per_seed(results, "test_accuracy") if contender.runner not in UNRANKED else None
            if seeds is None:
                continue
            values = list(seeds.values.values())
            expected = prediction(values)
            interval = (
                notes.dash(str(expected)) if isinstance(expected, TooFew)
                else f"{percent(expected.low)} to {percent(expected.high)}"
            )  # fmt: skip
            rows.append(
                [labels[arena], contender.runner, contender.mode, f"{len(values)}", percent(fmean(values)),
                 _range(values), interval, seeds.schedule]
            )  # fmt: skip
    if not rows:
        return [Markdown("No benchmark with classes was trained.")]
    heads = ["benchmark", "framework", "mode", "seeds", "mean", "range", "95 % for one further run", "schedule"]
    blocks = [table(heads, rows, "lllrrlll"), *notes.lines()]
    if pairs:
        blocks.append(Markdown("\n".join(_equivalence(pair, labels) for pair in pairs)))
        blocks.append(
            Markdown(
                "Two one-sided t-tests over paired seeds at 5 %, margin 0.5 points, from five seeds; in brackets the "
                f"90 % interval. {len(pairs)} such test{'s' if len(pairs) > 1 else ''}, each at its own 5 %."
            )
        )
    return blocks


def _range(values: Sequence[float]) -> str:
    return f"{percent(min(values))} to {percent(max(values))}" if len(values) > 1 else "one seed"


def _equivalence(pair: AccuracyRow, labels: Labels) -> Markdown:
    one, other = (f"{c.runner} ({c.mode})" for c in (pair.first, pair.second))
    match pair.outcome:
        case Equivalence() as test:
            said = "equivalent within 0.5 points" if test.equivalent else "not shown to be equivalent within 0.5 points"
            numbers = f"{100 * test.mean:+.2f} points ({100 * test.low:+.2f} to {100 * test.high:+.2f})"
            words = md(f"{said}: {{}} minus {{}} is {numbers}, {test.pairs} seeds, {pair.seeds.schedule}", one, other)
        case TooFew() as few:
            words = md("{} and {} not tested: {}", one, other, few)
        case NotRanked() as reason:
            words = md("{} and {} not tested: {}", one, other, reason.reason)
    return md("- **{}**: {}", labels[pair.arena], words)


def published(evidence: Evidence, labels: Labels, rows: Sequence[ClaimRow]) -> list[Markdown]:
    """Published numbers with the verdict of the rule."""
    if not rows:
        return [Markdown("No benchmark of this run has a published number.")]
    notes = Notes()
    body: list[list[str]] = []
    for row in rows:
        claim = row.claim
        verdict: str = md("**{}**", row.verdict) if row.verdict is ClaimVerdict.REPRODUCED else str(row.verdict)
        if row.reason:
            verdict = notes.mark(verdict, row.reason)
        stated: str = _number(claim.metric, claim.value)
        stated = notes.mark(stated, claim.note) if claim.note else stated
        body.append(
            [labels[row.arena], claim.metric.replace("_", " "), stated,
             f"{row.contender.runner} ({row.contender.mode})", _ours(claim.metric, row, notes), verdict]
        )  # fmt: skip
    return [
        table(
            ["benchmark", "metric", "published", "framework", "one further run here, 95 %", "verdict"], body, "llrlll"
        ),
        *notes.lines(),
        Markdown(
            "*Reproduced*: the published number lies in the 95 % prediction interval for one further run, from five "
            "seeds or more at the full schedule; *not reproduced*: it lies outside. *Depends on an assumption*: "
            "another choice where the source leaves one open changes the verdict. Published times come from other "
            "machines and are context."
        ),
        *_assumptions(evidence, labels, rows),
    ]


def _number(metric: str, value: float) -> str:
    if metric.endswith("accuracy"):
        return percent(value)
    return f"{digits(value)} s" if metric == "seconds_per_epoch" else digits(value, 4)


def _ours(metric: str, row: ClaimRow, notes: Notes) -> str:
    match row.ours:
        case Prediction() as p:
            return f"{_number(metric, p.low)} to {_number(metric, p.high)}, {p.runs} seeds"
        case TooFew() as few:
            return notes.dash(str(few))
        case None:
            return notes.dash(row.reason or "not measured")
        case value:
            return _number(metric, value)


def _assumptions(evidence: Evidence, labels: Labels, rows: Sequence[ClaimRow]) -> list[Markdown]:
    """What the sources of the claims leave open, and what was chosen."""
    lines = []
    for arena in dict.fromkeys(row.arena for row in rows):
        spec = next(iter(evidence.arenas[arena].values()))[0].spec
        for a in spec.assumptions:
            other = f"; the other choice is the case {a.alternative}" if a.alternative else ""
            lines.append(md("**{}** assumes {}: {}{}", labels[arena], a.about, a.chosen, other))
    return [bullets(lines)] if lines else []


def repeatability(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """Whether trainings with one seed end in the same weights, to the bit."""
    rows: list[list[str]] = []
    for arena, cells in evidence.arenas.items():
        for contender, results in cells.items():
            if contender.runner in UNRANKED:
                continue
            alike: dict[tuple[object, ...], list[str]] = defaultdict(list)
            for r in results:
                if r.training:
                    key = (r.cell.seed, len(r.training.epochs), r.digests, r.environment.source, r.environment.lock)
                    alike[key].append(r.training.weights)
            repeated = [weights for weights in alike.values() if len(weights) > 1]
            equal = sum(len(set(weights)) == 1 for weights in repeated)
            if repeated:
                trainings = sum(map(len, repeated))
                said = (
                    "bit-identical"
                    if equal == len(repeated)
                    else f"differ under {len(repeated) - equal} of {len(repeated)} seeds"
                )
                rows.append([labels[arena], contender.runner, contender.mode, f"{len(repeated)}", f"{trainings}", said])
    if not rows:
        return [Markdown("No cell was trained twice with one seed: whether it repeats to the bit is not known.")]
    heads = ["benchmark", "framework", "mode", "seeds repeated", "trainings", "final weights"]
    return [table(heads, rows, "lllrrl")]
