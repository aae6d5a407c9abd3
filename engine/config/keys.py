"""What each key of the config means: `tidegate help decide`, `tidegate help decide.point_value`, `tidegate help why`.

The words are those that stand under the fields of the config classes, read from their source: there is one place to
write them, beside the code that they are about.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import re
import textwrap
import typing
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from engine.config.schema import Config
from engine.errors import InputError
from engine.train.conf import ResidualConf, TabularConf

WIDTH = 110
MODELS = (TabularConf, ResidualConf)  # the keys of a group that has many shapes


@dataclass(frozen=True)
class Key:
    """One key of the config."""

    name: str
    kind: str  # its type, as the source has it
    default: str  # empty: it has none, or is a mapping
    words: str

    def text(self, margin: str = "") -> str:
        """Name, type and default on one line, its meaning below."""
        head = f"{margin}{self.name}: {self.kind}" + (f" = {self.default}" if self.default else "")
        indent = f"{margin}    "
        return f"{head}\n{textwrap.fill(self.words, WIDTH, initial_indent=indent, subsequent_indent=indent)}".rstrip()


def manual(asked: str, verbs: Collection[str] = ()) -> str:
    """The keys of a verb, of a group, of everything below a key, or one of them. InputError where nothing is called so.

    What is both a verb and a group, as most stages are, has both.
    """
    known = _known()
    own = of_verb(asked) if asked in verbs else []
    found = own + [key for key in known if key.name == asked or key.name.startswith(f"{asked}.")]
    if found or asked in verbs:
        return "\n".join(key.text() for key in found)
    begins = list(dict.fromkeys(key.name.partition(".")[0] for key in known))
    near = difflib.get_close_matches(asked, [*begins, *(key.name for key in known)], 1)
    cure = f"did you mean {near[0]!r}?" if near else f"name a verb, or one of {', '.join(begins)}"
    raise InputError("help", f"there is no verb, group or key {asked[:80]!r}", cure)


def subjects() -> list[str]:
    """Every group and key that `manual` knows, once."""
    names = [key.name for key in _known()]
    return list(dict.fromkeys([*(name.partition(".")[0] for name in names), *names]))


def _known() -> list[Key]:
    return [*keys(Config), *(key for model in MODELS for key in keys(model, "model."))]


def of_verb(verb: str) -> list[Key]:
    """The keys that a verb alone is told, outside of all groups: their words begin with the verbs that take them."""
    return [key for key in keys(Config) if "." not in key.name and verb in _takers(key.words)]


def _takers(words: str) -> set[str]:
    """Each sentence may begin with verbs: `gate, promote: a model; null: the champion. card: ...`."""
    heads = [sentence.partition(":")[0] for sentence in words.split(". ") if ":" in sentence]
    return {word for head in heads for word in re.findall(r"[a-z]+", head)}


def keys(cls: type, prefix: str = "") -> Iterator[Key]:
    """The keys of a config class, those of the classes within it included."""
    hints, told = typing.get_type_hints(cls), documented(cls)
    for field in dataclasses.fields(cls):
        name = f"{prefix}{field.name}"
        inner = [t for t in (hints[field.name], *typing.get_args(hints[field.name])) if dataclasses.is_dataclass(t)]
        if inner and typing.get_origin(hints[field.name]) is not dict:
            yield from keys(typing.cast(type, inner[0]), f"{name}.")
            continue
        kind, words = told.get(field.name, ("", ""))
        yield Key(name, kind, _default(field), words)
        for one in inner:  # of a mapping, such as the rules of a gate
            yield from keys(typing.cast(type, one), f"{name}.<name>.")


def documented(cls: type) -> dict[str, tuple[str, str]]:
    """Field -> its type and the words under it, those of the classes before it included."""
    found: dict[str, tuple[str, str]] = {}
    for one in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(one):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        body = typing.cast(ast.ClassDef, tree).body
        for field, below in zip(body, [*body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                found[field.target.id] = ast.unparse(field.annotation), _text(below)
    return found


def _text(node: ast.stmt | None) -> str:
    """The words of a string that stands alone; empty where there is none."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING or isinstance(value, dict):
        return ""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
