"""A loop whose config is composed beforehand, for programs that fork it often: Hydra is half of its start."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import hydra  # noqa: F401  # loaded once, by the parent; none of these starts a thread
import lightning  # noqa: F401
import numba  # noqa: F401

from engine.config.binding import bind
from engine.config.schema import Composer
from engine.train.search_space import Point, draw
from engine.verbs import running
from tests.engine.world import World


class Known(Composer):
    """Remembers what each point composes to."""

    def __init__(self, composer: Composer, points: list[Point]) -> None:
        super().__init__(composer.overrides, composer.searchpath, composer.name)
        self._known = {str(point): composer(point) for point in [{}, *points]}

    def __call__(self, point: Point) -> Any:
        found = self._known.get(str(point))
        return super().__call__(point) if found is None else copy.deepcopy(found)


def prepare(world: World, *words: str) -> Callable[[], int]:
    """`tidegate loop` of this world as a function; it gives the exit code."""
    config, composer = world.config(*words)
    known = Known(composer, draw(bind(config.search.space, composer), config.search.num_samples, config.search.seed))
    return lambda: running.loop(copy.deepcopy(config), known, quiet=True)[0]
