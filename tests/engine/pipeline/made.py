"""A ledger written by hand: a window an hour, and what happens in it."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field, replace
from typing import Any

from engine.pipeline.delays import Floor
from engine.pipeline.lasting import Terms
from engine.pipeline.money import Prices
from engine.promote.chain import Row
from engine.records import (
    DriftOutcome,
    Estimate,
    Gain,
    Outcome,
    Performance,
    PipelineMetrics,
    Route,
    Stage,
    StageChange,
    TrialState,
    to_plain,
)
from tests.engine.cycles import cycle, drift_report, estimate, trial, verdict

BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PRICES = Prices(hour=2.0, review=300.0, point=100.0, currency="EUR")
TERMS = Terms(primary="roc_auc_score", floor=Floor(0.6, True), prices=PRICES, level=0.95)
MOVED, STILL, LOST = DriftOutcome.DRIFT, DriftOutcome.NO_DRIFT, DriftOutcome.UNDECIDABLE


@dataclass
class Book:
    """The rows so far. Each window is opened on its hour, and each row comes a minute after the last."""

    rows: list[Row] = field(default_factory=list)
    champion: str = ""
    window: int = -1
    minute: int = 0

    @property
    def name(self) -> str:
        return f"w{self.window:02d}"

    def row(self, kind: str, payload: dict[str, Any], model: str = "") -> Row:
        at = (BEGAN + dt.timedelta(hours=self.window, minutes=self.minute)).isoformat(timespec="microseconds")
        self.minute += 1
        seq = len(self.rows) + 1
        plain: dict[str, Any] = to_plain(payload)
        made = Row(
            seq=seq, id=f"{kind}-{seq}", kind=kind, window=self.name, model=model, at=at, payload=plain, previous="",
            hash=f"h{seq}",
        )  # fmt: skip
        self.rows.append(made)
        return made

    def open(self) -> Book:
        """The next window begins."""
        self.window, self.minute = self.window + 1, 0
        self.began_with = self.champion
        self.row("opened", {"window": self.name, "index": self.window})
        return self

    def decide(self, action: str) -> Book:
        self.row("decision", {"action": action, "window": self.name})
        return self

    def alert(self, metric: str = "drift.share", value: float = 0.5, **more: Any) -> Book:
        known = {"metric": metric, "value": value, "action": "log", "rule": "r", "severity": "suspected"}
        self.row("action", known | more)
        return self

    def judge(self, model: str, outcome: Outcome, gate: str = "offline", **more: Any) -> Book:
        self.row("verdict", to_plain(verdict(outcome, gate)) | {"model": model} | more, model)
        return self

    def promote(self, model: str, route: Route = Route.EVIDENCE) -> Book:
        """And the model before goes aside, in a row behind it."""
        before, self.champion = self.champion, model
        for moved, source, target in ((model, Stage.PREPRODUCTION, Stage.PRODUCTION), (before, None, Stage.RETIRED)):
            if moved:
                change = StageChange(
                    id="s", model=moved, source=source, target=target, reason="", window=self.name, route=route
                )
                self.row("stage", to_plain(change), moved)
        return self

    def payload(self, *outcomes: DriftOutcome, score: float = math.nan, **more: Any) -> dict[str, Any]:
        """Of the cycle at hand."""
        found = cycle()
        assert found.monitor is not None
        seen = () if math.isnan(score) else (estimate(score),)
        performance = Performance(model=self.champion, window=f"w{self.window - 1:02d}", n_rows=900, metrics=seen)
        known: dict[str, Any] = {
            "window": self.name,
            "index": self.window,
            "founding": self.window == 0,
            "champion": self.began_with,
            "champion_after": self.champion,
            "candidate": None,
            "monitor": cycle().monitor,
            "timings": {},
        }
        plain: dict[str, Any] = to_plain(cycle(**(known | more)))
        plain["monitor"] |= {"baseline": to_plain(drift_report(*outcomes)), "performance": to_plain(performance)}
        return plain

    def close(self, *outcomes: DriftOutcome, score: float = math.nan, **more: Any) -> Book:
        """The cycle ends."""
        if more.get("candidate"):
            self.row("candidate", to_plain(more["candidate"]), more["candidate"].model)
        self.row("cycle", self.payload(*outcomes, score=score, **more))
        return self

    def quiet(self, n: int = 1, *outcomes: DriftOutcome, score: float = 0.7) -> Book:
        """Windows in which nothing is done."""
        for _ in range(n):
            self.open().close(*(outcomes or (STILL,)), score=score)
        return self


def founded() -> Book:
    """A ledger whose first model came into production in its first window."""
    book = Book().open().judge("m0", Outcome.PASS, first=True).promote("m0")
    return book.close(STILL)


def attempt(cost: float, *states: TrialState, model: str = "m1") -> Any:
    """A candidate that cost so much."""
    made = cycle().candidate
    assert made is not None
    return replace(made, model=model, cost=cost, trials=tuple(map(trial, states or (TrialState.FINISHED,))))


def metered(window: str, *, gain: Gain | None = None, **costs: float) -> PipelineMetrics:
    """What a window cost, and what it tells of a gain."""
    known = {"training_cost": 0.0, "review_cost": 0.0, "running_cost": 0.0} | costs
    return PipelineMetrics(window=window, currency="EUR", gain=gain, **known)  # type: ignore[arg-type]


def gained(window: str, points: float, half: float, model: str = "m1", replaced: str = "m0") -> Gain:
    """Points between two bounds at 95 percent."""
    found = estimate(points, "gain_points", low=points - half, high=points + half)
    return Gain(window=window, model=model, replaced=replaced, points=found)


def named(measures: Any) -> dict[str, Estimate]:
    """The estimates by name."""
    return {measure.estimate.name: measure.estimate for measure in measures}
