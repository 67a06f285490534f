"""A page per study beside the report, and an index over all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

from suite.report.charts import drawing
from suite.report.charts.benchmarks import proven, speakers
from suite.report.evidence import diverged
from suite.report.evidence.claims import ClaimRow
from suite.report.evidence.comparison import AnswerRow, NotRanked, by_round, questions, unlike, unranked
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence, FrameworkMode, in_order
from suite.report.evidence.seeds import Seeds, per_seed
from suite.report.evidence.studies import Study
from suite.report.evidence.verdicts import ClaimVerdict
from suite.report.sections import grid, inference_options, published, task_metrics
from suite.report.sections.answers import asked, cost
from suite.report.text.markdown import DASH, Markdown, Notes, bullets, md, table
from suite.results.questions import Question, headline
from suite.results.records import Measured, Numbers, Parent
from suite.spec.resolved import Spec
from suite.stats import LEAST_SEEDS

PAGES = "studies"
INDEX = f"{PAGES}/index.md"
GRID = 3
"""Benchmarks with published numbers from which on these stand in a grid, and not in a list."""
FEW_MODES = 2
"""Modes of all frameworks that the other parts set side by side as well."""


@dataclass(frozen=True)
class Book:
    """What all pages are made of; ``charts`` are the file names of those that were drawn."""

    evidence: Evidence
    rows: Sequence[AnswerRow]
    labels: Mapping[ComparisonGroup, str]
    claims: Sequence[ClaimRow]
    studies: Sequence[Study]
    charts: Sequence[str]

    def pointer(self) -> list[Markdown]:
        """Links from the report to the pages."""
        if not self.studies:
            return []
        pages = ", ".join(published.link(study) for study in self.studies[:12])
        more = ", ..." if len(self.studies) > 12 else ""
        words = "Published figures beside ours, curves, errors and inference options"
        return [Markdown(f"{words}: [the index of studies](studies/index.md); {pages}{more}.")]

    def tuned(self) -> list[Markdown]:
        """Where inference options are shown."""
        mine = [s for s in self.studies if any(inference_options.section(self.evidence, group) for group in s.groups)]
        if not mine:
            return []
        links = ", ".join(published.link(study) for study in mine)
        return [Markdown(f"Inference with one option changed at a time is on the pages of {links}.")]

    def pages(self) -> dict[str, str]:
        """Every page by its path beside the report; none where nothing was measured."""
        found = {}
        for study in self.studies:
            short = {group: label.removeprefix(f"{study.name}/") for group, label in self.labels.items()}
            found[f"{PAGES}/{study.file}"] = _text(replace(self, labels=short)._page(study))
        return {INDEX: _text(self._index()), **found} if found else {}

    def _index(self) -> Iterator[Markdown]:
        yield Markdown("# Studies")
        yield Markdown("[Report](../report.md)")
        yield Markdown(
            "A study is a benchmark with its cases, and every benchmark that starts from its trained weights. Verdicts "
            "are counted by published number and framework."
        )
        body = []
        for study in self.studies:
            claims = self._claims(study)
            sources = {spec.source.title for spec in study.specs.values() if spec.source}
            verdicts = published.counted(claims) if claims else "no published number"
            body.append(
                [published.link(study, ""), "; ".join(sorted(sources)) or DASH, f"{len(study.groups)}",
                 self._far(study), verdicts]
            )  # fmt: skip
        yield table(["study", "source", "benchmarks", "schedule", "published numbers"], body, "llrll")

    def _claims(self, study: Study) -> list[ClaimRow]:
        return [row for row in self.claims if row.group in study.specs]

    def _far(self, study: Study) -> str:
        """How far the study was run, in a few words."""
        told = [seeds for group in study.groups for seeds in self._schedules(group)]
        if not told:
            return "not trained"
        fewest, most = (f(s.ran for s in told) for f in (min, max))
        seeds = f"{fewest} to {most} seeds" if fewest < most else f"{most} seed{'s' if most > 1 else ''}"
        lost = sum(len(s.diverged.seeds) for s in told if s.diverged)
        seeds += f" ({lost} of {sum(s.ran for s in told)} trainings diverged)" if lost else ""
        full = sum(s.complete for s in told)
        if full == len(told):
            return f"{seeds}, full schedule"
        parts = sorted({s.schedule for s in told if not s.complete})
        return f"{seeds}, {parts[0]}" if not full and len(parts) == 1 else f"{seeds}, not all to the end"

    def _schedules(self, group: ComparisonGroup) -> list[Seeds]:
        found = (per_seed(results, "train_seconds") for results in self._spoken(group).values())
        return [seeds for seeds in found if seeds]

    def _spoken(self, group: ComparisonGroup) -> dict[FrameworkMode, tuple[Measured, ...]]:
        return speakers(self.evidence, self.rows, group)

    def _page(self, study: Study) -> Iterator[Markdown]:
        yield md("# {}", f"{study.name}: {study.title}" if study.title else study.name)
        yield Markdown("[Report](../report.md) · [all studies](index.md)")
        yield from self._warnings(study)
        yield from _stated(study, self.labels)
        for title, body in (
            ("Published numbers", self._published(study)),
            ("Assumptions", published.assumptions(self.labels, study.specs)),
            ("Seeds and schedule", self._run(study)),
            ("Stages", _stages(self.evidence, study, self.labels)),
            ("Curves", self._images("Loss and accuracy by epoch", study, "training", "curves")),
            ("Task metrics", self._task_metrics(study)),
            ("Styles of execution", self._styles(study)),
            ("Inference options", self._tunings(study)),
        ):
            if body:
                yield Markdown(f"## {title}")
                yield from body

    def _warnings(self, study: Study) -> list[Markdown]:
        """What stands in the way of verdicts, shown first."""
        lines = []
        judged = [row for row in self._claims(study) if row.verdict is not ClaimVerdict.CONTEXT]
        short = sum(row.verdict is ClaimVerdict.NOT_FAR_ENOUGH for row in judged)
        if short:
            lines.append(
                f"Not run far enough for {short} of {len(judged)} verdicts: {self._far(study)}; a verdict needs "
                f"{LEAST_SEEDS} seeds at the full schedule."
            )
        elif not judged and any(not s.complete for group in study.groups for s in self._schedules(group)):
            lines.append(f"Not run to its end: {self._far(study)}.")
        for group in study.groups:
            cells = self._modes(group)
            lines += [f"{self.labels[group]}: {told}." for told in diverged.summed(self.evidence.learnt.get(group, {}))]
            lines += [
                f"{self.labels[group]}: {one} and {other} are not comparable, {reason}."
                for one, other in combinations(in_order(c.runner for c in cells), 2)
                if (reason := unlike(self.evidence, group, one, other))
            ]
            if cells and not proven(self.evidence, group):
                lines.append(f"{self.labels[group]}: no framework is proven.")
        return [bullets([md("**{}**", line) for line in lines])] if lines else []

    def _published(self, study: Study) -> list[Markdown]:
        claims = self._claims(study)
        if not claims:
            return []
        tables = grid.tables(study, self.labels, claims)
        if tables and len({row.group for row in claims}) >= GRID:
            return [*tables, *published.rules(claims)]
        return [*published.claim_table(self.labels, claims), *published.rules(claims)]

    def _run(self, study: Study) -> list[Markdown]:
        """Seeds, epochs and final scores of each framework, in the mode that speaks for it."""
        if study.large and self._claims(study):
            return []
        notes = Notes()
        body = []
        for group in study.groups:
            for framework_mode, results in self._spoken(group).items():
                seeds = per_seed(results, "train_seconds")
                if seeds is None:
                    continue
                body.append(
                    [self.labels[group], framework_mode.runner, framework_mode.mode, f"{seeds.ran}", seeds.schedule,
                     *(_score(results, metric, notes) for metric in ("train_loss", "test_loss", "test_accuracy"))]
                )  # fmt: skip
        heads = ["benchmark", "framework", "mode", "seeds", "schedule", "train loss", "test loss", "test accuracy"]
        return [table(heads, body, "lllrlrrr"), *notes.lines()] if body else []

    def _images(self, words: str, study: Study, *kinds: str) -> list[Markdown]:
        """The charts of a study: by the number of the group, or by the study's own name."""
        groups = list(self.evidence.groups)
        slug = drawing.slug
        names = [f"{groups.index(a) + 1:02}-{slug(a.spec)}.svg" for a in study.groups if a in groups]
        names += [f"{slug(study.name)}.svg", *(f"{slug(study.name)}-{i}.svg" for i in range(1, len(study.groups) + 1))]
        wanted = [f"{kind}-{name}" for name in names for kind in kinds]
        return [Markdown(f"![{words}](../charts/{name})") for name in wanted if name in self.charts]

    def _task_metrics(self, study: Study) -> list[Markdown]:
        blocks = []
        for group in study.groups:
            if found := task_metrics.section(self._spoken(group), large=study.large):
                blocks += [md("### {}", self.labels[group]), *found] if len(study.groups) > 1 else found
        return [*blocks, *self._images("Reconstruction errors of normal images and anomalies", study, "errors")]

    def _styles(self, study: Study) -> list[Markdown]:
        """Every mode side by side, where there are more than two."""
        if study.large:
            return []
        blocks: list[Markdown] = []
        asked_alike: dict[tuple[Question, ...], list[ComparisonGroup]] = defaultdict(list)
        for group in study.groups:
            found = self._modes(group)
            wanted = headline(questions([r for results in found.values() for r in results]))
            if len(found) > FEW_MODES and wanted:
                asked_alike[tuple(wanted)].append(group)
        for those, groups in asked_alike.items():
            notes = Notes()
            body = [
                [self.labels[group], c.runner, c.mode, *(self._cost(group, c, question, notes) for question in those)]
                for group in groups
                for c in self._modes(group)
            ]
            heads = ["benchmark", "framework", "mode", *map(asked, those)]
            blocks += [table(heads, body, "lll" + "r" * len(those)), *notes.lines()]
        if blocks:
            blocks.append(
                Markdown(
                    "Medians over rounds. *eager* runs one operation after another, as Python calls them. *session* is "
                    "TensorFlow 1's way: a graph is defined first and then run by a session. *graph* traces a function "
                    "into a graph. *xla* and *compile* compile what they traced. *quickstart* is what the framework's "
                    "own tutorial does."
                )
            )
        return [*blocks, *self._images("Time by style of execution", study, "styles")]

    def _modes(self, group: ComparisonGroup) -> dict[FrameworkMode, tuple[Numbers, ...]]:
        return {c: rs for c, rs in self.evidence.groups.get(group, {}).items() if c.runner not in UNRANKED}

    def _cost(self, group: ComparisonGroup, framework_mode: FrameworkMode, question: Question, notes: Notes) -> str:
        costs = by_round(self.evidence.groups[group][framework_mode], question)
        proof_status = unranked(self.evidence, group, framework_mode, question)
        if isinstance(proof_status, NotRanked):
            shown = proof_status.shown and costs
            value = cost(question, median(costs.values())) if shown else DASH
            return notes.mark(value, proof_status.reason)
        return cost(question, median(costs.values())) if costs else notes.dash("not asked")

    def _tunings(self, study: Study) -> list[Markdown]:
        blocks = []
        for group in study.groups:
            if found := inference_options.section(self.evidence, group):
                blocks += [md("### {}", self.labels[group]), *found] if len(study.groups) > 1 else found
        return [*blocks, inference_options.RULE] if blocks else []


def _text(blocks: Iterator[Markdown]) -> str:
    return "\n\n".join(blocks) + "\n"


def _score(results: Sequence[Measured], metric: str, notes: Notes) -> str:
    """The mean over all seeds."""
    seeds = per_seed(results, metric)
    if seeds is None:
        return DASH
    if seeds.mean is None:
        return notes.dash(str(seeds.diverged))
    mean = published.number(metric, seeds.mean)
    return notes.mark(mean, str(seeds.diverged)) if seeds.diverged else mean


def _stated(study: Study, labels: Mapping[ComparisonGroup, str]) -> list[Markdown]:
    """What the sources say, each once, and what the benchmarks are."""
    notes: dict[str, dict[str, None]] = defaultdict(dict)
    for source in (spec.source for spec in study.specs.values() if spec.source):
        year = f", {source.year}" if source.year and str(source.year) not in source.title else ""
        notes[f"{source.title}{year}"] |= {source.note: None}
    lines = [md("Source: {}. {}", title, " ".join(told)) for title, told in notes.items()]
    about: dict[str, list[str]] = defaultdict(list)
    for group, spec in study.specs.items():
        if spec.description:
            about[spec.description].append(labels[group])
    several = len(about) > 1
    for text, names in about.items():
        lines.append(md("**{}**: {}", ", ".join(names[:3]), text) if several else md("{}", text))
    return lines


def _stages(evidence: Evidence, study: Study, labels: Mapping[ComparisonGroup, str]) -> list[Markdown]:
    """Whose weights each stage began from, and whether those were trained to the end."""
    notes = Notes()
    body = []
    for group in study.groups:
        parents: dict[Parent, list[Numbers]] = defaultdict(list)
        for framework_mode, results in evidence.groups.get(group, {}).items():
            for r in results if framework_mode.runner not in UNRANKED else ():
                if r.parent:
                    parents[r.parent].append(r)
        groups: dict[tuple[str, str, str], list[Parent]] = defaultdict(list)
        for parent in parents:
            groups[(parent.spec, _donor(parent), _ended(parent))].append(parent)
        for (spec, donor, ended), same in groups.items():
            cells = [r for parent in same for r in parents[parent]]
            runners = ", ".join(in_order(r.cell.runner for r in cells))
            rounds = len({r.cell.round for r in cells})
            named = ", ".join(parent.weights[7:15] for parent in same[:3]) + (", ..." if len(same) > 3 else "")
            body.append([labels[group], _taken(study.specs[group]), spec, donor, ended, runners, f"{rounds}", named])
    if not body:
        return []
    heads = ["benchmark", "takes over", "starts from", "trained by", "to the end", "given to", "rounds", "weights"]
    words = "One framework trains the earlier stage. In each round every framework starts from the same weights."
    return [table(heads, body, "llllllrl"), *notes.lines(), Markdown(words)]


def _taken(spec: Spec) -> str:
    taken = _listed(spec.inherits) or "all layers"
    if not spec.frozen:
        return taken
    same = spec.frozen == spec.inherits
    return f"{taken}; {'all of them frozen' if same else f'frozen: {_listed(spec.frozen)}'}"


def _listed(names: Sequence[str]) -> str:
    """Names of layers, the inner ones of many left out."""
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:2])} to {names[-1]}, {len(names)} layers"


def _donor(parent: Parent) -> str:
    return f"{parent.runner} ({parent.mode})" if parent.runner else "imported"


def _ended(parent: Parent) -> str:
    if parent.diverged:
        return f"no: it {parent.diverged}"
    return {True: "yes", False: "no", None: "not known"}[parent.complete]
