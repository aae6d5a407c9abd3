"""Worlds of which the truth is known: rows, two models on them, and what each is worth on all rows there could be."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.records import Task
from engine.scoring.intervals import Rows
from engine.scoring.scores import score

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]  # target, champion, challenger, cluster
ALL = 500_000


@dataclass(frozen=True)
class World:
    """How rows come. `share` of them are sought; `equal`: the models are interchangeable."""

    name: str
    task: Task
    draw: Callable[[np.random.Generator, int, float], Drawn]
    equal: bool = True

    def rows(self, rng: np.random.Generator, n: int, share: float, first: int) -> tuple[Rows, np.ndarray, np.ndarray]:
        target, champion, challenger, cluster = self.draw(rng, n, share)
        ids = np.arange(first, first + n)
        return Rows(task=self.task, target=target, ids=ids, cluster=cluster), champion, challenger


@functools.cache
def truth(metric: str, world: World, share: float) -> tuple[float, float]:
    """(challenger minus champion, challenger), on half a million rows; the difference of equal models is 0 exactly."""
    target, *models, _ = world.draw(np.random.default_rng(99), ALL, share)
    old, new = (score(metric, world.task, target, model) for model in models)
    return 0.0 if world.equal else new - old, new


def _chance(logit: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def _alike(rng: np.random.Generator, n: int, share: float) -> Drawn:
    """Two models that err alike, each on its own rows."""
    target = (rng.random(n) < share).astype(np.float64)
    base = np.log(share / (1.0 - share)) - 0.6
    one, two = _chance(base + 1.5 * target + rng.normal(size=(2, n)))
    return target, one, two, None


def _bold(rng: np.random.Generator, n: int, share: float) -> Drawn:
    """A challenger that thinks less of every row: it wins a little on most rows and pays on the rare ones."""
    target = (rng.random(n) < share).astype(np.float64)
    base = np.log(share / (1.0 - share)) - 0.6 + 1.5 * target + 0.7 * rng.normal(size=n)
    one, two = (_chance(base - less + 0.7 * rng.normal(size=n)) for less in (0.0, 1.0))
    return target, one, two, None


def _coarse(rng: np.random.Generator, n: int, share: float) -> Drawn:
    """The bold world, its chances rounded to tenths: many ties, and answers that are surely wrong."""
    target, one, two, _ = _bold(rng, n, share)
    return target, np.clip(np.round(one, 1), 0.01, 0.99), np.clip(np.round(two, 1), 0.01, 0.99), None


def _errors(law: str) -> Callable[[np.random.Generator, int, float], Drawn]:
    """A regression with errors of that law; `uneven`: those of the challenger are lognormal, the champion's normal."""

    def draw(rng: np.random.Generator, n: int, _: float) -> Drawn:
        target = rng.normal(size=n)
        if law == "uneven":
            one, two = 1.2 * rng.normal(size=n), rng.lognormal(size=n) - 0.5
        else:
            laws = {"normal": rng.standard_normal, "t3": lambda size: rng.standard_t(3, size), "lognormal": None}
            made = laws[law]
            one, two = rng.lognormal(size=(2, n)) if made is None else made((2, n))
        return target, target + one, target + two, None

    return draw


def _shops(clusters: int) -> Callable[[np.random.Generator, int, float], Drawn]:
    """Rows of `clusters` shops; each shop has its luck with either model, and of either luck a shop may have much."""

    def draw(rng: np.random.Generator, n: int, _: float) -> Drawn:
        shops = clusters * max(n // ALL * ALL // (10 * clusters), 1) if n >= ALL else clusters
        cluster = np.arange(n) % shops
        target = rng.normal(size=n)
        one, two = (rng.exponential(size=shops)[cluster] * rng.normal(size=n) + target for _ in range(2))
        return target, one, two, cluster

    return draw


def _three(rng: np.random.Generator, n: int, share: float) -> Drawn:
    """Three classes, of which the last is rare."""
    target = rng.choice(3, size=n, p=[0.6, 0.4 - share, share]).astype(np.float64)
    hot = np.eye(3)[target.astype(int)]
    base = np.log([0.6, 0.4 - share, share])
    models = np.exp(base + 1.5 * hot + rng.normal(size=(2, n, 3)))
    one, two = models / models.sum(axis=-1, keepdims=True)
    return target, one, two, None


ALIKE = World("alike", Task.BINARY, _alike)
BOLD = World("bold", Task.BINARY, _bold, equal=False)
COARSE = World("coarse", Task.BINARY, _coarse, equal=False)
NORMAL = World("normal", Task.REGRESSION, _errors("normal"))
HEAVY = World("t3", Task.REGRESSION, _errors("t3"))
LONG = World("lognormal", Task.REGRESSION, _errors("lognormal"))
UNEVEN = World("uneven", Task.REGRESSION, _errors("uneven"), equal=False)
SHOPS = {clusters: World(f"{clusters} shops", Task.REGRESSION, _shops(clusters)) for clusters in (6, 12, 40)}
THREE = World("three classes", Task.MULTICLASS, _three)
