"""The GPU that computed the cells: its memory, whether it was idle before a trial, and whether it was throttled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from suite.report.evidence.diverged import marked
from suite.report.evidence.gpu import FAR_ABOVE, Baseline, Unknown, baseline, peak, slowed, state, working
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode
from suite.report.evidence.processes import RULE, Processes
from suite.report.sections.energy import BESIDE
from suite.report.text.markdown import Markdown, Notes, bullets, md, table
from suite.report.text.units import mebibytes, percent
from suite.results.gpu_trace import Metered, Span, Unmetered
from suite.results.questions import Question, QuestionKind
from suite.results.records import Measured, Numbers

Labels = Mapping[ComparisonGroup, str]


@dataclass(frozen=True)
class MeteredTrial:
    """The GPU before one trial, and whether the trial then computed on it."""

    run: str
    entry: str
    gpu: str
    computed: bool
    before: Baseline


def trials(evidence: Evidence) -> dict[tuple[str, str, str], list[MeteredTrial]]:
    """Baselines by run, place and GPU, in time order; the cells of one trial share theirs."""
    first: dict[tuple[str, str, str, str], MeteredTrial] = {}
    for r in sorted(evidence.measured, key=lambda r: (r.started, r.entry, r.cell.slug)):
        if isinstance(r.gpu, Metered) and not isinstance(before := baseline(r.gpu), Unknown):
            key = (r.run, r.environment.place, r.gpu.uuid, r.entry)
            trial = MeteredTrial(r.run, r.entry, f"{r.gpu.name} {r.gpu.uuid[:12]}", r.cell.device != "cpu", before)
            first.setdefault(key, trial)
    found: dict[tuple[str, str, str], list[MeteredTrial]] = defaultdict(list)
    for (run, place, uuid, _), trial in first.items():
        found[(run, place, uuid)].append(trial)
    return dict(sorted(found.items()))


def disturbed(group: Sequence[MeteredTrial]) -> list[tuple[MeteredTrial, str]]:
    """Trials of one run before which the GPU was not idle, and what shows it."""
    least = min(t.before.used_bytes for t in group)
    found = []
    for t in group:
        words = [f"{t.before.utilization_percent} % busy"] if t.before.utilization_percent else []
        above = t.before.used_bytes - least
        words += [f"{mebibytes(above)} more in use than before another trial"] if above > FAR_ABOVE else []
        found += [(t, " and ".join(words))] if words else []
    return found


def held_back(results: Sequence[Numbers], question: Question | None = None) -> str:
    """Why power or heat throttled the GPU while it computed these cells, under one question or any; or nothing."""
    reasons: set[str] = set()
    count = 0
    for r in results:
        if isinstance(r.gpu, Metered) and r.cell.device != "cpu":
            found = slowed(r.gpu, [s for s in working(r.gpu) if question is None or _of(s, question)])
            reasons |= set(found)
            count += bool(found)
    return f"{', '.join(sorted(reasons))} in {count} of {len(results)} cells" if count else ""


def _of(span: Span, question: Question) -> bool:
    sized = question.kind is QuestionKind.TRAINING or span.batch_size == question.batch_size
    return span.kind == question.kind.value and sized


def warnings(evidence: Evidence, labels: Labels) -> list[str]:
    """What a reader must know before the first number."""
    lines = []
    groups = trials(evidence).values()
    if count := sum(t.computed for group in groups for t, _ in disturbed(group)):
        every = sum(t.computed for group in groups for t in group)
        lines.append(f"The GPU was not idle before {count:,} of {every:,} trials.")
    cells = [(f"{labels[a]} {c.runner} ({c.mode})", held_back(rs)) for a, c, rs in _traced(evidence)]
    names = [f"{name}, {words}" for name, words in cells if words]
    if names:
        more = f"; and {len(names) - 6} more" if len(names) > 6 else ""
        lines.append(f"Throttled by power or heat: {'; '.join(names[:6])}{more}.")
    return lines


def _traced(evidence: Evidence) -> Iterator[tuple[ComparisonGroup, FrameworkMode, list[Measured]]]:
    for group, cells in evidence.learnt.items():
        for framework_mode, results in cells.items():
            mine = [r for r in results if r.gpu is not None]
            if mine and framework_mode.runner not in UNRANKED:
                yield group, framework_mode, mine


def _named(
    group: ComparisonGroup, framework_mode: FrameworkMode, results: Sequence[Measured], labels: Labels, notes: Notes
) -> list[str]:
    mode = notes.mark(f"{framework_mode.mode}, beside", BESIDE) if group.device == "cpu" else framework_mode.mode
    return [labels[group], marked(framework_mode.runner, results, notes), mode]


def _metered(results: Sequence[Measured]) -> tuple[list[Metered], str]:
    """The traces, and why the others are none."""
    reasons = sorted({r.gpu.reason for r in results if isinstance(r.gpu, Unmetered)})
    return [r.gpu for r in results if isinstance(r.gpu, Metered)], "; ".join(reasons[:3])


def memory(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """Peaks above the idle baseline, the baseline's drift, and who else was there; nothing without a trace."""
    notes, processes = Notes(), Processes(evidence)
    rows = []
    for group, framework_mode, results in _traced(evidence):
        lost = {id(r): why for r in results if (why := processes.shared(r))}
        idle = _largest([_told(r, _idle_bytes) for r in results])
        peaks = [
            _largest([_own(_told(r, take), lost.get(id(r), "")) for r in results])
            for take in (peak, partial(peak, less_reserved=True))
        ]
        held = _largest([_own(_allocated(r), lost.get(id(r), "")) for r in results])
        figures = (notes.dash(f.reason) if isinstance(f, Unknown) else mebibytes(f) for f in (idle, *peaks, held))
        rows.append([*_named(group, framework_mode, results, labels, notes), *figures])
    if not rows:
        return []
    heads = ["benchmark", "framework", "mode", "idle baseline", "peak above it", "less reserved", "allocator"]
    return [
        table(heads, rows, "lllrrrr"),
        *notes.lines(),
        Markdown(
            "Memory in use on the whole GPU, as NVML reports it: the largest over rounds, unproven cells included. The "
            "*idle baseline* is the median before the framework was imported; each trial has its own. *Less reserved* "
            "is the same peak without what driver and firmware reserve. *Allocator* is the peak that the framework's "
            "own allocator reports. A peak between two samples is missed. The idle baseline always "
            f"stands. {RULE}"
        ),
        *_drift(evidence),
    ]


def _told(result: Measured, take: Callable[[Metered], float | Unknown]) -> float | Unknown:
    """A figure of a cell's trace, or why there is none."""
    match result.gpu:
        case Metered() as trace:
            return take(trace)
        case Unmetered(reason=reason):
            return Unknown(reason)
        case None:
            return Unknown("no GPU was metered")


def _idle_bytes(trace: Metered) -> float | Unknown:
    before = baseline(trace)
    return before if isinstance(before, Unknown) else before.used_bytes


def _allocated(result: Measured) -> float | Unknown:
    found = result.memory.allocator_bytes
    return Unknown("the framework does not report it") if found is None else found


def _own(figure: float | Unknown, shared: str) -> float | Unknown:
    """A figure, unless it holds what other cells left: ``shared`` says why it may."""
    return Unknown(shared) if shared and not isinstance(figure, Unknown) else figure


def _largest(figures: Sequence[float | Unknown]) -> float | Unknown:
    """Over rounds; or the reasons why there is none."""
    told = [f for f in figures if not isinstance(f, Unknown)]
    reasons = sorted({f.reason for f in figures if isinstance(f, Unknown)})
    return max(told) if told else Unknown("; ".join(reasons[:3]))


def _drift(evidence: Evidence) -> list[Markdown]:
    lines = []
    for (run, place, _), group in trials(evidence).items():
        used = [t.before.used_bytes for t in group]
        ends = f"{mebibytes(used[0])} before the first trial, {mebibytes(used[-1])} before the last"
        span = f"{mebibytes(min(used))} to {mebibytes(max(used))} over {len(group)} trials"
        lines.append(md("Idle baseline of {}, run {}, {}: {}; {}.", group[0].gpu, run, place, ends, span))
        lines += [md("**Not idle** before trial {}: {}.", t.entry, words) for t, words in disturbed(group)]
    return [bullets(lines)] if lines else []


def condition(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """Utilisation, heat, clocks and throttling during measured work; nothing without a trace."""
    notes = Notes()
    rows = []
    for group, framework_mode, results in _traced(evidence):
        traces, why = _metered(results)
        found = state(traces)

        def show(value: float | Unknown, unit: str, why: str = why) -> str:
            return notes.dash(why or value.reason) if isinstance(value, Unknown) else f"{value:,.0f}{unit}"

        low, high = found.least_sm_mhz, show(found.sm_mhz, " MHz")
        throttle = found.throttle
        rows.append(
            [
                *_named(group, framework_mode, results, labels, notes),
                f"{len(traces)} of {len(results)}",
                show(found.utilization, " %"),
                show(found.celsius, " °C"),
                high if isinstance(low, Unknown) else f"{high}, {low:,} MHz",
                notes.dash(why or throttle.reason)
                if isinstance(throttle, Unknown)
                else ", ".join(f"{name} {percent(share, 0)}" for name, share in throttle.items()) or "never",
            ]
        )
    if not rows:
        return []
    heads = ["benchmark", "framework", "mode", "metered", "busy", "hottest", "SM clock, median and least", "throttled"]
    return [
        table(heads, rows, "llllrrll"),
        *notes.lines(),
        Markdown(
            "Taken over the samples during measured work: the mean share of time in which the GPU was busy, the "
            "highest temperature, the clock of the multiprocessors, and the share of samples in which the driver "
            "gave a reason for a lower clock, idling not counted. 0 % means less than half a percent."
        ),
    ]
