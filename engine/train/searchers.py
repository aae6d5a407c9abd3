"""Which points are tried: all drawn up front, or each one from what the earlier trials gave.

    random   independent points of the space (search_space.draw)
    grid     every point of a finite space, once
    tpe      tree-structured Parzen estimators (Bergstra et al. 2011), of several metrics Ozaki et al. 2022; Optuna
    gp       a Gaussian process with expected improvement, of several metrics its hypervolume; Optuna, with SciPy

Asking and telling are in our hands. A searcher holds no state: it is told every earlier trial again, in the order in
which they were started, and draws from a seed of its own for each index. So the point of a trial is a function of the
space, the seed and the record, and a sweep that was killed goes on as it would have; no study is stored, and none is
read back.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.errors import ConfigError
from engine.records import Trial, TrialState
from engine.scoring.scores import direction
from engine.train.conf import SearchConf
from engine.train.search_space import Domain, Point, Space, draw

TRIES = 20  # points asked for before one that was tried already is replaced by a random one
GRID = 100_000  # points of a grid at most


@dataclass(frozen=True)
class Seen:
    """A point that was tried, and its trial once that has ended."""

    point: Point
    trial: Trial | None


class Searcher(Protocol):
    """Suggests the next point, given all earlier ones in the order in which they were started."""

    def suggest(self, seen: Sequence[Seen]) -> Point | None:
        """A point not seen yet; None where the space has no other."""


def begin(conf: SearchConf, space: Space, first: Point | None) -> tuple[list[Point], Searcher | None]:
    """The points that are known before the sweep starts, and who suggests the others (None: there are no others).

    `first` (the last promoted trial) is tried before all others where it fits the space.

    Raises:
        ConfigError: the space is not finite for a grid, or the searcher's packages are not installed.
    """
    warm = first if first and fits(space, first) else None
    if conf.searcher == "random":
        return draw(space, conf.num_samples, conf.seed, warm), None
    if not space.domains:
        return [{}], None
    if conf.searcher == "grid":
        return _grid(space, warm), None
    for domain in space.domains:
        if domain.grid:
            cure = "drop tag(grid, ...), or choose random or grid"
            raise ConfigError(f"search.space:{domain.key}", f"{conf.searcher} chooses every value itself", cure)
    return [warm] if warm else [], OptunaSearcher(conf, space)


def fits(space: Space, point: Point) -> bool:
    """Is this a point of the space: just the keys of its cell, each with a value that its domain has."""
    return space.fits(point) and all(_has(d, point[d.key]) for d in space.active(point))


def _has(domain: Domain, value: Any) -> bool:
    if domain.values:
        return value in domain.values
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and domain.low <= value <= domain.high and (not domain.integer or value == int(value))


def _grid(space: Space, warm: Point | None) -> list[Point]:
    """Every point, the last key fastest."""
    whole = space.as_grid()
    if (whole.size or 0) > GRID:
        cure = "name fewer values, or choose search.searcher=random"
        raise ConfigError("search.space", f"the grid has {whole.size} points", cure)
    return ([warm] if warm else []) + [point for point in whole.points() if point != warm]


class OptunaSearcher:
    """Optuna's samplers, each asked with a fresh study that holds all earlier trials."""

    def __init__(self, conf: SearchConf, space: Space) -> None:
        needs = {"optuna": "optuna", "scipy": "'tidegate[gp]'"} if conf.searcher == "gp" else {"optuna": "optuna"}
        for package, name in needs.items():
            if importlib.util.find_spec(package) is None:
                cure = f"pip install {name}, or choose another searcher"
                raise ConfigError("search.searcher", f"{conf.searcher} needs {package}, which is not installed", cure)
        self.conf, self.space = conf, space
        names = (conf.metric, *conf.further)
        self.directions = ["maximize" if direction(name) == "max" else "minimize" for name in names]

    def suggest(self, seen: Sequence[Seen]) -> Point | None:
        """A point not seen yet; None where the space has no other."""
        tried = [s.point for s in seen]
        for attempt in range(TRIES):
            point = self._ask(seen, seed_of(self.conf.seed, len(seen), attempt))
            if point not in tried:
                return point
        return _unseen(self.space, tried, random.Random(seed_of(self.conf.seed, len(seen), TRIES)))

    def _ask(self, seen: Sequence[Seen], seed: int) -> Point:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(directions=self.directions, sampler=self._sampler(seed))
        study.add_trials([self._frozen(s) for s in seen if fits(self.space, s.point)])
        trial = study.ask()
        return self.space.point(lambda domain: _suggest(trial, domain))

    def _sampler(self, seed: int) -> Any:
        import optuna

        if self.conf.searcher == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=self.conf.startup)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.conf.startup, constant_liar=True)

    def _frozen(self, seen: Seen) -> Any:
        """A trial as Optuna knows it. One that a scheduler stopped counts with the value of its last epoch; one that
        failed, or that gave nothing finite, says only that its point was tried.
        """
        from optuna.trial import TrialState as State
        from optuna.trial import create_trial

        domains = self.space.active(seen.point)
        common: dict[str, Any] = {
            "params": {d.key: d.values.index(seen.point[d.key]) if d.values else seen.point[d.key] for d in domains},
            "distributions": {d.key: _distribution(d) for d in domains},
        }
        trial = seen.trial
        if trial is None:
            return create_trial(state=State.RUNNING, **common)
        values = objectives(trial)
        if trial.state is TrialState.FINISHED and values and all(map(math.isfinite, values)):
            return create_trial(state=State.COMPLETE, values=values, **common)
        curve = {epoch.epoch: epoch.value for epoch in trial.curve if math.isfinite(epoch.value)}
        if trial.state is TrialState.STOPPED and curve and len(self.directions) == 1:
            return create_trial(state=State.PRUNED, intermediate_values=curve, **common)
        return create_trial(state=State.FAIL, **common)


def objectives(trial: Trial) -> tuple[float, ...]:
    """The values of all metrics of the sweep at the trial's best epoch, that of `search.metric` first; () where it has
    none.
    """
    for epoch in trial.curve:
        if epoch.epoch == trial.best_epoch:
            return (epoch.value, *epoch.others)
    return ()


def seed_of(seed: int, index: int, attempt: int) -> int:
    """A seed of its own for every question that is asked of a sampler."""
    return int.from_bytes(hashlib.sha256(f"{seed} {index} {attempt}".encode()).digest()[:4], "big")


def _ordered(domain: Domain) -> bool:
    """Is this a list of ascending numbers, neighbours of which are alike."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in domain.values)
    return numbers and all(a < b for a, b in itertools.pairwise(domain.values))


def _distribution(domain: Domain) -> Any:
    """Optuna's form of a domain; of listed values, whatever they are, it is told the place in the list."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if domain.values:
        last = len(domain.values) - 1
        return IntDistribution(0, last) if _ordered(domain) else CategoricalDistribution(tuple(range(last + 1)))
    if domain.integer:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _suggest(trial: Any, domain: Domain) -> Any:
    """A value of the domain, as `_distribution` describes it."""
    if domain.values:
        last = len(domain.values) - 1
        if _ordered(domain):
            return domain.values[trial.suggest_int(domain.key, 0, last)]
        return domain.values[trial.suggest_categorical(domain.key, tuple(range(last + 1)))]
    if domain.integer:
        return trial.suggest_int(domain.key, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(domain.key, domain.low, domain.high, log=domain.log)


def _unseen(space: Space, tried: list[Point], rng: random.Random) -> Point | None:
    """A random point not tried yet; None where there is none left, or none was found."""
    for _ in range(100):
        point = space.point(lambda domain: domain.draw(rng))
        if point not in tried:
            return point
    if space.size is None or space.size > GRID:
        return None
    left = [point for point in space.points() if point not in tried]
    return rng.choice(left) if left else None
