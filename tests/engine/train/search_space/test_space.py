from __future__ import annotations

import random
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.train.search_space import Cell, Domain, Space

# width only with model=mlp; a group of its own, model/head, only with model=resnet; a size only with a deep head
NESTED = Space(
    (
        Domain("model", values=("mlp", "resnet")),
        Domain("model/head", values=("flat", "deep")),
        Domain("model.head.size", values=(7, 8)),
        Domain("model.width", values=(1, 2)),
        Domain("train.lr", low=1, high=4, integer=True),
    ),
    (
        Cell((("model", "mlp"),), frozenset({"model", "model.width", "train.lr"})),
        Cell((("model", "resnet"), ("model/head", "flat")), frozenset({"model", "model/head", "train.lr"})),
        Cell(
            (("model", "resnet"), ("model/head", "deep")),
            frozenset({"model", "model/head", "model.head.size", "train.lr"}),
        ),
    ),
)


def keys(space: Space, **point: Any) -> list[str]:
    return [d.key for d in space.active({key.replace("__", "/"): value for key, value in point.items()})]


def test_active_keys_of_a_point_and_of_a_part_of_it() -> None:
    assert keys(NESTED) == ["model", "train.lr"]
    assert keys(NESTED, model="mlp") == ["model", "model.width", "train.lr"]
    assert keys(NESTED, model="resnet") == ["model", "model/head", "train.lr"]
    assert keys(NESTED, model="resnet", model__head="deep") == ["model", "model/head", "model.head.size", "train.lr"]
    assert keys(NESTED, model="mlp", model__head="deep") == []
    assert keys(NESTED, model="tree") == []
    assert NESTED.groups == ("model", "model/head")


def test_where_a_key_exists() -> None:
    assert {key: NESTED.where(key) for key in NESTED.texts} == {
        "model": {},
        "model/head": {"model": ("resnet",)},
        "model.head.size": {"model": ("resnet",), "model/head": ("deep",)},
        "model.width": {"model": ("mlp",)},
        "train.lr": {},
    }


def test_a_key_of_some_combinations_of_two_groups() -> None:
    """Neither group alone decides: both are told."""
    both = [(a, b) for a in "xy" for b in "uv"]
    cells = (
        Cell(
            (("model", a), ("train", b)),
            frozenset({"model", "train"} | ({"model.k"} if (a == "x") == (b == "u") else set())),
        )
        for a, b in both
    )
    domains = (Domain("model", values=("x", "y")), Domain("train", values=("u", "v")), Domain("model.k", values=(1, 2)))
    space = Space(domains, tuple(cells))
    assert space.size == 2 + 1 + 1 + 2
    assert space.where("model.k") == {"model": ("x", "y"), "train": ("u", "v")}
    assert keys(space, model="x", train="v") == ["model", "train"]


def test_size_points_corners_and_extremes() -> None:
    points = list(NESTED.points())
    assert len(points) == NESTED.size == 2 * 4 + 4 + 2 * 4
    assert len({repr(point) for point in points}) == len(points)
    assert all(NESTED.fits(point) for point in points)
    corners = list(NESTED.corners())
    assert len(corners) == 2 * 2 + 2 + 2 * 2
    assert {point["train.lr"] for point in corners} == {1, 4}
    assert list(NESTED.extremes()) == [
        {"model": "mlp", "model.width": 1, "train.lr": 1},
        {"model": "mlp", "model.width": 2, "train.lr": 1},
        {"model": "mlp", "model.width": 1, "train.lr": 4},
        {"model": "resnet", "model/head": "flat", "train.lr": 1},
        {"model": "resnet", "model/head": "flat", "train.lr": 4},
        {"model": "resnet", "model/head": "deep", "model.head.size": 7, "train.lr": 1},
        {"model": "resnet", "model/head": "deep", "model.head.size": 8, "train.lr": 1},
        {"model": "resnet", "model/head": "deep", "model.head.size": 7, "train.lr": 4},
    ]
    real = Space.of({"train.lr": "interval(0, 1)", "model.width": "1,2"})
    assert real.size is None
    assert len(list(real.corners())) == 4
    with pytest.raises(ValueError, match="cannot be listed"):
        real.points()
    assert (Space().size, list(Space().points())) == (1, [{}])


def test_a_point_is_asked_for_groups_first() -> None:
    rng = random.Random(0)
    asked: list[str] = []

    def pick(domain: Domain) -> Any:
        asked.append(domain.key)
        return "resnet" if domain.key == "model" else domain.draw(rng)

    point = NESTED.point(pick)
    assert asked[:2] == ["model", "model/head"]
    assert list(point) == asked
    assert NESTED.fits(point)


def test_a_space_as_a_grid() -> None:
    grid = NESTED.as_grid()
    assert sorted(map(repr, grid.grid())) == sorted(map(repr, NESTED.points()))
    with pytest.raises(ConfigError, match=r"search\.space:train\.lr: an interval has no grid - list its values"):
        Space.of({"train.lr": "interval(0, 1)"}).as_grid()


def test_the_texts_of_a_space_name_it_again() -> None:
    texts = {
        "train.lr": "tag(log, interval(0.0001, 0.01))",
        "train.schedule": "choice(cosine, constant)",
        "train.batch_size": "tag(grid, choice(256, 512))",
        "train.max_epochs": "int(interval(2, 9))",
    }
    space = Space.of(texts)
    assert space.texts == texts
    assert Space.of(space.texts) == space
