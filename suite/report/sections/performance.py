"""Latency, throughput, training, and where the time of the run went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from suite.report.evidence.comparison import NotRanked as Unranked
from suite.report.evidence.comparison import by_round, questions, unranked
from suite.report.evidence.diverged import words
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode
from suite.report.evidence.pace import epoch_ns, trainings
from suite.report.sections.device import held_back
from suite.report.text.markdown import DASH, Markdown, Notes, table
from suite.report.text.units import duration, percent, rate
from suite.results.questions import Question, QuestionKind
from suite.results.records import Latency, Measured, Numbers, Proof, Throughput, Timed
from suite.spec.resolved import Spec
from suite.stats import BOUND_CONFIDENCE, NoSpread, TooFew, autocorrelation, percentile, warm_up

Labels = Mapping[ComparisonGroup, str]
WAITING = (
    "Cells that take turns live at the same time, so their seconds overlap; *other* holds what they waited for each "
    "other. Trainings beside other work count as measured."
)


def _shown(
    evidence: Evidence, kind: QuestionKind
) -> Iterator[tuple[ComparisonGroup, FrameworkMode, Question, list[Numbers]]]:
    """What is proven and long enough to time; what diverged is shown as well, with the note."""
    for group, cells in evidence.groups.items():
        for framework_mode, results in cells.items():
            wanted = [q for q in questions(results) if q.kind is kind] if framework_mode.runner not in UNRANKED else []
            for question in wanted:
                proof_status = unranked(evidence, group, framework_mode, question)
                if not isinstance(proof_status, Unranked) or proof_status.shown:
                    yield group, framework_mode, question, [r for r in results if question.costs(r)]


def _spread(times: Sequence[float]) -> str:
    """The times of rounds from the shortest to the longest."""
    return f"{duration(min(times))} to {duration(max(times))}" if len(times) > 1 else "one round"


def _rates(costs: Sequence[float], results: Sequence[Numbers], question: Question, notes: Notes) -> tuple[str, str]:
    """The median rate of rounds, and the range of their rates, which fall as costs rise."""
    low, middle, high = (rate(cost, question.counted) for cost in (max(costs), median(costs), min(costs)))
    return _marked(middle, results, question, notes), f"{low} to {high}" if len(costs) > 1 else "one round"


def _marked(value: str, results: Sequence[Numbers], question: Question, notes: Notes) -> str:
    """A number, with a note if the GPU was throttled or its training diverged."""
    reasons = held_back(results, question)
    said = [f"throttled: {reasons}"] if reasons else []
    said += filter(None, [words(results)])
    return notes.mark(value, "; ".join(said)) if said else value


def _settled(results: Sequence[Numbers], question: Question) -> str:
    outcomes = [warm_up(question.costs(r)) for r in results]
    tested = [o for o in outcomes if not isinstance(o, TooFew)]
    short = sum(not o.enough for o in tested)
    if not tested:
        return "too few samples to tell"
    return f"**not in {short} of {len(tested)} cells**" if short else "yes"


def latency(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """Per batch size: median, percentiles with bounds, autocorrelation, whether warm-up was enough."""
    notes = Notes()
    rows: list[list[str]] = []
    for group, framework_mode, question, results in _shown(evidence, QuestionKind.LATENCY):
        samples = [s for r in results for s in question.costs(r)]
        line = [labels[group], framework_mode.runner, framework_mode.mode, f"{question.batch_size:,}"]
        line += [_marked(duration(median(samples)), results, question, notes)]
        line += [_spread(list(by_round(results, question).values()))]
        single = [s for r in results for s in _singly(r, question)]
        for share in (0.9, 0.99, 0.999):
            outcome = percentile(single, share)
            if not single:
                line.append(notes.dash("blocks of queries were timed, not single ones"))
            elif isinstance(outcome, TooFew):
                line.append(notes.dash(f"p{100 * share:g} needs {outcome.need:,} samples"))
            else:
                line.append(f"{duration(outcome.value)} (≤ {duration(outcome.bound)})")
        line += [_correlation(results, question, notes), Markdown(_settled(results, question))]
        rows.append(line)
    if not rows:
        return [Markdown("Latency was measured for no proven cell.")]
    heads = ["benchmark", "framework", "mode", "batch", "median", "medians of rounds"]
    heads += ["p90", "p99", "p99.9", "lag 1", "warm"]
    return [
        table(heads, rows, "lllrrlrrrrl"),
        *notes.lines(),
        Markdown(
            "A query is timed from a batch in host memory to outputs in host memory. Percentiles are taken over the "
            "samples of all rounds. The brackets hold their upper bound, from order statistics, at "
            f"{percent(BOUND_CONFIDENCE, 0)}. As in MLPerf's LoadGen, 64 samples are needed for p90, 662 for p99 and "
            "6,636 for p99.9. Correlated samples make the bounds optimistic. *Lag 1* is the autocorrelation of "
            "neighbouring samples, the median over cells. *Warm* is no if the first quarter of a cell's samples is "
            "over 3 % slower than the rest and a one-sided Mann-Whitney test confirms it at 1 %."
        ),
    ]


def _singly(result: Numbers, question: Question) -> Sequence[float]:
    """The times of single queries, which alone have percentiles; empty where only whole blocks were timed."""
    asked = result.asked(question) if isinstance(result, Timed) else None
    return question.costs(result) if asked is None or asked.queries_ns else ()


def _correlation(results: Sequence[Numbers], question: Question, notes: Notes) -> str:
    outcomes = [autocorrelation(question.costs(r)) for r in results]
    numbers = [o for o in outcomes if isinstance(o, float)]
    if numbers:
        return f"{round(median(numbers), 2) + 0.0:.2f}"
    flat = any(isinstance(o, NoSpread) for o in outcomes)
    return notes.dash("all samples are equal" if flat else "autocorrelation needs 3 samples")


def throughput(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """Examples per second with the pipeline full."""
    notes = Notes()
    rows = []
    for group, framework_mode, question, results in _shown(evidence, QuestionKind.THROUGHPUT):
        medians = list(by_round(results, question).values())
        count = sum(len(question.costs(r)) for r in results)
        rows.append(
            [
                labels[group], framework_mode.runner, framework_mode.mode, f"{question.batch_size:,}",
                *_rates(medians, results, question, notes), f"{count:,}",
                Markdown(_settled(results, question)),
            ]
        )  # fmt: skip
    if not rows:
        return [Markdown("Throughput was measured for no proven cell.")]
    heads = ["benchmark", "framework", "mode", "batch", "median over rounds", "rounds", "passes", "warm"]
    return [table(heads, rows, "lllrrlrl"), *notes.lines()]


def training(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """Speed of epochs, and the time to the first step apart."""
    notes = Notes()
    rows = []
    for group, framework_mode, question, results in _shown(evidence, QuestionKind.TRAINING):
        medians = list(by_round(results, question).values())
        learnt = trainings(evidence, group, framework_mode)
        pace = epoch_ns(evidence, group, framework_mode)
        epochs = [e.seconds_ns for r in learnt if r.training for e in r.training.epochs]
        first = _first_steps(results)
        lengths = {len(r.training.epochs) for r in learnt if r.training}
        planned = f"{'/'.join(map(str, sorted(lengths)))} of {results[0].spec.epochs}"
        rows.append(
            [
                labels[group], framework_mode.runner, framework_mode.mode, *_rates(medians, results, question, notes),
                duration(median(epochs) if pace is None else pace),
                *(_median(first[state], f"no cell began with a {state} cache", notes) for state in ("cold", "warm")),
                _time_to_target(results[0].spec, learnt, pace, notes),
                planned if lengths else notes.dash("it was timed and not trained"),
            ]
        )  # fmt: skip
    if not rows:
        return [Markdown("No proven cell was trained.")]
    heads = ["benchmark", "framework", "mode", "median over rounds", "rounds", "per epoch"]
    heads += ["first step, cold", "first step, warm", "to target accuracy", "epochs"]
    told = (
        "*First step* is building, tracing, compiling and one step. The other numbers do not include it. A mode "
        "that keeps no compiled code between processes always starts cold."
    )
    if evidence.timed:
        told += (
            " In turns no training goes to its end: *per epoch* is the number of training examples times the cost of "
            "one, *epochs* are those of the framework's trainings, and the time to the target accuracy is the epochs "
            "that these needed times the seconds per epoch. A first step counts where nothing else was built at the "
            "same time, if there is such a one."
        )
    return [table(heads, rows, "lllrlrrrlr"), *notes.lines(), Markdown(told)]


def _first_steps(results: Sequence[Numbers]) -> dict[str, list[int]]:
    """Times to the first step by the state of the compiler's cache; those of builds that had company last of all."""
    timed = [r for r in results if isinstance(r, Timed)]
    alone = [r for r in timed if r.built_alone] or timed
    steps = [(r.compile_cache, r.first_step_ns) for r in alone]
    steps += [(r.training.compile_cache, r.training.first_step_ns) for r in results if r.training]
    found: dict[str, list[int]] = defaultdict(list)
    for cache, nanoseconds in steps:
        found["warm" if cache == "warm" else "cold"].append(nanoseconds)
    return found


def _time_to_target(spec: Spec, results: Sequence[Measured], pace: float | None, notes: Notes) -> str:
    """Median training time until the test accuracy first reached the spec's target, without evaluation.

    With a ``pace``, nanoseconds per epoch, it is that times the epochs needed; else what those epochs took.
    """
    target = spec.target_accuracy
    if target is None:
        return notes.dash("the benchmark states no target accuracy")
    if not results:
        return notes.dash("it was timed and not trained")
    times: list[float] = []
    for epochs in (r.training.epochs for r in results if r.training):
        reached = [i for i, e in enumerate(epochs, 1) if e.test and (e.test.accuracy or 0.0) >= target]
        if reached:
            took = sum(e.seconds_ns for e in epochs[: reached[0]])
            times.append(took if pace is None else reached[0] * pace)
    if len(times) < len(results):
        what = "rounds" if pace is None else "trainings"
        return f"{percent(target)}: reached in {len(times)} of {len(results)} {what}"
    return f"{percent(target)}: {duration(median(times))}"


def _median(nanoseconds: Sequence[int], absent: str, notes: Notes) -> str:
    return duration(median(nanoseconds)) if nanoseconds else notes.dash(absent)


def time_spent(evidence: Evidence) -> list[Markdown]:
    """Seconds per runner by what they were spent on."""
    names = ("gate", "import", "first step", "warm-up", "measured", "other")
    spent: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(names, 0.0))
    imports: dict[tuple[str, str, str], int] = {}
    for result in evidence.results:
        mine = spent[result.cell.runner]
        if isinstance(result, Proof):
            mine["gate"] += result.seconds
            continue
        if not isinstance(result, Measured | Timed):
            mine["other"] += result.seconds
            continue
        imports[(result.run, result.entry, result.cell.runner)] = result.import_ns
        parts = _in_turns(result) if isinstance(result, Timed) else _by_itself(result)
        for name, seconds in parts.items():
            mine[name] += seconds
        mine["other"] += max(result.seconds - sum(parts.values()), 0.0)
    for (_, _, runner), nanoseconds in sorted(imports.items()):
        spent[runner]["import"] += nanoseconds / 1e9
    rows = [
        [runner, *(f"{parts[n]:,.1f} s" if parts[n] else DASH for n in names), f"{sum(parts.values()):,.1f} s"]
        for runner, parts in sorted(spent.items())
    ]
    if not rows:
        return [Markdown("Nothing ran.")]
    return [
        table(["framework", *names, "all"], rows, "l" + "r" * (len(names) + 1)),
        Markdown(
            "*Import* is counted once per process. *Other* is data, building, evaluation, restoring weights and cells "
            "that failed. A dash means that no time was spent."
        ),
        *([Markdown(WAITING)] if evidence.timed else []),
    ]


def _by_itself(result: Measured) -> dict[str, float]:
    run = result.training
    epochs = [e.seconds_ns for e in run.epochs] if run else []
    meters: list[Latency | Throughput] = [*result.latency, *result.throughput]
    return {
        "first step": run.first_step_ns / 1e9 if run else 0.0,
        "warm-up": (sum(sum(m.warmup_ns) for m in meters) + (sum(run.warmup_ns) if run else 0)) / 1e9,
        "measured": (sum(sum(m.samples_ns) for m in meters) + sum(epochs)) / 1e9,
    }


def _in_turns(result: Timed) -> dict[str, float]:
    return {
        "first step": result.first_step_ns / 1e9,
        "measured": sum(sum(block.blocks_ns) for block in result.blocks) / 1e9,
    }
