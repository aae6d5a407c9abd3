"""The heat map of drift: columns of the data by window."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from engine.records import ColumnDrift, DriftOutcome
from engine.report import words
from engine.report.axes import Band, band, drawing, text, window_names
from engine.report.markup import Markup, tag

FULL_HEAT = 3.0  # effect over floor at which a cell has its full colour
CELL_HEIGHT = 21.0


def heat_map(names: Sequence[str], rows: Mapping[str, Mapping[int, ColumnDrift]], key: str) -> Markup:
    """Columns of the data by window: effect over its floor as colour and number, drift as a dot.

    Args:
        names: the windows.
        rows: drift by column of the data, then by position of the window.
        key: tells this map from others on the page.
    """
    longest = max((len(name) for name in rows), default=8)
    columns = band(names, min(230.0, 24.0 + 7.2 * longest), widest=72.0)
    top = 6.0
    bottom = top + CELL_HEIGHT * len(rows)
    labels = [
        tag(
            "g",
            tag("title", name),
            text(columns.left - 8, top + CELL_HEIGHT * row + 15, _cut(name, 29), anchor="end"),
        )
        for row, name in enumerate(rows)
    ]
    cells = [
        _cell(columns, key, column, top + CELL_HEIGHT * row, drift)
        for row, by_window in enumerate(rows.values())
        for column, drift in by_window.items()
    ]
    return drawing(
        "Drift by column of the data and window, as effect over its floor",
        columns.right + 16,
        bottom + 26,
        tag(
            "defs",
            tag(
                "pattern",
                tag("path", d="M0 6L6 0", class_="hatch"),
                id=f"hatch-{key}",
                width=6,
                height=6,
                patternUnits="userSpaceOnUse",
            ),
        ),
        labels,
        cells,
        window_names(columns, bottom + 18),
    )


def _cell(columns: Band, key: str, column: int, y: float, drift: ColumnDrift) -> Markup:
    x, width = columns.left + columns.step * column + 1, columns.step - 2
    size = {"x": x, "y": y + 1, "width": width, "height": CELL_HEIGHT - 2, "rx": 2}
    lost = drift.outcome is DriftOutcome.UNDECIDABLE or not math.isfinite(drift.effect)
    ratio = 0.0 if lost else abs(drift.effect) / drift.floor if drift.floor else abs(drift.effect)
    said = (
        f"{drift.column}, {columns.names[column]}: {drift.outcome.value}; {drift.statistic} "
        f"{words.number(drift.effect, 4)}, floor {words.number(drift.floor, 4)}, "
        f"adjusted p {words.pvalue(drift.adjusted_pvalue)}{', ' if drift.reason else ''}{drift.reason}"
    )
    moved = drift.outcome is DriftOutcome.DRIFT
    shown = "?" if lost else f"{ratio:.1f}" if columns.step >= 30 else ""
    return tag(
        "g",
        tag("title", said),
        tag("rect", **size, class_="cell"),
        tag("rect", **size, fill=f"url(#hatch-{key})") if lost else None,
        tag("rect", **size, class_="heat", fill_opacity=min(1.0, ratio / FULL_HEAT)) if not lost else None,
        tag("rect", **size, class_="moved") if moved else None,
        tag("circle", cx=x + 6, cy=y + CELL_HEIGHT / 2, r=2.5, class_="movedot") if moved else None,
        text(x + width / 2 + (3 if moved else 0), y + 15, shown, anchor="middle", class_="small"),
    )


def _cut(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 2]}.."
