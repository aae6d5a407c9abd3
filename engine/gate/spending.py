"""Boundaries of repeated looks by alpha spending (Lan and DeMets 1983), in plain Python.

A test that is looked at K times has a chance of K to be lucky. Spending functions say how much of alpha may be used up
by each look; the critical value of a look is the one that uses up just that much, given that no earlier look crossed
its own (Armitage, McPherson and Rowe 1969; Jennison and Turnbull 2000, chapter 19). The statistics Z_1 .. Z_K of
growing data have correlation sqrt(V_i / V_j), where V is the information that had accrued. All is one-sided.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from types import MappingProxyType

NORMAL = NormalDist()
FAR = 8.0  # beyond it a normal variable does not go: 6e-16
POINTS = 10  # Gauss-Legendre nodes of a panel
SMALLEST = 1e-14  # below it nothing is left to spend


def obrien_fleming(alpha: float, fraction: float) -> float:
    """2 (1 - Phi(z_(alpha/2) / sqrt t)): next to nothing at first, nearly all of alpha at the end."""
    return 2.0 * NORMAL.cdf(NORMAL.inv_cdf(alpha / 2.0) / math.sqrt(fraction))


def pocock(alpha: float, fraction: float) -> float:
    """alpha ln(1 + (e - 1) t): about the same critical value at every look."""
    return alpha * math.log(1.0 + (math.e - 1.0) * fraction)


SPENDING: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {"obrien_fleming": obrien_fleming, "pocock": pocock}
)


def critical(information: Sequence[float], earlier: Sequence[float], spend: float) -> float:
    """The critical value of the newest look: crossing it, or one before it, has the chance `spend` under the null.

    Args:
        information: V_1 < .. < V_k, positive, on any scale.
        earlier: critical values of the k - 1 looks before, infinite where a look could not cross.
        spend: how much of alpha may be used up until now.

    Returns infinity where the earlier looks have used it up. Accurate to 1e-6; about 1 ms a look for K = 5.
    """
    return _critical(tuple(information), tuple(earlier), spend)


@functools.lru_cache(maxsize=4096)
def _critical(information: tuple[float, ...], earlier: tuple[float, ...], spend: float) -> float:
    if not earlier:
        return -NORMAL.inv_cdf(spend) if spend > SMALLEST else math.inf
    path = _path(information, earlier)
    left = spend - path.spent
    if left <= SMALLEST:
        return math.inf
    low, high = -FAR, FAR
    while high - low > 1e-10:
        middle = (low + high) / 2.0
        if path.crossing(information[-1], middle) > left:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def crossings(information: Sequence[float], bounds: Sequence[float]) -> list[float]:
    """The chance to cross each bound first, under the null."""
    ahead = (*information, 2.0 * information[-1])
    spent = [0.0, *(_path(tuple(ahead[: k + 1]), tuple(bounds[:k])).spent for k in range(1, len(bounds) + 1))]
    return [after - before for before, after in itertools.pairwise(spent)]


class Path:
    """Where Z may be after some looks, none of which crossed: masses at the nodes of a quadrature."""

    def __init__(self, spent: float, information: float, nodes: list[float], masses: list[float]) -> None:
        self.spent, self.information, self.nodes, self.masses = spent, information, nodes, masses

    def crossing(self, information: float, bound: float) -> float:
        """The chance that Z at that information is `bound` or more."""
        root, step = math.sqrt(self.information), math.sqrt(2.0 * (information - self.information))
        far = bound * math.sqrt(information)
        return 0.5 * sum(
            mass * math.erfc((far - z * root) / step) for z, mass in zip(self.nodes, self.masses, strict=True)
        )

    def density(self, information: float, z: float) -> float:
        """Of Z at that information, none having crossed."""
        gap = information - self.information
        here, root = z * math.sqrt(information), math.sqrt(self.information)
        scale = math.sqrt(information / (2.0 * math.pi * gap))
        pairs = zip(self.nodes, self.masses, strict=True)
        return scale * sum(mass * math.exp(-0.5 * (here - x * root) ** 2 / gap) for x, mass in pairs)


@functools.lru_cache(maxsize=256)
def _path(information: tuple[float, ...], bounds: tuple[float, ...]) -> Path:
    """After as many looks as there are bounds; `information` is also that of the next look, for which nodes lie close
    enough. Looks are made again and again with the same past, which is therefore kept.
    """
    now, then = information[-2:]
    bound, width = min(bounds[-1], FAR), math.sqrt((then - now) / now)
    if len(bounds) == 1:
        nodes, weights = _quadrature(bound, min(1.0, width))
        masses = [w * NORMAL.pdf(z) for z, w in zip(nodes, weights, strict=True)]
        return Path(NORMAL.cdf(-bounds[0]), now, nodes, masses)
    before = _path(information[:-1], bounds[:-1])
    nodes, weights = _quadrature(bound, min(width, math.sqrt((now - before.information) / now)))
    masses = [w * before.density(now, z) for z, w in zip(nodes, weights, strict=True)]
    spent = before.spent + (before.crossing(now, bounds[-1]) if math.isfinite(bounds[-1]) else 0.0)
    return Path(spent, now, nodes, masses)


def _quadrature(bound: float, width: float) -> tuple[list[float], list[float]]:
    """Nodes and weights from -FAR to the bound, in panels that a bump of that width is smooth on."""
    panels = max(4, math.ceil((bound + FAR) / (2.5 * max(width, 0.02))))
    half = (bound + FAR) / (2.0 * panels)
    nodes, weights = [], []
    for panel in range(panels):
        middle = -FAR + (2 * panel + 1) * half
        for x, w in _legendre():
            nodes.append(middle + half * x)
            weights.append(half * w)
    return nodes, weights


@functools.cache
def _legendre() -> tuple[tuple[float, float], ...]:
    """Nodes and weights of Gauss and Legendre on [-1, 1], by Newton's method."""
    found = []
    for i in range(POINTS):
        x = math.cos(math.pi * (i + 0.75) / (POINTS + 0.5))
        for _ in range(50):
            p, q = 1.0, 0.0
            for j in range(POINTS):
                p, q = ((2 * j + 1) * x * p - j * q) / (j + 1), p
            slope = POINTS * (x * p - q) / (x * x - 1.0)
            x -= p / slope
            if abs(p / slope) < 1e-15:
                break
        found.append((x, 2.0 / ((1.0 - x * x) * slope * slope)))
    return tuple(found)
