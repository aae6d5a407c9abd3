"""HTML and SVG as values: what is not Markup is escaped, so that no text of the data can become an element.

`tag("td", name, class_="wide")` gives `<td class="wide">...</td>`. In attribute names a trailing underscore
is dropped and the others become hyphens. A number that is not finite has no place in a drawing: it raises
ValueError.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable

from engine.report import words

VOID = frozenset({"br", "col", "hr", "link", "meta", "wbr"})


class Markup(str):
    """Text that is already HTML."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element. Children may be Markup, text, whole numbers, None (nothing) or iterables of these."""
    head = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{head}>")
    return Markup(f"<{name}{head}>{join(children)}</{name}>")


def join(children: object) -> Markup:
    """Children one after the other, text escaped."""
    if children is None:
        return Markup("")
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(html.escape(words.clean(children)))
    if isinstance(children, int):
        return Markup(str(children))
    if isinstance(children, Iterable):
        return Markup("".join(join(child) for child in children))
    raise TypeError(f"{type(children).__name__} is no child of an element: format it first")


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}: not a place in a drawing")
        value = f"{value:.2f}".rstrip("0").rstrip(".")
    return f' {name}="{html.escape(words.clean(str(value)), quote=True)}"'
