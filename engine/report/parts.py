"""Pieces that every section of the report is made of: section, table, badge, legend, key and value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from engine.report import words
from engine.report.markup import Markup, tag

PLUS_MINUS, ARROW = "\u00b1", "\u2192"


def section(name: str, title: str, lead: str, *parts: object) -> Markup:
    """A card with an anchor, a heading, and a sentence on how to read it."""
    return tag(
        "section",
        tag("h2", title, id=f"{name}-title"),
        tag("p", lead, class_="lead") if lead else None,
        parts,
        id=name,
        aria_labelledby=f"{name}-title",
    )


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Sequence[str] = ()
) -> Markup:
    """A table that scrolls by itself where the page is narrow. Cells are children as `tag` takes them."""
    sides = ["number" if column in numeric else "whole" if column == "window" else None for column in columns]
    head = [tag("th", column, scope="col", class_=side) for column, side in zip(columns, sides, strict=True)]
    body = [tag("tr", [tag("td", cell, class_=side) for cell, side in zip(row, sides, strict=True)]) for row in rows]
    return tag(
        "div",
        tag("table", tag("caption", caption), tag("thead", tag("tr", head)), tag("tbody", body)),
        class_="scroll",
        tabindex=0,
        role="group",
        aria_label=caption,
    )


def badge(word: str) -> Markup:
    """An outcome, an action or a stage in the colour of its meaning; the word itself is always there."""
    return tag("span", word, class_=f"badge {slug(word)}")


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """Swatches with their words: (class of the swatch, words)."""
    return tag("ul", [tag("li", tag("i", class_=f"swatch {c}"), said) for c, said in entries], class_="legend")


def facts(pairs: Mapping[str, object]) -> Markup:
    """Keys and values, one a line."""
    return tag("dl", [(tag("dt", key), tag("dd", value)) for key, value in pairs.items()])


def details(summary: object, *parts: object, open_: bool = False) -> Markup:
    """Folded away until asked for."""
    return tag("details", tag("summary", summary), parts, open=open_)


def model(name: str) -> Markup:
    """A model by the head of its id; the whole id in its title."""
    return tag("code", name[:8], title=name) if name else tag("span", "none", class_="soft")


def whole(said: str) -> Markup:
    """Text that is never broken over two lines."""
    return tag("span", said, class_="whole")


def typeset(said: str) -> str:
    """The plus-minus sign where the terminal writes +-, and a percent sign that stays with its number."""
    return said.replace("+-", f"{PLUS_MINUS}{words.NO_BREAK}").replace(" %", f"{words.NO_BREAK}%")


def breakable(name: str) -> list[object]:
    """A long identifier that may be broken after its underscores and dots."""
    return [(part, tag("wbr")) for part in re.split(r"(?<=[_.])", name)]


def slug(word: str) -> str:
    """A word as a class of the style sheet."""
    return "".join(c if c.isalnum() else "-" for c in word.lower())
