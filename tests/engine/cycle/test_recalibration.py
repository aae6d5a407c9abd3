"""RECALIBRATE from the label rate that moves to the champion whose scores are mapped, and what stays as it was."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss

from engine.cycle.past import Past
from engine.cycle.recalibration import LABELS, STILL, Grounds, Recalibrator, measured, recalibrate
from engine.cycle.steps import Steps
from engine.data.tables import split_by_time, write_parquet
from engine.errors import ArtifactError, DataError
from engine.evaluate.conf import EvaluateConf
from engine.gate import untrained
from engine.models import challenger, predictor
from engine.promote import card
from engine.promote.store import Store
from engine.records import Action, Candidate, Cycle, Outcome, Stage, Task, find
from engine.system import durable
from engine.track.describe import describe_cycle
from engine.track.port import sweep_of
from engine.train import weights
from engine.train.conf import SearchConf
from engine.train.inference import build
from engine.train.scaling import fit
from engine.train.sweep import LocalSearch
from tests.engine.tides import (
    MODEL,
    TRAIN,
    Watcher,
    make_conf,
    make_decision,
    make_encoder,
    make_recipe,
    make_rows,
    make_window,
)
from tests.engine.world import EXPERIMENT, WINDOWS, World, configure, rows_of, write

MAPPED = "2026-06"  # the first window whose training rows are of the new rate
UNTIL = "loop.until=2026-07"
CHANGES = {
    "metrics: [roc_auc_score, log_loss]": "primary: log_loss, metrics: [roc_auc_score, log_loss]",
    "rules: {{calibrated": "rules: {{better: {{kind: superiority, metric: log_loss}}, calibrated",
    "hour_price: 0": "hour_price: 0, recovered: 0.1, recalibrate: true",
}


@pytest.fixture(scope="module")
def tilted(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose labels go on following `pull`, and are ones far more often from 2026-04 on. No loop has run."""
    folder = tmp_path_factory.mktemp("tilted")
    for index, name in enumerate(WINDOWS):
        table, _ = rows_of(index % 2, 1200)  # of the time before the turn
        rng = np.random.default_rng([8, index])
        pull = rng.normal(0.0, 1.0, 1200)
        late = rng.random(1200) < 1 / (1 + np.exp(-(1.5 * pull + 1.5 * (index >= 3))))
        ids = pa.array(np.arange(1200) + 1_000_000 * index)
        at = pa.array(np.arange(1200) * 1_000_000 + 30 * 86_400_000_000 * index, pa.timestamp("us", "UTC"))
        table = table.set_column(0, "row", ids).set_column(1, "at", at).set_column(2, "pull", pa.array(pull))
        write_parquet(table, folder / "windows" / f"{name}.parquet")
        write_parquet(pa.table({"row": ids, "late": late.astype(np.int64)}), folder / "labels" / f"{name}.parquet")
    world = configure(folder)
    text = EXPERIMENT
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    write(folder / "conf" / "experiment" / "world.yaml", text.format(folder=folder))
    return world


@pytest.fixture(scope="module")
def before(tilted: World) -> World:
    """The loop over it until the window before the map. To be copied only."""
    assert tilted.ask("loop", "loop.until=2026-05").code == 0
    return tilted


@pytest.fixture(scope="module")
def told(before: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """And on until the map is in production. To be looked at only."""
    world = before.copy(tmp_path_factory.mktemp("told") / "run")
    answer = world.ask("loop", UNTIL)
    assert answer.code == 0, answer.err
    return world


def mapped(world: World) -> tuple[Cycle, Candidate]:
    cycle = world.cycles()[MAPPED]
    assert cycle.candidate is not None
    return cycle, cycle.candidate


def test_a_label_rate_that_moved_is_answered_by_a_map(told: World, record_property: Callable[[str, Any], None]) -> None:
    cycle, made = mapped(told)
    assert cycle.decision is not None
    assert [c.decision.action for c in told.cycles().values() if c.decision][1:4] == [Action.KEEP] * 3
    assert cycle.decision.action is Action.RECALIBRATE
    assert made.trials == ()
    assert (made.recalibrated_on, made.holdout_window) == ("2026-04", "2026-05")
    assert cycle.evaluation is not None
    gained = find(cycle.evaluation.differences, "log_loss")
    assert gained.high < 0
    assert [v.outcome for v in cycle.verdicts] == [Outcome.PASS, Outcome.PASS]
    ended = told.cycles()["2026-07"]
    assert ended.champion_after == made.model != cycle.champion
    assert [v.outcome for v in ended.verdicts] == [Outcome.PASS]
    width = f"[{gained.low:.3f}, {gained.high:.3f}]"
    record_property("recalibration of a moved label rate", f"log loss {gained.value:.3f} {width}, {gained.n} rows")


def test_the_ranking_is_the_champions_bit_for_bit(told: World) -> None:
    cycle, _ = mapped(told)
    assert cycle.evaluation is not None
    one, other = (find(m, "roc_auc_score") for m in (cycle.evaluation.metrics, cycle.evaluation.champion_metrics))
    assert (one.value, one.low, one.high) == (other.value, other.low, other.high)


def test_the_artifact_is_the_champions_files_and_a_map(told: World) -> None:
    cycle, made = mapped(told)
    store = Store(told.out / "store")
    new, old = (store.manifest(artifact)["files"] for artifact in (made.model, cycle.champion))
    assert set(new) - set(old) == {"scaling.json"}
    assert {name for name in old if old[name] != new[name]} == {"probe.json"}
    assert predictor.cold_check(store, made.model)["largest_difference"] == 0
    scaling = json.loads(store.read(made.model, "scaling.json"))
    assert scaling["shift"] == pytest.approx(1.5, abs=0.4)
    assert scaling["slope"] == pytest.approx(1.0, abs=0.3)
    with told.ledger() as ledger:
        text = card.render(card.card(ledger, store, made.model))
    assert f"| Recalibrated on | 2026-04 (1200 rows): the network is that of model {cycle.champion[:12]}" in text


def test_why_makes_the_decision_again(told: World) -> None:
    answer = told.ask("why", MAPPED)
    assert answer.code == 0
    decision = answer.value["because"][0]
    assert (decision["kind"], decision["replay"]) == ("decision", "equal")


def test_the_report_says_so(told: World) -> None:
    answer = told.ask("report")
    assert answer.code == 0, answer.err
    text = (told.out / "report.html").read_text()
    assert "1 recalibrated it" in text
    assert "a map fitted on 1,200 rows of 2026-04" in text


def test_a_tracker_is_told_of_the_window_and_of_no_sweep(told: World) -> None:
    cycle, _ = mapped(told)
    assert sweep_of(cycle, {}) is None
    assert describe_cycle(cycle, {}).facts["train/recalibrated_on"] == "2026-04"


def test_evaluate_applies_the_map(told: World) -> None:
    cycle, made = mapped(told)
    answer = told.ask("evaluate", f"artifact={made.model}", "window=2026-05")
    assert answer.code == 0, answer.err
    assert cycle.evaluation is not None
    found = {e["name"]: e["value"] for e in answer.value["metrics"]}
    assert found["log_loss"] == pytest.approx(find(cycle.evaluation.metrics, "log_loss").value, abs=1e-12)


def test_a_rollback_brings_the_map_less_champion_back(told: World, tmp_path: Path) -> None:
    cycle, _ = mapped(told)
    world = told.copy(tmp_path / "run")
    answer = world.ask("rollback", "actor=ann", "reason=drill")
    assert answer.code == 0, answer.err
    with world.ledger() as ledger:
        head = ledger.head(Stage.PRODUCTION)
    assert head is not None
    assert head.model == cycle.champion


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("at", [12, 24])
def test_killed_and_run_again_the_artifact_is_the_same(at: int, before: World, told: World, tmp_path: Path) -> None:
    steps = itertools.count(1)

    def die(step: durable.Step, execute: Callable[[], None]) -> None:
        execute()
        if next(steps) == at:
            raise Killed

    world = before.copy(tmp_path / "run")
    with pytest.raises(Killed), durable.intercept(die):
        world.run("loop", f"loop.until={MAPPED}")
    assert MAPPED not in world.cycles()
    assert world.run("loop", f"loop.until={MAPPED}") == 0
    assert mapped(world)[1].model == mapped(told)[1].model


def test_a_decision_whose_window_is_gone_is_refused_in_one_line(told: World) -> None:
    cycle, _ = mapped(told)
    assert cycle.decision is not None
    with told.opened() as (confs, ports):
        steps = Steps(confs, ports)
        past = Past(ports.ledger, MAPPED)
        recalibrator = Recalibrator(confs, ports, steps.read, steps.model)
        with pytest.raises(DataError, match="and no labelled window is new to it - run with the config that this was"):
            recalibrator.candidate(cycle.decision, past, cycle.champion, ["2026-01", "2026-02"], steps.recipe())


# ---- without a loop -------------------------------------------------------------------------------------------------


def grounded(store: Store, task: str = "binary", seed: int = 0) -> Grounds:
    """An untrained champion, and the window w3 to map it on."""
    conf = make_conf(task=task)
    encoder, train = make_encoder(conf, task=task), replace(TRAIN, seed=seed)
    files = predictor.pack(
        encoder=encoder,
        weights=weights.dump(build(MODEL, encoder.spec, train)),
        model=MODEL,
        train=train,
        probe=make_window(2, task=task).table,
        trusted=(),
    )
    artifact = store.put(files, {"kind": "model", "data": {"w1": "f"}})
    made = Candidate(
        model=artifact,
        decision="d",
        metric="log_loss",
        value=0.5,
        params={"train.lr": 0.05},
        trials=(),
        training_windows=("w1",),
        holdout_window="w2",
        n_rows=200,
        seconds=1.0,
        cost=1.0,
    )
    return Grounds(champion=predictor.load(store, artifact), made=made, window=make_window(3, n=400, task=task))


def again(grounds: Grounds, store: Store, folder: Path, index: int) -> Grounds:
    """The champion recalibrated on a window, as the next champion."""
    there = Grounds(champion=grounds.champion, made=grounds.made, window=make_window(index, n=400))
    made = recalibrate(make_decision(Action.RECALIBRATE), there, "w9", make_recipe(folder), store)
    assert made.model
    return Grounds(champion=predictor.load(store, made.model), made=made, window=make_window(index + 1, n=400))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_recalibrated_again_there_is_one_map_of_raw_scores(store: Store, tmp_path: Path) -> None:
    first = grounded(store)
    twice = again(again(first, store, tmp_path, 3), store, tmp_path, 4)
    once = again(first, store, tmp_path, 4)
    read = [store.read(grounds.champion.artifact, "scaling.json") for grounds in (twice, once)]
    assert read[0] == read[1]
    table = make_window(5).table
    np.testing.assert_array_equal(twice.champion.raw(table), first.champion.raw(table))
    np.testing.assert_array_equal(twice.champion.predict(table), once.champion.predict(table))
    assert store.manifest(twice.champion.artifact)["recalibration"]["of"] != first.champion.artifact
    assert twice.made.training_windows == ("w1",)


def test_a_retrain_starts_from_its_network_and_drops_the_map(store: Store, tmp_path: Path) -> None:
    grounds = again(grounded(store), store, tmp_path, 3)
    recipe = make_recipe(tmp_path / "sweeps")
    warm = challenger.Warm(grounds.champion, grounds.made.params)
    retrained = challenger.train(
        make_decision(Action.RETRAIN),
        make_rows(),
        recipe,
        LocalSearch(recipe.search),
        store,
        warm=warm,
        watch=Watcher(),
    )
    assert retrained.model
    assert "scaling.json" not in store.manifest(retrained.model)["files"]
    assert "recalibration" not in store.manifest(retrained.model)


@pytest.mark.parametrize(("task", "seed"), [("binary", 0), ("multiclass", 2), ("regression", 0)])
def test_every_task_has_its_map(task: str, seed: int, store: Store, tmp_path: Path) -> None:
    """An untrained network says something of the label by luck alone: the seeds are some that do."""
    grounds = grounded(store, task, seed)
    metric = "mean_squared_error" if task == "regression" else "log_loss"
    search = SearchConf(num_samples=2, backend="local", metric=metric)
    recipe = make_recipe(tmp_path, data=make_conf(task=task), search=search)
    made = recalibrate(make_decision(Action.RECALIBRATE), grounds, "w4", recipe, store)
    assert made.model, made.trials[0].reason
    found = predictor.load(store, made.model)
    known = fit(Task(task), grounds.champion.raw(labelled(grounds)), target(grounds))
    table = make_window(5, task=task).table
    np.testing.assert_array_equal(found.predict(table), grounds.champion.scaled(known).predict(table))


def labelled(grounds: Grounds) -> pa.Table:
    return challenger.labelled_rows(grounds.window, make_conf(task=grounds.champion.task.value))


def target(grounds: Grounds) -> np.ndarray:
    conf = make_conf(task=grounds.champion.task.value)
    return challenger.rows_of(grounds.champion, labelled(grounds), conf).target


def test_labels_that_tell_no_map_give_no_model_and_say_why(store: Store, tmp_path: Path) -> None:
    grounds = grounded(store)
    few = Grounds(champion=grounds.champion, made=grounds.made, window=make_window(3, n=12))
    made = recalibrate(make_decision(Action.RECALIBRATE), few, "w4", make_recipe(tmp_path), store)
    assert made.model == ""
    assert "are too few for a map of scores" in made.trials[0].reason
    assert untrained(made, champion="c", window="w4").reason.startswith("no map was found: labels: ")
    assert math.isnan(measured(few, "log_loss", make_conf(), EvaluateConf()).value)


@pytest.mark.parametrize(("metric", "said"), [("roc_auc_score", STILL), ("accuracy_score", LABELS)])
def test_what_a_map_does_not_move_is_zero_in_words(metric: str, said: str, store: Store) -> None:
    found = measured(grounded(store), metric, make_conf(), EvaluateConf())
    assert (found.value, found.low, found.high, found.method, found.reason) == (0, 0, 0, said, "")


def test_without_a_new_window_nothing_is_known() -> None:
    found = measured(None, "log_loss", make_conf(), EvaluateConf())
    assert math.isnan(found.value)
    assert found.reason == "there is no labelled window yet that the champion has not seen"


def test_what_a_map_would_win_is_of_rows_it_was_not_fitted_on(store: Store) -> None:
    """By hand: a map of the earlier half, scored on the later one."""
    grounds, conf = grounded(store), make_conf()
    found = measured(grounds, "log_loss", conf, EvaluateConf(n_resamples=100))
    earlier, later = split_by_time(labelled(grounds), conf.time, 0.5)
    champion = grounds.champion
    truths = [champion.encoder.transform(table, labelled=True).target for table in (earlier, later)]
    scaling = fit(Task.BINARY, champion.raw(earlier), truths[0])
    logit = champion.raw(later) * scaling.slope + scaling.shift
    new, old = (log_loss(truths[1], expit(z)) for z in (logit, champion.raw(later)))
    assert found.value == pytest.approx(new - old, abs=1e-9)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"task": "binary", "slope": -1.0, "shift": 0.0}, "make no rising map"),
        ({"task": "regression", "slope": 1.0, "shift": 0.0}, "it is one of a regression model"),
        ({"slope": 1.0}, "holds no map of scores"),
    ],
)
def test_a_map_that_is_none_is_refused_in_one_line(content: dict[str, Any], said: str, store: Store) -> None:
    artifact = grounded(store).champion.artifact
    files = {name: store.read(artifact, name) for name in store.manifest(artifact)["files"]}
    bad = store.put({**files, "scaling.json": json.dumps(content).encode()}, {})
    with pytest.raises(ArtifactError) as refused:
        predictor.load(store, bad)
    assert str(refused.value).startswith(f"{bad[:12]}/scaling.json: holds no map of scores")
    assert said in str(refused.value)
