"""What the numbers were measured on, and the command that measures them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from suite.report.evidence.merge import Evidence
from suite.report.text.markdown import DASH, Markdown, Notes, table
from suite.report.text.units import digits, mebibytes
from suite.results.environment import Environment, Gpu

Who = tuple[str, str]
"""A runner, and the place in which it ran."""
_SILENT = {
    "image": "whoever started the container did not state it",
    "built from": "the image does not state it",
}


def section(evidence: Evidence) -> list[Markdown]:
    """One table of what all cells share and of what differs between them."""
    cells = [(r.cell.runner, r.environment) for r in evidence.results if r.environment is not None]
    if not cells:
        return [Markdown("No environment was recorded.")]
    everyone: set[Who] = {(runner, env.place) for runner, env in cells}
    notes = Notes()
    rows = []
    for name, values in _facts(cells).items():
        by_value: dict[str, set[Who]] = defaultdict(set)
        for who, value in values:
            by_value[value].add(who)
        known = {v: who for v, who in by_value.items() if v}
        if not known:
            rows.append([name, notes.dash(_SILENT.get(name, "the system does not report it"))])
        elif len(known) == 1 and len(by_value) == 1:
            rows.append([name, next(iter(known))])
        else:
            found = [v if name == "place" else f"{v} ({_who(who, everyone)})" for v, who in sorted(known.items())]
            rows.append([name, "; ".join(found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")])
    machines = {env.machine for _, env in cells}
    blocks = [table(["", "value"], rows), *notes.lines()]
    if len(machines) > 1:
        blocks.insert(
            0,
            Markdown(
                f"**{len(machines)} machines**: results of different machines are never ranked against each other."
            ),
        )
    return blocks


def _who(some: set[Who], everyone: set[Who]) -> str:
    """Runners, or the one place that all of them share; a runner's place only where it has another value elsewhere."""
    for place in sorted({place for _, place in everyone}):
        if some == {who for who in everyone if who[1] == place} != everyone:
            return place
    whole = {runner for runner, _ in everyone if {who for who in everyone if who[0] == runner} <= some}
    return ", ".join(sorted(whole | {f"{runner} {place}" for runner, place in some if runner not in whole}))


def _facts(cells: Sequence[tuple[str, Environment]]) -> dict[str, list[tuple[Who, str]]]:
    """Every field in words, by runner and place; an unknown one is empty."""
    found: dict[str, list[tuple[Who, str]]] = defaultdict(list)
    contained = any(env.place == "container" or env.image or env.build for _, env in cells)
    settings = any(env.settings for _, env in cells)
    variables = any(env.variables for _, env in cells)
    shared = set.intersection(*(set(env.packages) for _, env in cells))
    for runner, env in cells:
        facts: dict[str, Any] = {
            "processor": env.cpu, "cores": env.cores, "memory": mebibytes(env.memory_bytes),
            "machine": _short(env.machine), "system": env.system, "kernel": env.kernel, "Python": env.python,
            "suite": env.suite,
            "suite's source": _short(env.source), "commit": (env.commit or "")[:12], "lock": _short(env.lock),
            "place": env.place, "frameworks": _pairs(env.libraries), "devices seen": _pairs(env.devices),
            "GPUs": "; ".join(map(_gpu, env.gpus)) or "none", "driver": env.driver,
            "threads in an operation": env.threads_intra, "operations at once": env.threads_inter,
            "denormals": env.denormals, "governor": env.governor,
            "turbo": None if env.turbo is None else "on" if env.turbo else "off",
        }  # fmt: skip
        if contained:
            facts |= {"image": _id(env.image or ""), "built from": _pairs(env.build, "")}
        if settings:
            facts |= {"settings": _pairs(env.settings, "")}
        if variables:
            facts |= {"variables": _pairs(env.variables or {}, "none")}
        facts |= {f"package {p}": env.packages[p] for p in shared if len({e.packages[p] for _, e in cells}) > 1}
        for name, value in facts.items():
            found[name].append(((runner, env.place), "" if value is None else str(value)))
    for name, field, unit in (
        ("clock", "mhz", " MHz"),
        ("temperature", "celsius", " °C"),
        ("load over a minute", "load_1min", ""),
    ):
        moments = [moment for _, env in cells for moment in (env.before, env.after)]
        readings = [value for m in moments if (value := getattr(m, field)) is not None]
        low, high = (digits(f(readings)) for f in (min, max)) if readings else ("", "")
        found[name] = [(("", ""), f"{low} to {high}{unit}" if low != high else f"{low}{unit}" if low else "")]
    return found


def _short(digest: str | None) -> str:
    return digest.removeprefix("sha256:")[:12] if digest else ""


def _pairs(values: dict[str, str], none: str = DASH) -> str:
    return ", ".join(f"{k} {_id(v)}" for k, v in sorted(values.items())[:12]) or none


def _id(text: str) -> str:
    """A digest shortened, any other text unchanged."""
    return _short(text) if text.startswith("sha256:") else text


def _gpu(gpu: Gpu) -> str:
    """Name, memory, and enough of the UUID to tell it from its neighbours."""
    size = "" if gpu.memory_bytes is None else f", {gpu.memory_bytes / 2**30:,.0f} GiB"
    return f"{gpu.name}{size}, {gpu.uuid[:12]}"


def command(evidence: Evidence) -> list[Markdown]:
    """The command that repeats the run, as a code block that its text cannot leave."""
    text = evidence.plan.get("command")
    if not isinstance(text, str) or not text.strip():
        return [Markdown("The plan names no command.")]
    lines = ["".join(c if c.isprintable() and c != "`" else "?" for c in line) for line in text.splitlines()]
    return [Markdown("```sh\n" + "\n".join(line[:400] for line in lines[:20]) + "\n```")]
