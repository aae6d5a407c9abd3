"""Every point is checked before anything starts: what is refused, in which words, and what stands for the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config.binding import bind
from engine.config.preflight import CORNERS, MOST, check_points
from engine.config.schema import Composer
from engine.errors import ConfigError
from engine.train.conf import SearchConf
from engine.train.search_space import Point, Space, draw
from tests.engine.groups import make_composer

Line = Callable[[], str]
BUILT_IN = Composer(["experiment=flights"])


class Takes:
    """A model class of a user's own."""

    def __init__(self, *, spec: Any, train: Any, width: int = 1, dropout: float = 0.0) -> None:
        """Nothing to build."""


class TakesAny(Takes):
    def __init__(self, *, spec: Any, train: Any, **more: Any) -> None:
        """Nothing to build."""


def checked(texts: dict[str, str], composer: Composer = BUILT_IN, cls: type = TakesAny, **search: Any) -> Any:
    return check_points(bind(texts, composer), SearchConf(**search), composer, lambda target: cls)


class Spy(Composer):
    """Remembers the points; composes none."""

    def __init__(self) -> None:
        super().__init__([])
        self.points: list[Point] = []

    def __call__(self, point: Point) -> Any:
        self.points.append(point)
        return None, {"_target_": "x"}


def spied(space: Space, **search: Any) -> tuple[list[Point], Any]:
    spy = Spy()
    found = check_points(space, SearchConf(**search), spy, lambda target: TakesAny)
    return spy.points, found


def test_a_finite_space_is_checked_whole() -> None:
    space = Space.of({"a": "range(40)", "b": "int(interval(1, 25))"})
    points, found = spied(space, num_samples=2)
    assert len(points) == found.points == found.size == MOST
    assert len({repr(point) for point in points}) == MOST
    assert found.words == "the space has 1000 points, all of them checked"


def test_of_a_large_space_ends_corners_and_the_first_points_are_checked() -> None:
    space = Space.of({"a": "range(40)", "b": "int(interval(1, 26))"})
    points, found = spied(space, num_samples=7)
    corners = [{"a": a, "b": b} for a in (0, 39) for b in (1, 26)]
    assert points == corners_first(corners, draw(space, 7, seed=0))
    assert found.words == "the space has 1040 points; 11 checked: every end of every key, corners, and the first drawn"


def corners_first(corners: list[Point], drawn: list[Point]) -> list[Point]:
    """Extremes are corners where there are two keys; each is checked once."""
    extremes = [corners[0], corners[2], corners[1]]
    return [*extremes, corners[3], *(point for point in drawn if point not in corners)]


def test_of_many_corners_a_sample_is_checked() -> None:
    space = Space.of({f"k{i:02}": "interval(0, 1)" for i in range(20)})
    points, found = spied(space, num_samples=100_000)
    assert CORNERS + MOST // 2 < len(points) == found.points <= MOST + 21
    extremes = [p for p in points if sum(p.values()) == 1.0 and set(p.values()) == {0.0, 1.0}]
    assert len(extremes) == 20
    corners = [p for p in points if set(p.values()) == {0.0, 1.0}]
    assert len(corners) == CORNERS + 20
    assert points[-1] in draw(space, MOST, seed=0)
    assert points == spied(space, num_samples=100_000)[0]
    assert found.words.startswith("the space has points without end; ")


NEVER = "no second of training"
WORDS = [
    ({"train.lr": "0.1,-0.1"}, "train.lr: -0.1 is not a positive number - choose one such as 2e-3"),
    ({"train.lr": "interval(-1, 1)"}, "train.lr: -1.0 is not a positive number - choose one such as 2e-3"),
    (
        {"train.lr": "0.1,fast"},
        "train.lr: Value 'fast' of type 'str' could not be converted to Float - give a value of",
    ),
    ({"train.schedule": "cosine,step"}, "train.schedule: 'step' is unknown - choose one of cosine, constant"),
    ({"model.width": "int(interval(0, 64))"}, "model.width: 0 is below 1 - choose 1 or more"),
    ({"model.width": "choice(8, [1, 2])"}, "model.width: "),
    (
        {"model": "tabular,resnet", "model.blocks": "1,2000"},
        "model.blocks: 2000 is above 1024 (with model=resnet) - choose 1024 or less",
    ),
    ({"+train.lr": "0.1,0.2"}, "+train.lr: the key is there already - leave the + out"),
]


@pytest.mark.parametrize(("texts", "message"), WORDS, ids=[str(texts) for texts, _ in WORDS])
def test_a_point_that_cannot_be_is_told_by_its_key(texts: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        checked(texts)
    assert str(error.value).startswith(f"search.space:{message}"), error.value


def test_a_rare_point_of_a_finite_space_is_found() -> None:
    """One in a thousand: 0 layers are well, and so is a width of 1."""
    with pytest.raises(ConfigError, match=r"search\.space:train\.batch_size: 0 is below 1 - choose a positive number"):
        checked({"train.batch_size": f"choice({', '.join(map(str, [*range(1, 999), 0]))})"}, num_samples=1)


def test_a_key_that_the_model_does_not_take(tmp_path: Path) -> None:
    """A config without types may name what its class refuses; that was found out in training."""
    composer = make_composer(tmp_path, "model=mlp")
    with pytest.raises(ConfigError) as error:
        checked({"+model.widht": "1,2"}, composer, Takes)
    assert str(error.value) == "search.space:+model.widht: Takes has no argument 'widht' - did you mean 'width'?"
    with pytest.raises(ConfigError) as error:
        checked({"+model.cells": "1,2"}, composer, Takes)
    assert str(error.value) == (
        "search.space:+model.cells: Takes has no argument 'cells' - "
        "it takes width, dropout; model=custom search=none bring no keys of their own"
    )
    assert checked({"+model.widht": "1,2"}, composer, TakesAny).points == 2


def test_a_class_that_is_not_trusted_is_told_by_the_option(tmp_path: Path) -> None:
    composer = make_composer(tmp_path)

    def resolve(target: str) -> type:
        if target == "mine.Mlp":
            raise ConfigError(f"model._target_:{target}", "this class is not on the list of trusted ones", "trust it")
        return TakesAny

    space = bind({"model": "tabular,mlp"}, composer)
    with pytest.raises(ConfigError) as error:
        check_points(space, SearchConf(), composer, resolve)
    assert str(error.value) == "search.space:model: this class is not on the list of trusted ones - trust it"


def test_what_no_searched_key_is_to_blame_for_keeps_its_own_line(tmp_path: Path) -> None:
    composer = make_composer(tmp_path, "model=net")
    with pytest.raises(ConfigError, match=r"^model\.cells: has no value - set it: model\.cells=\.\.\.$"):
        checked({"train.lr": "0.1,0.2"}, composer)
    assert checked({"train.lr": "0.1,0.2", "model.cells": "1,2"}, composer).points == 4
