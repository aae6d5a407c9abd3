"""The first half of the report: what happened, window by window."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.records import Check, CheckOutcome, ColumnDrift, Cycle, DriftReport, Estimate
from engine.report import charts, foreseen, heat, parts, pipeline, story, words
from engine.report.contrast_words import harm, of_the_whole
from engine.report.markup import Markup, tag

MOST_COLUMNS = 40  # of the data, in the heat map


def summary(cycles: Sequence[Cycle], primary: str, remarks: Sequence[str] = ()) -> Markup:
    """The sentences, those of other stages last, and the figures on top."""
    told = story.tell(cycles, primary)
    value, _, bounds = (words.interval(told.standing) if told.standing else "").partition(" ")
    value = value or words.unmeasured(told.production)
    returned, measured = pipeline.summary(cycles, told.spent)
    avoided = parts.typeset(words.money(told.avoided, told.currency))
    figures = (
        ("in production", parts.model(told.production), f"since {told.since}" if told.since else ""),
        (primary, value, f"{bounds} on {told.measured}" if told.measured else ""),
        (
            "trained models",
            f"{told.count('promoted')} of {len(told.fates)} promoted",
            f"{told.count('rejected')} rejected, {told.count('inconclusive')} left undecided",
        ),
        *([] if measured else [("spent on training", words.amount(told.spent, told.currency), "sum of all sweeps")]),
        (
            "expected loss avoided",
            avoided if told.avoided.mean else words.NONE,
            "by the promotions, as forecast" if told.avoided.mean else "no champion was replaced yet",
        ),
        *measured,
    )
    tiles = [
        tag("div", tag("dt", name), tag("dd", value), tag("dd", note, class_="soft") if note else None)
        for name, value, note in figures
    ]
    attention = tag(
        "div",
        tag("h3", "Look at this"),
        tag("ul", [tag("li", line) for line in told.attention[:8]]),
        tag("p", f"and {len(told.attention) - 8} older notes", class_="soft") if len(told.attention) > 8 else None,
        class_="attention",
    )
    lines = (*story.sentences(told, primary), *returned, *remarks)
    return tag(
        "section",
        tag("h2", "Summary", id="summary-title"),
        [tag("p", parts.typeset(line), class_="sentence") for line in lines],
        tag("dl", tiles, class_="tiles"),
        attention if told.attention else None,
        id="summary",
        aria_labelledby="summary-title",
    )


def performance(cycles: Sequence[Cycle], primary: str, *, greater_is_better: bool) -> Markup:
    """The timeline of the primary metric."""
    names = [cycle.window for cycle in cycles]
    alarms: dict[int, str] = {}
    for column, cycle in enumerate(cycles):
        said = [f"{a.severity}: {a.message}" for a in cycle.actions if a.event.alarms]
        if said:
            alarms[column] = "; ".join(said)
    drawn = charts.timeline(names, _points(cycles, primary), _tenures(cycles), alarms, primary)
    better = "higher is better" if greater_is_better else "lower is better"
    lead = (
        f"{primary} ({better}) on the rows of each window whose labels are in; bars are intervals. Dashed "
        "lines: a new model came into production. Hover a mark for its numbers."
    )
    keys = [("dot", "model in production"), ("pass", "challenger that passed its gates")]
    keys += [("fail", "challenger that failed"), ("inconclusive", "challenger left undecided")]
    keys += [("alarm", "alarm")] if alarms else []
    shown = (parts.legend(keys), drawn) if drawn else tag("p", "No labels are in yet.", class_="soft")
    return parts.section("performance", "Performance", lead, shown, foreseen.table(cycles, primary))


def windows(cycles: Sequence[Cycle], primary: str) -> Markup:
    """One row a window: the same as the terminal showed, for reading and for screen readers."""
    rows = []
    for cycle in cycles:
        standing = words.standing(cycle, primary)
        rows.append(
            (
                parts.whole(cycle.window),
                f"{cycle.n_rows:,}",
                _checks_badge(cycle),
                parts.breakable(words.drift(cycle.monitor.baseline)) if cycle.monitor else words.NONE,
                _standing(standing, cycle.champion_after),
                _decided(cycle),
                [(v.gate, " ", parts.badge(v.outcome.value), tag("br")) for v in cycle.verdicts] or words.NONE,
                words.moves(cycle),
                words.duration(sum(cycle.timings.values())),
            )
        )
    columns = ("window", "rows", "checks", "drift", primary, "decision", "gates", "stage changes", "time")
    broken = _broken_checks(cycles)
    checks = parts.table(
        "Checks of the data that did not hold, as the newest window shows them",
        ("severity", "check", "column", "outcome", "windows", "observed", "expected", "reason"),
        broken,
    )
    lead = "Drift reads: columns that moved of all (?n: undecidable), and the one that moved most."
    return parts.section(
        "windows",
        "Window by window",
        lead,
        parts.table("What happened in each window", columns, rows, numeric=("rows", "time")),
        checks if broken else None,
    )


def drift(cycles: Sequence[Cycle]) -> Markup:
    """Heat maps of drift: against the training rows of the champion, and against the window before."""
    names = [cycle.window for cycle in cycles]
    baseline = [cycle.monitor.baseline if cycle.monitor else None for cycle in cycles]
    before = [cycle.monitor.consecutive if cycle.monitor else None for cycle in cycles]
    known = [report for report in baseline if report is not None]
    if not known:
        return parts.section("drift", "Drift", "No window has been compared with a reference yet.")
    last = known[-1]
    lead = (
        "How far each column moved from the champion's training rows, as a multiple of the smallest effect "
        "that matters. A dot marks drift: above the floor, and significant after "
        f"{last.method} correction over {len(last.columns)} columns. In a window without drift a false alarm "
        f"has probability {words.percent(last.alpha)}."
    )
    costly = [f"{c.column} {said}" for c in last.drifted[:3] if c.harm > 0 and (said := harm(c, last.metric))]
    whole = [said for c in last.drifted if (said := of_the_whole(c))]
    lead += f" In the newest window: {', '.join([*costly, *whole])}." if costly or whole else ""
    keys = (("cell", "below the floor"), ("heat", "1 and more: at or above the floor"), ("moved", "drift"))
    creeping = _heat(names, before, "consecutive")
    return parts.section(
        "drift",
        "Drift",
        lead,
        parts.legend((*keys, ("lost", "undecidable"))),
        _heat(names, baseline, "baseline"),
        parts.details("Against the window before", creeping) if creeping else None,
    )


def decisions(cycles: Sequence[Cycle]) -> Markup:
    """What waiting and acting were expected to cost, and what was done."""
    made = {column: cycle.decision for column, cycle in enumerate(cycles) if cycle.decision is not None}
    if not made:
        return parts.section("decisions", "Decisions", "Nothing has been decided yet.")
    rows = [
        (
            parts.whole(d.window),
            parts.badge(d.action.value),
            parts.typeset(words.money(d.waiting)),
            parts.typeset(words.money(d.acting)),
            words.percent(d.probability),
            d.policy,
            (
                words.brief(d.reason),
                *((tag("br"), tag("small", words.brief(d.counterfactual), class_="soft")) if d.counterfactual else ()),
            ),
        )
        for d in made.values()
    ]
    currency = next(iter(made.values())).currency
    money = ("waiting costs", "acting costs")
    columns = ("window", "decision", *money, "acting pays", "policy", "why")
    lead = (
        f"Expected loss of keeping the model over the horizon against expected cost of acting ({currency or 'money'}); "
        "whiskers are one standard deviation. Whether acting pays includes the chance that the model fails its gate."
    )
    return parts.section(
        "decisions",
        "Decisions and their money",
        lead,
        parts.legend((("waiting", "waiting"), ("acting", "acting"))),
        charts.money_bars([cycle.window for cycle in cycles], made),
        parts.table(f"Decisions ({currency})", columns, rows, numeric=(*money, "acting pays")),
    )


def _points(cycles: Sequence[Cycle], primary: str) -> list[charts.Point]:
    place = {cycle.window: column for column, cycle in enumerate(cycles)}
    points = []
    seen = set()
    for column, cycle in enumerate(cycles):
        standing = words.standing(cycle, primary)
        realised = cycle.monitor.performance if cycle.monitor else None
        holder = realised.model if realised else cycle.champion_after
        if standing and (standing[1], holder) not in seen:
            points.append(charts.Point(place.get(standing[1], column), standing[0], holder))
            seen.add((standing[1], holder))
        report, worst = cycle.evaluation, words.worst(cycle.verdicts)
        founder = report is not None and not cycle.champion and cycle.champion_after == report.model
        found = words.metric(report.metrics, primary) if report and not founder else None
        if report and found and worst:
            points.append(charts.Point(place.get(report.window, column), found, report.model, worst))
    return points


def _tenures(cycles: Sequence[Cycle]) -> list[charts.Tenure]:
    """Who was in production at the end of each window, equal neighbours joined."""
    tenures: list[charts.Tenure] = []
    for column, cycle in enumerate(cycles):
        holder = cycle.champion_after
        if tenures and tenures[-1].model == holder and tenures[-1].last == column - 1:
            tenures[-1] = charts.Tenure(holder, tenures[-1].first, column)
        elif holder:
            tenures.append(charts.Tenure(holder, column, column))
    return tenures


def _heat(names: Sequence[str], reports: Sequence[DriftReport | None], key: str) -> Markup | None:
    rows: dict[str, dict[int, ColumnDrift]] = {}
    known = [(name, report) for name, report in zip(names, reports, strict=True) if report is not None]
    for column, (_, report) in enumerate(known):
        for drift in report.columns:
            rows.setdefault(drift.column, {})[column] = drift
    if not rows:
        return None
    ordered = sorted(rows, key=lambda name: -max(map(_ratio, rows[name].values())))
    drawn = heat.heat_map([name for name, _ in known], {name: rows[name] for name in ordered[:MOST_COLUMNS]}, key)
    left = len(ordered) - MOST_COLUMNS
    note = tag("p", f"{left} columns that moved less are not drawn.", class_="soft") if left > 0 else None
    return tag("div", drawn, note)


def _ratio(drift: ColumnDrift) -> float:
    if not math.isfinite(drift.effect):
        return 0.0
    return abs(drift.effect) / drift.floor if drift.floor else abs(drift.effect)


def _checks_badge(cycle: Cycle) -> Markup:
    said = words.checks(cycle.validation)
    return tag("span", said, class_=f"badge {said.split()[-1]}")


def _decided(cycle: Cycle) -> object:
    if cycle.founding:
        return parts.badge("founding")
    return parts.badge(cycle.decision.action.value) if cycle.decision else words.NONE


def _standing(standing: tuple[Estimate, str] | None, model: str) -> object:
    if standing is None:
        return words.unmeasured(model)
    estimate, window = standing
    return parts.whole(words.interval(estimate)), tag("br"), tag("small", f"on {window}", class_="soft")


def _broken_checks(cycles: Sequence[Cycle]) -> list[tuple[object, ...]]:
    """One row a check and column, however many windows it did not hold in; the newest of them is quoted."""
    found: dict[tuple[str, str, str, str], list[tuple[str, Check]]] = {}
    for cycle in cycles:
        for window, report in ((cycle.window, cycle.validation), *((late.window, late) for late in cycle.labels)):
            for check in report.checks:
                if check.outcome is not CheckOutcome.OK:
                    key = (check.severity.value, check.name, check.column, check.outcome.value)
                    found.setdefault(key, []).append((window, check))
    order = {"block": 0, "warn": 1, "info": 2}
    rows: list[tuple[object, ...]] = []
    for (severity, name, column, outcome), seen in sorted(found.items(), key=lambda item: order[item[0][0]]):
        window, check = seen[-1]
        rows.append(
            (
                parts.badge(severity),
                name,
                parts.breakable(column) if column else words.NONE,
                parts.badge(outcome),
                (
                    f"{len(seen)} of {len(cycles)}",
                    tag("br"),
                    tag("small", parts.whole(f"newest {window}"), class_="soft"),
                ),
                check.observed,
                check.expected,
                check.reason,
            )
        )
    return rows
