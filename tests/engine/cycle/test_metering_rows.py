"""What metering reads of a ledger: at each window what is new, and it tells the same as who reads all of it."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.cycle.metering import Metering
from engine.cycle.past import Past, open_window
from engine.cycle.told import Told
from engine.decide import DecideConf
from engine.evaluate.conf import EvaluateConf
from engine.gate import GateConf
from engine.pipeline.lasting import lasting
from engine.pipeline.openmetrics import Exposition
from engine.promote import history
from engine.promote.entries import Entries
from engine.promote.ledger import Ledger
from engine.records import Action, Cycle, DriftOutcome, Outcome, Route, Stage, StageChange, from_plain, to_plain
from engine.system.timing import Stopwatch
from tests.engine.cycles import cycle, drift_report, verdict

MOVED, STILL = DriftOutcome.DRIFT, DriftOutcome.NO_DRIFT
LONG = "so " * 1000  # more than a row may have that is held for good
NOW = datetime(2026, 1, 1)


class Runner:
    """One process that runs a loop: all of metering is real, as are the ledger and what a window looks at; rows that
    stages would have written are made up, and large.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", "flights")
        self.file = folder / f"{name}.prom"
        ports: Any = SimpleNamespace(
            ledger=self.ledger, textfile=self.file, watch=Stopwatch(), console=SimpleNamespace(warn=pytest.fail)
        )
        confs: Any = SimpleNamespace(
            decide=DecideConf(), evaluate=EvaluateConf(primary="roc_auc_score"), gate=GateConf(),
            data=SimpleNamespace(time="at"),
        )  # fmt: skip
        source: Any = SimpleNamespace(rows=0, bytes=0)
        self.metering = Metering(confs, ports, SimpleNamespace(once=self._once), source)  # type: ignore[arg-type]

    def _once(self, cls: type, kind: str, key: Any, cycle: Cycle, model: str, make: Any) -> Any:
        row = self.ledger.append(kind, f"{kind}-{cycle.window}", to_plain(make()), window=cycle.window)
        return from_plain(cls, row.payload)

    def window(self, index: int, *, drifted: bool, tried: bool, promoted: bool) -> Cycle:
        """A window as the loop lives through it."""
        name = f"w{index:03d}"
        open_window(self.ledger, name, name, index)
        past = Past(self.ledger, name)
        assert len(past.metrics) == index
        self._stages(name, tried=tried, promoted=promoted)
        found = self._cycle(past, name, index, drifted, tried)
        table = pa.table({"at": pa.array([NOW], pa.timestamp("us"))})
        window: Any = SimpleNamespace(n_rows=1, table=table)
        found = self.metering.measured(found, past, window, -1, self.metering.begin())
        self.ledger.append("cycle", f"cycle-{name}", to_plain(found), window=name)
        self.metering.publish()
        return found

    def _stages(self, name: str, *, tried: bool, promoted: bool) -> None:
        """Rows of what was decided, trained, judged and moved."""
        model = f"model-{name}"
        action = Action.RETRAIN if tried else Action.KEEP
        self.ledger.append("decision", f"decision-{name}", {"action": action.value, "reason": LONG}, window=name)
        if not tried:
            return
        made = replace(cycle().candidate, model=model)  # type: ignore[type-var]
        self.ledger.append("candidate", f"candidate-{name}", {**to_plain(made), "note": LONG}, window=name, model=model)
        told = replace(verdict(Outcome.PASS if promoted else Outcome.FAIL), model=model, window=name, reason=LONG)
        self.ledger.append("verdict", f"verdict-{name}", to_plain(told), window=name, model=model)
        if promoted:
            for source, target in pairwise((None, Stage.CANDIDATE, Stage.PREPRODUCTION, Stage.PRODUCTION)):
                by_hand = target is Stage.PREPRODUCTION
                change = StageChange(
                    id=f"{name}-{target.value}", model=model, source=source, target=target, reason=LONG, window=name,
                    route=Route.MANUAL if by_hand else Route.EVIDENCE, actor="ada" if by_hand else "loop",
                )  # fmt: skip
                self.ledger.change(change)

    def _cycle(self, past: Past, name: str, index: int, drifted: bool, tried: bool) -> Cycle:
        found = cycle(
            id=name, window=name, index=index, founding=index == 0, champion=past.champion,
            champion_after=past.champion, timings={"validate": 0.5},
        )  # fmt: skip
        assert found.monitor is not None
        seen = replace(found.monitor, window=name, baseline=drift_report(MOVED if drifted else STILL))
        made = replace(found.candidate, model=f"model-{name}") if found.candidate and tried else None
        return replace(found, monitor=seen, candidate=made, evaluation=None)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So little is held of what is large that ten windows are a long ledger."""
    monkeypatch.setattr(history, "HELD", 60_000)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Rows of each kind that were read of a ledger."""
    found, sized = Counter[str](), Entries.sized

    def counted(self: Entries, *conditions: Any, **more: Any) -> Iterator[Any]:
        for row, size in sized(self, *conditions, **more):
            found[row.kind] += 1
            yield row, size

    monkeypatch.setattr(Entries, "sized", counted)
    return found


@pytest.mark.usefixtures("small")
def test_a_window_reads_as_many_rows_in_a_long_ledger_as_in_a_short_one(tmp_path: Path, read: Counter[str]) -> None:
    counts = []
    with ExitStack() as stack:
        runner = Runner(tmp_path, "a")
        stack.enter_context(runner.ledger)
        for index in range(41):
            read.clear()
            runner.window(index, drifted=index % 3 == 0, tried=index % 2 == 0, promoted=index % 4 == 0)
            counts.append(dict(read))
    assert counts[12] == counts[20] == counts[40]
    assert sum(counts[40].values()) < 40


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(3))
def test_it_tells_what_who_reads_all_of_the_ledger_tells(tmp_path: Path, seed: int) -> None:
    """Two processes that take the loop over from each other, are started again, and of which people write beside."""
    rng = np.random.default_rng(seed)
    with ExitStack() as stack:
        runners = [Runner(tmp_path, name) for name in "ab"]
        for index in range(24):
            at = int(rng.integers(2))
            if rng.random() < 0.15:  # it begins anew
                runners[at].ledger.close()
                runners[at] = Runner(tmp_path, "ab"[at])
            tried = bool(rng.random() < 0.5)
            found = runners[at].window(
                index, drifted=bool(rng.random() < 0.5), tried=tried, promoted=tried and bool(rng.random() < 0.5)
            )
            whole = stack.enter_context(Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "flights"))
            assert runners[at].file.read_text() == Exposition(whole).text()
            assert found.pipeline is not None
            rows = [row for row in whole.rows() if (row.kind, row.window) not in _behind(found.window)]
            bare = replace(found, evaluation=None, shadow=None, verdicts=(), actions=())
            again = lasting(rows, to_plain(bare), runners[at].metering._terms)
            assert repr(again.measures) == repr(found.pipeline.lasting)  # NaN is NaN
            assert repr(again.drift_open_windows) == repr(found.pipeline.drift_open_windows)
            alert = {"rule": "r", "severity": "detected", "event": "raised", "metric": "drift.share", "value": 0.5}
            whole.append("action", f"alert-{index}", {**alert, "message": LONG}, window=found.window)
        for runner in runners:
            runner.ledger.close()


def _behind(window: str) -> set[tuple[str, str]]:
    """The rows that are written behind the measuring."""
    return {("pipeline", window), ("cycle", window)}


def test_what_was_noted_goes_with_its_ledger(tmp_path: Path) -> None:
    def kept() -> int:
        gc.collect()
        return sum(type(one) is Told for one in gc.get_objects())

    before = kept()
    runner = Runner(tmp_path, "a")
    for index in range(4):
        runner.window(index, drifted=False, tried=False, promoted=False)
    assert kept() == before + 3
    runner.ledger.close()
    del runner
    assert kept() == before
