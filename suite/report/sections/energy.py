"""Energy per example, by question: what the whole GPU used, and frameworks compared by the same rule as speed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from suite.report.evidence.comparison import AnswerRow, Draft, NotRanked, by_round, draft, questions, unranked
from suite.report.evidence.diverged import marked
from suite.report.evidence.gaps import Gaps
from suite.report.evidence.gpu import Energy, Unknown, baseline, energy, working
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode
from suite.report.sections.answers import asked, ranking
from suite.report.text.markdown import Markdown, Notes, table
from suite.report.text.units import joules, watts
from suite.results.gpu_trace import Metered, Unmetered
from suite.results.questions import Answering, Question, QuestionKind, headline
from suite.results.records import Measured

BESIDE = "these cells ran on the processor; the GPU was metered and computed nothing for them"


@dataclass(frozen=True, order=True)
class Joules(Question):
    """A question asked of energy: joules of the whole GPU per example, one for each span of that work."""

    @property
    def timed(self) -> Question:
        """The same work, asked for its time."""
        return Question(self.kind, self.batch_size)

    def costs(self, result: Answering) -> tuple[float, ...]:
        """Joules per example; empty where they are not known."""
        taken = energies(result, self.timed) if isinstance(result, Measured) else []
        return tuple(e.per_image for e in taken if isinstance(e, Energy) and e.per_image)

    def missing(self, result: Answering) -> str:
        """Why a cell that did this work has no energy."""
        if not isinstance(result, Measured) or not _did(result, self.timed) or self.costs(result):
            return ""
        return next(
            (e.reason for e in energies(result, self.timed) if isinstance(e, Unknown)),
            "it does not say how many examples it covers",
        )


def _did(result: Measured, question: Question) -> bool:
    """Whether a cell did the work of a question, be its time a sample or not."""
    match question.kind:
        case QuestionKind.TRAINING:
            return result.training is not None
        case QuestionKind.LATENCY:
            return any(m.batch_size == question.batch_size for m in result.latency)
        case QuestionKind.THROUGHPUT:
            return any(m.batch_size == question.batch_size for m in result.throughput)


def energies(result: Measured, question: Question) -> list[Energy | Unknown]:
    """The energy of each span of a cell that belongs to a question, or why there is none."""
    match result.gpu:
        case None:
            return [Unknown("no GPU was metered")]
        case Unmetered(reason=reason):
            return [Unknown(reason)]
        case Metered() as trace:
            size = question.batch_size or None
            spans = [s for s in working(trace) if s.kind == question.kind.value]
            spans = [s for s in spans if question.kind is QuestionKind.TRAINING or s.batch_size == size]
            return [energy(trace, span) for span in spans] or [Unknown("the trace has no span of this work")]


def drafts(evidence: Evidence, lost: Gaps) -> list[Draft]:
    """The answer's questions asked of energy, where the GPU computed and reported it."""
    found = []
    for group, framework_modes in evidence.groups.items():
        ranked = [r for c, rs in framework_modes.items() if c.runner not in UNRANKED for r in rs]
        for question in headline(questions(ranked)) if group.device != "cpu" else ():
            wanted = Joules(question.kind, question.batch_size)
            found += [draft(evidence, lost, group, wanted)] if any(wanted.costs(r) for r in ranked) else []
    return found


def section(evidence: Evidence, labels: Mapping[ComparisonGroup, str], rows: Sequence[AnswerRow]) -> list[Markdown]:
    """The comparison and, below it, every question of every proven cell; nothing where no GPU was to be metered."""
    if not any(r.gpu for r in evidence.measured):
        return []
    blocks = ranking(evidence, rows, labels, lambda _, cost: f"{joules(cost)} per example", "more examples per joule")
    return [
        *(blocks if rows else []),
        *_cells(evidence, labels),
        *(
            [Markdown("Ranked by the same rule as speed in the answer, where these comparisons are counted.")]
            if rows
            else []
        ),
        Markdown(
            "Energy is that of the whole GPU, including what it uses when idle. It comes from the GPU's own counter: "
            "the slope between the first and the last sample within a stretch of work, times the length of the "
            "stretch. *By samples* is the mean of sampled power, a check on the counter. *Idle* is the mean power "
            "before the framework was imported. There is no energy for a stretch of under 2 s, of fewer than 3 "
            "samples, or in which the counter was missing or stepped back. The energy of the processor is unknown."
        ),
    ]


def _questions(results: Sequence[Measured]) -> list[Question]:
    """What these cells did, also where its times are no samples."""
    return [
        *[Question(QuestionKind.TRAINING) for _ in [r for r in results if r.training][:1]],
        *(Question(QuestionKind.LATENCY, size) for size in sorted({m.batch_size for r in results for m in r.latency})),
        *(
            Question(QuestionKind.THROUGHPUT, size)
            for size in sorted({m.batch_size for r in results for m in r.throughput})
        ),
    ]


def _asked(evidence: Evidence) -> Iterator[tuple[ComparisonGroup, FrameworkMode, Question, list[Measured]]]:
    for group, cells in evidence.learnt.items():
        for framework_mode, results in cells.items():
            for question in _questions(results) if framework_mode.runner not in UNRANKED else ():
                timed = any(question.costs(r) for r in results)
                wanted = question if timed else Joules(question.kind, question.batch_size)
                proof_status = unranked(evidence, group, framework_mode, wanted)
                if not isinstance(proof_status, NotRanked) or proof_status.shown:
                    mine = [r for r in results if _did(r, question) and r.gpu]
                    yield from [(group, framework_mode, question, mine)] if mine else []


def _cells(evidence: Evidence, labels: Mapping[ComparisonGroup, str]) -> list[Markdown]:
    notes = Notes()
    rows = []
    for group, framework_mode, question, results in _asked(evidence):
        mode = notes.mark(f"{framework_mode.mode}, beside", BESIDE) if group.device == "cpu" else framework_mode.mode
        taken = [e for r in results for e in energies(r, question)]
        told = [e for e in taken if isinstance(e, Energy)]
        reasons = sorted({e.reason for e in taken if isinstance(e, Unknown)})
        wanted = Joules(question.kind, question.batch_size)
        medians = list(by_round(results, wanted).values())
        why = "; ".join(reasons[:3]) or "it does not say how many examples it covers"
        shown = joules(median(medians)) if medians else notes.dash(why)
        if medians and reasons:
            shown = notes.mark(shown, f"not known of {len(taken) - len(told)} of {len(taken)} stretches: {why}")
        sampled = [e.sampled_watts for e in told if e.sampled_watts is not None]
        bases = [b for r in results if isinstance(r.gpu, Metered) and not isinstance(b := baseline(r.gpu), Unknown)]
        idle = [b.watts for b in bases if b.watts is not None]
        rows.append(
            [
                labels[group], marked(framework_mode.runner, results, notes), mode, asked(question),
                shown, _range(medians) if medians else "",
                watts(median(e.watts for e in told)) if told else notes.dash(why),
                watts(median(sampled)) if sampled else notes.dash(why if not told else "power was not reported"),
                watts(fmean(idle)) if idle else notes.dash("power was not reported for the idle GPU"),
            ]
        )  # fmt: skip
    if not rows:
        return [Markdown("The GPU was metered for no proven cell.")]
    heads = ["benchmark", "framework", "mode", "question", "per example", "rounds", "power", "by samples", "idle"]
    return [table(heads, rows, "llllrlrrr"), *notes.lines()]


def _range(medians: Sequence[float]) -> str:
    return f"{joules(min(medians))} to {joules(max(medians))}" if len(medians) > 1 else "one round"
