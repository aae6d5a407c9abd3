"""Does a hyperparameter change what a network's weights look like: then no trial can go on with another one's."""

from __future__ import annotations

from engine.errors import ConfigError
from engine.records import FeatureSpec
from engine.train.naming import index_of
from engine.train.population import CURE
from engine.train.sweep import Population, TrialPlan


def check_shapes(population: Population, first: TrialPlan, spec: FeatureSpec, trusted: tuple[str, ...]) -> None:
    """No searched key of the model changes the names or shapes of its weights; ConfigError for the first that does.

    Builds the model with both ends of each such key.
    """
    domains = [d for d in population.domains if not d.key.lstrip("+").startswith("train.") and d.key in first.params]
    if not domains:
        return
    own = _shapes(first, spec, trusted)
    for domain in domains:
        for end in domain.ends:
            found = _shapes(population.plan(index_of(first.id), {**first.params, domain.key: end}), spec, trusted)
            other = next((name for name in {**own, **found} if own.get(name) != found.get(name)), None)
            if other is not None:
                what = f"pbt hands weights on, and this key changes the shape of {other}"
                raise ConfigError(f"search.space:{domain.key}", what, CURE)


def _shapes(plan: TrialPlan, spec: FeatureSpec, trusted: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    from engine.train.inference import build

    weights = build(plan.model, spec, plan.train, trusted).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}
