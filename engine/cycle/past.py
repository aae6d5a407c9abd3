"""What the ledger says of the time before one window. The loop has no memory of its own, so a kill has nothing to take.

A Past is the rows before the one that opened the window (`open_window`): the loop's look at the ledger is itself a row,
written once. So a cycle that was killed half-way and runs again, and every other process that runs it, sees what it saw
the first time, whatever a person does meanwhile; it finds its own finished steps by their ids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from engine.cycle.told import Told, Watched, told, went
from engine.decide import PAST, Attempt, Failed, Seen, shortfall
from engine.gate import GateConf
from engine.promote.chain import Row
from engine.promote.entries import DECISION, INPUTS, OPENED, VALIDATION, inputs_id
from engine.promote.ledger import Ledger
from engine.promote.stages import HEADS
from engine.records import (
    Acted,
    Action,
    ActionItem,
    Candidate,
    Cycle,
    Decay,
    Done,
    Estimate,
    EvaluationReport,
    ExpectedRisk,
    Outcome,
    Request,
    Risk,
    Stage,
    StageChange,
    ValidationReport,
    Verdict,
    Wear,
    digest,
    find,
    from_plain,
)
from engine.records.cycle import STRANGE
from engine.records.items import ACKNOWLEDGED, ACTED, FREEZE, ITEM, QUARANTINE, REQUEST
from engine.scoring.scores import GREATER_IS_BETTER
from engine.watch.arrival import ARRIVAL, Known

T = TypeVar("T")


def open_window(ledger: Ledger, id: str, window: str, index: int) -> None:
    """Fix what the cycle of a window looks at: all that the ledger holds now. Once; doing it again changes nothing."""
    ledger.append(OPENED, digest(OPENED, id), {"window": window, "index": index})


class Past:
    """Questions to one loop's ledger about the time before `window`."""

    def __init__(self, ledger: Ledger, window: str) -> None:
        self._ledger, rows = ledger, ledger.history()
        # When each window came, ISO 8601 in UTC: what a run after a kill reads, too, and not the clock of that run.
        self.came: dict[str, str] = {row.window: row.at for row in reversed(rows) if row.kind == OPENED}
        opened = next((row.seq for row in rows if row.kind == OPENED and row.window == window), len(rows) + 1)
        # Rows of the window itself may be older than its opening only where an earlier release began it.
        self.rows: list[Row] = [row for row in rows if row.seq < opened and row.window != window]
        strange = [row for row in rows if row.kind == VALIDATION and ledger.noted(row, _is_strange)]
        # The windows whose labels are known to be of a class that nobody knows, also by what this cycle found so far.
        self.strange = {row.window: from_plain(ValidationReport, row.payload) for row in reversed(strange)}
        # Those of earlier windows that this cycle found.
        self.came_strange = tuple(self.strange[r.window] for r in strange if r.seq > opened and r.window != window)

    def _told(self, cycle: Row) -> Told:
        return self._ledger.noted(cycle, told)

    def _all(self, kind: str, cls: type[T], model: str | None = None) -> list[T]:
        rows = [row for row in self.rows if row.kind == kind and (model is None or row.model == model)]
        return [from_plain(cls, row.payload) for row in rows]

    @cached_property
    def _held(self) -> dict[Stage, str]:
        """Which model held which stage. Where a person moved a model in the middle of the window at hand, rows lack
        between these ones: so where a model went counts, not where it is said to have come from.
        """
        held: dict[Stage, str] = {}
        for row in self.rows:
            if row.kind == "stage":
                moved, target = self._ledger.noted(row, went)
                held = {stage: model for stage, model in held.items() if model != moved}
                if target in HEADS:
                    held[target] = moved
        return held

    @property
    def champion(self) -> str:
        """The model in production; empty: none."""
        return self._held.get(Stage.PRODUCTION, "")

    @property
    def pending(self) -> str:
        """The challenger that waits in preproduction for its shadow window; empty: none."""
        return self._held.get(Stage.PREPRODUCTION, "")

    @property
    def metrics(self) -> list[dict[str, float]]:
        """metrics_of every finished cycle, oldest first."""
        return [self._told(row).metrics for row in self.rows if row.kind == "cycle"]

    @cached_property
    def watched(self) -> list[Watched]:
        """What monitoring saw in every finished cycle that it looked at, oldest first."""
        seen = [self._told(row).watched for row in self.rows if row.kind == "cycle"]
        return [watched for watched in seen if watched is not None]

    @cached_property
    def blocked(self) -> frozenset[str]:
        """Windows that validation has blocked, that were rewritten, quarantined, or have strange labels: nothing is
        trained or judged on them.
        """
        unfit = {row.window for row in self.rows if row.kind == "cycle" and not self._told(row).usable}
        rewritten = Known.of(row for row in self.rows if row.kind == ARRIVAL).rewritten
        return rewritten | unfit | self.quarantined | self.strange.keys()

    @cached_property
    def quarantined(self) -> frozenset[str]:
        """Windows that an action or a person has quarantined, and nobody has let out since."""
        out = {row.payload["window"]: row.payload["out"] for row in self.rows if row.kind == QUARANTINE}
        return frozenset(window for window, is_out in out.items() if is_out)

    def candidate(self, model: str) -> Candidate | None:
        """How a model was made; None where this loop did not make it."""
        found = self._all("candidate", Candidate, model)
        return found[-1] if found else None

    def baseline(self, model: str, metric: str) -> Estimate | None:
        """The metric a model had on its own hold-out, when it was judged offline."""
        found = self._all("evaluation", EvaluationReport, model)
        if not found or all(e.name != metric for e in found[-1].metrics):
            return None
        return find(found[-1].metrics, metric)

    def risk(self, model: str) -> Risk | None:
        """What is known of a model's risk, from the newest report on it."""
        return self._tracked(model, "risk", Risk)

    def expected_risk(self, model: str) -> ExpectedRisk | None:
        """What was expected of it before labels were in, from the newest report on it."""
        return self._tracked(model, "expected_risk", ExpectedRisk)

    def decay(self, model: str) -> Decay | None:
        """What is known of its primary metric since its hold-out, from the newest report on it."""
        return self._tracked(model, "decay", Decay)

    def _tracked(self, model: str, name: str, cls: type[T]) -> T | None:
        for row in reversed(self.rows):
            seen = self._told(row).watched if row.kind == "cycle" else None
            if seen is not None and seen.model == model and name in seen.tracked:
                return from_plain(cls, row.payload["monitor"][name])
        return None

    def measured(self, model: str, window: str) -> tuple[Estimate, ...]:
        """The metrics of a model on a labelled window as they were first recorded: in production, or in shadow."""
        for watched in self.watched:
            served = watched.performance if watched.model == model else None
            if served is not None and served.window == window:
                return served.metrics
        shadow = self._all("shadow", EvaluationReport, model)
        return next((r.metrics for r in shadow if r.window == window and len(r.windows) < 2), ())

    def verdicts(self, model: str) -> list[Verdict]:
        """Verdicts on one model, in order."""
        return self._all("verdict", Verdict, model)

    def looks(self, model: str, champion: str) -> list[Verdict]:
        """The verdicts of the shadow gate on a model beside that champion since it last came into preproduction."""
        rows = [row for row in self.rows if row.model == model]
        came = [row.seq for row in rows if row.kind == "stage" and row.payload["target"] == Stage.PREPRODUCTION.value]
        since = came[-1] if came else 0
        found = [from_plain(Verdict, row.payload) for row in rows if row.kind == "verdict" and row.seq > since]
        return [verdict for verdict in found if (verdict.gate, verdict.champion) == ("shadow", champion)]

    def wear(self, report: EvaluationReport, index: int, index_of: Mapping[str, int], conf: GateConf) -> Wear:
        """How worn the rows of a report are; `index` is the window at hand."""
        return wear_of(self.rows, report, index, index_of, conf)

    def attempts(self, index_of: Mapping[str, int], metric: str) -> tuple[Attempt, ...]:
        """Every challenger after the first champion, oldest first.

        `index_of` gives a window its place in time; `metric` is the one whose paired difference is the gain.
        """
        attempts = []
        for row in self.rows:
            if row.kind != "candidate":
                continue
            verdicts = self.verdicts(row.model) if row.model else []
            if any(v.first for v in verdicts):
                continue
            candidate = from_plain(Candidate, row.payload)
            reports = self._all("evaluation", EvaluationReport, row.model) if row.model else []
            gains = [e for report in reports for e in report.differences if e.name == metric]
            champion = self.candidate(reports[-1].champion) if reports and reports[-1].champion else None
            attempts.append(
                Attempt(
                    index=index_of.get(row.window, -1),
                    passed=self._passed(row.model, verdicts),
                    hours=candidate.seconds / 3600,
                    retuned=self._retuned(row),
                    gain=gains[-1] if gains else None,
                    age=_newer(candidate, champion, index_of) if champion else 0,
                    lost=self._lost(row.payload["decision"]),
                    recalibrated=bool(candidate.recalibrated_on),
                )
            )
        return tuple(attempts)

    def unfounded(self, usable: Sequence[str], rows_of: Callable[[str], int]) -> dict[str, Any]:
        """What a decision without a champion is told of the attempts that failed since one was in production, oldest
        first: fields of its evidence, none where there was no such attempt.

        `usable` are the labelled windows fit for use, oldest first; `rows_of` gives the labelled rows of one.
        """
        served = [row.seq for row in self.rows if row.kind == "stage" and _concerns(row, Stage.PRODUCTION)]
        failed, holdout = [], ""
        for row in self.rows:
            if row.kind == "candidate" and row.seq > max(served, default=0):
                verdicts = self.verdicts(row.model) if row.model else []
                if self._passed(row.model, verdicts) is False:
                    candidate = from_plain(Candidate, row.payload)
                    failed.append(_failed(row.window, candidate, verdicts))
                    holdout = candidate.holdout_window
        if not failed:
            return {}
        fresh = len(usable) - 1 - usable.index(holdout) if holdout in usable else len(usable)
        return {"failed": tuple(failed), "fresh": fresh, "holdout_rows": rows_of(usable[-1]) if usable else 0}

    def _lost(self, decision: str) -> float | None:
        """Baseline minus realised of the champion, as a decision had recorded them; None where one is missing."""
        evidence = self._inputs.get(inputs_id(decision), {}).get("evidence", {})
        before, since = ((evidence.get(name) or {}).get("value") for name in ("baseline", "realised"))
        return None if before is None or since is None else float(before - since)

    @cached_property
    def _inputs(self) -> dict[str, Mapping[str, Any]]:
        return {row.id: row.payload for row in self.rows if row.kind == INPUTS}

    def known(self, cycle: Cycle, champion: str, metric: str, index_of: Mapping[str, int]) -> dict[str, Any]:
        """What a decision in this cycle is told of the time before: fields of its evidence."""
        return {
            "attempts": self.attempts(index_of, metric),
            "tuned_at": self.tuned_at(index_of),
            "track": self.track(cycle, champion, metric, index_of),
            "past": self.before(cycle, champion, metric, index_of),
            "wanted": self.wanted,
            **_decayed(cycle, champion, index_of),
        }

    def track(self, cycle: Cycle, model: str, metric: str, index_of: Mapping[str, int]) -> tuple[Seen, ...]:
        """A metric of the champion `model` on every window whose labels came in while it was watched, oldest first, the
        cycle at hand included.
        """
        return self._tracks(cycle, metric, index_of).get(model, ())

    def before(self, cycle: Cycle, champion: str, metric: str, index_of: Mapping[str, int]) -> tuple[Seen, ...]:
        """The same of the models that were watched before `champion`, each with its hold-out first; the newest `PAST`
        of them. Models that this loop did not make are left out: what they were trained on is not known.
        """
        found: list[Seen] = []
        for model, track in self._tracks(cycle, metric, index_of).items():
            made, held = self.candidate(model), self.baseline(model, metric)
            if model == champion or made is None or held is None or made.holdout_window not in index_of:
                continue
            at = index_of[made.holdout_window]
            age = at - index_of.get(made.training_windows[-1], at)
            found.append(Seen(at=at, window=at, estimate=held, age=age))
            found += [seen for seen in track if seen.window > at]
        return tuple(found[-PAST:])

    def _tracks(self, cycle: Cycle, metric: str, index_of: Mapping[str, int]) -> dict[str, tuple[Seen, ...]]:
        """By model, in the order in which they were watched."""
        cycles = [(row.window, self._told(row).watched) for row in self.rows if row.kind == "cycle"]
        known = [(window, watched.performance if watched else None) for window, watched in cycles]
        known.append((cycle.window, cycle.monitor.performance if cycle.monitor else None))
        tracks: dict[str, dict[str, Seen]] = {}
        trained: dict[str, int | None] = {}
        for at, found in known:
            if found is None or found.window not in index_of:
                continue
            if found.model not in trained:
                made = self.candidate(found.model)
                trained[found.model] = index_of.get(made.training_windows[-1]) if made else None
            window, newest = index_of[found.window], trained[found.model]
            seen = tracks.setdefault(found.model, {})
            values = [e for e in found.metrics if e.name == metric]
            for estimate in values if found.window not in seen else ():
                age = 0 if newest is None else max(0, window - newest)
                seen[found.window] = Seen(at=index_of.get(at, -1), window=window, estimate=estimate, age=age)
        return {model: tuple(seen.values()) for model, seen in tracks.items()}

    @property
    def wanted(self) -> int:
        """Windows in a row, up to the newest, in which the policy wanted to act and its patience held it."""
        rows = [row for row in self.rows if row.kind == "decision"]
        return int(rows[-1].payload.get("wanted", 0)) if rows else 0

    def tuned_at(self, index_of: Mapping[str, int]) -> int | None:
        """Place in time of the newest full sweep, the founding one included; None: there was none."""
        found = [index_of.get(row.window, -1) for row in self.rows if row.kind == "candidate" and self._retuned(row)]
        return found[-1] if found else None

    def _retuned(self, candidate: Row) -> bool:
        return self._actions.get(candidate.payload["decision"]) == Action.RETUNE.value

    @cached_property
    def _actions(self) -> dict[str, Any]:
        return {row.id: row.payload["action"] for row in self.rows if row.kind == "decision"}

    def _passed(self, model: str, verdicts: list[Verdict]) -> bool | None:
        """True once it reached production, False once any gate did not open, None while it waits."""
        if not model or any(v.outcome is not Outcome.PASS and not v.waiting for v in verdicts):
            return False
        changes = self._all("stage", StageChange, model)
        return True if any(c.target is Stage.PRODUCTION for c in changes) else None

    @property
    def frozen(self) -> str:
        """Why promotions are frozen; empty: they are not."""
        rows = [row for row in self.rows if row.kind == FREEZE]
        return str(rows[-1].payload["reason"]) if rows and rows[-1].payload["frozen"] else ""

    # ---- alerts ----------------------------------------------------------------------------------------------------

    @cached_property
    def items(self) -> dict[str, ActionItem]:
        """The newest action item of each rule, by its name."""
        newest = {str(row.payload["rule"]): row for row in self.rows if row.kind == ITEM}
        return {rule: from_plain(ActionItem, row.payload) for rule, row in newest.items()}

    @cached_property
    def acknowledged(self) -> frozenset[str]:
        """Ids of the alerts that somebody has in hand."""
        return frozenset(row.payload["of"] for row in self.rows if row.kind == ACKNOWLEDGED)

    @property
    def asked(self) -> Request | None:
        """The retrain or retune that an action asks the next decision for; a decision since then has spent it."""
        found = next((row for row in reversed(self.rows) if row.kind in (REQUEST, DECISION)), None)
        if found is None or found.kind == DECISION or not found.payload["action"]:
            return None
        return from_plain(Request, found.payload)

    def carried(self, action: str, windows: int) -> int:
        """How often an action was carried out in the newest windows, so many with the one at hand."""
        newest = [row.window for row in self.rows if row.kind == "cycle"]
        among = set(newest[len(newest) - windows + 1 :] if windows <= len(newest) else newest)
        acted = [row for row in self.rows if row.kind == ACTED and row.window in among]
        done = [from_plain(Acted, row.payload) for row in acted if row.payload["action"] == action]
        return sum(found.state is Done.DONE for found in done)


def _is_strange(found: Row) -> bool:
    return any(check["name"] == STRANGE and check["outcome"] != "ok" for check in found.payload["checks"])


def _concerns(change: Row, stage: Stage) -> bool:
    """Did a model come into this stage, or leave it."""
    return stage.value in (change.payload["source"], change.payload["target"])


def _failed(window: str, candidate: Candidate, verdicts: list[Verdict]) -> Failed:
    """What stood in the way: of the rules that did not open, the one that fell furthest short."""
    shut = [verdict for verdict in verdicts if verdict.outcome is not Outcome.PASS]
    if not shut:
        reasons = [trial.reason for trial in candidate.trials if trial.reason]
        return Failed(window=window, reason=reasons[0] if reasons else "no trial gave a model")
    rules = [rule for verdict in shut for rule in verdict.rules if rule.outcome is not Outcome.PASS]
    known = [(rule, rule.estimate) for rule in rules if rule.estimate is not None and rule.better]
    told = [Failed(window=window, reason=shut[-1].reason, estimate=e, bound=r.bound, better=r.better) for r, e in known]
    decidable = [one for one in told if math.isfinite(shortfall(one))]
    return min(decidable, key=shortfall, default=Failed(window=window, reason=shut[-1].reason))


def _decayed(cycle: Cycle, champion: str, index_of: Mapping[str, int]) -> dict[str, Any]:
    """What a decision is told of a decay of the champion that is shown now; nothing where there is none."""
    found = cycle.monitor.decay if cycle.monitor is not None and cycle.monitor.model == champion else None
    if found is None or not found.since:
        return {}
    return {"decayed": found.drop, "decayed_at": index_of.get(found.began)}


def wear_of(
    rows: Iterable[Row], report: EvaluationReport, index: int, index_of: Mapping[str, int], conf: GateConf
) -> Wear:
    """How often the rows of a report have decided before, offline or in shadow, by the rows of a ledger.

    An evaluation of some of their windows counts as that share of them, also where a file has changed since (a label
    that came late): its other rows are the same.
    """
    mine = set(report.windows or (report.window,))
    uses, first, best = 0.0, index, dict[str, float]()
    for row in rows:
        if row.kind not in ("evaluation", "shadow"):
            continue
        found = from_plain(EvaluationReport, row.payload)
        same = found.fingerprint == report.fingerprint
        share = 1.0 if same else len(mine & set(found.windows or (found.window,))) / len(mine)
        if share:
            uses, first = uses + share, min(first, index_of.get(row.window, index))
        for estimate in (*found.metrics, *found.champion_metrics) if same else ():
            _keep_best(best, estimate)
    return Wear(way=conf.wear, uses=uses, limit=conf.max_holdout_uses, windows=index - first + 1, best=best)


def _keep_best(best: dict[str, float], estimate: Estimate) -> None:
    name, value = estimate.name, estimate.value
    if name in GREATER_IS_BETTER and math.isfinite(value):
        better = max if GREATER_IS_BETTER[name] else min
        best[name] = better(value, best.get(name, value))


def _newer(candidate: Candidate, champion: Candidate, index_of: Mapping[str, int]) -> int:
    """Windows that the candidate was trained on beyond the champion's newest."""
    ends = [index_of.get(c.training_windows[-1], -1) for c in (candidate, champion)]
    return ends[0] - ends[1]
