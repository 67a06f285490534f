"""One value of a metric per seed: which cells represent a framework, and how those that diverged count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from suite.report.evidence import diverged
from suite.report.evidence.diverged import Diverged, divergence
from suite.results.records import Measured, Scores
from suite.spec.recipe import TIMES
from suite.spec.resolved import Spec
from suite.spec.targets import Target


@dataclass(frozen=True)
class Seeds:
    """One value per seed, all after ``epochs`` of ``planned`` epochs; ``complete`` if that is the full schedule.

    A seed whose training diverged ran as far as it could, and counts; ``diverged`` names such seeds.  Where one of
    them has no value ``values`` is empty, for those of the others alone would speak for none; ``spared`` holds them.
    ``from_short`` holds where the weights that training began with were not trained to the end themselves.
    """

    values: Mapping[int, float]
    epochs: int
    planned: int
    complete: bool
    from_short: bool = False
    ran: int = 0
    diverged: Diverged | None = None
    spared: Mapping[int, float] = field(default_factory=dict)

    @property
    def mean(self) -> float | None:
        """Over all seeds that ran; None where one of them has no value."""
        return fmean(self.values.values()) if self.values else None

    @property
    def schedule(self) -> str:
        """How far training went, in words."""
        if self.diverged and len(self.diverged.seeds) == self.ran and self.epochs < self.planned:
            return "until it diverged"
        if self.complete:
            return "full schedule"
        if self.from_short:
            return "started from weights that were not trained to the end"
        return f"after {self.epochs:,} of {self.planned:,} epochs"


def whole(result: Measured) -> bool:
    """Whether a cell ran its full schedule, from weights that did."""
    return result.complete and not short_start(result)


def short_start(result: Measured) -> bool:
    """Whether a cell began from weights of which it is known that they were not trained to the end."""
    return result.parent is not None and result.parent.complete is False


def value(result: Measured, metric: str, *, penalised: bool = True, pace: float | None = None) -> float | None:
    """What a cell gave for a metric as a claim names it; None where it has none.

    Sources report a loss with its L2 penalty, as Keras does, so the penalty is added where the spec has one, unless it
    is wanted without.  With a ``pace``, nanoseconds per epoch, times are those of its epochs at that pace.
    """
    run = result.training
    if run is None:
        return None
    match metric:
        case "stopped_at_epoch":
            return float(len(run.epochs)) if result.spec.early_stopping else None
        case "train_seconds":
            return (sum(epoch.seconds_ns for epoch in run.epochs) if pace is None else len(run.epochs) * pace) / 1e9
        case "seconds_per_epoch":
            return (median(epoch.seconds_ns for epoch in run.epochs) if pace is None else pace) / 1e9
    split, _, quantity = metric.rpartition("_")
    scores = getattr(run, split, None)
    if not isinstance(scores, Scores):
        return None
    if quantity == "loss" and result.spec.l2 and penalised:
        return None if scores.loss is None or scores.penalty is None else scores.loss + scores.penalty
    found: float | None = getattr(scores, quantity, None)
    return found


def kept(results: Sequence[Measured]) -> list[Measured]:
    """The cells that represent a framework's mode: the complete ones, or else those trained longest.

    A cell that diverged is always among them: more epochs would have changed nothing.
    """
    trained = [r for r in results if r.training is not None]
    sound = [r for r in trained if divergence(r) is None]
    longest = max((len(r.training.epochs) for r in sound if r.training), default=0)
    complete = any(whole(r) for r in sound)

    def speaks(r: Measured) -> bool:
        if divergence(r):
            return True
        return whole(r) if complete else r.training is not None and len(r.training.epochs) == longest

    return [r for r in trained if speaks(r)]


def has(spec: Spec, metric: str) -> bool:
    """Whether a network that is trained as a spec says has a metric, if its outputs are numbers."""
    if metric in TIMES:
        return True
    if metric == "stopped_at_epoch":
        return spec.early_stopping is not None
    split, _, quantity = metric.rpartition("_")
    there = split in ("train", "test") or (split == "validation" and spec.validation_images > 0)
    return there and (
        quantity == "loss" or (quantity == "accuracy" and spec.target not in (Target.INPUT, Target.FIRST))
    )


def per_seed(
    results: Sequence[Measured], metric: str, *, penalised: bool = True, pace: float | None = None
) -> Seeds | None:
    """A metric such as ``test_accuracy`` by seed, from complete cells, or else from those trained longest.

    Rounds that repeat a seed are averaged.  None where no cell has the metric.
    """
    found = [(r, value(r, metric, penalised=penalised, pace=pace)) for r in results]
    told = [(r, v) for r, v in found if v is not None or (divergence(r) and has(r.spec, metric))]
    chosen = kept([r for r, _ in told])
    if not chosen:
        return None
    seeds: dict[int, list[float | None]] = {}
    speaking = set(map(id, chosen))
    for result, one in told:
        if id(result) in speaking:
            seeds.setdefault(result.cell.seed, []).append(one)
    means = {seed: _mean(values) for seed, values in sorted(seeds.items())}
    lost = diverged.of(chosen)
    sound = [r for r in chosen if divergence(r) is None] or chosen
    epochs = max(len(r.training.epochs) for r in sound if r.training)
    began_short = not whole(sound[0]) and sound[0].complete
    known = {seed: mean for seed, mean in means.items() if mean is not None}
    return Seeds(
        known if len(known) == len(means) else {}, epochs, sound[0].spec.epochs, whole(sound[0]), began_short,
        len(means), lost, {seed: mean for seed, mean in known.items() if not lost or seed not in lost.seeds},
    )  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if len(known) == len(values) else None
