"""`tidegate watch` on the small world: windows land while it runs; it is killed, ended, and followed by another."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.act import ActConf
from engine.cycle.telling import make_outbox
from engine.data.tables import write_parquet
from engine.effects import ChannelConf, Message, Outbox, make_channels
from engine.train.sweep import LocalSearch
from engine.verbs import running, watch
from tests.engine.story import story
from tests.engine.world import LAST, WINDOWS, YOUNG, Answer, World, configure
from tests.patience import ENOUGH

ROOT = Path(__file__).parents[3]
FAST = ("watch.every=1s", "watch.settle=0s", "watch.grace=0s")
ONCE = (*FAST, "watch.idle_exit=0s")  # what is there, and no more
ONE_STAGE = ("decide=never", "train.max_epochs=1")


@pytest.fixture
def inbox(new: World, young: World, tmp_path: Path) -> tuple[World, Callable[..., None]]:
    """A world of its own, founded like `young`, into which windows can be delivered."""
    world = configure(tmp_path / "world")
    shutil.copytree(young.out, world.out)

    def deliver(*names: str) -> None:
        for name in names:
            for kind in ("labels", "windows"):
                target = world.folder / kind / f"{name}.parquet"
                target.parent.mkdir(exist_ok=True)
                shutil.copy(new.folder / kind / target.name, target.with_suffix(".part"))
                os.replace(target.with_suffix(".part"), target)

    deliver(*WINDOWS[: WINDOWS.index(YOUNG) + 1])
    return world, deliver


def events(answer: Answer, *kinds: str) -> list[tuple[str, str]]:
    """(what, window) of the lines on stdout, of these kinds."""
    found = [json.loads(line) for line in answer.out.splitlines()]
    return [(event["event"], event.get("window", "")) for event in found if not kinds or event["event"] in kinds]


def arrivals(world: World) -> list[tuple[str, str]]:
    """(state, window) of the warnings in the ledger."""
    return [(row.payload["state"], row.window) for row in world.rows("arrival")]


def without_landings(world: World) -> list[Any]:
    """The story of the ledger without the bookkeeping of a watch."""
    rows = [row for row in world.rows() if row.kind not in ("landed", "arrival")]
    return story([replace(row, seq=number) for number, row in enumerate(rows, 1)])


def test_it_tells_the_story_of_the_loop(fresh: World, ended: tuple[World, Answer]) -> None:
    answer = fresh.ask("watch", *ONCE, f"watch.until={LAST}")
    assert answer.code == 0, answer.err
    assert events(answer, "decided") == [("decided", name) for name in WINDOWS[1:7]]
    assert without_landings(fresh) == story(ended[0].rows())
    assert json.loads(answer.out.splitlines()[-1])["champion"] == fresh.cycles()[LAST].champion_after
    assert all(name in (fresh.out / "report.html").read_text() for name in WINDOWS[1:7])


def test_late_doubled_rewritten_and_broken_windows(inbox: tuple[World, Callable[..., None]]) -> None:
    world, deliver = inbox
    deliver("2026-05", "2026-07")
    first = world.ask("watch", *ONCE, *ONE_STAGE)
    assert events(first, "gap", "decided") == [("decided", "2026-05"), ("gap", "2026-07"), ("decided", "2026-07")]
    deliver("2026-06")  # late
    windows = world.folder / "windows"
    shutil.copy(windows / "2026-07.parquet", windows / "2026-09.parquet")
    table = pq.read_table(windows / "2026-05.parquet")
    write_parquet(table.slice(10), windows / "2026-05.parquet")
    (windows / "2026-10.parquet").write_bytes(b"PAR1 in pieces")
    (windows / "2026-11.tmp.parquet").write_bytes(b"")
    second = world.ask("watch", *ONCE, *ONE_STAGE)
    assert second.code == 0, second.err
    told = [("rewritten", "2026-05"), ("duplicate", "2026-09"), ("unreadable", "2026-10"), ("late", "2026-06")]
    assert sorted(events(second, "rewritten", "duplicate", "unreadable", "late")) == sorted(told)
    assert sorted(arrivals(world)) == sorted([("gap", "2026-07"), *told])
    assert "2026-10: unreadable: " in second.err
    deliver("2026-08")
    third = world.ask("watch", *ONCE, "train.max_epochs=1", "decide=calendar", "decide.calendar=1")
    assert events(third, "decided") == [("decided", "2026-08")]
    candidate = world.cycles()["2026-08"].candidate
    assert candidate is not None
    assert candidate.holdout_window == "2026-07"
    assert candidate.training_windows == ("2026-04", "2026-06"), "the late one is trained on, the rewritten one is not"


def test_the_loop_by_hand_keeps_to_what_a_watch_has_set_aside(inbox: tuple[World, Callable[..., None]]) -> None:
    world, deliver = inbox
    deliver("2026-06")
    windows = world.folder / "windows"
    shutil.copy(windows / "2026-06.parquet", windows / "2026-07.parquet")
    assert world.ask("watch", *ONCE, *ONE_STAGE).code == 0
    deliver("2026-05")
    assert world.ask("watch", *ONCE, *ONE_STAGE).code == 0
    assert world.ask("loop", *ONE_STAGE).code == 0
    assert list(world.cycles()) == [*WINDOWS[1:4], "2026-06"]
    shown = world.ask("history", "kind=arrival")
    assert [row["payload"]["state"] for row in shown.value["rows"]] == ["duplicate", "gap", "late"]


def test_labels_in_the_window_are_waited_for(tmp_path: Path, young: World, new: World) -> None:
    """The label is a column of the window, and is filled in once it is known: the window stays the same."""
    world = configure(tmp_path / "world")
    data = world.folder / "conf" / "data" / "world.yaml"
    data.write_text("\n".join(line for line in data.read_text().splitlines() if not line.startswith("labels")) + "\n")

    def deliver(name: str, *, labelled: bool) -> None:
        table = pq.read_table(new.folder / "windows" / f"{name}.parquet")
        label = pq.read_table(new.folder / "labels" / f"{name}.parquet")["late"]
        label = label if labelled else label.take(pa.nulls(len(label), pa.int64()))
        write_parquet(table.append_column("late", label), world.folder / "windows" / f"{name}.parquet")

    for name in WINDOWS[:3]:
        deliver(name, labelled=name < "2026-03")
    assert events(world.ask("watch", *ONCE, *ONE_STAGE), "decided") == [("decided", "2026-02"), ("decided", "2026-03")]
    deliver("2026-04", labelled=False)
    waits = world.ask("watch", *ONCE, *ONE_STAGE)
    assert events(waits, "waiting", "decided", "error") == [("waiting", "2026-04")]
    assert "no row has a label - wait for the labels" in waits.err
    deliver("2026-03", labelled=True)
    goes_on = world.ask("watch", *ONCE, *ONE_STAGE)
    assert events(goes_on, "decided", "rewritten") == [("decided", "2026-04")]
    assert arrivals(world) == []


# ---- lives, ends and deaths ------------------------------------------------------------------------------------------


def start(world: World, *more: str) -> subprocess.Popen[str]:
    words = world.words("watch", "--json", *FAST, *ONE_STAGE, *more)
    command = [sys.executable, "-m", "engine.cli", *words]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def until(process: subprocess.Popen[str], what: str, window: str = "") -> None:
    """Read its lines until it says so."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if (event["event"], event["window"]) == (what, window or event["window"]):
            return
    assert process.stderr is not None
    raise AssertionError(process.stderr.read())


def sign(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.out / "watch.json").read_text())
    return found


def test_one_works_another_stands_by_and_takes_over(inbox: tuple[World, Callable[..., None]]) -> None:
    world, deliver = inbox
    first = start(world)
    deliver("2026-05")
    until(first, "decided", "2026-05")
    second = start(world)
    until(second, "standby")
    deliver("2026-06")
    until(first, "decided", "2026-06")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    deliver("2026-07")
    until(second, "decided", "2026-07")
    until(second, "idle")
    assert sign(world)["pid"] == second.pid
    doctor = world.ask("doctor")
    assert [f["state"] for f in doctor.value["findings"] if f["what"] == "watch"] == ["good"]
    second.send_signal(signal.SIGTERM)
    _, err = second.communicate(timeout=ENOUGH)
    assert second.returncode == 0, err
    assert "Traceback" not in err
    assert "told to end" in err
    assert sign(world)["state"] == "ended"
    with world.ledger() as ledger:
        ledger.verify()
        decided = [row.window for row in ledger.rows("decision")]
    assert decided == list(WINDOWS[1:7]), "each once, in order"


def test_ctrl_c_is_130_and_the_same_command_goes_on(inbox: tuple[World, Callable[..., None]]) -> None:
    world, deliver = inbox
    process = start(world)
    until(process, "idle")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=ENOUGH)
    assert process.returncode == 130
    assert err.endswith("interrupted - the same command goes on where it stopped\n")
    deliver("2026-05")
    assert events(world.ask("watch", *ONCE, *ONE_STAGE), "decided") == [("decided", "2026-05")]


def test_workers_are_given_back_when_idle_and_come_again(
    inbox: tuple[World, Callable[..., None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, deliver = inbox
    searches: list[LocalSearch] = []

    class Counted(LocalSearch):
        closed = False

        def close(self) -> None:
            self.closed = True

    def make(config: Any) -> LocalSearch:
        searches.append(Counted(config.search))
        return searches[-1]

    slept: list[float] = []

    def sleep(seconds: float) -> None:
        before = sum(slept)
        slept.append(seconds)
        if before < 10 <= sum(slept):
            deliver("2026-06")

    quick = SimpleNamespace(**{**vars(time), "sleep": sleep, "monotonic": lambda: sum(slept)})
    monkeypatch.setattr(watch, "make_search", make)
    monkeypatch.setattr(watch, "time", quick)
    deliver("2026-05")
    more = ("watch.release=1s", "watch.idle_exit=30s", "watch.grace=1h", "watch.sequence=none")
    answer = world.ask("watch", *FAST[:2], *more, *ONE_STAGE)
    assert answer.code == 0, answer.err
    shown = [("decided", "2026-05"), ("released", ""), ("decided", "2026-06"), ("released", "")]
    assert events(answer, "decided", "released") == shown
    assert [search.closed for search in searches] == [True, True]  # type: ignore[attr-defined]


def test_a_folder_that_cannot_be_listed_is_a_line_and_not_the_end(
    inbox: tuple[World, Callable[..., None]], tmp_path: Path
) -> None:
    world, _ = inbox
    answer = world.ask("watch", *ONCE, "data.path=nowhere://x")
    assert answer.code == 2
    assert events(answer)[0] == ("error", "")
    assert "warning: error: nowhere://x: cannot be opened" in answer.err
    assert "(tried again in 1 s)" in answer.err
    assert "Traceback" not in answer.err


def test_until_is_for_the_loop_alone(fresh: World, line: Callable[[], str]) -> None:
    assert fresh.run("watch", "loop.until=2026-03") == 2
    assert line() == "loop.until: a watch goes on - end it after a window with watch.until=, or use tidegate loop"
    assert not fresh.out.exists()


def test_how_windows_are_followed_is_no_part_of_what_is_made(fresh: World) -> None:
    """Ids of sweeps are made of the config: a loop by hand and a watch share them."""
    plain = [fresh.config(*words)[0].plain() for words in ((), ("watch.every=5s",))]
    assert plain[0] == plain[1]
    assert running.reviewed is watch.reviewed


def test_a_message_that_a_kill_left_is_sent_at_the_next_turn(
    inbox: tuple[World, Callable[..., None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was posted and never sent; no window comes, and a program that may be started is handed it all the same."""
    world, _ = inbox
    program, told = tmp_path / "keep", tmp_path / "told"
    program.write_text(f"#!/bin/sh\ncat >> {told}\n")
    program.chmod(0o755)
    channels = {"keep": ChannelConf(kind="command", argv=[str(program)])}
    with world.ledger() as ledger:
        make_outbox(ActConf(channels=channels), ledger).post(
            Message(key="k", loop="world", event="raised", text="the rule rang"), ["keep"]
        )
    channel = f"+act.channels={{keep: {{kind: command, argv: [{program}]}}}}"
    refused = world.ask("watch", *ONCE, *ONE_STAGE, channel)
    assert [what for what, _ in events(refused, "undelivered")] == ["undelivered"], refused.err
    assert (refused.code, told.exists()) == (0, False)
    monkeypatch.setenv("TIDEGATE_COMMANDS", str(program))
    later = lambda: datetime.now(UTC) + timedelta(minutes=1)  # noqa: E731  # the next try is due
    monkeypatch.setattr(watch, "make_outbox", lambda conf, ledger: Outbox(ledger, make_channels(channels), later))
    answer = world.ask("watch", *ONCE, *ONE_STAGE, channel)
    assert (answer.code, events(answer, "undelivered")) == (0, [])
    assert json.loads(told.read_text())["text"] == "the rule rang"
