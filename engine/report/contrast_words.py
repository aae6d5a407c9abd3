"""What happened to a column, in words and its own unit; shared by the table and the page of `tidegate drift`. Pure."""

from __future__ import annotations

import math

from engine.records import ColumnDrift, DriftOutcome, DriftReport, Performance
from engine.records.contrast import Contrast, Portrait
from engine.report import words

SHORT = {
    "ks_2samp": "KS",
    "total_variation_distance": "TV",
    "difference of shares": "share",
    "mmd": "MMD",
    "pca_reconstruction_error": "PCA",
}
"""Names of statistics as a table has room for."""
NAMED = 3
LONGEST = 24


def effect(drift: ColumnDrift) -> str:
    """`KS 0.230`."""
    return f"{SHORT.get(drift.statistic, drift.statistic)} {words.number(drift.effect, 3)}"


def happened(drift: ColumnDrift, portrait: Portrait | None = None) -> str:
    """One line: how many rows lie elsewhere, where they lay and lie, what it may cost."""
    if drift.outcome is DriftOutcome.UNDECIDABLE:
        return words.clean(drift.reason)
    if drift.outcome is DriftOutcome.NO_DRIFT:
        return ""
    parts = [f"up to {words.percent(drift.effect)} of the rows lie elsewhere"]
    if drift.kind == "missing":
        parts = [missing(drift)]
    elif drift.kind == "multivariate":
        parts = [of_the_whole(drift)]
    elif portrait is not None and portrait.edges:
        parts.append(numbers(portrait))
    elif portrait is not None:
        parts = [f"{words.percent(drift.effect)} of the rows in other categories", *categories(portrait)]
    if not math.isnan(drift.missing_live) and drift.kind != "missing" and drift.missing_live != drift.missing_reference:
        parts.append(f"missing {missing(drift)}")
    return "; ".join(parts)


def of_the_whole(drift: ColumnDrift) -> str:
    """Of what is no feature: `the labels moved: TV 0.200`; empty for columns and predictions."""
    said = {"label": "the labels moved", "multivariate": "columns go together differently"}.get(drift.kind)
    return f"{said}: {effect(drift)}" if said else ""


def missing(drift: ColumnDrift) -> str:
    """`1.2 % -> 8.0 %`, or one share where it stayed."""
    old, new = words.percent(drift.missing_reference), words.percent(drift.missing_live)
    return old if old == new else f"{old} -> {new}"


def numbers(portrait: Portrait) -> str:
    """`median 101 -> 130 (+29)`, or the middle half where the median stayed."""
    old, new = portrait.reference.middle, portrait.live.middle
    width = max(old[3] - old[1], new[3] - new[1], abs(new[2] - old[2]))
    places = _places(width)
    if _said(old[2], places) != _said(new[2], places):
        change = new[2] - old[2]
        sign = "+" if change > 0 else ""
        return f"median {_said(old[2], places)} -> {_said(new[2], places)} ({sign}{_said(change, places)})"
    halves = [f"{_said(side[1], places)} to {_said(side[3], places)}" for side in (old, new)]
    if halves[0] != halves[1]:
        return f"half of them {halves[0]} -> {halves[1]}"
    ends = [f"{_said(side[0], places)} to {_said(side[4], places)}" for side in (old, new)]
    return f"90 % of them {ends[0]} -> {ends[1]}"


def categories(portrait: Portrait) -> list[str]:
    """The category that moved most, and those that came and went, by name."""
    share = dict(
        zip(portrait.categories, zip(portrait.reference.shares, portrait.live.shares, strict=True), strict=True)
    )
    parts = []
    if portrait.new:
        parts.append("new " + _named(portrait.new, portrait.n_new))
    if portrait.lost:
        parts.append("lost " + _named(portrait.lost, portrait.n_lost))
    for name in portrait.categories[:1]:
        parts.append(f"{quoted(name)} {words.percent(share[name][0])} -> {words.percent(share[name][1])}")
    return parts


def quoted(name: str) -> str:
    """A category as data has it, cut where it is long."""
    said = words.clean(name)
    return f"'{said if len(said) <= LONGEST else said[: LONGEST - 3] + '...'}'"


def harm(drift: ColumnDrift, metric: str) -> str:
    """`worth up to 0.012 of roc_auc_score`; empty where it was not measured, or is nothing."""
    if not metric or math.isnan(drift.harm):
        return ""
    if drift.harm <= 0:
        return f"this model's {metric} does not depend on it"
    return f"worth up to {drift.harm:.2g} of {metric}"


def headline(report: DriftReport) -> str:
    """`3 of 20 columns drifted: x0, x7, c2`; and how many cannot be judged."""
    moved = report.drifted
    lost = sum(c.outcome is DriftOutcome.UNDECIDABLE for c in report.columns)
    names = ", ".join(words.clean(c.column) for c in moved[:5]) + (", ..." if len(moved) > 5 else "")
    said = f"{len(moved)} of {len(report.columns)} columns drifted: {names}" if moved else (
        f"no drift in {len(report.columns) - lost} columns"
    )  # fmt: skip
    return said + (f"; {lost} cannot be judged" if lost else "")


def contract(report: DriftReport) -> str:
    """Under which promise that was decided."""
    rate = f"false alarms in {words.percent(report.alpha)} of windows without drift"
    sides = f"{words.clean(report.live)} against {words.clean(report.reference)}"
    return f"{sides}; {rate}, {report.method} over columns, backend {report.backend}"


def aside(found: Contrast) -> list[str]:
    """What was guessed, and how to say it; what was left out, and why."""
    lines = []
    guessed: dict[tuple[str, str], list[str]] = {}
    for guess in found.guesses:
        guessed.setdefault((guess.kind, guess.reason), []).append(words.clean(guess.column))
    for (kind, reason), columns in guessed.items():
        taken, other = ("numbers", "categorical") if kind == "numeric" else ("categories", "numeric")
        listed = ", ".join(columns)
        lines.append(f"taken for {taken}: {listed} ({reason}); if not: {other}=[{','.join(columns)}]")
    lines += [f"left out: {words.clean(left.column)} {words.clean(left.reason)}" for left in found.left_out]
    return lines


def performance(sides: tuple[Performance, ...]) -> list[str]:
    """`roc_auc_score 0.812 [0.801, 0.823] -> 0.774 [0.761, 0.787]`, a metric a line."""
    if len(sides) != 2:
        return []
    return [
        f"{old.name} {words.interval(old)} -> {words.interval(new)}"
        for old, new in zip(sides[0].metrics, sides[1].metrics, strict=True)
    ]


def _named(names: tuple[str, ...], total: int) -> str:
    shown = ", ".join(map(quoted, names[:NAMED]))
    return f"{shown} and {total - NAMED} more" if total > NAMED else shown


def _places(width: float) -> int:
    """Decimals that show a hundredth of `width`."""
    return max(0, min(12, 2 - math.floor(math.log10(width)))) if width > 0 and math.isfinite(width) else 3


def _said(value: float, places: int) -> str:
    return words.number(value, places)
