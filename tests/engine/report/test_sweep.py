from __future__ import annotations

import re

import pytest

from engine.records import Trial, TrialState
from engine.report.board import Board
from engine.report.sweep import BEST_ROWS, MOST_ROWS, differing, failures, headline, live, short_names, summary
from engine.report.tables import plain
from tests.engine.report.sweeps import make_candidate, make_epoch, make_sweep, make_trial

LONG = {"model.encoder.kind": "a_very_long_name_of_a_model_that_somebody_wrote", "data.columns": [1, 2, 3, 4, 5, 6, 7]}


def made(n: int, *, running: int = 2, **params: object) -> Board:
    board = Board(make_sweep(), n + 5, None, lambda: 61.0)
    for index in range(n):
        trial = make_trial(index, 0.5 + 0.01 * index)
        values = {name: f"{value}{index}" for name, value in params.items()}
        board.ended(make_trial(index, 0.5 + 0.01 * index, params={**trial.params, **values}))
    for index in range(n, n + running):
        board.begins(f"trial-{index:03d}", {"train.lr": 0.001 * (index + 1), "model.width": 8}, {})
        board.epoch(f"trial-{index:03d}", make_epoch(2, 0.61))
    return board


def test_what_is_seen_of_a_sweep() -> None:
    lines = plain(live(made(3), 120)).splitlines()
    assert lines[0] == "2026-05: 3 of 8 trials, 2 running, best 0.6100 (trial-003), 0.00 s"
    assert lines[1].split() == [
        "trial",
        "state",
        "epoch",
        "newest",
        "best",
        "lr",
        "seconds",
    ]  # width is the same in all
    assert [line.split() for line in lines[2:]] == [
        ["trial-003", "running", "2", "0.6100", "0.6100", "0.004", "1.0"],
        ["trial-004", "running", "2", "0.6100", "0.6100", "0.005", "1.0"],
        ["trial-002", "finished", "3", "0.5200", "0.5200", "0.003", "4.5"],
        ["trial-001", "finished", "3", "0.5100", "0.5100", "0.002", "4.5"],
        ["trial-000", "finished", "3", "0.5000", "0.5000", "0.001", "4.5"],
    ]


def test_what_does_not_fit_one_line_takes_two() -> None:
    assert plain(live(made(3), 64)).splitlines()[:2] == [
        "2026-05: 3 of 8 trials, 2 running, best 0.6100 (trial-003)", "0.00 s",
    ]  # fmt: skip


def test_a_sweep_that_has_just_begun() -> None:
    assert plain(live(Board(make_sweep(), 8, None, lambda: 0.0), 80)) == "2026-05: 0 of 8 trials, 0.00 s"


def test_a_thousand_trials_are_no_more_than_a_screen() -> None:
    lines = plain(live(made(1000), 120)).splitlines()
    assert len(lines) == 1 + 1 + MOST_ROWS + 1
    assert lines[-1] == f"and {1002 - MOST_ROWS} more"
    assert [line.split()[1] for line in lines[2:5]] == ["running", "running", "finished"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
def test_it_fits_any_width(width: int) -> None:
    board = made(4, **LONG)
    lines = plain(live(board, width), width=400).splitlines()
    assert max(map(len, lines)) <= width
    titles, *rows = [line for line in lines if line.startswith("trial")]
    assert len(rows) == 6
    if width >= 60:
        assert {"state", "epoch", "newest", "best", "seconds"} <= set(titles.split())
    if width >= 80:
        assert "lr" in titles.split()
    lines = plain(summary(make_candidate(*(make_trial(i) for i in range(30))), width), width=400).splitlines()
    assert max(map(len, lines)) <= width


def test_the_end_shows_the_best_and_counts_the_others() -> None:
    trials = [make_trial(i, 0.5 + 0.01 * i) for i in range(12)]
    trials += [make_trial(12, 0.9, state=TrialState.STOPPED), make_trial(13, state=TrialState.FAILED)]
    lines = plain(summary(make_candidate(*trials), 120)).splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + BEST_ROWS]] == [
        "trial-012", *(f"trial-{i:03d}" for i in range(11, 2, -1)),
    ]  # fmt: skip
    assert lines[1 + BEST_ROWS] == "and 4 more"
    assert lines[2 + BEST_ROWS] == (
        "14 trials: 12 finished, 1 stopped, 1 failed, best roc_auc_score 0.6100, 1 min 03 s of training"
    )
    assert lines[3 + BEST_ROWS] == "failed: trial-013: diverged in epoch 1"
    lowest = plain(summary(make_candidate(*trials[:3], mode="min"), 120)).splitlines()
    assert [line.split()[0] for line in lowest[1:4]] == ["trial-000", "trial-001", "trial-002"]


def test_a_shared_reason_is_told_once() -> None:
    shared = [make_trial(i, state=TrialState.FAILED, reason="the disk is full") for i in range(7)]
    alone = [make_trial(7, state=TrialState.FAILED, reason="diverged"), make_trial(8)]
    assert failures([*alone, *shared]) == [
        "failed: trial-000, trial-001, trial-002 and 4 more: the disk is full",
        "failed: trial-007: diverged",
    ]
    many = [make_trial(i, state=TrialState.FAILED, reason=f"reason {i}") for i in range(15)]
    assert failures(many)[-1] == "failed: 5 more, for other reasons"
    assert len(failures(many)) == 11


def test_where_all_failed_there_is_no_best() -> None:
    text = plain(summary(make_candidate(make_trial(0, state=TrialState.FAILED)), 120))
    assert "1 trials: 1 failed, 4.50 s of training" in text
    assert "best roc_auc_score" not in text


def test_names_as_short_as_they_tell_apart() -> None:
    assert differing([{"a": 1, "b": 2}]) == ["a", "b"]
    assert differing([{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 1}]) == ["b", "c"]
    assert short_names(["train.lr", "model.width", "model.head.width"]) == ["lr", "model.width", "model.head.width"]


@pytest.mark.parametrize(
    ("budget", "told"), [(None, ""), (90.0, "budget ends in 30 s"), (9000.0, "budget ends in 2.5 h")]
)
def test_the_budget(budget: float | None, told: str) -> None:
    clock = iter([0.0])
    board = Board(make_sweep(), 8, budget, lambda: next(clock, 61.0))
    assert headline(board) == ", ".join(filter(None, ["2026-05: 0 of 8 trials", "1 min 01 s", told]))


def test_the_rest_is_told_as_a_range() -> None:
    now = [0.0]
    board = Board(make_sweep(), 50, None, lambda: now[0])
    for index, seconds in enumerate((80.0, 100.0, 120.0, 90.0, 110.0)):
        now[0] += seconds
        board.begins(f"trial-{index:03d}", {}, {})
        board.epoch(f"trial-{index:03d}", make_epoch(1, seconds=seconds))
        board.ended(make_trial(index, seconds=seconds))
    told = re.search(r"(\d+) min to (\d+) min left|(\d+) min to ([\d.]+) h left", headline(board))
    assert told, headline(board)
    assert int(told[1] or told[3]) < 75  # 45 trials of 100 s


def test_no_word_of_a_trial_drives_the_terminal() -> None:
    evil = "x\x1b]0;owned\x07\n[bold]"
    trial: Trial = make_trial(0, params={evil: evil}, reason=evil, state=TrialState.FAILED)
    board = Board(make_sweep(window=evil), 2, None, lambda: 0.0)
    board.ended(trial)
    text = plain(live(board, 120)) + plain(summary(make_candidate(trial), 120)) + headline(board)
    assert "\x1b" not in text
    assert "\x07" not in text
