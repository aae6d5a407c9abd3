"""Population-based training: who takes over from whom, and how hyperparameters change. Pure.

Every `perturbation_interval` epochs the worst `quantile` of the population goes on with weights, optimizer and
hyperparameters of one of the best, each hyperparameter drawn anew or perturbed (Jaderberg et al. 2017,
arXiv:1711.09846: truncation selection, and explore by perturbing or resampling). Rounds are synchronous: all members
have trained the same epochs when they are compared, however few of them run at a time, so a round is a function of
their values, of `search.seed` and of its epoch, and of nothing else.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import ConfigError
from engine.train.conf import SearchConf
from engine.train.naming import index_of
from engine.train.search_space import Domain, Point, Space
from engine.train.searchers import seed_of

OF_TRAINING = ("train.lr", "train.weight_decay", "train.batch_size")  # keys that may change between two epochs
CURE = "fix its value, or choose another search.scheduler"


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """A trial goes on with the state of another one, the donor, and hyperparameters made of its."""

    after: int  # epochs that both had trained
    trial: str
    value: float  # of the trial after that epoch; NaN where it had failed
    donor: str
    donor_value: float
    params: Point  # of the trial from then on


def takeovers(
    conf: SearchConf,
    domains: Sequence[Domain],
    after: int,
    values: Mapping[str, float],
    lost: frozenset[str],
    points: Mapping[str, Point],
) -> tuple[Takeover, ...]:
    """Who takes over after epoch `after`, in the order of their indices; empty where nobody has a finite value.

    Args:
        conf: search.quantile, perturbation, resample and seed are read, and `mode` of the values is not: see `values`.
        domains: what may be drawn.
        values: of every member after that epoch, signed so that more is better; NaN is worse than any number.
        lost: members that failed: they take over also where they are more than the quantile.
        points: hyperparameters of every member.
    """
    order = sorted(values, key=lambda trial: (-_number(values[trial]), index_of(trial)))
    count = min(math.ceil(conf.quantile * len(order)), len(order) // 2)
    best = [trial for trial in order[:count] if math.isfinite(values[trial]) and trial not in lost]
    if not best:
        return ()
    found = []
    for trial in sorted({*order[len(order) - count :], *lost}, key=index_of):
        rng = random.Random(seed_of(conf.seed, after, index_of(trial)))
        donor = rng.choice(best)
        params = explore(conf, domains, points[donor], rng)
        found.append(
            Takeover(
                after=after,
                trial=trial,
                value=values[trial],
                donor=donor,
                donor_value=values[donor],
                params=params,
            )
        )
    return tuple(found)


def explore(conf: SearchConf, domains: Sequence[Domain], point: Point, rng: random.Random) -> Point:
    """Hyperparameters near those of `point`, each one drawn anew with probability `search.resample`."""
    return {
        domain.key: domain.draw(rng) if rng.random() < conf.resample else _perturbed(conf, domain, point, rng)
        for domain in domains
        if domain.key in point
    }


def _perturbed(conf: SearchConf, domain: Domain, point: Point, rng: random.Random) -> Any:
    """A neighbour in a list; else the number times 1 -/+ search.perturbation, within the interval. A whole number
    changes by one at least.
    """
    value, sign = point[domain.key], rng.choice((-1, 1))
    if domain.values:
        ordered = sorted(domain.values)
        return ordered[min(max(ordered.index(value) + sign, 0), len(ordered) - 1)]
    new = value * (1 + sign * conf.perturbation)
    if domain.integer:
        new = round(new) if round(new) != value else value + sign
        return min(max(new, int(domain.low)), int(domain.high))
    return min(max(new, domain.low), domain.high)


def _number(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def check_space(space: Space) -> None:
    """Every key of the space is a number that may change while a trial trains; ConfigError for the first that is not.

    Whether a key of the model changes the shape of its weights is found out once the rows are known (shapes.py).
    """
    if not space.domains:
        raise ConfigError("search.space", "pbt has nothing to change", "name a key such as train.lr in search.space")
    for domain in space.domains:
        where, bare = f"search.space:{domain.key}", domain.key.lstrip("+")
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in domain.values):
            raise ConfigError(where, "pbt changes numbers alone, and these values are none", CURE)
        if bare.startswith("train.") and bare not in OF_TRAINING:
            raise ConfigError(where, f"of train, pbt can change {', '.join(OF_TRAINING)} alone", CURE)
