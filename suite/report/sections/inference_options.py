"""Inference options, one at a time: what each changes in time and in the answers, framework by framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from suite.report.evidence.merge import (
    ComparisonGroup,
    Evidence,
    FrameworkMode,
    NotProven,
    comparison_group,
    framework_mode,
    kind_of,
    position,
)
from suite.report.text.markdown import Markdown, Notes, bullets, md, table
from suite.report.text.units import duration, percent
from suite.results.records import Cause, InferenceOptions, Tuned
from suite.stats import LEAST_ROUNDS, Centre, TooFew, median_interval, rounds_interval

NONE = "none"
CONTROL = "again"
SHOWN = {NONE: "baseline", CONTROL: "baseline repeat"}
"""What readers see of the names that records have."""
REDUCTION = "latency_per_image_reduction"
RULE = Markdown(
    "All options run single queries over the same weights. They take turns in an order that is drawn anew each time, "
    "so that disturbances of the machine affect all alike. *Baseline repeat* is the baseline built a second time, "
    "after all others: its change shows what to expect without any option. Latency is per example: the time of a "
    "query divided by its batch size. With five rounds or more it is the geometric mean of the rounds' medians, with "
    "Student's interval. With fewer it is the median of all samples, with an interval from order statistics that "
    "does not cover differences between processes. Every interval is at 95 % by itself. *Outputs* is the largest "
    "change of an output, relative to the largest output. Each framework is compared with itself alone; nothing here "
    "ranks frameworks."
)
LOST = "the outputs are not classes, or were not finite in some round"
OptionKey = tuple[str, str, int]
"""InferenceOption, mode and batch size."""


@dataclass(frozen=True)
class Line:
    """One option over all rounds: ns per example, their ratio to the baseline's, and what it changed in the answers."""

    way: OptionKey
    latency: float
    interval: Centre | TooFew
    ratio: Centre | TooFew | None
    accuracy: float | None
    points: float | None
    change: float | None


def of(evidence: Evidence, here: ComparisonGroup) -> dict[FrameworkMode, list[InferenceOptions]]:
    """The records of a comparison group by framework and mode, in order of rounds."""
    found: dict[FrameworkMode, list[InferenceOptions]] = {}
    for record in evidence.tuned:
        if comparison_group(record) == here:
            found.setdefault(framework_mode(record), []).append(record)
    return {c: found[c] for c in sorted(found, key=lambda c: (position(c.runner), c.mode))}


def lost(evidence: Evidence, here: ComparisonGroup) -> dict[FrameworkMode, int]:
    """How often a framework's inference options were not measured, because the weights had diverged."""
    found: dict[FrameworkMode, int] = {}
    where = here.run, here.spec, here.device, here.precision
    for f in evidence.failed:
        if f.cause is Cause.DIVERGED and kind_of(f, evidence.kinds) == "tune":
            alike = (f.run, f.cell.spec, f.cell.device, f.cell.precision) == where
            found[framework_mode(f)] = found.get(framework_mode(f), 0) + alike
    return {who: count for who, count in found.items() if count}


def lines(records: Sequence[InferenceOptions]) -> list[Line]:
    """Every option that was measured: the baseline, its repeat, and the others in the order of building."""
    ways = list(dict.fromkeys(way(t) for record in records for t in record.tunings if _images(t)))
    ways.sort(key=lambda w: (w[0] != NONE, w[0] != CONTROL))
    return [_line(w, records) for w in ways]


def way(tuned: Tuned) -> OptionKey:
    """What identifies an option."""
    return tuned.tuning, tuned.mode, tuned.batch_size


def _images(tuned: Tuned) -> list[float]:
    """Samples in ns per example; none where it has a reason instead."""
    taken = [s / tuned.batch_size for s in tuned.samples_ns] if tuned.batch_size and tuned.reason is None else []
    return taken if taken and min(taken) > 0 else []


def _line(which: OptionKey, records: Sequence[InferenceOptions]) -> Line:
    both = [(_find(r, which), _find(r, None)) for r in records]
    mine = [t for t, _ in both if t]
    samples = [_images(t) for t in mine]
    paired = [(t, plain) for t, plain in both if t and plain]
    by_round = len(samples) >= LEAST_ROUNDS
    pooled = [s for one in samples for s in one]
    medians = [median(one) for one in samples]
    latency = rounds_interval(medians) if by_round else median_interval(pooled)
    ratio: Centre | TooFew | None = None
    if which[0] != NONE and len(paired) >= LEAST_ROUNDS:
        ratio = rounds_interval([median(_images(t)) / median(_images(plain)) for t, plain in paired])
    elif which[0] != NONE and paired:
        turns = [a / b for t, plain in paired for a, b in zip(_images(t), _images(plain), strict=False)]
        ratio = median_interval(turns)
    accuracies = [t.accuracy for t in mine if t.accuracy is not None]
    gained = [t.accuracy - p.accuracy for t, p in paired if t.accuracy is not None and p.accuracy is not None]
    changes = [t.change for t in mine if t.change is not None]
    return Line(
        which,
        latency.value if isinstance(latency, Centre) else median(pooled),
        latency,
        ratio,
        fmean(accuracies) if accuracies and len(accuracies) == len(mine) else None,
        100 * fmean(gained) if gained else None,
        max(changes) if changes else None,
    )


def _find(record: InferenceOptions, which: OptionKey | None) -> Tuned | None:
    """An option of one record, or its baseline."""
    fits = (t for t in record.tunings if _images(t) and (t.tuning == NONE if which is None else way(t) == which))
    return next(fits, None)


def section(evidence: Evidence, here: ComparisonGroup) -> list[Markdown]:
    """Blocks for one benchmark; nothing where no option was measured."""
    blocks: list[Markdown] = []
    found, missed = of(evidence, here), lost(evidence, here)
    for who, records in found.items():
        blocks += _framework(evidence, who, records, missed.get(who, 0))
    for who in (c for c in missed if c not in found):
        words = "not measured, because the weights had diverged in every round"
        blocks.append(md(f"**{{}}**, baseline {{}}: {words}.", who.runner, who.mode))
    if not blocks:
        return []
    claimed = [claim for claim in evidence.specs[here].claims if claim.metric == REDUCTION]
    for claim in claimed:
        note = md(" ({})", claim.note) if claim.note else Markdown("")
        why = md(" It is not testable: {}.", claim.untestable) if claim.untestable else Markdown("")
        said = percent(claim.value)
        blocks.append(md("Published: latency per example reduced by {}{}.{}", said, note, why))
    return blocks


def _framework(
    evidence: Evidence, who: FrameworkMode, records: Sequence[InferenceOptions], missed: int
) -> list[Markdown]:
    """``missed``: rounds whose weights had diverged; the accuracies of the others alone would mislead."""
    notes = Notes()
    rest = f"in {missed} of {len(records) + missed} rounds the weights had diverged, so there is no mean"
    why = rest if missed else LOST
    rows = []
    for line in lines(records):
        tuning, mode, batch = line.way
        latency = duration(line.latency)
        if isinstance(line.interval, Centre):
            latency = f"{latency} ({duration(line.interval.low)} to {duration(line.interval.high)})"
        else:
            latency = notes.mark(latency, f"no interval, {line.interval}")
        rows.append(
            [SHOWN.get(tuning, tuning), mode, f"{batch:,}", latency, _change(line, notes),
             percent(line.accuracy) if line.accuracy is not None and not missed else notes.dash(why),
             f"{line.points:+.2f}" if line.points is not None and tuning != NONE and not missed else "",
             f"{line.change:.1e}" if line.change is not None and tuning != NONE else ""]
        )  # fmt: skip
    images = sorted({t.images for r in records for t in r.tunings if t.images})
    counted = f"{len(records)} round{'s' if len(records) > 1 else ''}"
    over = f", accuracy over {' or '.join(f'{n:,}' for n in images)} test examples" if images else ""
    statuses = [evidence.proof_status(r) for r in records]
    unproven = next((s.reason for s in statuses if isinstance(s, NotProven)), "")
    counted += f" of {len(records) + missed}; in the others the weights had diverged" if missed else ""
    doubt = md(" Its baseline is **not proven**: {}.", unproven) if unproven else Markdown("")
    blocks = [md("**{}**, baseline {}, {}{}.{}", who.runner, who.mode, counted, over, doubt)]
    if rows:
        heads = ["option", "mode", "batch", "latency per example", "change", "accuracy", "points", "outputs"]
        blocks += [table(heads, rows, "llrrrrrr"), *notes.lines()]
    if refused := dict.fromkeys((t.tuning, t.reason) for r in records for t in r.tunings if t.reason):
        blocks.append(md("Not offered by {} here:", who.runner))
        blocks.append(bullets([md("{}: {}", tuning, reason) for tuning, reason in refused]))
    return blocks


def _change(line: Line, notes: Notes) -> str:
    if line.way[0] == NONE:
        return ""
    match line.ratio:
        case Centre() as c:
            value, low, high = (f"{100 * (x - 1):+.1f}" for x in (c.value, c.low, c.high))
            return f"{value} % ({low} to {high})"
        case TooFew() as few:
            return notes.dash(str(few))
        case None:
            return notes.dash("the baseline was not measured")
