"""Before a sweep starts: its points are composed and held against the schema, so that a slip costs one line and no
second of training.

A space of up to `MOST` points is checked whole. Of a larger one, or one without end: each key at each of its ends, the
corners (all keys at ends at once), and the points that are drawn first.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from engine.config import explain
from engine.config.schema import Composer
from engine.errors import ConfigError
from engine.train.conf import ModelConf, SearchConf
from engine.train.search_space import Point, Space, draw

MOST = 1000  # points that are checked, at 2 to 3 ms a point
CORNERS = 256  # of them
Resolve = Callable[[str], type]  # the class that `model._target_` names, or ConfigError


@dataclass(frozen=True)
class Checked:
    """A space, and how much of it was checked."""

    space: Space
    points: int
    size: int | None  # of the space; None where it has no end
    models: tuple[tuple[Point, ModelConf], ...] = ()  # of each class and set of keys that was met, one, and its point

    @property
    def words(self) -> str:
        """One line for people."""
        if self.points == self.size:
            return f"the space has {self.size} points, all of them checked"
        size = "points without end" if self.size is None else f"{self.size} points"
        return f"the space has {size}; {self.points} checked: every end of every key, corners, and the first drawn"


def check_points(space: Space, search: SearchConf, composer: Composer, resolve: Resolve) -> Checked:
    """Compose the points of a space; of each model, the class must exist, be trusted, and take the arguments.

    ConfigError is the first refusal: of a searched key it reads `search.space:key: ...`.
    """
    models: dict[tuple[str, ...], tuple[Point, ModelConf]] = {}
    count = 0
    for point in _points(space, search):
        with _as_of_the_space(point, space):
            _, model = composer(point)
            if (told := (str(model["_target_"]), *sorted(model))) not in models:
                _check_arguments(model, resolve)
                models[told] = point, model
        count += 1
    return Checked(space, count, space.size, tuple(models.values()))


def check_models(checked: Checked, resolve: Resolve) -> None:
    """Hold the models of points that were checked against their classes, now that these may be imported; refusals are
    those of `check_points`.
    """
    for point, model in checked.models:
        with _as_of_the_space(point, checked.space):
            _check_arguments(model, resolve)


@contextmanager
def _as_of_the_space(point: Point, space: Space) -> Iterator[None]:
    """What is wrong with a searched key of this point is said of that key."""
    try:
        yield
    except Exception as error:
        refusal = _refusal(error, point, space)
        if refusal is None:
            raise
        raise refusal from error


def _points(space: Space, search: SearchConf) -> Iterator[Point]:
    """The points to check, each once."""
    if space.size is not None and space.size <= MOST:
        yield from space.points()
        return
    seen: set[str] = set()
    for point in itertools.chain(space.extremes(), _corners(space, search.seed), _drawn(space, search)):
        if repr(point) not in seen:
            seen.add(repr(point))
            yield point


def _corners(space: Space, seed: int) -> list[Point]:
    """All corners where they are few, else a sample of them."""
    found = list(itertools.islice(space.corners(), CORNERS + 1))
    if len(found) <= CORNERS:
        return found
    rng = random.Random(seed)
    return [space.point(lambda domain: rng.choice(domain.ends)) for _ in range(CORNERS)]


def _drawn(space: Space, search: SearchConf) -> list[Point]:
    """The first points of the sweep itself."""
    return draw(space, min(search.num_samples, MOST), search.seed)[: MOST - CORNERS]


def _check_arguments(model: ModelConf, resolve: Resolve) -> None:
    """Would the class take these keys; a class that takes any (**kwargs) does."""
    cls = resolve(str(model["_target_"]))
    takes = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        return
    for key in model:
        if key != "_target_" and key not in takes:
            known = [name for name in takes if name not in ("spec", "train")]
            near = difflib.get_close_matches(key, known, 1)
            cure = f"it takes {', '.join(known) or 'none'}; model=custom search=none bring no keys of their own"
            cure = f"did you mean {near[0]!r}?" if near else cure
            raise ConfigError(f"model.{key}", f"{cls.__name__} has no argument {key!r}", cure)


def _refusal(error: Exception, point: Point, space: Space) -> ConfigError | None:
    """The error as one of a searched key; None where it is about something else."""
    line = str(error) if isinstance(error, ConfigError) else explain.one_line(error)
    if line is None:
        return None
    where, _, rest = line.removeprefix("config:").partition(": ")
    what, _, cure = rest.rpartition(" - ")
    about = [key for key in point if f"{where}.".startswith(f"{key.lstrip('+')}.")]
    if not about:
        return None
    key = max(about, key=len)
    groups = [f"{group}={point[group]}" for group in space.groups if group in point and group != key]
    under = f" (with {', '.join(groups)})" if groups else ""
    return ConfigError(f"search.space:{key}", f"{what}{under}", cure)
