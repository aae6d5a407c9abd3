"""The model card: what a model was made of, how good it is and how sure that is, who let it pass, what it is not for.

Made from the ledger and the manifest alone, so that it can be made again at any time and says the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import ArtifactError
from engine.promote.chain import Row
from engine.promote.entries import STAGE, VERDICT
from engine.promote.ledger import Ledger
from engine.promote.rollback import find_model
from engine.promote.store import Store
from engine.records import Stage
from engine.records.fields import said
from engine.system import durable

EVALUATIONS = ("evaluation", "shadow")  # kinds of the rows that hold an EvaluationReport


def card(ledger: Ledger, store: Store, model: str, *, owner: str = "") -> dict[str, Any]:
    """The card of a model as JSON values.

    Args:
        model: its id, or the beginning of it.
        owner: who answers for it.

    Raises:
        InputError: the ledger does not know the model.
        ArtifactError: its manifest is missing or damaged.
    """
    model = find_model(ledger, model)
    rows = ledger.rows(model=model)
    manifest = store.manifest(model)
    changes = [row for row in rows if row.kind == STAGE]
    evaluations = [row.payload for row in rows if row.kind in EVALUATIONS]
    verdicts = [row for row in rows if row.kind == VERDICT]
    candidate = next((row.payload for row in rows if row.kind == "candidate"), {})
    return {
        "model": model,
        "loop": ledger.loop,
        "owner": owner,
        "stage": changes[-1].payload["target"],
        "made": changes[0].at,
        "data": {
            "training_windows": candidate.get("training_windows", []),
            "holdout_window": candidate.get("holdout_window", ""),
            "n_rows": candidate.get("n_rows"),
            "fingerprints": manifest.get("data", {}),
            **({"classes": classes} if (classes := _classes(evaluations)) else {}),
        },
        "training": {
            "decision": candidate.get("decision", ""),
            "params": candidate.get("params", {}),
            "trials": dict(Counter(trial["state"] for trial in candidate.get("trials", []))),
            "seconds": candidate.get("seconds"),
            "cost": candidate.get("cost"),
            "code": manifest.get("code", {}),
            "packages": manifest.get("packages", {}),
        },
        **({"recalibration": manifest["recalibration"]} if "recalibration" in manifest else {}),
        "evaluations": [
            {name: e[name] for name in ("window", "champion", "n_rows", "metrics", "differences", "slices")}
            for e in evaluations
        ],
        "gates": [{"id": row.id, "at": row.at, **row.payload} for row in verdicts],
        "history": [{"at": row.at, **row.payload} for row in changes],
        "limits": _limits(candidate, evaluations, verdicts, changes),
        "files": manifest["files"],
        "tip": ledger.tip().hash,
    }


def _classes(evaluations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of a label of words, in the order of their codes."""
    return next((list(e["classes"]) for e in evaluations if e.get("classes")), [])


def write(ledger: Ledger, store: Store, model: str, folder: Path, *, owner: str = "") -> Path:
    """Write card.json and card.md of a model into `<folder>/models/<beginning of its id>`; that folder."""
    made = card(ledger, store, model, owner=owner)
    place = place_of(str(made["model"]), folder)
    durable.write_text(place / "card.json", json.dumps(made, indent=2, sort_keys=True, allow_nan=False) + "\n")
    durable.write_text(place / "card.md", render(made))
    return place


def place_of(model: str, folder: Path) -> Path:
    """Where people find the files and the card of a model."""
    return folder / "models" / model[:12]


def export(store: Store, model: str, folder: Path) -> dict[str, Path]:
    """Write the proved files of a model beside its card; all that lies there then, by name. ArtifactError where the
    model is missing or damaged.
    """
    place = store.export(model, place_of(model, folder))
    return {path.name: path for path in sorted(place.iterdir())}


def write_all(ledger: Ledger, store: Store, folder: Path, *, owner: str = "") -> list[str]:
    """Write the card of every model that was ever in production, as the ledger stands now.

    A run that was killed before it wrote one is made good here, and what has happened to a model since (replaced,
    rolled back) is on its card.

    Returns:
        One line a model whose manifest is missing, damaged or not signed: no card can be made of it.
    """
    faults = []
    promoted = (row.model for row in ledger.rows(STAGE) if row.payload["target"] == Stage.PRODUCTION.value)
    for model in dict.fromkeys(promoted):
        try:
            write(ledger, store, model, folder, owner=owner)
        except ArtifactError as error:
            faults.append(str(error))
    return faults


def _limits(
    candidate: Mapping[str, Any],
    evaluations: Sequence[Mapping[str, Any]],
    verdicts: Sequence[Row],
    changes: Sequence[Row],
) -> list[str]:
    """What is not known of the model, in sentences."""
    limits = []
    windows = candidate.get("training_windows", [])
    if windows:
        seen = windows[0] if len(windows) == 1 else f"{windows[0]} to {windows[-1]}"
        limits.append(f"It has seen {seen}; of other times nothing is claimed.")
    if not evaluations:
        limits.append("It was never evaluated on held-out rows.")
    if any(row.payload.get("first") for row in verdicts):
        limits.append("It was judged by absolute floors alone: there was no champion to compare it with.")
    for report in evaluations:
        for estimate in report["metrics"]:
            if estimate["value"] is None:
                limits.append(f"{estimate['name']} on {report['window']} is undecidable: {estimate['reason']}.")
        unsure = [s for s in report["slices"] if s["estimate"]["value"] is None]
        if unsure:
            names = ", ".join(f"{s['column']}={s['level']}" for s in unsure[:5])
            limits.append(f"On {report['window']}, {len(unsure)} slices are undecidable, such as {names}.")
    for row in verdicts:
        for rule in row.payload.get("rules", []):
            if rule["outcome"] != "pass":
                limits.append(f"{row.payload['gate']} gate of {row.window}: {rule['rule']}: {rule['reason']}.")
    for row in changes:
        if row.payload.get("route", "evidence") == "manual":
            limits.append(
                f"{row.payload['actor']} moved it by hand to {row.payload['target']}: {row.payload['reason']}."
            )
    return limits


# ---- Markdown ----------------------------------------------------------------------------------------------


def render(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    data, training = card["data"], card["training"]
    trials = ", ".join(f"{n} {state}" for state, n in sorted(training["trials"].items()))
    facts = [
        ("Stage", card["stage"]),
        ("Owner", card["owner"] or "not named"),
        ("Loop", card["loop"]),
        ("Made", card["made"]),
        ("Trained on", f"{', '.join(data['training_windows']) or 'unknown'} ({_shown(data['n_rows'])} rows)"),
        *_recalibrated(card.get("recalibration")),
        *([("Label", said(data["classes"]))] if "classes" in data else []),
        ("Held out", data["holdout_window"] or "nothing"),
        ("Parameters", ", ".join(f"{k} = {_shown(v)}" for k, v in sorted(training["params"].items())) or "unknown"),
        ("Trials", trials or "unknown"),
        ("Code", training["code"].get("commit", "unknown")),
        ("Ledger", f"row hash {card['tip']}"),
    ]
    parts = [f"# Model {card['model'][:12]}", f"`{card['model']}`", _table(("Fact", "Value"), facts)]
    for report in card["evaluations"]:
        against = f", against {report['champion'][:12]}" if report["champion"] else ""
        parts += [f"## Evaluation on {_safe(report['window'])}: {report['n_rows']} rows{against}", _metrics(report)]
        if report["slices"]:
            parts += [_table(("Slice", "Metric", "Value", "Interval", "Rows"), map(_slice, report["slices"]))]
    gates = ((g["window"], g["gate"], g["outcome"].upper(), g["reason"]) for g in card["gates"])
    parts += ["## Gates", _table(("Window", "Gate", "Outcome", "Reason"), gates)]
    moves = (
        (h["at"][:19], f"{h['source'] or 'new'} to {h['target']}", h["actor"], h["reason"]) for h in card["history"]
    )
    parts += ["## History", _table(("When (UTC)", "Change", "Who", "Why"), moves)]
    parts += ["## Limits", "\n".join(f"- {_safe(limit)}" for limit in card["limits"]) or "None is known."]
    files = ((name, f["size"], f["sha256"]) for name, f in sorted(card["files"].items()))
    parts += ["## Files", _table(("Name", "Bytes", "sha256"), files)]
    return "\n\n".join(parts) + "\n"


def _recalibrated(told: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The map behind the network, where there is one."""
    if told is None:
        return []
    scaling = told["map"]
    numbers = f"x {_shown(scaling['slope'])} {scaling['shift']:+.4g}"
    of = f"the network is that of model {told['of'][:12]}, its outputs are mapped by {numbers}"
    return [("Recalibrated on", f"{told['window']} ({told['rows']} rows): {of}")]


def _metrics(report: Mapping[str, Any]) -> str:
    differences = {d["name"]: d for d in report["differences"]}
    rows = (
        (m["name"], _shown(m["value"]), _interval(m), _difference(differences.get(m["name"])), m["method"])
        for m in report["metrics"]
    )
    return _table(("Metric", "Value", "Interval", "Against the champion", "Method"), rows)


def _slice(entry: Mapping[str, Any]) -> tuple[object, ...]:
    estimate = entry["estimate"]
    name = f"{entry['column']} = {entry['level']}"
    return name, estimate["name"], _shown(estimate["value"]), _interval(estimate), estimate["n"]


def _difference(estimate: Mapping[str, Any] | None) -> str:
    return f"{_shown(estimate['value'])} {_interval(estimate)}" if estimate else ""


def _interval(estimate: Mapping[str, Any]) -> str:
    if estimate["low"] is None or estimate["high"] is None:
        return estimate["reason"] or "undecidable"
    return f"[{_shown(estimate['low'])}, {_shown(estimate['high'])}] at {estimate['confidence_level']:.0%}"


def _shown(value: object) -> str:
    if value is None:
        return "undecidable"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_safe(cell) for cell in line) + " |" for line in lines)


def _safe(cell: object) -> str:
    """Text that stays text in a table of Markdown: no cell ends early, no HTML, no link."""
    text = " ".join(str(cell).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for special in ("\\", "|", "`", "*"):
        text = text.replace(special, "\\" + special)
    return text.replace("](", "]\\(")
