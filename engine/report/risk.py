"""The risk of the deployed model by window: what labels show of it, and beside it what is expected without them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from engine.records import Cycle, Estimate, ExpectedRisk, Risk, RiskOutcome
from engine.report import parts, words
from engine.report.axes import Band, Scale, band, drawing, grid, spread, text, window_names
from engine.report.markup import Markup, tag

COLUMNS = ("window", "labelled to", "risk so far", "bound", "by labels", "expected in it", "without labels", "why")


def section(cycles: Sequence[Cycle]) -> Markup:
    """The picture with its table."""
    told = [cycle for cycle in cycles if cycle.monitor is not None and cycle.monitor.risk is not None]
    if not told:
        return parts.section("risk", "Risk", "No risk is tracked yet: it begins with a model in production.")
    newest = _risk(told[-1])
    lead = (
        f"Mean {newest.loss} loss of the model in production since its hold-out, between 0 and 1 (lower is better). "
        f"Bars hold the risk at any time looked; the bound (dashed) is what the hold-out and a tolerance of "
        f"{words.number(newest.tolerance)} allow. A model that stays below it has a chance of at most "
        f"{words.percent(newest.delta)} of ever an alarm. Diamonds are no labels: they are what the rows of a window "
        "let expect while labels are missing, as long as labels follow from rows as they did. They see no change of "
        "what labels mean. Where the risk has moved since, no one interval holds it; the test of the bound goes on."
    )
    keys = [("dot", "by labels, all windows so far"), ("inconclusive", "expected in a window, no labels")]
    return parts.section("risk", "Risk", lead, parts.legend(keys), _picture(cycles), _table(told))


def attention(cycle: Cycle) -> Iterator[str]:
    """What a person should look at; both readings, each by its name."""
    if cycle.monitor is None:
        return
    risk, expected = cycle.monitor.risk, cycle.monitor.expected_risk
    if risk is not None and risk.outcome is RiskOutcome.ALARM:
        yield f"{cycle.window}: the risk is too high since {risk.since}: {risk.reason}."
    if expected is not None and expected.outcome is RiskOutcome.ALARM:
        yield f"{cycle.window}: the risk is expected to be too high since {expected.since}: {expected.reason}."


def _risk(cycle: Cycle) -> Risk:
    assert cycle.monitor is not None  # who asks has looked
    assert cycle.monitor.risk is not None
    return cycle.monitor.risk


def _expected(cycle: Cycle) -> ExpectedRisk | None:
    return None if cycle.monitor is None else cycle.monitor.expected_risk


def _picture(cycles: Sequence[Cycle]) -> Markup | None:
    columns, top, bottom = band([cycle.window for cycle in cycles], 64.0), 20.0, 250.0
    known = [(i, _risk(c)) for i, c in enumerate(cycles) if c.monitor is not None and c.monitor.risk is not None]
    ahead = [(i, found) for i, c in enumerate(cycles) if (found := _expected(c)) and math.isfinite(found.newest)]
    place = {cycle.window: i for i, cycle in enumerate(cycles)}
    values = [
        v for _, r in known for v in (r.bound, r.risk.value, *(_ends(r.risk) if r.risk.n and not r.moved else ()))
    ]
    values += [v for _, e in ahead for v in (e.newest, e.newest + e.error, e.newest - e.error)]
    scale = spread(values, bottom, top)
    if scale is None:
        return None
    bars = [
        _labelled(columns, scale, place[r.windows[-1]], r)
        for _, r in known
        if r.windows and r.windows[-1] in place and math.isfinite(r.risk.value)
    ]
    return drawing(
        "Risk of the model in production by window, against its bound; expected risk beside it",
        columns.right + 16,
        bottom + 28,
        grid(scale, columns.left, columns.right),
        _bounds(columns, scale, known),
        [_ahead(columns, scale, i, found) for i, found in ahead],
        bars,
        window_names(columns, bottom + 20),
    )


def _so_far(risk: Risk) -> str:
    """The mean loss with its bounds; without them where it has left them."""
    return f"{words.number(risk.risk.value, 4)}, has moved" if risk.moved else words.interval(risk.risk)


def _ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


def _bounds(columns: Band, scale: Scale, known: Sequence[tuple[int, Risk]]) -> list[Markup]:
    """A dashed line for each model that was watched, as long as it was."""
    lines = []
    for key, run in itertools.groupby(known, key=lambda one: (one[1].source_window, one[1].bound)):
        places = [i for i, _ in run]
        if not math.isfinite(key[1]):
            continue
        y, x = scale(key[1]), columns.left + columns.step * places[0]
        said = f"bound {words.number(key[1], 4)}, from {key[0]} and the tolerance"
        end = columns.left + columns.step * (places[-1] + 1)
        lines.append(tag("g", tag("title", said), tag("line", x1=x, x2=end, y1=y, y2=y, class_="bound")))
    return lines


def _labelled(columns: Band, scale: Scale, column: int, risk: Risk) -> Markup:
    x, y = columns.middle(column) - min(9.0, columns.step * 0.2), scale(risk.risk.value)
    alarm = risk.outcome is RiskOutcome.ALARM
    said = (
        f"{columns.names[column]}: risk so far {_so_far(risk)} by labels, {risk.outcome.value}; "
        f"{words.number(risk.newest, 4)} in this window, {risk.risk.n:,} {risk.unit}s in all"
    )
    class_ = "fail" if alarm else "champion"
    mark = tag("circle", cx=x, cy=y, r=4.5, class_="dot fail" if alarm else "dot")
    low, high = map(scale, _ends(risk.risk))
    bar = None if risk.moved else _bar(x, low, high, class_)
    bell = text(x, y - 9, "\u25b2", anchor="middle", class_="alarm") if alarm else None
    return tag("g", tag("title", said), bar, mark, bell)


def _ahead(columns: Band, scale: Scale, column: int, found: ExpectedRisk) -> Markup:
    x, y = columns.middle(column) + min(9.0, columns.step * 0.2), scale(found.newest)
    said = (
        f"{columns.names[column]}: {words.number(found.newest, 4)} expected without labels, give or take "
        f"{words.number(found.error, 4)}, {found.outcome.value}"
    )
    alarm = found.outcome is RiskOutcome.ALARM
    return tag(
        "g",
        tag("title", said),
        _bar(x, scale(found.newest - found.error), scale(found.newest + found.error), "inconclusive"),
        tag("path", d=f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z", class_="diamond inconclusive"),
        text(x, y - 10, "\u25b3", anchor="middle", class_="alarm") if alarm else None,
    )


def _bar(x: float, low: float, high: float, class_: str) -> Markup:
    d = f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8"
    return tag("path", d=d, class_=f"whisker {class_}")


def _table(cycles: Sequence[Cycle]) -> Markup:
    rows = []
    for cycle in cycles:
        risk, expected = _risk(cycle), _expected(cycle)
        why = [risk.reason, expected.reason if expected else ""]
        rows.append((
            parts.whole(cycle.window),
            risk.windows[-1] if risk.windows else words.NONE,
            parts.whole(_so_far(risk)) if risk.risk.n else words.NONE,
            words.number(risk.bound, 4),
            parts.badge(risk.outcome.value),
            words.number(expected.newest, 4) if expected and math.isfinite(expected.newest) else words.NONE,
            parts.badge(expected.outcome.value) if expected else words.NONE,
            "; ".join(dict.fromkeys(said for said in why if said)),
        ))  # fmt: skip
    return parts.table("Risk by window, by labels and before them", COLUMNS, rows, numeric=("bound", "expected in it"))
