"""A made-up year of a loop: founding, KEEP, promotion, rejection, inconclusive, shadow, undecidable numbers.

Numbers come from a fixed seed; nothing here is a measurement.
"""

from __future__ import annotations

import math

import numpy as np

from engine.records import (
    Action,
    ActionItem,
    Candidate,
    Check,
    CheckOutcome,
    ColumnDrift,
    Cycle,
    Decision,
    DriftOutcome,
    DriftReport,
    Epoch,
    Estimate,
    EvaluationReport,
    Money,
    MonitorReport,
    Outcome,
    Performance,
    RuleResult,
    Severity,
    SliceEstimate,
    Stage,
    StageChange,
    Trial,
    TrialState,
    ValidationReport,
    Verdict,
)

PRIMARY = "roc_auc_score"
FEATURES = (
    "scheduled_hour", "scheduled_minute", "weekday", "distance", "scheduled_arrival", "plane_age",
    "plane_seats", "plane_engines", "departures_in_hour", "temperature", "dew_point", "humidity",
    "wind_speed", "wind_gust", "precipitation", "pressure", "visibility", "carrier", "origin",
    "destination",
)  # fmt: skip
WINDOWS = tuple(f"2013-{month:02d}" for month in range(1, 11))
FIRST, SECOND, THIRD, FOURTH = (letter * 64 for letter in "abcd")
LOOP = "flights"


def estimate(name: str, value: float, half: float, n: int = 26_000, reason: str = "") -> Estimate:
    """An estimate with a symmetric 95 % interval; NaN everywhere where `value` is NaN."""
    return Estimate(
        name=name,
        value=value,
        low=value - half,
        high=value + half,
        n=n,
        confidence_level=0.95,
        method="delong" if name == PRIMARY else "bootstrap",
        reason=reason,
    )


def validation(window: str, n_rows: int, *, warn: bool = False) -> ValidationReport:
    checks = [
        Check(
            name="schema",
            column="",
            severity=Severity.BLOCK,
            outcome=CheckOutcome.OK,
            observed="24 columns",
            expected="24 columns",
            reason="",
        )
    ]
    if warn:
        checks.append(
            Check(
                name="missing",
                column="wind_gust",
                severity=Severity.WARN,
                outcome=CheckOutcome.VIOLATED,
                observed="0.81",
                expected="<= 0.78",
                reason="more values are missing than in the reference",
            )
        )
    return ValidationReport(window=window, fingerprint="f" * 64, n_rows=n_rows, checks=tuple(checks))


def drift(window: str, index: int, reference: str = "2013-01") -> DriftReport:
    """Twenty columns, whose temperature follows the season; one of them cannot be decided."""
    rng = np.random.default_rng(100 + index)
    columns = []
    for position, name in enumerate(FEATURES):
        kind = "categorical" if name in ("carrier", "origin", "destination") else "numeric"
        floor = 0.1
        effect = abs(float(rng.normal(0.02, 0.03)))
        if name in ("temperature", "dew_point", "humidity"):
            effect += 0.35 * math.sin(math.pi * index / 9)
        if name == "departures_in_hour" and index >= 6:
            effect += 0.17
        pvalue = float(10 ** -(effect * 60))
        undecidable = name == "precipitation" and index in (4, 5)
        outcome = DriftOutcome.DRIFT if effect > floor else DriftOutcome.NO_DRIFT
        columns.append(
            ColumnDrift(
                column=name,
                kind=kind,
                statistic="total_variation_distance" if kind == "categorical" else "ks_2samp",
                effect=math.nan if undecidable else effect,
                floor=floor,
                pvalue=math.nan if undecidable else pvalue,
                adjusted_pvalue=math.nan if undecidable else min(1.0, pvalue * 20),
                n_reference=26_483,
                n_live=24_000 + 137 * position,
                missing_reference=0.01,
                missing_live=1.0 if undecidable else 0.01,
                outcome=DriftOutcome.UNDECIDABLE if undecidable else outcome,
                reason="no value is present" if undecidable else "",
            )
        )
    return DriftReport(
        reference=reference, live=window, alpha=0.01, method="holm", backend="cpu", columns=tuple(columns)
    )


def trials(window: str, base: float) -> tuple[Trial, ...]:
    """Four trials: finished, stopped, finished, failed without a usable value."""
    rng = np.random.default_rng(int(window[-2:]))
    states = (TrialState.FINISHED, TrialState.STOPPED, TrialState.FINISHED, TrialState.FAILED)
    made = []
    for number, state in enumerate(states):
        epochs = {TrialState.FINISHED: 5, TrialState.STOPPED: 2, TrialState.FAILED: 1}[state]
        failed = state is TrialState.FAILED
        values = [base - 0.03 / (e + 1) - 0.004 * number for e in range(epochs)]
        curve = tuple(
            Epoch(
                epoch=e + 1,
                train_loss=math.nan if failed else 0.6 - 0.02 * e + float(rng.normal(0, 0.002)),
                value=math.nan if failed else values[e],
                seconds=1.25,
            )
            for e in range(epochs)
        )
        made.append(
            Trial(
                id=f"{window}_{number:05d}",
                params={"train.lr": 10.0 ** -(2 + number / 2), "model.width": 64 * (number + 1)},
                state=state,
                reason="the loss is not finite" if failed else "",
                curve=curve,
                best_epoch=0 if failed else epochs,
                value=math.nan if failed else values[-1],
                seconds=1.25 * epochs,
            )
        )
    return tuple(made)


def evaluation(window: str, model: str, champion: str, value: float, difference: float) -> EvaluationReport:
    pair = (estimate(PRIMARY, difference, 0.004),) if champion else ()
    return EvaluationReport(
        model=model,
        champion=champion,
        window=window,
        fingerprint="e" * 64,
        n_rows=9_000,
        metrics=(
            estimate(PRIMARY, value, 0.006),
            estimate("log_loss", 0.46, 0.01),
            estimate("precision_score", math.nan, math.nan, reason="no row was predicted positive"),
        ),
        champion_metrics=(estimate(PRIMARY, value - difference, 0.006),) if champion else (),
        differences=pair,
        slices=(
            SliceEstimate(
                column="origin",
                level="EWR",
                estimate=estimate(PRIMARY, value + 0.01, 0.012, 3_100),
                difference=estimate(PRIMARY, difference + 0.002, 0.009, 3_100) if champion else None,
            ),
            SliceEstimate(
                column="carrier",
                level="<img src=x onerror=alert(1)>",
                estimate=estimate(PRIMARY, math.nan, math.nan, 12, "12 rows are too few"),
                difference=None,
            ),
        ),
    )


def rule(
    name: str, outcome: Outcome, value: float, half: float, bound: float, reason: str, rows: int = 0
) -> RuleResult:
    return RuleResult(
        rule=name,
        outcome=outcome,
        metric=PRIMARY,
        estimate=estimate(PRIMARY, value, half, 9_000),
        bound=bound,
        reason=reason,
        rows_needed=rows,
    )


def verdict(gate: str, model: str, champion: str, window: str, outcome: Outcome, difference: float) -> Verdict:
    first = not champion
    rules: tuple[RuleResult, ...]
    if gate == "cold":
        rules = (
            RuleResult(
                rule="cold_start",
                outcome=outcome,
                metric="predictions",
                estimate=None,
                bound=0.0,
                reason="256 of 256 predictions are equal",
            ),
        )
    elif first:
        rules = (rule("floor", outcome, 0.72, 0.006, 0.65, "lower bound 0.714 is above the floor 0.65"),)
    else:
        thin = estimate(PRIMARY, math.nan, math.nan, 12, "12 rows are too few")
        rows = 41_000 if outcome is Outcome.INCONCLUSIVE else 0
        rules = (
            rule(
                "superiority",
                outcome,
                difference,
                0.004,
                0.0,
                f"lower bound {difference - 0.004:.4f}, margin 0",
                rows,
            ),
            rule("floor", Outcome.PASS, 0.71, 0.006, 0.65, "lower bound 0.704 is above the floor 0.65"),
            RuleResult(
                rule="slice_guard",
                outcome=Outcome.INCONCLUSIVE if outcome is Outcome.INCONCLUSIVE else Outcome.PASS,
                metric=PRIMARY,
                estimate=thin if outcome is Outcome.INCONCLUSIVE else estimate(PRIMARY, 0.004, 0.02, 900),
                bound=-0.03,
                reason="slice carrier=OO holds 12 rows" if outcome is Outcome.INCONCLUSIVE else "carrier=OO",
                rows_needed=500 if outcome is Outcome.INCONCLUSIVE else 0,
            ),
        )
    return Verdict(
        gate=gate,
        model=model,
        champion=champion,
        window=window,
        outcome=outcome,
        reason=rules[0].reason,
        rules=rules,
        first=first,
        holdout_uses=0 if first else 1,
    )


def decision(window: str, action: Action, waiting: float, acting: float, probability: float) -> Decision:
    word = {Action.KEEP: "keep", Action.RETRAIN: "retrain", Action.RETUNE: "retune"}[action]
    return Decision(
        id=f"decision-{window}",
        window=window,
        policy="cost_aware",
        action=action,
        reason=f"{word}: no labels are in" if math.isnan(waiting) else f"{word}: {waiting:.0f} or {acting:.0f}",
        waiting=Money(mean=waiting, std=waiting / 3),
        acting=Money(mean=acting, std=acting / 5),
        probability=probability,
        currency="EUR",
    )


def candidate(window: str, model: str, value: float, *, tuned: bool = True) -> Candidate:
    runs = trials(window, value)
    runs = runs if tuned else runs[:1]
    return Candidate(
        model=model,
        decision=f"decision-{window}",
        metric=PRIMARY,
        value=value,
        params=dict(runs[0].params),
        trials=runs,
        training_windows=("2013-01", "2013-02"),
        holdout_window=window,
        n_rows=42_000,
        seconds=sum(t.seconds for t in runs),
        cost=31.5,
    )


def change(window: str, model: str, source: Stage | None, target: Stage, reason: str) -> StageChange:
    return StageChange(
        id=f"{window}-{model[:4]}-{target.value}",
        model=model,
        source=source,
        target=target,
        reason=reason,
        window=window,
        decision=f"decision-{window}",
        generation=1,
    )


def promoted(window: str, model: str, last: Stage) -> tuple[StageChange, ...]:
    """The steps from nothing to `last`."""
    path = (Stage.CANDIDATE, Stage.STAGING, Stage.PREPRODUCTION, Stage.PRODUCTION)
    reasons = ("trained", "the offline gate passed", "the cold start passed", "held its own in shadow")
    sources: tuple[Stage | None, ...] = (None, *path)
    steps = path[: path.index(last) + 1]
    return tuple(change(window, model, s, t, r) for s, t, r in zip(sources, steps, reasons, strict=False))


def cycle(index: int, **fields: object) -> Cycle:
    """A cycle of that window; `fields` say what happened beside validation, drift and performance."""
    window, n_rows = WINDOWS[index], 24_000 + 391 * index
    founding = index == 0
    monitor, holder = None, str(fields.get("champion", FIRST))
    if not founding:
        value = 0.715 - 0.006 * (index % 4)
        labelled = index != 1
        performance = Performance(
            model=holder,
            window=WINDOWS[index - 1],
            n_rows=n_rows,
            metrics=(estimate(PRIMARY, value, 0.007), estimate("log_loss", 0.47, 0.01)),
        )
        monitor = MonitorReport(
            window=window,
            model=holder,
            baseline=drift(window, index),
            consecutive=drift(window, 1, WINDOWS[index - 1]),
            performance=performance if labelled else None,
        )
    timings = {"read": 0.12, "validate": 0.05, "monitor": 0.31, "decide": 0.01, "track": 0.06}
    if fields.get("candidate"):
        timings |= {"train": 11.4, "evaluate": 0.8, "gate": 0.02, "promote": 0.1}
    values: dict[str, object] = {
        "id": f"cycle-{window}",
        "loop": LOOP,
        "window": window,
        "index": index,
        "founding": founding,
        "n_rows": n_rows,
        "champion": "" if founding else FIRST,
        "champion_after": FIRST,
        "validation": validation(window, n_rows, warn=index == 3),
        "monitor": monitor,
        "timings": timings,
    }
    return Cycle(**(values | fields))  # type: ignore[arg-type]


def year() -> tuple[Cycle, ...]:
    """Ten windows in which everything happens that can happen."""
    keep = [decision(w, Action.KEEP, 40.0, 95.0, 0.08) for w in WINDOWS]
    offline = {
        0: verdict("offline", FIRST, "", WINDOWS[0], Outcome.PASS, math.nan),
        2: verdict("offline", SECOND, FIRST, WINDOWS[2], Outcome.PASS, 0.009),
        5: verdict("offline", THIRD, SECOND, WINDOWS[5], Outcome.FAIL, -0.006),
        7: verdict("offline", FOURTH, SECOND, WINDOWS[7], Outcome.INCONCLUSIVE, 0.002),
    }
    cold = {
        0: verdict("cold", FIRST, "", WINDOWS[0], Outcome.PASS, 0.0),
        2: verdict("cold", SECOND, FIRST, WINDOWS[2], Outcome.PASS, 0.0),
    }
    shadow = verdict("shadow", SECOND, FIRST, WINDOWS[3], Outcome.PASS, 0.008)
    aside = Stage.QUARANTINED
    alarm = ActionItem(
        id="action-1",
        rule="auroc_low",
        metric=PRIMARY,
        value=0.697,
        threshold=0.70,
        severity="suspected",
        owner="ml-oncall",
        action="log",
        window=WINDOWS[7],
        message="roc_auc_score fell below 0.70",
    )
    return (
        cycle(
            0,
            candidate=candidate(WINDOWS[0], FIRST, 0.72),
            evaluation=evaluation(WINDOWS[0], FIRST, "", 0.72, math.nan),
            verdicts=(offline[0], cold[0]),
            changes=promoted(WINDOWS[0], FIRST, Stage.PRODUCTION),
        ),
        cycle(1, decision=decision(WINDOWS[1], Action.KEEP, math.nan, 95.0, math.nan)),
        cycle(
            2,
            decision=decision(WINDOWS[2], Action.RETUNE, 410.0, 95.0, 0.97),
            candidate=candidate(WINDOWS[2], SECOND, 0.729),
            evaluation=evaluation(WINDOWS[2], SECOND, FIRST, 0.729, 0.009),
            verdicts=(offline[2], cold[2]),
            changes=promoted(WINDOWS[2], SECOND, Stage.PREPRODUCTION),
        ),
        cycle(
            3,
            decision=keep[3],
            champion_after=SECOND,
            shadow=evaluation(WINDOWS[3], SECOND, FIRST, 0.727, 0.008),
            verdicts=(shadow,),
            changes=(
                change(WINDOWS[3], SECOND, Stage.PREPRODUCTION, Stage.PRODUCTION, "held its own in shadow"),
                change(WINDOWS[3], FIRST, Stage.PRODUCTION, Stage.RETIRED, "replaced"),
            ),
        ),
        cycle(4, decision=keep[4], champion=SECOND, champion_after=SECOND),
        cycle(
            5,
            decision=decision(WINDOWS[5], Action.RETRAIN, 150.0, 60.0, 0.81),
            champion=SECOND,
            champion_after=SECOND,
            candidate=candidate(WINDOWS[5], THIRD, 0.701, tuned=False),
            evaluation=evaluation(WINDOWS[5], THIRD, SECOND, 0.701, -0.006),
            verdicts=(offline[5],),
            changes=(
                *promoted(WINDOWS[5], THIRD, Stage.CANDIDATE),
                change(WINDOWS[5], THIRD, Stage.CANDIDATE, aside, "the offline gate failed"),
            ),
        ),
        cycle(6, decision=keep[6], champion=SECOND, champion_after=SECOND),
        cycle(
            7,
            decision=decision(WINDOWS[7], Action.RETRAIN, 130.0, 61.0, 0.78),
            champion=SECOND,
            champion_after=SECOND,
            candidate=candidate(WINDOWS[7], FOURTH, 0.709, tuned=False),
            evaluation=evaluation(WINDOWS[7], FOURTH, SECOND, 0.709, 0.002),
            verdicts=(offline[7],),
            changes=(
                *promoted(WINDOWS[7], FOURTH, Stage.CANDIDATE),
                change(WINDOWS[7], FOURTH, Stage.CANDIDATE, aside, "the offline gate is inconclusive"),
            ),
            actions=(alarm,),
        ),
        cycle(8, decision=keep[8], champion=SECOND, champion_after=SECOND),
        cycle(9, decision=keep[9], champion=SECOND, champion_after=SECOND),
    )
