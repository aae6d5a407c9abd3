"""Does a recorded decision follow from its recorded evidence: made again from the ledger alone, compared bit for bit.

`decide` and `judge` are pure, and the row before each decision and verdict says what it was made from (kind `inputs`).
So anybody can make it again at any time, without the windows, the models or the config of that day. What was measured
(a cold start) cannot be made again here, and rows of releases that did not record their inputs say so.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from engine.decide import DecideConf, Evidence, decide
from engine.errors import InputError
from engine.gate import RuleConf, judge, judge_look, judge_worn, untrained
from engine.promote.chain import Row
from engine.promote.entries import DECISION, STAGE, VALIDATION, VERDICT, inputs_id
from engine.promote.ledger import Ledger
from engine.promote.transition import DISPLACED
from engine.records import (
    Candidate,
    Decision,
    EvaluationReport,
    Freshness,
    Look,
    Severity,
    ValidationReport,
    Verdict,
    Wear,
    canonical,
    from_plain,
    record,
    to_plain,
)

KINDS = (DECISION, VERDICT, STAGE, VALIDATION)  # what there is a why to
RECORDS: Mapping[str, type] = {DECISION: Decision, VERDICT: Verdict, VALIDATION: ValidationReport}
COLD = "cold"


class Replayed(enum.Enum):
    """What making it again gave. DIFFERENT and UNRECORDED prove nothing."""

    EQUAL = "equal"
    DIFFERENT = "different"
    MEASURED = "measured"
    UNRECORDED = "not recorded"


@record
class Replay:
    """A decision or verdict made again."""

    id: str
    state: Replayed
    detail: str  # in words; the first difference where there is one
    inputs: dict[str, Any]  # as recorded; empty where they were not


def find(ledger: Ledger, of: str) -> list[Row]:
    """The decisions, verdicts and stage changes of a window, or the one whose id begins so, or all of a model.

    InputError where there is none, or more than one.
    """
    rows = [row for row in ledger.rows() if row.kind in KINDS]
    found = [row for row in rows if row.window == of] or [row for row in rows if row.id == of]
    if found:
        return found
    found = [row for row in rows if of and row.id.startswith(of) and not row.id.endswith(DISPLACED)]
    models = {row.model for row in rows if of and row.model.startswith(of)}
    if len(found) + len(models) > 1:
        raise InputError("why", f"{of!r} could be any of {len(found) + len(models)} things", "give more digits")
    if not found and not models:
        raise InputError(
            "why", f"{of[:80]!r} is unknown", "name a window, or the beginning of an id: `tidegate history`"
        )
    return found or [row for row in rows if row.model in models]


def reasons(ledger: Ledger, row: Row) -> list[Row]:
    """What allowed a stage change: the decision that led to it, then the verdict on the model."""
    if row.kind != STAGE:
        return []
    named = (row.payload.get("decision"), row.payload.get("evidence"))
    return [found for id in named if id and (found := ledger.find(id)) is not None]


def replay(ledger: Ledger, row: Row) -> Replay:
    """Make a decision or verdict again from what the ledger holds, and compare it with the row."""
    found = ledger.find(inputs_id(row.id))
    if found is None:
        measured = "a cold start is measured, not computed" if row.payload.get("gate") == COLD else ""
        measured = "rows were looked at, which the ledger does not hold" if row.kind == VALIDATION else measured
        state = Replayed.MEASURED if measured else Replayed.UNRECORDED
        detail = measured or "an earlier release did not record its inputs"
        return Replay(id=row.id, state=state, detail=detail, inputs={})
    inputs = dict(found.payload)
    try:
        again = _again(ledger, row, inputs)
        from_plain(RECORDS[row.kind], row.payload)  # else a field without default is gone
        again = _as_recorded(again, row.payload)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        detail = f"its inputs cannot be read by this release: {' '.join(str(error).split())}"
        return Replay(id=row.id, state=Replayed.DIFFERENT, detail=detail, inputs=inputs)
    if canonical(again) == canonical(row.payload):
        part = "how fresh its rows are, made" if row.kind == VALIDATION else "made"
        detail = f"{part} again from its inputs, bit for bit"
        return Replay(id=row.id, state=Replayed.EQUAL, detail=detail, inputs=inputs)
    detail = f"{_first_difference(row.payload, again)}; made by tidegate {inputs.get('version', 'unknown')}"
    return Replay(id=row.id, state=Replayed.DIFFERENT, detail=detail, inputs=inputs)


def _again(ledger: Ledger, row: Row, inputs: Mapping[str, Any]) -> dict[str, Any]:
    if row.kind == VALIDATION:
        return _validation(inputs, row.payload)
    return _decision(inputs) if row.kind == DECISION else _verdict(ledger, inputs)


def _validation(inputs: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The report with its check of freshness made again; all others looked at rows."""
    from engine.validate.fresh import as_check  # arrays, which most of the ledger does without

    fresh: Any = to_plain(as_check(from_plain(Freshness, inputs["fresh"]), Severity(inputs["severity"])))
    checks = [fresh if check["name"] == "fresh" else check for check in recorded["checks"]]
    return {**recorded, "checks": checks, "fresh": inputs["fresh"]}


def _decision(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A config without `planned` or `incurable` is of a release that decided otherwise."""
    conf = from_plain(DecideConf, {"planned": False, "incurable": 0.0, **inputs["conf"]})
    plain: dict[str, Any] = to_plain(decide(from_plain(Evidence, inputs["evidence"]), conf))
    return plain


def _verdict(ledger: Ledger, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on an evaluation, or on a sweep that gave no model."""
    if "candidate" in inputs:
        row = _needed(ledger, inputs["candidate"])
        candidate = from_plain(Candidate, row.payload)
        verdict = untrained(candidate, champion=inputs["champion"], window=row.window)
    else:
        report = from_plain(EvaluationReport, _needed(ledger, inputs["evaluation"]).payload)
        rules = dict(map(_rule, inputs["rules"]))
        told: dict[str, Any] = {"gate": inputs["gate"], "greater_is_better": inputs["greater_is_better"]}
        told |= {"power": inputs.get("power", 0.5)}  # what an earlier release planned for
        if "look" in inputs:
            earlier = [from_plain(Verdict, _needed(ledger, id).payload) for id in inputs["earlier"]]
            verdict = judge_look(report, rules, **told, look=from_plain(Look, inputs["look"]), earlier=earlier)
        elif "wear" in inputs:
            verdict = judge_worn(report, rules, **told, wear=from_plain(Wear, inputs["wear"]))
        else:
            uses, most = inputs["holdout_uses"], inputs["max_holdout_uses"]
            verdict = judge(report, rules, **told, holdout_uses=uses, max_holdout_uses=most)
    plain: dict[str, Any] = to_plain(verdict)
    return plain


def _rule(recorded: Mapping[str, Any]) -> tuple[str, RuleConf]:
    return recorded["name"], from_plain(RuleConf, {key: value for key, value in recorded.items() if key != "name"})


def _needed(ledger: Ledger, id: str) -> Row:
    row = ledger.find(id)
    if row is None:
        raise KeyError(f"the row {id} is missing")
    return row


def _as_recorded(again: Any, recorded: Any) -> Any:
    """What was made again, without fields of a record that the release of the time did not have.

    Each of those has a default, or the row could not be read; and its hash proves that none was taken out since.
    """
    if isinstance(again, dict) and isinstance(recorded, dict):
        return {key: _as_recorded(value, recorded[key]) for key, value in again.items() if key in recorded}
    if isinstance(again, list) and isinstance(recorded, list) and len(again) == len(recorded):
        return [_as_recorded(*pair) for pair in zip(again, recorded, strict=True)]
    return again


def _first_difference(recorded: Any, again: Any, path: str = "") -> str:
    """Where two JSON values part, in words; empty where they do not."""
    if isinstance(recorded, dict) and isinstance(again, dict):
        steps = [(f"{path}.{key}" if path else key, recorded.get(key), again.get(key)) for key in {**recorded, **again}]
    elif isinstance(recorded, list) and isinstance(again, list) and len(recorded) == len(again):
        steps = [(f"{path}[{i}]", *pair) for i, pair in enumerate(zip(recorded, again, strict=True))]
    else:
        same = canonical(recorded) == canonical(again)
        return "" if same else f"{path} is {_short(recorded)}, and its inputs give {_short(again)}"
    return next((said for name, one, other in steps if (said := _first_difference(one, other, name))), "")


def _short(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
