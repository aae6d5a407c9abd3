"""An expression of Hydra's sweep grammar as a domain.

    choice(a, b) or a,b     one of these            tag(grid, choice(a, b))  each of these
    range(1, 9, 2)          one of 1 3 5 7          interval(0.1, 0.5)       uniform between
    tag(log, interval(..))  log-uniform             int(interval(1, 9))      a whole number, both ends possible
    glob(a*)                options of a group      sort(..), float(..), str(..), bool(..), int(..)  as in Hydra

What Hydra would lose without a word (the tag of `int(tag(grid, choice(1,2)))`), or would draw anew in each process
(`shuffle`), is refused with a line. One thing is ours: both ends of an interval can be drawn.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from engine.errors import ConfigError
from engine.train.search_space.domain import Domain

Options = Callable[[str], Sequence[str]]  # of a config group; empty where the key is none

CURE = "write it in Hydra's sweep grammar, such as choice(64,128) or tag(log,interval(1e-4,1e-2))"
MOST = 100_000  # values that one key may list
QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""")


def parse(key: str, expression: str, options: Options = lambda key: ()) -> Domain:
    """The domain that `key=expression` names; ConfigError where it names none.

    `options` gives the options of a config group: `glob` chooses among them, and other values must be some of them.
    """
    from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, RangeSweep
    from hydra.errors import HydraException

    where = f"search.space:{key}"
    try:
        override = _parser().parse_override(f"{key}={expression}")
    except (HydraException, ValueError, RecursionError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(where, f"{expression!r} cannot be read ({said})", CURE) from error
    value: Any = override.value()
    tags = set(getattr(value, "tags", ()))
    _refuse_what_is_lost(where, expression, tags)
    if isinstance(value, IntervalSweep):
        return _interval(where, key, value, tags)
    if "log" in tags:
        raise ConfigError(where, f"{expression!r} has no scale", "use tag(log, ...) with an interval")
    known = options(override.key_or_group)
    if isinstance(value, Glob):
        values = _matching(where, expression, value, known)
    elif isinstance(value, RangeSweep):
        values = _range(where, expression, value)
    else:
        listed = value.list if isinstance(value, ChoiceSweep) else [value]
        values = tuple(_plain(where, v) for v in listed)
    if not values:
        raise ConfigError(where, f"{expression!r} names no values", CURE)
    if known and not any(isinstance(v, dict) for v in values):  # a mapping is merged into the group instead
        values = tuple(_option(where, v, known) for v in values)
    _refuse_twice(where, values)
    return Domain(key, values=values, grid="grid" in tags)


@functools.cache
def _parser() -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()


def _refuse_what_is_lost(where: str, expression: str, tags: set[str]) -> None:
    bare = QUOTED.sub("", expression)
    if unknown := tags - {"log", "int", "grid"}:
        raise ConfigError(where, f"unknown tag {min(unknown)!r}", "use the tags log, int or grid")
    if len(re.findall(r"\btag\s*\(", bare)) > bool(tags):
        raise ConfigError(where, "a tag inside another function is lost", "write tag outside: tag(grid, int(...))")
    if re.search(r"\bshuffle\s*\(", bare):
        what = "shuffle would order the values anew in every process"
        raise ConfigError(where, what, "leave it out: points are drawn in an order that search.seed gives")


def _interval(where: str, key: str, value: Any, tags: set[str]) -> Domain:
    low, high = float(value.start), float(value.end)
    integer = "int" in tags or (isinstance(value.start, int) and isinstance(value.end, int))
    if "grid" in tags:
        raise ConfigError(where, "an interval has no grid", "use range or choice with tag(grid, ...)")
    if math.isinf(low) or math.isinf(high):
        raise ConfigError(where, "an interval needs finite ends", "choose both ends")
    if not low < high:
        raise ConfigError(where, f"the interval ends at {high:g}, at or below its start", "swap or widen the ends")
    if "log" in tags and low <= 0:
        raise ConfigError(where, f"a log interval cannot start at {low:g}", "start it above 0")
    if integer and (low % 1 or high % 1):
        raise ConfigError(where, "an int interval needs whole ends", "round both ends")
    return Domain(key, low=low, high=high, log="log" in tags, integer=integer)


def _range(where: str, expression: str, value: Any) -> tuple[Any, ...]:
    """The numbers of a range, counted before they are listed."""
    if not (value.step and all(math.isfinite(number) for number in (value.start, value.stop, value.step))):
        raise ConfigError(where, f"{expression!r} names no values", CURE)
    count = (value.stop - value.start) / value.step
    if count > MOST:
        what = f"{expression!r} names {count:.0f} values, and {MOST} is the most"
        raise ConfigError(where, what, "widen the step, or use int(interval(...))")
    return tuple(value.range())


def _matching(where: str, expression: str, value: Any, known: Sequence[str]) -> tuple[str, ...]:
    if not known:
        cure = "list the values of a key with choice(...)"
        raise ConfigError(where, "glob chooses among the options of a config group, and this is none", cure)
    found = tuple(value.filter(list(known)))
    if not found:
        raise ConfigError(where, f"{expression!r} matches no option", f"choose among {', '.join(known)}")
    return found


def _option(where: str, value: Any, known: Sequence[str]) -> str:
    if str(value) not in known:
        near = difflib.get_close_matches(str(value), known, 1)
        cure = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
        raise ConfigError(where, f"there is no option {str(value)!r}", cure)
    return str(value)


def _refuse_twice(where: str, values: Sequence[Any]) -> None:
    seen = set()
    for value in values:
        if (told := (type(value).__name__, repr(value))) in seen:
            raise ConfigError(where, f"{value!r} is there twice", "leave one out: all values are equally likely")
        seen.add(told)


def _plain(where: str, value: Any) -> Any:
    """A value without the grammar's own types."""
    from hydra.core.override_parser.types import Glob, QuotedString, Sweep

    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(where, v) for v in value]
    if isinstance(value, dict):
        return {_plain(where, k): _plain(where, v) for k, v in value.items()}
    if isinstance(value, Sweep | Glob):
        raise ConfigError(where, "a sweep inside a value", "write all values in one choice(...)")
    return value
