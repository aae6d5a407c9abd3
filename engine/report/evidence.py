"""The second half of the report: the evidence behind each promotion and refusal, and its sources."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.records import Candidate, Cycle, Estimate, EvaluationReport, Outcome, RuleResult, Trial, Verdict
from engine.records.fields import said
from engine.records.rows import LedgerRow
from engine.report import charts, forest, marks, parts, words
from engine.report.markup import Markup, tag
from engine.report.sentences import sentences
from engine.system.redact import redact

OPEN_GATES = 12  # verdicts that are shown unfolded, the newest ones
MOST_STAGES = 8  # of the pipeline, each in its own colour
REST = "the rest"


def gates(cycles: Sequence[Cycle]) -> Markup:
    """Every verdict with its rules as a forest plot, and the evaluation that it judged."""
    verdicts = [(cycle, verdict) for cycle in cycles for verdict in cycle.verdicts]
    lead = (
        "A gate opens only when every rule passes. Each rule compares the bound of an interval with its "
        "threshold or margin (dashed): a point estimate alone never decides, and an undecidable number never "
        "passes."
    )
    shown = [
        parts.details(
            _gate_title(cycle, verdict),
            tag("p", verdict.reason, class_="lead"),
            _explained(verdict.rules),
            _rules(verdict.rules) if verdict.rules else None,
            _judged(cycle, verdict),
            open_=position >= len(verdicts) - OPEN_GATES,
        )
        for position, (cycle, verdict) in enumerate(verdicts)
    ]
    return parts.section("gates", "Gates", lead, shown or tag("p", "No gate has been asked yet.", class_="soft"))


def stages(cycles: Sequence[Cycle], ledger: Sequence[LedgerRow]) -> Markup:
    """Every change of stage, oldest first; from the ledger where it is given: it knows changes by hand."""
    columns = ("time (UTC)", "window", "model", "from", "to", "by", "reason")
    recorded = [row for row in ledger if row.kind == "stage"]
    rows = [_stage_row(row.at, row.payload) for row in recorded] or [
        _stage_row(
            "",
            {
                "window": c.window,
                "model": c.model,
                "source": c.source.value if c.source else None,
                "target": c.target.value,
                "actor": c.actor,
                "route": c.route.value,
                "reason": c.reason,
            },
        )
        for cycle in cycles
        for c in cycle.changes
    ]
    path = f" {parts.ARROW} ".join(("candidate", "staging", "preproduction", "production"))
    lead = f"{path}; each step is in the ledger."
    body = parts.table("Changes of stage", columns, rows) if rows else tag("p", "No model yet.", class_="soft")
    return parts.section("stages", "Stage history", lead, body)


def sweeps(cycles: Sequence[Cycle]) -> Markup:
    """The trials of every sweep, the chosen one first."""
    found = [(cycle, cycle.candidate) for cycle in cycles if cycle.candidate is not None]
    lead = (
        "All trials of each training, chosen and rejected; the curve is the search metric by epoch. A stopped trial is "
        "not chosen, whatever it had reached."
    )
    shown = [
        parts.details(_sweep_title(cycle, candidate), _trials(candidate), open_=position == len(found) - 1)
        for position, (cycle, candidate) in enumerate(found)
    ]
    return parts.section("sweeps", "Trials", lead, shown or tag("p", "Nothing has been trained yet.", class_="soft"))


def timings(cycles: Sequence[Cycle]) -> Markup:
    """Where the wall time of the pipeline went; small stages are drawn as one."""
    totals = _seconds(cycle.timings for cycle in cycles)
    largest = sorted(totals, key=lambda stage: (-totals[stage], stage))[:MOST_STAGES]
    drawn_as = {stage: stage if stage in largest else REST for stage in totals}
    spent = [_seconds([{drawn_as[s]: t} for s, t in cycle.timings.items()]) for cycle in cycles]
    stages = [*largest, *([REST] if len(totals) > MOST_STAGES else [])]
    drawn = charts.stacked_seconds([c.window for c in cycles], stages, spent)
    if drawn is None:
        return parts.section("timings", "Pipeline timings", "No time was measured.")
    sums, wall = _seconds(spent), sum(totals.values())
    keys = [
        (f"hue{i}", f"{stage}: {words.duration(sums[stage])} ({words.percent(sums[stage] / wall)})")
        for i, stage in enumerate(stages)
    ]
    lead = f"Seconds of wall time by window and stage; {words.duration(wall)} in all."
    return parts.section("timings", "Pipeline timings", lead, parts.legend(keys), drawn)


def provenance(
    cycles: Sequence[Cycle],
    config: Mapping[str, Any],
    versions: Mapping[str, str],
    ledger: Sequence[LedgerRow],
) -> Markup:
    """What all of it was made from: data, config, versions, and the end of the ledger's chain."""
    rows = [(c.window, f"{c.n_rows:,}", tag("code", c.validation.fingerprint)) for c in cycles]
    flat = [(key, value) for key, value in _flatten("", redact(config))]
    tip = ledger[-1] if ledger else None
    chain = (
        {"rows": f"{len(ledger):,}", "last row": f"{tip.seq}, {tip.at}", "hash": tag("code", tip.hash)} if tip else {}
    )
    lead = "A ledger whose last hash is this one has not been altered since: it hangs on all rows before it."
    return parts.section(
        "provenance",
        "Provenance",
        lead,
        (tag("h3", "Ledger"), parts.facts(chain)) if chain else None,
        (tag("h3", "Versions"), parts.facts(dict(versions))) if versions else None,
        parts.details("Data", parts.table("Windows by content", ("window", "rows", "sha256"), rows, numeric=("rows",))),
        parts.details("Config", parts.table("Config, secrets hidden", ("key", "value"), flat)) if flat else None,
    )


def _seconds(laps: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by stage, summed."""
    totals: dict[str, float] = {}
    for lap in laps:
        for stage, seconds in lap.items():
            totals[stage] = totals.get(stage, 0.0) + seconds
    return totals


def _gate_title(cycle: Cycle, verdict: Verdict) -> tuple[object, ...]:
    against: object = ""
    if verdict.first:
        against = "by absolute floors alone"
    elif verdict.champion:
        against = ("against ", parts.model(verdict.champion))
    rows = f", on rows of {verdict.window}" if verdict.window != cycle.window else ""
    worn = f", which had decided {words.times(verdict.holdout_uses)} before" if verdict.holdout_uses else ""
    outcome, model = parts.badge(verdict.outcome.value), parts.model(verdict.model)
    title = (cycle.window, " gate ", tag("b", verdict.gate), " ", outcome, " ", model)
    return (*title, " ", against, rows or (worn and f", on rows of {verdict.window}"), worn)


def _explained(rules: Sequence[RuleResult]) -> tuple[Markup | None, Markup | None]:
    """One picture of all rules, and a sentence on each; nothing for verdicts that do not say their kinds."""
    told = [rule for rule in rules if rule.kind]
    lines = sentences(told)
    return forest.plot(told), tag("ul", [tag("li", line) for line in lines], class_="sentences") if lines else None


def _rules(rules: Sequence[RuleResult]) -> Markup:
    """The rules as a table; requests, which compare no number, without its columns, and folded where all were met."""
    if all(rule.kind == "answers" for rule in rules):
        answers = [(rule.rule, parts.badge(rule.outcome.value), rule.reason) for rule in rules]
        shown = parts.table("Rules of the gate", ("rule", "outcome", "reason"), answers)
        met = all(rule.outcome is Outcome.PASS for rule in rules)
        return parts.details("Each request and its answer", shown) if met else shown
    rows = [
        (
            (r.rule, tag("br"), tag("small", r.metric, class_="soft")),
            marks.forest(r),
            (
                parts.whole(words.compared(r)),
                tag("br"),
                tag("small", _beside(r), class_="soft"),
            ),
            parts.badge(r.outcome.value),
            words.about(r.rows_needed),
            r.reason,
        )
        for r in rules
    ]
    columns = ("rule", "interval and bound", "estimate", "outcome", "rows needed", "reason")
    return parts.table("Rules of the gate", columns, rows, numeric=("rows needed",))


def _beside(r: RuleResult) -> str:
    """The bound, the rows, and what the rule could have found; nothing where no number was compared."""
    if not math.isfinite(r.bound):
        return words.NONE
    rows = f", n {r.estimate.n:,}" if r.estimate else ""
    power = f", passes {words.percent(r.power)} from {r.detectable:.4g}" if r.detectable is not None else ""
    return f"bound {words.threshold(r.bound)}{rows}{power}"


def _judged(cycle: Cycle, verdict: Verdict) -> Markup | None:
    """The evaluation that a verdict judged: shadow rows or the hold-out; None for the cold start."""
    report = cycle.shadow if verdict.gate == "shadow" else cycle.evaluation if verdict.gate == "offline" else None
    if report is None or report.model != verdict.model:
        return None
    return parts.details(
        f"All metrics and slices on {report.window}, {report.n_rows:,} rows",
        tag("p", f"Of the label, {said(report.classes)}.", class_="soft") if report.classes else None,
        _metrics(report),
        _slices(report) if report.slices else None,
        _found(report) if report.searched else None,
    )


def _metrics(report: EvaluationReport) -> Markup:
    rows = [
        (
            e.name,
            parts.whole(words.interval(e)),
            _interval_of(report.champion_metrics, e.name),
            _interval_of(report.differences, e.name, extra=1),
            f"{e.n:,}",
            e.method,
            e.reason,
        )
        for e in report.metrics
    ]
    columns = ("metric", "challenger", "champion", "paired difference", "rows", "method", "note")
    return parts.table("Metrics with intervals", columns, rows, numeric=("rows",))


def _slices(report: EvaluationReport) -> Markup:
    rows = [
        (
            f"{s.column} = {s.level}",
            parts.whole(words.interval(s.estimate)),
            parts.whole(words.interval(s.difference, extra=1)) if s.difference else words.NONE,
            f"{s.estimate.n:,}",
            s.estimate.reason,
        )
        for s in report.slices
    ]
    columns = ("slice", "challenger", "paired difference", "rows", "note")
    return parts.table("By slice", columns, rows, numeric=("rows",))


def _found(report: EvaluationReport) -> Markup:
    """Slices that nobody declared; that none was found is an answer, too."""
    looked = f"{report.searched:,} slices of one feature or two were looked through"
    if not report.found:
        return tag("p", f"{looked}: none is seen to be worse than the rest.", class_="soft")
    rows = [
        (f.slice, f.by, parts.whole(words.interval(f.effect, extra=1)), f"{f.effect.n:,}", words.pvalue(f.pvalue))
        for f in report.found
    ]
    columns = ("slice", "worse by", "loss beside all other rows", "rows", "p")
    return parts.table(f"Worst slices: {looked}", columns, rows, numeric=("rows", "p"))


def _interval_of(estimates: Iterable[Estimate], name: str, *, extra: int = 0) -> Markup:
    found = words.metric(estimates, name)
    return parts.whole(words.interval(found, extra=extra) if found else words.NONE)


def _stage_row(at: str, said: Mapping[str, Any]) -> tuple[object, ...]:
    route = str(said.get("route", ""))
    by = f"{said.get('actor', '')}{f' ({route})' if route not in ('', 'evidence') else ''}"
    source = str(said.get("source") or "new")
    return (
        parts.whole(at[:19].replace("T", " ") or words.NONE),
        parts.whole(str(said.get("window", "")) or words.NONE),
        parts.model(str(said.get("model", ""))),
        source,
        parts.badge(str(said.get("target", ""))),
        by,
        words.brief(str(said.get("reason", ""))),
    )


def _sweep_title(cycle: Cycle, candidate: Candidate) -> tuple[object, ...]:
    value = f"{candidate.metric} {words.number(candidate.value)}"
    if candidate.model and candidate.recalibrated_on:
        made = f"a map fitted on {candidate.n_rows:,} rows of {candidate.recalibrated_on}"
        return (cycle.window, " ", parts.model(candidate.model), f" {value}, {made}")
    size = f"{len(candidate.trials)} trials on {candidate.n_rows:,} rows in {words.duration(candidate.seconds)}"
    cost = words.amount(candidate.cost, cycle.decision.currency if cycle.decision else "")
    return (cycle.window, " ", parts.model(candidate.model), f" {value}, {size}, cost {cost}")


def _trials(candidate: Candidate) -> Markup:
    names = sorted({name for trial in candidate.trials for name in trial.params})
    chosen = candidate.winner
    ordered = sorted(candidate.trials, key=lambda t: (t is not chosen, t.id))
    rows = [_trial_row(trial, names, chosen=trial is chosen) for trial in ordered]
    columns = ("trial", "state", *names, "curve", "best epoch", "value", "time", "note")
    return parts.table(f"Trials, {candidate.metric}", columns, rows, numeric=(*names, "best epoch", "value", "time"))


def _trial_row(trial: Trial, names: Sequence[str], *, chosen: bool) -> tuple[object, ...]:
    values = [epoch.value for epoch in trial.curve]
    return (
        (parts.whole(trial.id), tag("br"), tag("small", "chosen", class_="pass")) if chosen else parts.whole(trial.id),
        parts.badge(trial.state.value),
        *(_value(trial.params.get(name)) for name in names),
        marks.sparkline(values, f"{trial.id}: {', '.join(map(words.number, values))}"),
        str(trial.best_epoch) if trial.best_epoch else words.NONE,
        words.number(trial.value, 4),
        words.duration(trial.seconds),
        trial.reason,
    )


def _value(value: object) -> str:
    if isinstance(value, float):
        return words.number(value)
    return words.NONE if value is None else str(value)


def _flatten(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    """`a.b.c` and its value as text, for each leaf."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flatten(f"{prefix}.{key}" if prefix else str(key), inner)
    elif prefix:
        yield prefix, "null" if value is None else str(value)
