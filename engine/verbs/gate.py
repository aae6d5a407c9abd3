"""The verb `gate`: a challenger judged again, or two named models, on a window; nothing is moved or recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import checks
from engine.config.schema import Composer, Config
from engine.cycle.past import wear_of
from engine.data.sources import ParquetSource
from engine.errors import ConfigError
from engine.gate import asked, judge_worn
from engine.models import challenger
from engine.models.predictor import load
from engine.promote.chain import Row
from engine.promote.ledger import Ledger
from engine.promote.rollback import find_model
from engine.promote.store import Store
from engine.records import Asked, Outcome, Stage, Verdict, Window, record, to_plain
from engine.report import forest
from engine.report.sentences import explained, sentence
from engine.report.tables import verdict_table
from engine.report.terminal import Console, make_console
from engine.scoring.scores import GREATER_IS_BETTER
from engine.train.registry import trusted_packages
from engine.verbs import archive

Answer = tuple[int, dict[str, Any]]
NEGATIVE = 3


@record
class Pair:
    """Who is judged, against whom, and on which rows."""

    model: str
    champion: str  # empty: none, and absolute rules alone
    window: str
    earlier: tuple[Row, ...]  # of the ledger, before this model was judged
    index: int  # the place in time of the window in which it was


def gate(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """The rules of gate.rules on a challenger; the newest one, its champion and its hold-out by default."""
    data, console = config.need_data, make_console(quiet)
    checks.check_metrics(data.kind, config.evaluate, config.search)
    checks.check_gate(config.gate, config.promote, config.evaluate, data)
    source = config.open_source()
    index_of, store = {name: i for i, name in enumerate(source.names())}, config.open_store()
    with archive.existing_ledger(config) as ledger:
        pair = _pair(config, ledger, store, _labelled(config, source.names()), index_of)
    window = source.read(pair.window, labelled=True)
    needs = asked(config.gate.rules.values(), config.evaluate.primary)
    trusted = trusted_packages(config.trust)
    made = load(store, pair.model, trusted)
    beside = load(store, pair.champion, trusted) if pair.champion else None
    near = _neighbours(source, window, needs, _labelled(config, source.names()))
    report = challenger.judge_rows(made, beside, window, data, config.evaluate, needs, near)
    verdict = judge_worn(
        report,
        config.gate.rules,
        gate="offline",
        greater_is_better=GREATER_IS_BETTER,
        power=config.gate.power,
        wear=wear_of(pair.earlier, report, pair.index, index_of, config.gate),
    )
    show(console, verdict)
    answer = {
        "loop": config.loop.name,
        "verdict": to_plain(verdict),
        "explained": to_plain([explained(rule) for rule in verdict.rules]),
        "evaluation": to_plain(report),
    }
    return (0 if verdict.outcome is Outcome.PASS else NEGATIVE), answer


def show(console: Console, verdict: Verdict) -> None:
    """The verdict as a table, a picture and sentences."""
    console.show(verdict_table(verdict))
    for line in (*forest.lines(verdict.rules), *(sentence(rule) for rule in verdict.rules)):
        console.note(line)


def _labelled(config: Config, names: list[str]) -> list[str]:
    """The windows whose labels are in."""
    return names[: len(names) - config.need_data.label_lag]


def _pair(config: Config, ledger: Ledger, store: Store, labelled: list[str], index_of: Mapping[str, int]) -> Pair:
    """What the command line names, and for the rest what the loop judged."""
    candidates = [row for row in ledger.rows("candidate") if row.model]
    if config.artifact is None and not candidates:
        cure = "run `tidegate loop`, or name a model: artifact=<beginning of its id>"
        raise ConfigError("artifact", "no challenger was ever made", cure)
    model = find_model(ledger, config.artifact, store) if config.artifact else candidates[-1].model
    own = next((row for row in reversed(candidates) if row.model == model), None)
    evaluations = ledger.rows("evaluation")
    judged = next((row for row in evaluations if row.model == model), None)
    window = config.window or (str(own.payload["holdout_window"]) if own else labelled[-1] if labelled else "")
    if not window:
        raise ConfigError("window", "no labels are in yet", "name a window that has some: window=...")
    return Pair(
        model=model,
        champion=_champion(config, ledger, store, model, judged),
        window=window,
        earlier=tuple(row for row in ledger.rows() if judged is None or row.seq < judged.seq),
        index=index_of.get(judged.window, len(index_of) - 1) if judged else len(index_of) - 1,
    )


def _champion(config: Config, ledger: Ledger, store: Store, model: str, judged: Row | None) -> str:
    """The model to compare with: the named one, else the one that the loop compared with, else that in production."""
    if config.against:
        champion = find_model(ledger, config.against, store)
        if champion == model:
            raise ConfigError("against", "is the challenger itself", "name another model")
        return champion
    if judged is not None:
        return str(judged.payload["champion"])
    head = ledger.head(Stage.PRODUCTION)
    return head.model if head is not None and head.model != model else ""


def _neighbours(source: ParquetSource, window: Window, needs: Asked, labelled: list[str]) -> dict[int, Window]:
    """The labelled windows beside one that robustness asks for."""
    at = source.names().index(window.name)
    shifts = {p.shift for p in challenger.perturbations(needs) if p.shift and 0 <= at + p.shift < len(labelled)}
    return {shift: source.read(source.names()[at + shift], labelled=True) for shift in shifts}
