"""What the trained models are worth beyond their loss: confusion, anomalies, word vectors, boxes.

The core judged the outputs of every framework alike; here the seeds are put together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import TypeVar

import numpy as np

from suite.report.charts.drawing import one_per_seed
from suite.report.evidence import diverged
from suite.report.evidence.diverged import divergence
from suite.report.evidence.merge import FrameworkMode
from suite.report.evidence.seeds import kept
from suite.report.text.markdown import DASH, Markdown, Notes, bullets, md, table
from suite.report.text.units import digits, percent
from suite.results.records import Measured
from suite.results.task_metrics import Analogy, Classified, Embedded, Located, Near, Neighbours, Sorted
from suite.scales import POSITIVE, SHARE, Bounds
from suite.spec.tasks import Reconstruction
from suite.stats import TooFew, prediction

MOST_CLASSES = 20
"""Above it a confusion matrix is no longer read, and only what is confused most is told."""
MOST_CONFUSED = 10
Cells = Mapping[FrameworkMode, Sequence[Measured]]
Kind = TypeVar("Kind", Classified, Sorted, Embedded, Located)


def section(cells: Cells, *, confusions: bool = True) -> list[Markdown]:
    """Of the frameworks' modes that speak for them; nothing where results hold no assessment.

    Without ``confusions`` the matrices are left out, of which many benchmarks would have too many.
    """
    return [
        *_told(cells),
        *(_confusions(_of(cells, Classified), _class_names(cells)) if confusions else []),
        *_anomalies(_of(cells, Sorted)),
        *_embeddings(_of(cells, Embedded)),
        *_boxes(_of(cells, Located)),
    ]


def _lost(result: Measured) -> bool:
    """Whether a cell diverged so that its outputs, or word vectors, are no numbers to be judged."""
    if divergence(result) is None or result.training is None:
        return False
    match result.training.assessment:
        case Classified():
            return False
        case Sorted() as told:
            return not told.edges
        case Embedded() as told:
            return not told.neighbours and not told.analogies
        case Located() as told:
            return told.mean_iou is None
        case None:
            return True


def _told(cells: Cells) -> list[Markdown]:
    """Whose seeds diverged; where some of those networks tell nothing, the other seeds' do not speak for all."""
    lines = []
    for framework_mode, results in cells.items():
        seeds = one_per_seed(kept(results))
        if not seeds or isinstance(seeds[0].spec.task, Reconstruction) or not (words := diverged.words(seeds)):
            continue
        lost = "and the outputs are no numbers" if any(map(_lost, seeds)) else "and what their networks give counts"
        lines.append(md("{} ({}): {}, {}.", framework_mode.runner, framework_mode.mode, words, lost))
    return [bullets(lines)] if lines else []


def _of(cells: Cells, kind: type[Kind]) -> dict[FrameworkMode, dict[int, Kind]]:
    """TaskMetricsKinds of one kind by framework and seed, of the cells that were trained farthest.

    A framework is left out where one of its seeds diverged and has none.
    """
    found = {}
    for framework_mode, results in cells.items():
        seeds = one_per_seed(kept(results))
        mine = {r.cell.seed: r.training.assessment for r in seeds if r.training}
        chosen = {seed: a for seed, a in sorted(mine.items()) if isinstance(a, kind)}
        if chosen and not any(map(_lost, seeds)):
            found[framework_mode] = chosen
    return found


def _class_names(cells: Cells) -> Callable[[int], str]:
    """What each class is called in the data: a number, or the label that was mapped to it."""
    facts = next((result.spec.data for results in cells.values() for result in results), None)
    return facts.called if facts else str


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"


def _confusions(
    found: Mapping[FrameworkMode, Mapping[int, Classified]], called: Callable[[int], str]
) -> list[Markdown]:
    alike: dict[tuple[int, bytes, int], list[FrameworkMode]] = {}
    for framework_mode, seeds in found.items():
        if len({len(a.confusion) for a in seeds.values()}) == 1:
            counts = np.sum([np.array(a.confusion, np.int64) for a in seeds.values()], axis=0)
            alike.setdefault((len(counts), counts.tobytes(), len(seeds)), []).append(framework_mode)
    blocks: list[Markdown] = []
    for (classes, summed, count), framework_modes in alike.items():
        counts = np.frombuffer(summed, np.int64).reshape(classes, classes)
        who = " and ".join(f"{c.runner} ({c.mode})" for c in framework_modes)
        same = ", the same for both" if len(framework_modes) > 1 else ""
        told = f"classes by {who}{same}, all test images of {_seeds(count)}"
        blocks.append(md("**Confusion**: {}; a row is the true class, a column the prediction.", told))
        blocks += _matrix(counts, called) if classes <= MOST_CLASSES else _most_confused(counts, called)
    return blocks


def _shares(counts: np.ndarray) -> tuple[list[str], list[str]]:
    """Precision and recall of each class; a dash where nothing was predicted, or is there."""
    right, predicted, there = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)

    def share(part: int, whole: int) -> str:
        return percent(part / whole, 1) if whole else DASH

    pairs = zip(right, predicted, there, strict=True)
    both = [(share(int(r), int(p)), share(int(r), int(t))) for r, p, t in pairs]
    return [p for p, _ in both], [t for _, t in both]


def _matrix(counts: np.ndarray, called: Callable[[int], str]) -> list[Markdown]:
    precision, recall = _shares(counts)
    rows = [
        [
            called(i),
            *(Markdown(f"**{n:,}**") if i == j else f"{n:,}" for j, n in enumerate(line)),
            precision[i],
            recall[i],
        ]
        for i, line in enumerate(counts)
    ]
    heads = ["", *map(called, range(len(counts))), "precision", "recall"]
    return [table(heads, rows, "r" * len(heads))]


def _most_confused(counts: np.ndarray, called: Callable[[int], str]) -> list[Markdown]:
    """The pairs of classes that are confused most, and the classes that are found least."""
    precision, recall = _shares(counts)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [(int(k) // len(counts), int(k) % len(counts)) for k in order]
    rows = [[called(i), called(j), f"{wrong[i, j]:,} of {counts[i].sum():,}"] for i, j in pairs if wrong[i, j]]
    there = counts.sum(axis=1)
    found = np.divide(counts.diagonal(), there, out=np.ones(len(counts)), where=there > 0)
    worst = [int(i) for i in np.argsort(found, kind="stable")[:MOST_CONFUSED]]
    return [
        Markdown(f"{len(counts)} classes: the pairs that are confused most, and the classes that are found least."),
        table(["true class", "taken for", "images"], rows, "rrr"),
        table(["class", "precision", "recall"], [[called(i), precision[i], recall[i]] for i in worst], "rrr"),
    ]


def _interval(values: Sequence[float | None], show: Callable[[float], str], bounds: Bounds, notes: Notes) -> str:
    """Mean over seeds of what lies within ``bounds``, and where one further run falls with 95 %."""
    known = [v for v in values if v is not None]
    if not known:
        return notes.dash("no seed has a value")
    expected = prediction(known, bounds)
    if isinstance(expected, TooFew):
        spread = f", {show(min(known))} to {show(max(known))}" if len(known) > 1 else ""
        return notes.mark(f"{show(fmean(known))}{spread}", f"no interval, {expected}")
    return f"{show(expected.mean)} ({show(expected.low)} to {show(expected.high)})"


def _measures(
    found: Mapping[FrameworkMode, Mapping[int, object]],
    names: Mapping[str, str],
    shows: Mapping[str, Callable[[float], str]],
) -> list[Markdown]:
    """A row per measure, a column per framework, with intervals over seeds; all are shares but a threshold."""
    notes = Notes()
    rows: list[list[str]] = []
    for name, words in names.items():
        values = [[getattr(a, name) for a in seeds.values()] for seeds in found.values()]
        bounds = POSITIVE if name == "threshold" else SHARE
        rows.append([words, *(_interval(of_one, shows.get(name, percent), bounds, notes) for of_one in values)])
    heads = ["", *(f"{c.runner} ({c.mode}), {_seeds(len(seeds))}" for c, seeds in found.items())]
    return [table(heads, rows, "l" + "r" * len(found)), *notes.lines()]


def _anomalies(found: Mapping[FrameworkMode, Mapping[int, Sorted]]) -> list[Markdown]:
    if not found:
        return []
    names = {
        "auroc": "area under the ROC curve", "average_precision": "average precision",
        "threshold": "threshold of the error", "precision": "precision at the threshold",
        "recall": "recall at the threshold",
    }  # fmt: skip
    return [
        Markdown(
            "**Anomalies** told by their reconstruction error; an anomaly is a positive. Means over seeds, in brackets "
            "where one further run falls with 95 %."
        ),
        *_measures(found, names, {"threshold": digits, "auroc": _four, "average_precision": _four}),
    ]


def _four(value: float) -> str:
    return f"{value:.4f}"


def _boxes(found: Mapping[FrameworkMode, Mapping[int, Located]]) -> list[Markdown]:
    if not found:
        return []
    names = {
        "accuracy": "right class", "mean_iou": "mean intersection over union", "ap50": "average precision at IoU 0.5",
    }  # fmt: skip
    return [
        Markdown("**Boxes and classes**: means over seeds, in brackets where one further run falls with 95 %."),
        *_measures(found, names, {"mean_iou": _four, "ap50": _four}),
    ]


def _embeddings(found: Mapping[FrameworkMode, Mapping[int, Embedded]]) -> list[Markdown]:
    if not found:
        return []
    shared = set.intersection(*(set(seeds) for seeds in found.values()))
    firsts = {c: seeds[min(shared)] if shared else seeds[min(seeds)] for c, seeds in found.items()}
    which = f"seed {min(shared)}" if shared else "each framework's first seed"
    return [*_neighbours(firsts, which), *_analogies(found)]


def _neighbours(firsts: Mapping[FrameworkMode, Embedded], which: str) -> list[Markdown]:
    words = list(dict.fromkeys(n.word for a in firsts.values() for n in a.neighbours))
    if not words:
        return []
    rows = []
    for word in words:
        near = [next((n for n in a.neighbours if n.word == word), None) for a in firsts.values()]
        rows.append([word, *map(_near, near)])
    heads = ["word", *(f"{c.runner} ({c.mode})" for c in firsts)]
    return [Markdown(f"**Nearest words**, with the cosine, after {which}."), table(heads, rows)]


def _near(found: Neighbours | None) -> str:
    def one(near: Near) -> str:
        return f"{near.word} {near.cosine:.2f}"

    if found is None or not found.near:
        return "not in the vocabulary"
    return ", ".join(map(one, found.near[:6]))


def _analogies(found: Mapping[FrameworkMode, Mapping[int, Embedded]]) -> list[Markdown]:
    asked: dict[tuple[str, str, str, str], None] = {}
    for seeds in found.values():
        for assessment in seeds.values():
            asked |= dict.fromkeys((q.a, q.b, q.c, q.d) for q in assessment.analogies)
    if not asked:
        return []
    rows = []
    for question in asked:
        a, b, c, d = question
        answers = [_answer([q for e in seeds.values() for q in e.analogies if (q.a, q.b, q.c, q.d) == question])
                   for seeds in found.values()]  # fmt: skip
        rows.append([f"{a} : {b} = {c} : {d}", *answers])
    heads = ["analogy", *(f"{c.runner} ({c.mode}), {_seeds(len(s))}" for c, s in found.items())]
    first = [
        md("{} ({}): the right word comes first in {} of {} answers", c.runner, c.mode, *_first(seeds))
        for c, seeds in found.items()
    ]
    return [
        Markdown("**Analogies**: the right word's median rank over seeds, and what came first under the first seed."),
        table(heads, rows),
        bullets(first),
    ]  # fmt: skip


def _first(seeds: Mapping[int, Embedded]) -> tuple[int, int]:
    ranks = [q.rank for e in seeds.values() for q in e.analogies if q.rank is not None]
    return ranks.count(1), len(ranks)


def _answer(found: Sequence[Analogy]) -> str:
    ranks = [q.rank for q in found if q.rank is not None]
    if not ranks:
        return "a word is not in the vocabulary"
    spread = f" ({min(ranks):,} to {max(ranks):,})" if min(ranks) < max(ranks) else ""
    return f"{median(ranks):,g}{spread}; {found[0].first or DASH}"
