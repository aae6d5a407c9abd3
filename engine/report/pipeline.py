"""How well the pipeline ran: a manager's sentences, what spans windows with its source, each window, each stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from engine.records import Cycle, Estimate
from engine.records.measured import LASTING, Gain, Measure, PipelineMetrics
from engine.report import parts, words
from engine.report.markup import Markup, tag

MOST_WINDOWS = 24  # one line each, the newest
HOURS_SHOWN_AS_DAYS = 72.0
UNMEASURED = "No window has been measured yet: ledgers of earlier releases do not hold these numbers."


def section(cycles: Sequence[Cycle]) -> Markup:
    """The section of the report; it stands in every report."""
    told = [cycle.pipeline for cycle in cycles if cycle.pipeline is not None]
    if not told:
        return parts.section("pipeline", "Pipeline", UNMEASURED)
    lead = (
        "Sums are counted and have no error; shares, medians and the return have intervals. Each number names the rows "
        "of the ledger that it was made from (tidegate history --json). Stages by time are drawn below."
    )
    return parts.section(
        "pipeline",
        "Pipeline",
        lead,
        [tag("p", parts.typeset(line), class_="sentence") for line in sentences(told)],
        _lasting(told[-1]),
        _windows(told),
        _stages(told[-1]),
        _gains([one.gain for one in told if one.gain is not None]),
    )


def attention(cycle: Cycle) -> Iterator[str]:
    """What a person should look at."""
    if cycle.pipeline is not None and cycle.pipeline.degraded_windows > 0:
        yield f"{cycle.window}: the model in production is below the floor of its own gate."


def sentences(told: Sequence[PipelineMetrics]) -> list[str]:
    """What it costs, what it brings, how fast it answers: each only where it is known."""
    last = told[-1]
    found = {measure.estimate.name: measure for measure in last.lasting}
    return [said for said in (_cost(found), _return(found), _answer(found, last), _data(last)) if said]


def summary(cycles: Sequence[Cycle], training: float) -> tuple[list[str], list[tuple[str, str, str]]]:
    """What the top of the report needs: what retraining has returned, in a sentence; what was spent and returned, as
    figures (name, value, note). `training` is what the sweeps alone have cost. Nothing where it was not measured.
    """
    told = [cycle.pipeline for cycle in cycles if cycle.pipeline is not None]
    found = {measure.estimate.name: measure for measure in told[-1].lasting} if told else {}
    spent, returned = found.get("spent"), found.get("return_on_retraining")
    figures = []
    if spent is not None and math.isfinite(spent.estimate.value):
        note = f"{words.amount(training, spent.unit)} of it on training"
        figures.append(("spent so far", words.amount(spent.estimate.value, spent.unit), note))
    if returned is not None and returned.estimate.n and math.isfinite(returned.estimate.value):
        figures.append(("return on retraining", _value(returned), f"measured on {returned.estimate.n} windows"))
    return [said for said in (_return(found),) if said], figures


def _cost(found: dict[str, Measure]) -> str:
    window, spent, each = (found.get(name) for name in ("cost_per_window", "spent", "cost_per_promotion"))
    if window is None or spent is None or not math.isfinite(spent.estimate.value):
        return ""
    unit = window.unit
    total, mean = (words.amount(measure.estimate.value, unit) for measure in (spent, window))
    said = f"The loop has cost {total}, {mean} a window"
    if each is not None and math.isfinite(each.estimate.value):
        said += f"; each model that its gates let into production cost {words.amount(each.estimate.value, unit)}"
    return f"{said}."


def _return(found: dict[str, Measure]) -> str:
    measure = found.get("return_on_retraining")
    if measure is None:
        return ""
    e = measure.estimate
    if not math.isfinite(e.value):
        return f"What retraining has returned is undecidable: {e.reason or 'an amount is not known'}."
    if not e.n:
        return f"Retraining has brought no new model that served yet, and cost {words.amount(-e.value, measure.unit)}."
    verdict = "has paid" if e.low > 0 else "has not paid" if e.high < 0 else "may have paid or not"
    beside = f"on {e.n} labelled windows, beside the models that were replaced"
    return f"Retraining {verdict}: {_value(measure)} after its costs, {beside}."


def _answer(found: dict[str, Measure], last: PipelineMetrics) -> str:
    seen, done, restore = (
        found.get(f"{name}_windows") for name in ("drift_to_detection", "drift_to_promotion", "restore")
    )
    told = []
    if seen is not None:
        told.append(f"drift was detected after {_windows_of(seen.estimate.value)}")
    if done is not None:
        told.append(f"a new model was in production after {_windows_of(done.estimate.value)}")
    if restore is not None:
        told.append(f"a champion below its floor was back above it after {_windows_of(restore.estimate.value)}")
    said = f"In the median {', '.join(told)}." if told else ""
    if last.drift_open_windows > 0:
        said += f" Inputs have drifted for {_windows_of(last.drift_open_windows)}, and nothing was promoted since."
    if last.degraded_windows > 0:
        said += f" The champion has been below its floor for {_windows_of(last.degraded_windows)}."
    return said.strip()


def _data(last: PipelineMetrics) -> str:
    told = []
    if math.isfinite(last.freshness_hours):
        told.append(f"its newest row was {_hours(last.freshness_hours)} old")
    if math.isfinite(last.queue_seconds):
        told.append(f"it waited {words.duration(last.queue_seconds)}")
    return f"When {last.window} was opened, {' and '.join(told)}." if told else ""


def _lasting(last: PipelineMetrics) -> Markup | None:
    """Every number that spans windows."""
    rows = [
        (
            _named(measure.estimate.name),
            LASTING.get(measure.estimate.name, ""),
            parts.whole(parts.typeset(_value(measure))),
            f"{measure.estimate.n:,}",
            _how(measure.estimate),
            _source(measure),
        )
        for measure in last.lasting
    ]
    columns = ("number", "what it is", "value", "of", "how", "ledger rows")
    caption = f"What spans windows, up to {last.window}"
    return parts.table(caption, columns, rows, numeric=("value", "of")) if rows else None


def _named(name: str) -> str:
    """As a person says it; hours are told as durations, so the unit is no part of the name."""
    bare = name.removesuffix("_windows").removesuffix("_hours").replace("_", " ")
    return f"{bare}, by the clock" if name.endswith("_hours") else bare


def _value(measure: Measure) -> str:
    """With its interval and unit; a sum that was counted has none."""
    e = measure.estimate
    if not math.isfinite(e.value):
        return words.UNDECIDABLE
    if measure.unit == "share":
        bounds = f" [{words.percent(e.low)}, {words.percent(e.high)}]" if math.isfinite(e.low) else ""
        return f"{words.percent(e.value)}{bounds}"
    if e.method == "counted":
        return words.amount(e.value, measure.unit)
    if measure.unit == "hours":
        return f"{_hours(e.value)}{_bounds(e, _hours)}"
    unit = measure.unit.removesuffix("s") if measure.unit == "windows" and e.value == 1 else measure.unit
    return f"{_number(e.value)}{_bounds(e, _number)} {unit}"


def _bounds(e: Estimate, shown: Callable[[float], str]) -> str:
    return f" [{shown(e.low)}, {shown(e.high)}]" if math.isfinite(e.low) and math.isfinite(e.high) else ""


def _number(value: float) -> str:
    return words.number(value, 0 if abs(value) >= 100 or value == round(value) else None)


def _how(e: Estimate) -> str:
    """The method, the level of its interval, and why nothing is known."""
    level = f", {words.percent(e.confidence_level)} interval" if math.isfinite(e.low) and e.method != "counted" else ""
    return "; ".join(part for part in (f"{e.method}{level}", e.reason) if part)


def _source(measure: Measure) -> str:
    more = measure.n_rows - len(measure.rows)
    listed = ", ".join(map(str, measure.rows))
    return f"{more} older, {listed}" if more else listed or words.NONE


def _windows(told: Sequence[PipelineMetrics]) -> Markup:
    """One row a window, newest last."""
    rows = [
        (
            parts.whole(one.window),
            _known(one.freshness_hours, _hours),
            _known(one.label_lag_windows, _windows_of),
            _known(one.queue_seconds, words.duration),
            _known(one.cost, partial(words.amount, currency=one.currency)),
            _known(one.training_cost, partial(words.amount, currency=one.currency)),
            _known(one.cpu_seconds, words.duration),
            _known(one.trial_cpu_seconds, words.duration),
            _known(one.gpu_hours, lambda h: words.number(h, 2)),
            _known(one.gpu_utilisation, words.percent),
        )
        for one in told[-MOST_WINDOWS:]
    ]
    columns = (
        "window", "age of its rows", "labels after", "queued", "cost", "of it training", "CPU of the loop",
        "CPU of trials", "GPU hours", "GPU busy",
    )  # fmt: skip
    return parts.table("Each window: data, waiting, cost, devices", columns, rows, numeric=columns[1:])


def _stages(last: PipelineMetrics) -> Markup | None:
    rows = [
        (
            stage,
            words.duration(flow.seconds),
            words.number(flow.rows, 0),
            _known(flow.rows_per_second, lambda rate: words.number(rate, 0)),
            _known(flow.bytes_per_second / 1e6, lambda rate: words.number(rate)),
        )
        for stage, flow in sorted(last.flows.items())  # as the ledger will give them
    ]
    columns = ("stage", "time", "rows", "rows a second", "MB a second")
    return (
        parts.table(f"Rows through the stages of {last.window}", columns, rows, numeric=columns[1:]) if rows else None
    )


def _gains(gains: Sequence[Gain]) -> Markup | None:
    rows = [
        (
            parts.whole(gain.window),
            parts.model(gain.model),
            parts.model(gain.replaced),
            parts.whole(words.interval(gain.points, extra=1)),
            gain.points.reason or gain.points.method,
        )
        for gain in gains
    ]
    columns = ("window", "served by", "beside", "points gained", "how")
    return parts.table("Promoted models beside those that they replaced", columns, rows) if rows else None


def _known(value: float, shown: Callable[[float], str], absent: str = words.NONE) -> str:
    return shown(value) if math.isfinite(value) else absent


def _hours(hours: float) -> str:
    return words.duration(hours * 3600) if hours < HOURS_SHOWN_AS_DAYS else f"{hours / 24:,.0f} days"


def _windows_of(n: float) -> str:
    return f"{n:g} window{'' if n == 1 else 's'}"
