"""Points at random from one seed, all of them before the first worker starts.

The same space and seed name the same points, in whatever order its keys were written; and a sweep that was killed goes
on with the ones it lacks.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

from engine.train.search_space.space import Point, Space

LISTED = 10_000  # a finite space up to this size gives its last points as well
TRIES = 100  # draws in a row that may be known already


def draw(space: Space, num_samples: int, seed: int, first: Point | None = None) -> list[Point]:
    """`num_samples` points for each cell of the grid; no point comes twice, so a small space may give fewer.

    `first` (the last promoted trial) is tried before the drawn ones where it has just the keys of the space and the
    space has no grid.
    """
    if not space.domains:
        return [{}]
    rng = random.Random(seed)
    warm = [first] if first and space.fits(first) and not any(d.grid for d in space.domains) else []
    points, seen = list(warm), {repr(point) for point in warm}
    for cell in space.grid():
        points += itertools.islice(_unseen(space, cell, rng, seen), num_samples - len(warm))
    return points


def _unseen(space: Space, cell: Point, rng: random.Random, seen: set[str]) -> Iterator[Point]:
    """Points of one cell of the grid that were not drawn yet, as long as there are some."""
    tries = 0
    while tries < TRIES:
        point = space.point(lambda domain: cell[domain.key] if domain.key in cell else domain.draw(rng))
        tries += 1
        if repr(point) not in seen:
            seen.add(repr(point))
            tries = 0
            yield point
    inner = Space(
        tuple(replace(d, values=(cell[d.key],)) if d.key in cell else d for d in space.domains),
        tuple(c for c in space.cells if c.agrees(cell)),
    )
    if (inner.size or LISTED + 1) > LISTED:
        return
    left = [point for point in inner.points() if repr(point) not in seen]
    rng.shuffle(left)
    for point in left:
        seen.add(repr(point))
        yield point
