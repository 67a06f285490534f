"""A study of many benchmarks as one readable table: what was published beside ours, the worst disagreement first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from suite.report.evidence.claims import ClaimRow
from suite.report.evidence.merge import ComparisonGroup, in_order
from suite.report.evidence.studies import Study
from suite.report.evidence.verdicts import SETTLED, ClaimVerdict
from suite.report.sections.published import number
from suite.report.text.markdown import DASH, Markdown, Notes, table
from suite.stats import Prediction

SPLITS = ("test", "validation", "train")
MOST_REASONS = 3
Labels = Mapping[ComparisonGroup, str]
Found = Mapping[str, Sequence[ClaimRow]]
"""A benchmark's rows by metric, in the order of frameworks."""


def tables(study: Study, labels: Labels, rows: Sequence[ClaimRow]) -> list[Markdown]:
    """Accuracies, losses and times; nothing where the study has no published numbers."""
    found: dict[ComparisonGroup, dict[str, list[ClaimRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row.group][row.claim.metric].append(row)
    runners = in_order(row.framework_mode.runner for row in rows if row.framework_mode)
    if not found or not runners:
        return []
    shown = " / ".join(("published", *runners))
    return [
        *_splits(study, labels, found, "accuracy", f"Accuracies in percent, {shown}"),
        *_splits(study, labels, found, "loss", f"Losses, {shown}"),
        *_times(study, labels, found, shown),
    ]


def _splits(
    study: Study, labels: Labels, found: Mapping[ComparisonGroup, Found], quantity: str, title: str
) -> list[Markdown]:
    metrics = [f"{split}_{quantity}" for split in SPLITS]
    mine = {a: rows for a, rows in found.items() if any(metric in rows for metric in metrics)}
    if not mine:
        return []
    notes = Notes()
    apart = {a: _apart(rows, metrics) for a, rows in mine.items()}
    order = sorted(mine, key=lambda a: (-(apart[a] if apart[a] is not None else -1.0), labels[a]))  # type: ignore[operator]
    body = []
    for group in order:
        judged = [row for metric in metrics for row in mine[group].get(metric, ())]
        far = apart[group]
        lost = "; ".join(sorted({row.reason for row in judged if row.verdict is ClaimVerdict.DIVERGED}))
        gap = notes.dash(lost or "nothing was measured") if far is None else _far(quantity, far)
        body.append(
            [labels[group], study.specs[group].title or DASH,
             *(_beside(mine[group].get(metric, ())) for metric in metrics), gap, _verdict(judged, notes)]
        )  # fmt: skip
    farthest = "farthest, points" if quantity == "accuracy" else "farthest"
    text = (
        f"{title}: means over seeds. The brackets hold the 95 % prediction interval for a new run, if there are five "
        "seeds. *Farthest* is the largest difference between the published number and a framework's mean, on the test "
        "split if that was published. The largest difference comes first."
    )
    return [
        Markdown(text),
        table(["case", "recipe", *SPLITS, farthest, "verdict"], body, "llrrrrl"),
        *notes.lines(),
    ]


def _apart(rows: Found, metrics: Sequence[str]) -> float | None:
    """The largest distance of a framework's mean from the published number, on the first split that has one."""
    for metric in metrics:
        gaps = [abs(row.mean - row.claim.value) for row in rows.get(metric, ()) if row.mean is not None]
        if gaps:
            return max(gaps)
    return None


def _far(quantity: str, gap: float) -> str:
    return f"{100 * gap:.2f}" if quantity == "accuracy" else f"{gap:.4f}"


def _beside(rows: Sequence[ClaimRow]) -> str:
    """``97.79 / 97.91 (97.53 to 98.23) / 97.88 (97.55 to 98.17)``; nothing where nothing was published."""
    if not rows:
        return DASH
    show = _percentages if rows[0].claim.metric.endswith("accuracy") else _plain
    return " / ".join((show(rows[0].claim.value), *(_mean(row, show) for row in rows)))


def _percentages(value: float) -> str:
    return f"{100 * value:.2f}"


def _plain(value: float) -> str:
    return f"{value:.4f}"


def _mean(row: ClaimRow, show: Callable[[float], str]) -> str:
    if row.mean is None:
        return DASH
    if isinstance(row.ours, Prediction) and row.verdict in _JUDGED:
        return f"{show(row.mean)} ({show(row.ours.low)} to {show(row.ours.high)})"
    return show(row.mean)


_JUDGED = SETTLED | {ClaimVerdict.ASSUMPTION, ClaimVerdict.TOO_NOISY}


def _verdict(rows: Sequence[ClaimRow], notes: Notes) -> str:
    """One word where all agree, else which numbers have which verdict."""
    by_verdict: dict[ClaimVerdict, list[ClaimRow]] = defaultdict(list)
    for row in rows:
        by_verdict[row.verdict].append(row)
    runners = {row.framework_mode.runner for row in rows if row.framework_mode}
    words = []
    for verdict in ClaimVerdict:
        if mine := by_verdict[verdict]:
            named: dict[str, list[str]] = defaultdict(list)
            for row in mine:
                named[row.claim.metric.split("_")[0]].append(row.framework_mode.runner if row.framework_mode else "any")
            which = [split if set(who) == runners else f"{split} ({', '.join(who)})" for split, who in named.items()]
            text = str(verdict) if len(mine) == len(rows) else f"{verdict}: {', '.join(which)}"
            told = sorted({row.reason for row in mine if row.reason})[:MOST_REASONS]
            if verdict is ClaimVerdict.TOO_NOISY:  # each has a width of its own
                told = [f"{_whose(row)}: {row.reason}" for row in mine]
            words.append(notes.mark(text, "; ".join(told)) if told else text)
    return Markdown("; ".join(words)) if any(isinstance(w, Markdown) for w in words) else "; ".join(words)


def _whose(row: ClaimRow) -> str:
    """A number in a line of the table: its split and its framework."""
    return f"{row.claim.metric.split('_')[0]}, {row.framework_mode.runner if row.framework_mode else 'any'}"


def _times(study: Study, labels: Labels, found: Mapping[ComparisonGroup, Found], shown: str) -> list[Markdown]:
    """Epochs until training stopped, which is judged, and seconds, which are not."""
    mine = {
        a: rows for a, rows in found.items() if {"train_seconds", "seconds_per_epoch", "stopped_at_epoch"} & {*rows}
    }
    if not mine:
        return []
    notes = Notes()
    body = []
    for group, rows in mine.items():
        stopped = rows.get("stopped_at_epoch", ())
        seconds = rows.get("train_seconds", ()) or rows.get("seconds_per_epoch", ())
        body.append(
            [labels[group], f"{study.specs[group].epochs:,}", _epochs(stopped), _verdict(stopped, notes) or DASH,
             _taken(seconds, notes)]
        )  # fmt: skip
    words = (
        f"Epochs and times, {shown}. A published time comes from another machine and is never judged. Ours is the sum "
        "over the epochs, without evaluation."
    )
    heads = ["case", "epochs at most", "stopped at epoch", "verdict", "seconds of training"]
    return [Markdown(words), table(heads, body, "lrrlr"), *notes.lines()]


def _epochs(rows: Sequence[ClaimRow]) -> str:
    if not rows:
        return DASH
    return " / ".join((f"{rows[0].claim.value:g}", *(_mean(row, lambda v: f"{v:.1f}") for row in rows)))


def _taken(rows: Sequence[ClaimRow], notes: Notes) -> str:
    if not rows:
        return DASH
    published = number(rows[0].claim.metric, rows[0].claim.value)
    return " / ".join((published, *(_seconds(row, notes) for row in rows)))


def _seconds(row: ClaimRow, notes: Notes) -> str:
    if row.mean is None:
        return DASH
    shown = number(row.claim.metric, row.mean)
    return notes.mark(shown, str(row.seeds.diverged)) if row.seeds and row.seeds.diverged else shown
