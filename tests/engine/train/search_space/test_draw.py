from __future__ import annotations

from dataclasses import replace

from engine.train.search_space import Space, draw
from tests.engine.train.search_space.test_space import NESTED

KEY = "train.lr"


def test_one_seed_names_one_list_of_points() -> None:
    texts = {
        KEY: "tag(log, interval(1e-4, 1e-1))",
        "model.width": "choice(64,128)",
        "model.depth": "int(interval(1,4))",
    }
    space = Space.of(texts)
    points = draw(space, 8, seed=3)
    assert draw(space, 8, seed=3) == points
    assert draw(space, 8, seed=4) != points
    assert draw(space, 5, seed=3) == points[:5]  # more samples go on where fewer ended
    backwards = Space.of(dict(reversed(texts.items())))
    assert draw(backwards, 8, seed=3) == points  # in whatever order the keys were written
    for point in points:
        assert list(point) == sorted(texts)
        assert 1e-4 <= point[KEY] <= 1e-1
        assert point["model.width"] in (64, 128)
        assert point["model.depth"] in (1, 2, 3, 4)
        assert type(point["model.depth"]) is int


def test_a_grid_is_walked_in_full_with_samples_in_each_cell() -> None:
    space = Space.of(
        {"model.width": "tag(grid, choice(8,16,32))", "model.depth": "tag(grid, range(2))", KEY: "interval(0, 1)"}
    )
    points = draw(space, 2, seed=0)
    cells = [(p["model.depth"], p["model.width"]) for p in points]
    assert cells == [(d, w) for d in (0, 1) for w in (8, 16, 32) for _ in range(2)]
    assert len({p[KEY] for p in points}) == len(points)
    only = Space.of({"model.width": "tag(grid, choice(8,16,32))"})
    assert draw(only, 5, seed=0) == [{"model.width": w} for w in (8, 16, 32)]


def test_a_finite_space_gives_each_of_its_points_once() -> None:
    space = Space.of({"model.width": "range(20)", "model.depth": "range(15)"})
    points = draw(space, 300, seed=0)
    assert len(points) == 300
    assert {(p["model.width"], p["model.depth"]) for p in points} == {(w, d) for w in range(20) for d in range(15)}
    assert draw(space, 301, seed=0) == points
    assert draw(Space(), 6, seed=0) == [{}]
    inner = Space.of({"model.width": "tag(grid, choice(8,16))", "model.depth": "range(15)"})
    assert len(draw(inner, 15, seed=0)) == len(draw(inner, 99, seed=0)) == 30


def test_the_last_promoted_point_comes_first() -> None:
    space = Space.of({KEY: "interval(0, 1)", "model.width": "choice(64,128)"})
    first = {KEY: 0.5, "model.width": 256}
    points = draw(space, 4, seed=0, first=first)
    assert points[0] == first
    assert len(points) == 4
    assert first not in points[1:]
    assert draw(space, 4, seed=0, first={KEY: 0.5}) == draw(space, 4, seed=0)  # of another space
    grid = Space.of({KEY: "tag(grid, choice(0.1,0.2))"})
    assert draw(grid, 1, seed=0, first={KEY: 0.5}) == [{KEY: 0.1}, {KEY: 0.2}]


def test_a_champion_of_another_group_does_not_fit() -> None:
    deep = {"model": "resnet", "model/head": "deep", "model.head.size": 9, KEY: 7}
    assert draw(NESTED, 3, seed=0, first=deep)[0] == deep
    for point in ({**deep, "model": "mlp"}, {**deep, "model": "gone"}, {"model": "mlp", KEY: 1}):
        assert draw(NESTED, 3, seed=0, first=point) == draw(NESTED, 3, seed=0)


def test_a_point_carries_the_keys_of_its_group_alone() -> None:
    points = draw(NESTED, 30, seed=0)
    assert len(points) == NESTED.size == 20
    for point in points:
        assert ("model.width" in point) == (point["model"] == "mlp")
        assert ("model/head" in point) == (point["model"] == "resnet")
        assert ("model.head.size" in point) == (point.get("model/head") == "deep")


def test_a_grid_of_a_key_walks_the_groups_that_it_exists_under() -> None:
    domains = tuple(replace(d, grid=d.key == "model.head.size") for d in NESTED.domains)
    points = draw(replace(NESTED, domains=domains), 1, seed=0)
    walked = [{k: v for k, v in p.items() if k.startswith("model") and k != "model.width"} for p in points]
    assert walked == [
        {"model": "mlp"},
        {"model": "resnet", "model/head": "flat"},
        {"model": "resnet", "model/head": "deep", "model.head.size": 7},
        {"model": "resnet", "model/head": "deep", "model.head.size": 8},
    ]
