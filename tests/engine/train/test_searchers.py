from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import conf
from engine.config import checks
from engine.config.binding import bind
from engine.config.schema import Composer, compose_config
from engine.errors import ConfigError
from engine.evaluate.conf import EvaluateConf
from engine.records import Epoch, Task, Trial, TrialState
from engine.train.conf import SearchConf
from engine.train.search_space import Cell, Domain, Point, Space
from engine.train.searchers import OptunaSearcher, Seen, begin, fits, objectives, seed_of

WIDE = {"train.lr": "tag(log, interval(1e-4, 1e-1))", "model.width": "choice(8, 16, 32, 64)"}
CONDITIONAL = Space(
    (
        Domain("model", values=("mlp", "resnet")),
        Domain("model.blocks", values=(1, 2, 3)),
        Domain("train.lr", low=1e-4, high=1e-1, log=True),
    ),
    (
        Cell((("model", "mlp"),), frozenset({"model", "train.lr"})),
        Cell((("model", "resnet"),), frozenset({"model", "model.blocks", "train.lr"})),
    ),
)


def ended(index: int, point: Point, *values: float, state: TrialState = TrialState.FINISHED, epochs: int = 2) -> Trial:
    """A trial whose last epoch is its best."""
    curve = tuple(
        Epoch(epoch=e, train_loss=0.5, value=values[0] - 0.01 * (epochs - e), seconds=1.0, others=values[1:])
        for e in range(1, epochs + 1)
    )
    return Trial(
        id=f"trial-{index:03d}",
        params=point,
        state=state,
        reason="",
        curve=curve,
        best_epoch=epochs,
        value=values[0],
        seconds=1.0,
        weights="w",
    )


def quality(point: Point) -> float:
    """Best at lr 1e-2 and width 32."""
    return 1.0 - 0.1 * (math.log10(point["train.lr"]) + 2) ** 2 - 0.05 * abs(math.log2(point["model.width"]) - 5)


def sweep(searcher: Any, n: int, seen: list[Seen] | None = None, value: Any = quality) -> list[Seen]:
    """One trial at a time, from where `seen` ends."""
    found = list(seen or [])
    while len(found) < n and (point := searcher.suggest(found)) is not None:
        found.append(Seen(point, ended(len(found), point, value(point))))
    return found


def make(searcher: str = "tpe", space: Any = None, **conf: Any) -> Any:
    made = SearchConf(searcher=searcher, space=space or WIDE, **conf)
    known, found = begin(made, Space.of(made.space), None)
    assert known == []
    return found


@pytest.mark.parametrize("searcher", ["tpe", "gp"])
def test_what_comes_next_is_a_function_of_the_record(searcher: str) -> None:
    n, startup = (16, 5) if searcher == "tpe" else (5, 3)
    whole = sweep(make(searcher, startup=startup, seed=3), n)
    for cut in (1, 4, n - 1):  # killed after so many trials; a fresh searcher is told them again
        again = sweep(make(searcher, startup=startup, seed=3), n, whole[:cut])
        assert [s.point for s in again] == [s.point for s in whole]
    other = sweep(make(searcher, startup=startup, seed=4), 3)
    assert [s.point for s in other] != [s.point for s in whole[:3]]
    worse = [Seen(s.point, ended(i, s.point, 1 - quality(s.point))) for i, s in enumerate(whole[: n - 1])]
    assert make(searcher, startup=startup, seed=3).suggest(worse) != whole[n - 1].point  # what was told matters


@pytest.mark.parametrize(
    ("searcher", "n", "startup"), [("tpe", 40, 10), pytest.param("gp", 12, 6, marks=pytest.mark.slow)]
)
def test_a_searcher_finds_more_than_chance(searcher: str, n: int, startup: int) -> None:
    gains = []
    for seed in range(2):
        found = [quality(s.point) for s in sweep(make(searcher, startup=startup, seed=seed), n)]
        points, _ = begin(SearchConf(space=WIDE, num_samples=300, seed=seed), Space.of(WIDE), None)
        gains.append(np.mean(found[startup:]) - np.mean([quality(p) for p in points]))
    assert np.mean(gains) > 0.03


def test_metrics_that_are_better_small_are_minimised() -> None:
    found = sweep(make(metric="log_loss", startup=10), 40, value=lambda p: 1 - quality(p))
    late = [quality(s.point) for s in found[20:]]
    assert np.mean(late) > np.mean([quality(s.point) for s in found[:10]]) + 0.03


def test_several_metrics_are_searched_for_together() -> None:
    """The two pull the learning rate apart: late points lie between their best ones, and few beyond."""
    conf = SearchConf(searcher="tpe", space=WIDE, metrics=["log_loss"], scheduler="none", startup=10)
    searcher = OptunaSearcher(conf, Space.of(WIDE))
    assert searcher.directions == ["maximize", "minimize"]
    seen: list[Seen] = []
    for i in range(50):
        point = searcher.suggest(seen)
        assert point is not None
        where = math.log10(point["train.lr"])
        seen.append(Seen(point, ended(i, point, -((where + 2.5) ** 2), (where + 1.8) ** 2)))
    late = np.array([math.log10(s.point["train.lr"]) for s in seen[20:]])
    assert np.mean((late > -2.7) & (late < -1.6)) > 0.5  # by chance 0.37


def test_stopped_failed_and_running_trials_are_told_as_such() -> None:
    from optuna.trial import TrialState as State

    searcher = make(startup=1)
    point = {"train.lr": 0.01, "model.width": 16}
    told = [
        searcher._frozen(Seen(point, trial))
        for trial in (
            ended(0, point, 0.8),
            ended(1, point, 0.7, state=TrialState.STOPPED),
            ended(2, point, 0.7, state=TrialState.FAILED),
            ended(3, point, math.nan),
            None,
        )
    ]
    assert [t.state for t in told] == [State.COMPLETE, State.PRUNED, State.FAIL, State.FAIL, State.RUNNING]
    assert told[0].values == [0.8]
    assert told[1].intermediate_values == {1: 0.69, 2: 0.7}
    assert all(t.params == {"train.lr": 0.01, "model.width": 1} for t in told)  # the place in the list of widths


def test_no_point_comes_twice_and_a_small_space_ends() -> None:
    small = {"model.width": "choice(8, 16)", "model.deep": "choice([1, 2], {a: 1}, true)"}
    found = sweep(make(space=small, startup=2), 100, value=lambda p: float(p["model.width"]))
    points = [s.point for s in found]
    assert len(points) == 6
    assert all(points.count(p) == 1 for p in points)
    assert make(space=small).suggest(found) is None


def test_whole_numbers_and_both_ends_stay_inside() -> None:
    space = {"a.b": "int(interval(1, 9))", "a.c": "tag(log, int(interval(1, 100)))", "a.d": "interval(0.1, 0.3)"}
    for seen in sweep(make(space=space, startup=3), 15, value=lambda p: p["a.d"]):
        assert isinstance(seen.point["a.b"], int)
        assert isinstance(seen.point["a.c"], int)
        assert fits(Space.of(space), seen.point)


@pytest.mark.parametrize("searcher", ["tpe", "gp"])
def test_a_point_has_the_keys_of_its_option_alone(searcher: str) -> None:
    conf = SearchConf(searcher=searcher, space={}, startup=4)
    known, made = begin(conf, CONDITIONAL, None)
    assert known == []
    seen = sweep(made, 24 if searcher == "tpe" else 6, value=lambda p: float(p.get("model.blocks", 0)))
    kinds = {p.point["model"]: set(p.point) for p in seen}
    assert kinds["resnet"] == {"model", "model.blocks", "train.lr"}
    assert kinds.get("mlp", {"model", "train.lr"}) == {"model", "train.lr"}
    assert all(fits(CONDITIONAL, s.point) for s in seen)


def test_the_last_promoted_point_is_tried_first_where_it_fits() -> None:
    space = Space.of(WIDE)
    warm = {"model.width": 32, "train.lr": 0.004}
    for searcher in ("random", "tpe"):
        known, _ = begin(SearchConf(searcher=searcher, space=WIDE), space, warm)
        assert known[0] == warm
    listed = {"model.width": "choice(16, 32)", "train.lr": "choice(0.1, 0.004)"}
    known, _ = begin(SearchConf(searcher="grid", space=listed), Space.of(listed), warm)
    assert known[0] == warm
    assert len(known) == 4
    for other in (
        {"model.width": 32},
        {"model.width": 33, "train.lr": 0.004},
        {"model.width": 32, "train.lr": 0.4},
        {"model.width": 32, "train.lr": "0.004"},
        {"model.width": 32, "train.lr": 0.004, "model.depth": 1},
    ):
        known, _ = begin(SearchConf(searcher="random", space=WIDE), space, other)
        assert other not in known
        assert begin(SearchConf(searcher="tpe", space=WIDE), space, other)[0] == []
    told = sweep(make(startup=2), 6, [Seen(warm, ended(0, warm, quality(warm)))])
    assert told[0].point == warm  # and the searcher learns from it: it counts among the first points


def test_a_grid_is_every_point_once() -> None:
    space = {"a.b": "choice(1, 2)", "a.c": "range(0, 3)", "a.d": "int(interval(5, 6))"}
    known, more = begin(SearchConf(searcher="grid", space=space, num_samples=1), Space.of(space), None)
    assert more is None
    assert len(known) == 12
    assert all(known.count(p) == 1 for p in known)


@pytest.mark.parametrize(
    ("searcher", "space", "message"),
    [
        ("grid", {"a.b": "interval(0, 0.5)"}, "search.space:a.b: an interval has no grid - list its values"),
        (
            "grid",
            {f"a.{c}": "range(0, 100)" for c in "bcd"},
            "search.space: the grid has 1000000 points - name fewer values, or choose search.searcher=random",
        ),
        (
            "tpe",
            {"a.b": "tag(grid, choice(1, 2))"},
            "search.space:a.b: tpe chooses every value itself - drop tag(grid, ...), or choose random or grid",
        ),
    ],
)
def test_a_space_that_a_searcher_cannot_search(searcher: str, space: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        begin(SearchConf(searcher=searcher, space=space), Space.of(space), None)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("searcher", "missing", "cure"), [("tpe", "optuna", "optuna"), ("gp", "scipy", "'tidegate[gp]'")]
)
def test_a_package_that_is_not_installed(
    searcher: str, missing: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else real(name))
    with pytest.raises(ConfigError) as error:
        make(searcher)
    said = f"search.searcher: {searcher} needs {missing}, which is not installed - pip install {cure}, or choose"
    assert str(error.value).startswith(said)


def test_without_a_space_there_is_one_point() -> None:
    for searcher in ("random", "grid", "tpe", "gp"):
        assert begin(SearchConf(searcher=searcher), Space(), None) == ([{}], None)


def test_objectives_are_those_of_the_best_epoch() -> None:
    curve = tuple(
        Epoch(epoch=e, train_loss=0.1, value=v, seconds=1.0, others=(w,)) for e, v, w in [(1, 0.9, 0.3), (2, 0.8, 0.2)]
    )
    trial = ended(0, {}, 0.9)
    assert objectives(Trial(**{**vars(trial), "curve": curve, "best_epoch": 1})) == (0.9, 0.3)
    assert objectives(Trial(**{**vars(trial), "best_epoch": 0})) == ()


def test_every_question_has_a_seed_of_its_own() -> None:
    seeds = {seed_of(s, i, a) for s in range(3) for i in range(20) for a in range(3)}
    assert len(seeds) == 180
    assert all(0 <= s < 2**32 for s in seeds)


@pytest.mark.parametrize("name", sorted(path.stem for path in (Path(conf.__file__).parent / "search").glob("*.yaml")))
def test_every_search_of_ours_can_begin(name: str) -> None:
    model = ["model=digits"] if name == "digits" else []
    words = ["experiment=flights", f"search={name}", *model]
    search = compose_config(words).search
    checks.check_searcher(search, bind(search.space, Composer(words)))
    checks.check_metrics(
        Task.MULTICLASS if name == "digits" else Task.BINARY,
        EvaluateConf(primary="log_loss", metrics=["log_loss"]),
        search,
    )
