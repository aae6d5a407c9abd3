"""The verbs that run models, beside the loop: train, sweep, evaluate; and what all of them check first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.cycle.past import Past
from engine.promote.ledger import Ledger
from engine.system.timing import Stopwatch
from engine.train.pack.search import PackSearch
from engine.train.pack.worker import PackWorker
from engine.train.sweep import LocalSearch
from engine.train.tune import RaySearch
from engine.verbs import running
from tests.engine.world import LAST, Answer, World, write


def test_train_is_one_trial_and_moves_no_model(old: World) -> None:
    before = old.rows()
    answer = old.ask("train")
    assert answer.code == 0
    candidate, evaluation = answer.value["candidate"], answer.value["evaluation"]
    assert len(candidate["trials"]) == 1
    assert (candidate["holdout_window"], evaluation["window"]) == (LAST, LAST)  # the newest whose labels are in
    assert candidate["training_windows"] == ["2026-05", "2026-06"]
    assert evaluation["model"] == candidate["model"]
    assert old.rows() == before


def test_sweep_searches_what_the_command_line_names(fresh: World) -> None:
    answer = fresh.ask("sweep", "model.width=choice(4, 6)")
    assert answer.code == 0
    trials = answer.value["candidate"]["trials"]
    assert sorted(trial["params"]["model.width"] for trial in trials) == [4, 6]
    assert {key for trial in trials for key in trial["params"]} == {"model.width"}
    assert "2 trials: 2 finished, best roc_auc_score" in answer.err


def test_a_sweep_over_two_models_trains_each_with_its_own_keys(fresh: World, tmp_path: Path) -> None:
    """The experiment of the small world sets a depth, which one of the models does not have."""
    for path in (fresh.folder / "conf").glob("*/*.yaml"):
        write(tmp_path / "conf" / path.parent.name / path.name, path.read_text().replace("depth: 1, ", ""))
    words = ["model=tabular,resnet", "model.depth=1,2", "model.blocks=choice(1)", "search.num_samples=3"]
    answer = World(tmp_path, fresh.out).ask("sweep", "-m", *words, "train.max_epochs=1")
    assert answer.code == 0
    trials = [trial["params"] for trial in answer.value["candidate"]["trials"]]
    assert sorted(trials, key=str) == [
        {"model": "resnet", "model.blocks": 1},
        {"model": "tabular", "model.depth": 1},
        {"model": "tabular", "model.depth": 2},
    ]
    assert {trial["state"] for trial in answer.value["candidate"]["trials"]} == {"finished"}
    assert answer.err.splitlines()[0] == "the space has 3 points, all of them checked"
    assert answer.value["space"]["points"] == 3
    assert answer.value["space"]["keys"]["model"] == "choice(tabular, resnet)"


def test_a_population_is_a_sweep(fresh: World) -> None:
    words = ["search=pbt", "search.backend=local", "search.num_samples=4", "search.perturbation_interval=1"]
    answer = fresh.ask("sweep", *words, "train.max_epochs=3")
    assert answer.code == 0
    candidate, best = answer.value["candidate"], answer.value["best"]
    assert [trial["state"] for trial in candidate["trials"]] == ["finished"] * 4
    (folder,) = fresh.out.rglob("population.json")
    rounds = json.loads(folder.read_text())["takeovers"]
    assert [takeover["after"] for takeover in rounds] == [1, 2]
    bred = [trial for trial in candidate["trials"] if trial["schedule"]]
    assert bred
    assert best["value"] == candidate["value"]
    refused = fresh.ask("sweep", *words, "train.lr=interval(0.01, 0.1)", "model.width=choice(4, 6)")
    assert refused.code == 2
    assert refused.err.splitlines()[-1].startswith("search.space:model.width: pbt hands weights on, and this key chan")
    refused = fresh.ask("sweep", *words, "train.schedule=choice(cosine, constant)")
    assert refused.code == 2
    assert "search.space:train.schedule: pbt changes numbers alone, and these values are none" in refused.err


@pytest.mark.parametrize("backend", ["ray", "local"])
def test_a_slip_in_the_space_costs_a_line_before_ray_and_the_ledger(
    fresh: World, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    def touched(*_: object, **__: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(RaySearch, "start", touched)
    monkeypatch.setattr(LocalSearch, "run", touched)
    monkeypatch.setattr(Ledger, "open", touched)
    for word in ("train.lr=tag(log, interval(1e-3, 1e-1))", "train.max_epochs=range(0, 9)", "model.wdth=1,2"):
        answer = fresh.ask("sweep", f"search.backend={backend}", word, "train.batch_size=int(interval(0, 64))")
        assert answer.code == 2
        assert answer.err.startswith("search.space:")
        assert answer.err.count("\n") == 1
        assert not fresh.out.exists()


def test_a_trial_that_fails_is_a_negative_answer(fresh: World) -> None:
    """A learning rate that blows up beside one that does not: the sweep ends, and says so."""
    answer = fresh.ask("sweep", "train.lr=choice(0.02, 1e30)")
    assert answer.code == 3
    states = sorted(trial["state"] for trial in answer.value["candidate"]["trials"])
    assert states == ["failed", "finished"]


def test_a_sweep_with_a_searcher_several_metrics_and_a_first_point(old: World) -> None:
    """The champion's point comes first, Optuna chooses the others, and the same command again runs nothing."""
    words = ("search.searcher=tpe", "search.startup=1", "search.num_samples=4", "search.scheduler=none")
    space = ("train.lr=tag(log, interval(1e-3, 1e-1))", "train.max_epochs=2", "search.metrics=[log_loss]")
    answer = old.ask("sweep", *words, *space)
    assert answer.code == 0, answer.err
    trials = answer.value["candidate"]["trials"]
    with old.ledger() as ledger:
        past = Past(ledger, "")
        made = past.candidate(past.champion)
    assert made is not None
    assert trials[0]["params"] == made.params
    assert len(trials) == 4
    front = [t for t in trials if t["id"] in answer.value["front"]]
    assert answer.value["best"]["id"] in answer.value["front"]
    assert all(len(epoch["others"]) == 1 for t in trials for epoch in t["curve"])
    kept = {t["id"]: objectives_of(t) for t in trials}
    for one in front:
        mine = kept[one["id"]]
        assert not any(o[0] >= mine[0] and o[1] <= mine[1] and o != mine for o in kept.values())
    assert old.ask("sweep", *words, *space).value["candidate"] == answer.value["candidate"]


def objectives_of(trial: dict[str, Any]) -> tuple[float, float]:
    epoch = next(e for e in trial["curve"] if e["epoch"] == trial["best_epoch"])
    return epoch["value"], epoch["others"][0]


def test_a_budget_ends_a_sweep_and_a_larger_one_goes_on(fresh: World) -> None:
    """Less than an epoch leaves nothing finished; without the budget the same sweep goes on."""
    words = ("search.num_samples=6", "train.lr=interval(0.01, 0.03)", "search.scheduler=none")
    answer = fresh.ask("sweep", "search.compute_hours=1e-9", *words)
    assert answer.code == 3  # not even one finished
    assert "warning: no trial finished" in answer.err
    assert answer.value["not_begun"] == 5
    (trial,) = answer.value["candidate"]["trials"]
    assert trial["state"] == "stopped"
    assert trial["reason"] == "stopped: the budget is used up (search.compute_hours=1e-09)"
    larger = fresh.ask("sweep", *words)
    assert larger.code == 0
    assert len(larger.value["candidate"]["trials"]) == 6
    assert fresh.ask("sweep", "search.compute_hours=1e-9", *words).value["finished"] == 6


def test_no_trial_that_finished(fresh: World) -> None:
    answer = fresh.ask("train", "train.lr=1e30")
    assert answer.code == 3
    assert "warning: no trial finished" in answer.err
    assert answer.value["candidate"]["model"] == ""


def test_a_loop_whose_trials_all_fail_goes_on(fresh: World) -> None:
    answer = fresh.ask("loop", "train.lr=1e30", "loop.until=2026-03")
    assert answer.code == 3
    assert answer.value["champion"] == ""
    assert answer.value["verdicts"] == {"offline fail": 1}
    cycles = fresh.cycles()
    verdict = cycles["2026-02"].verdicts[0]
    assert verdict.reason.startswith("no trial of 1 finished: ")
    waits = cycles["2026-03"].decision
    assert waits is not None
    why = verdict.reason.removeprefix("no trial of 1 finished: ")
    assert f"the attempt of 2026-02 failed: {why}; no labelled window has come since" in waits.reason


def test_evaluate_the_champion_on_the_newest_labels(ended: tuple[World, Answer]) -> None:
    world, loop = ended
    answer = world.ask("evaluate")
    assert answer.code == 0
    assert (answer.value["model"], answer.value["champion"]) == (loop.value["champion"], "")
    assert answer.value["window"] == LAST
    assert {s["level"] for s in answer.value["slices"]} == {"red", "blue", "green"}


def test_evaluate_another_model_beside_the_champion(ended: tuple[World, Answer]) -> None:
    world, loop = ended
    first = world.cycles()["2026-02"].champion_after
    answer = world.ask("evaluate", f"artifact={first[:10]}", "window=2026-02")
    assert answer.code == 0
    assert (answer.value["model"], answer.value["champion"]) == (first, loop.value["champion"])
    difference = next(d for d in answer.value["differences"] if d["name"] == "roc_auc_score")
    assert difference["low"] > 0  # before the turn the first champion was the better one


def test_the_search_that_the_config_names(fresh: World) -> None:
    assert isinstance(running.make_search(fresh.config()[0]), LocalSearch)
    assert isinstance(running.make_search(fresh.config("search.backend=ray")[0]), RaySearch)
    assert isinstance(running.make_search(fresh.config("search.pack=auto")[0]), PackSearch)
    packs = running.make_search(fresh.config("search.pack=auto", "search.backend=ray")[0])
    assert isinstance(packs, RaySearch)
    assert packs._crew.kind is PackWorker


def test_what_was_started_is_ended(fresh: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails on the way: a Ray that nobody ends would keep the machine's memory."""
    running: list[str] = []
    monkeypatch.setattr(LocalSearch, "start", lambda self: running.append("search"))
    monkeypatch.setattr(LocalSearch, "close", lambda self: running.remove("search"))

    def fail_inside() -> None:
        with fresh.opened():
            assert running == ["search"]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert running == []

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Ledger, "open", fail)
    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert running == []


def test_a_class_that_is_not_ours_is_imported_while_the_search_starts(
    fresh: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong one ends what was started, and nothing is written."""
    said: list[str] = []
    monkeypatch.setattr(LocalSearch, "start", lambda self: said.append("start"))
    monkeypatch.setattr(LocalSearch, "close", lambda self: said.append("close"))
    answer = fresh.ask("sweep", "trust=[nowhere_at_all]", "model._target_=nowhere_at_all.Net")
    assert answer.code == 2
    assert "no module 'nowhere_at_all'" in answer.err
    assert answer.err.count("\n") == 1
    assert said == ["start", "close"]
    said.clear()
    answer = fresh.ask("sweep", "model._target_=nowhere_at_all.Net")
    assert "this class is not on the list of trusted ones" in answer.err
    assert said == []
    assert not (fresh.out / "ledger.db").exists()


def test_what_a_sweep_by_hand_has_left_can_be_judged_and_not_promoted(grown: World) -> None:
    """Its best model is in the store and in no ledger: evaluate and gate take it, a stage change needs the loop."""
    swept = grown.ask("sweep", "search.num_samples=1")
    assert swept.code == 0, swept.err
    model = swept.value["candidate"]["model"]
    assert f"next: `tidegate gate {model[:12]}`" in swept.err
    before = len(grown.rows())
    judged = grown.ask("gate", f"artifact={model[:12]}")
    assert judged.code in (0, 3), judged.err
    champion = next(row.model for row in grown.rows("stage") if row.payload["target"] == "production")
    assert (judged.value["verdict"]["model"], judged.value["verdict"]["champion"]) == (model, champion)
    assert grown.ask("evaluate", f"artifact={model[:12]}").value["model"] == model
    moved = grown.ask("promote", f"artifact={model[:12]}", "stage=production", "actor=ada", "reason=test")
    assert moved.code == 2
    assert "is unknown" in moved.err
    assert len(grown.rows()) == before


def test_time_by_the_names_that_people_read() -> None:
    watch = Stopwatch()
    watch.laps |= {"validate": 1.0, "monitor": 2.0, "train": 4.0, "ledger": 8.0}
    assert running.shown(watch) == {"statistics": 3.0, "training": 4.0}
