"""Which keys of a model a population may not search."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.train.naming import trial_id
from engine.train.search_space import Point, Space, draw
from engine.train.shapes import check_shapes
from engine.train.sweep import Population, TrialPlan
from tests.engine.train.made import MODEL, make_spec, make_train


@pytest.mark.parametrize("key", ["dropout", "width", "depth", "embedding"])
def test_a_key_that_changes_shapes_is_refused(key: str) -> None:
    space = Space.of({f"model.{key}": "interval(0.0, 0.5)" if key == "dropout" else "choice(1, 3)", "train.lr": "1,2"})

    def plan(index: int, point: Point) -> TrialPlan:
        model = {**MODEL, key: point[f"model.{key}"]}
        return TrialPlan(id=trial_id(index), params=point, train=make_train(lr=point["train.lr"]), model=model)

    population = Population(domains=space.domains, plan=plan)
    (first,) = draw(space, 1, 0)
    if key == "dropout":
        check_shapes(population, plan(0, first), make_spec(), ())
        return
    with pytest.raises(ConfigError) as error:
        check_shapes(population, plan(0, first), make_spec(), ())
    said = str(error.value)
    assert said.startswith(f"search.space:model.{key}: pbt hands weights on, and this key changes the shape of ")
    assert said.endswith(" - fix its value, or choose another search.scheduler")
