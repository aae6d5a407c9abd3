"""The verb backtest: retrains really made, once; what a policy reads is what the loop would have told it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.backtest import Measured
from engine.backtest.remaking import Remaking, fit_windows
from engine.cycle.past import Past
from engine.models import challenger
from engine.records import Candidate, from_plain
from engine.records.contested import ORACLE, Contested
from engine.report.terminal import make_console
from engine.verbs import backtest
from tests.engine.world import WINDOWS, YOUNG, Answer, World, make_world

POLICIES = ("calendar", "drift", "cost_aware", "never")
WORDS = (f"backtest.policies=[{','.join(POLICIES)}]", "decide.review_cost=100")
Train = Callable[..., Candidate]


@pytest.fixture(scope="module")
def done(new: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Answer]:
    """A backtest over the small world. To be looked at only."""
    world = World(new.folder, tmp_path_factory.mktemp("backtest") / "run")
    return world, world.ask("backtest", *WORDS)


def contested(answer: Answer) -> Contested:
    (found,) = answer.value["contests"]
    return from_plain(Contested, {key: value for key, value in found.items() if key != "sentence"})


def counted(monkeypatch: pytest.MonkeyPatch, stop_at: int | None = None) -> list[str]:
    """The windows whose model is trained from now on; Ctrl-C comes in training number `stop_at`."""
    seen: list[str] = []
    train: Train = challenger.train

    def counting(decision: Any, rows: Any, *more: Any, **named: Any) -> Candidate:
        seen.append(rows.windows[-1].name)
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        return train(decision, rows, *more, **named)

    monkeypatch.setattr(challenger, "train", counting)
    return seen


def test_every_policy_is_played_over_models_that_were_made(done: tuple[World, Answer]) -> None:
    """Eight windows, two found the loop: models 0 to 5 (labels come a window late), windows 2 to 7 are played."""
    world, answer = done
    assert answer.code in (0, 3), answer.err
    found = contested(answer)
    assert found.names == WINDOWS[2:]
    assert len(list((world.out / "backtest" / "models").iterdir())) == 6
    assert len(list((world.out / "backtest" / "scores").iterdir())) == 7 + 6 + 5 + 4 + 3 + 2
    assert {line.policy for line in found.lines} == {ORACLE, *POLICIES}
    costs = [line.cost for line in found.lines]
    assert costs == sorted(costs)
    for line in found.lines:
        assert sum(line.costs) == pytest.approx(line.cost) == pytest.approx(line.lost + line.spent)
        assert len(line.acted) == len(line.passed) == line.attempts
    never = next(line for line in found.lines if line.policy == "never")
    assert never.spent == 0
    assert never.below[-1] > 10  # the relation has turned, and the founder was never replaced
    assert found.oracle.promoted >= 1
    assert "model 1 of 6, trained up to 2026-01: roc_auc_score" in answer.err
    assert "; that was the last" in answer.err


def test_the_page_is_whole_and_the_ledger_is_not_begun(done: tuple[World, Answer]) -> None:
    world, answer = done
    page = Path(answer.value["page"])
    assert page == world.out / "backtest.html"
    text = page.read_text()
    for name in (*POLICIES, "the best plan"):
        assert name in text
    assert "<script" not in text
    assert not (world.out / "ledger.db").exists()


def test_the_second_call_trains_nothing_and_says_the_same(
    done: tuple[World, Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = done[0].copy(tmp_path / "again")
    seen = counted(monkeypatch)
    again = world.ask("backtest", *WORDS)
    assert seen == []
    assert "every model and figure was there: nothing was trained" in again.err
    assert contested(again) == contested(done[1])


def test_other_prices_and_gates_train_nothing_and_another_config_of_a_trial_does(
    done: tuple[World, Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = done[0].copy(tmp_path / "again")
    seen = counted(monkeypatch, stop_at=1)
    dear = world.ask("backtest", *WORDS, "decide.review_cost=100000", "gate.rules.calibrated.margin=0.04")
    assert seen == []
    assert contested(dear).cheapest.attempts == 0
    assert world.run("backtest", *WORDS, "train.lr=0.01") == 130
    assert seen == ["2026-01"]


@pytest.mark.parametrize(
    "words",
    [
        ["gate.rules.floor.threshold=0.9999"],
        ["+gate.shadow={never: {kind: floor, metric: roc_auc_score, threshold: 0.9999}}"],
    ],
)
def test_a_gate_that_never_opens_lets_no_model_through(
    done: tuple[World, Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Offline, and in shadow: where both open as in the world itself, the best plan promotes."""
    world = done[0].copy(tmp_path / "again")
    seen = counted(monkeypatch)
    found = contested(world.ask("backtest", *WORDS, *words))
    assert seen == []
    assert contested(done[1]).oracle.promoted >= 1
    reached = [at for line in found.lines for at, passed in zip(line.acted, line.passed, strict=True) if passed]
    assert all(at >= len(WINDOWS) - 2 for at in reached)  # what the windows end before is held against nobody
    assert found.oracle.attempts == 0


def test_a_kill_takes_nothing_that_was_made(
    done: tuple[World, Answer], fresh: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        counted(patch, stop_at=4)
        assert fresh.run("backtest", *WORDS) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted - the same command goes on where it stopped"
    seen = counted(monkeypatch)
    answer = fresh.ask("backtest", *WORDS)
    assert seen == list(WINDOWS[3:6])
    mine, theirs = contested(answer), contested(done[1])
    for one, other in zip(mine.lines, theirs.lines, strict=True):
        assert (one.policy, one.acted, one.below) == (other.policy, other.acted, other.below)


def test_what_gc_has_removed_is_made_again_where_it_is_needed(
    done: tuple[World, Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = done[0].copy(tmp_path / "again")
    for path in (world.out / "store").rglob("*"):
        if path.is_file():
            path.unlink()
    (score, *_) = sorted((world.out / "backtest" / "scores").iterdir())
    score.unlink()
    seen = counted(monkeypatch)
    again = world.ask("backtest", *WORDS)
    assert len(seen) == 1
    assert contested(again).lines[0].below == contested(done[1]).lines[0].below


def past_of(world: World, *words: str) -> Measured:
    config, composer = world.config(*words)
    with backtest._means(config, composer, make_console(quiet=True)) as means:
        names, left_out = fit_windows(means.source, backtest._names(config), means.confs)
        assert left_out == []
        return Remaking(means, names).past()


def test_a_policy_reads_what_the_loop_would_have_told_it(young: World, fresh: World) -> None:
    """The founder of the loop is the model of the first window, made by the same sweep: same scores, same drift."""
    past = past_of(fresh, "backtest.retune=true")
    compared = 0
    for cycle in young.cycles().values():
        if cycle.monitor is None or cycle.monitor.performance is None:
            continue
        at = WINDOWS.index(cycle.monitor.performance.window)
        assert past.measured(0, at) == cycle.monitor.performance.metric("roc_auc_score")
        if cycle.index >= 2:
            report = cycle.monitor.baseline
            assert past.moved(0, cycle.index) == (len(report.drifted), len(report.columns))
            compared += 1
    assert compared == WINDOWS.index(YOUNG) - 1
    with young.ledger() as ledger:
        made = Past(ledger, "")
        baseline = made.baseline(made.champion, "roc_auc_score")
    assert baseline is not None
    assert past.measured(0, 1).value == baseline.value
    assert past.hours(0, retuned=True) > past.hours(0, retuned=False)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["backtest.policies=[calender,drift]"], "backtest.policies: 'calender' is unknown - did you mean 'calendar'?"),
        (["backtest.tune=1"], "backtest.tune: 1 windows tell no policy from another - choose 3 or more, or 0"),
        (
            ["backtest.tune=5"],
            "/windows: 8 labelled windows are fit for use: 2 found the loop, 5 choose parameters, 3 must be left - "
            "lower backtest.tune",
        ),
        (["loop.until=2026-03"], "3 labelled windows are fit for use: 2 found the loop, 3 must be left - wait for"),
        (["html=/nowhere/at/all.html"], "html: /nowhere/at/all.html cannot be written - name a file in a folder that"),
        (["train.lr=interval(0.1, 0.2)"], "command line:train.lr: backtest takes one value for a key"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_trained(
    fresh: World, monkeypatch: pytest.MonkeyPatch, words: list[str], line: str
) -> None:
    seen = counted(monkeypatch)
    answer = fresh.ask("backtest", *words)
    assert answer.code == 2
    assert line in answer.err.splitlines()[-1]
    assert seen == []
    assert not (fresh.out / "backtest").exists()


def test_a_window_that_is_not_fit_for_use_is_left_out(tmp_path: Path) -> None:
    from tests.engine.world import rows_of, write_parquet  # type: ignore[attr-defined]

    world = make_world(tmp_path / "world")
    table, _ = rows_of(4, 20)  # a window of few rows: validate.rows_low blocks it
    write_parquet(table, world.folder / "windows" / f"{WINDOWS[4]}.parquet")
    config, composer = world.config()
    with backtest._means(config, composer, make_console(quiet=True)) as means:
        fit, left_out = fit_windows(means.source, WINDOWS, means.confs)
    assert left_out == [WINDOWS[4]]
    assert fit == [name for name in WINDOWS if name != WINDOWS[4]]


def test_simulated_pasts_need_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from engine import cli

    words = ["backtest.streams=[abrupt,still]", "backtest.seeds=3", "backtest.windows=12", f"out={tmp_path / 'run'}"]
    code = cli.run(["backtest", "--json", "backtest.policies=[calendar,never]", *words])
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [one["past"] for one in found["contests"]] == ["abrupt streams", "still streams"]
    for one in found["contests"]:
        assert (one["unit"], one["units"], len(one["names"])) == ("pasts", 3, 12)
        for line in one["lines"]:
            assert sum(line["costs"]) / 3 == pytest.approx(line["cost"])
            assert len(line["costs"]) == 3
    text = (tmp_path / "run" / "backtest.html").read_text()
    assert 'id="abrupt-streams"' in text
    assert 'id="still-streams"' in text
