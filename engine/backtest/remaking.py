"""Every model that a loop could have made over its windows, made; each scored on every later window.

A model is named by the place in time of the newest window that it was trained on; its hold-out is the window after it,
as in the loop. It is trained as the loop trains it (challenger.train), from scratch: a warm start would make it depend
on the champion of the moment. Scores, drift and duels come from what the loop itself asks: engine/monitor and
challenger.judge_rows; whether a duel opens the gates is judged anew each time, by the rules of the config.

All that is measured is kept by content (engine/backtest/kept.py), one fact at a time. Cost: one training a window, and
for every pair of a model and a later window one score and one comparison of all columns; for every pair of models one
paired evaluation.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from engine.backtest.kept import Kept, code_of
from engine.backtest.measured import Measured, Pair
from engine.backtest.pace import Pace
from engine.cycle import founding
from engine.cycle.maturity import mature_rows
from engine.cycle.setting import Confs, Source
from engine.cycle.sweeps import OPEN, unfinished, unweighed
from engine.data.tables import join
from engine.errors import ArtifactError, ClassError, DataError
from engine.gate import RuleConf, asked, judge, judge_look
from engine.models import challenger
from engine.models.challenger import Compose, Recipe, TrainingRows
from engine.models.predicted import Predicted
from engine.models.predictor import Predictor, load
from engine.monitor.performance import Mature, realised
from engine.monitor.report import Monitor
from engine.promote.store import Store
from engine.records import (
    Asked,
    Estimate,
    EvaluationReport,
    Look,
    Outcome,
    Performance,
    Verdict,
    Window,
    digest,
    find,
    to_plain,
)
from engine.records.cycle import STRANGE
from engine.records.estimates import record
from engine.scoring.scores import GREATER_IS_BETTER
from engine.train.sweep import Search
from engine.train.watched import together
from engine.validate.window import validate

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
MADE_BY = (  # below the folder of both packages: what models and their numbers are made by
    "engine/backtest/remaking.py", "engine/cycle/maturity.py", "engine/data", "engine/evaluate", "engine/models",
    "engine/monitor", "engine/scoring", "engine/train", "kernels",
)  # fmt: skip
PLACES = ("path", "labels", "prepare")  # keys of the data config that say where rows lie, not what they are


@record
class Made:
    """A model that was made."""

    artifact: str
    seconds: float  # of the trial that it is
    all_seconds: float  # of all trials


@record
class Moved:
    """What a monitor would have found."""

    drifted: int
    columns: int


@dataclass(frozen=True, kw_only=True)
class Means:
    """What models are made with."""

    confs: Confs
    source: Source
    search: Search
    store: Store
    compose: Compose
    folder: Path  # where facts are kept
    retune: bool  # each model by a full sweep
    trials: int  # of a full sweep: what one costs where none is made
    say: Callable[[str], None]


class Remaking:
    """The models of one past, and what is measured of them. `names` are the windows, all labelled and fit for use."""

    def __init__(self, means: Means, names: Sequence[str]) -> None:
        self.means, self.confs, self.names = means, means.confs, tuple(names)
        first = self.confs.loop.founding_windows
        newest = max(first - 1, len(names) - 1 - self.confs.data.label_lag) - 1
        self.models = range(first - 2, newest + 1)
        self.kept = Kept(means.folder, code_of(ROOT, MADE_BY))
        self._read = functools.lru_cache(self.confs.train.windows + self.confs.data.label_lag + 3)(self._read_anew)
        self._loaded: dict[int, Predictor] = {}
        self._predict = Predicted()
        plain = self.confs.plain
        self._data = {key: value for key, value in plain["data"].items() if key not in PLACES}
        search = {key: value for key, value in plain["search"].items() if key not in OPEN} if means.retune else None
        self._recipe = [self._data, plain["train"], plain["model"], search]
        self._pace = Pace(self._work())

    def past(self) -> Measured:
        """Everything, made or found: a line for each model that takes time, with what may be left."""
        scores: dict[Pair, Estimate] = {}
        drifted: dict[Pair, Pair] = {}
        gains: dict[Pair, Estimate] = {}
        passed: set[Pair] = set()
        compute: dict[int, tuple[float, float]] = {}
        for model in self.models:
            before = self.kept.made
            weight = len(self._trained_on(model))
            made = self._once("models", weight, Made, self._key(model), functools.partial(self._train, model))
            every = made.all_seconds if self.means.retune else made.seconds * self.means.trials
            compute[model] = made.seconds / 3600, every / 3600
            monitor = self._monitor()
            for window in range(model + 1, len(self.names)):
                scores[model, window] = self._score(model, window)
                if window > model + 1:
                    found = self._drift(monitor, model, window)
                    drifted[model, window] = found.drifted, found.columns
            for champion in range(self.models[0], model):
                gains[model, champion], passes = self._duel(model, champion)
                passed |= {(model, champion)} if passes else set()
            if self.kept.made > before:
                self._tell(model, scores[model, model + 1])
        return Measured(
            names=self.names,
            greater_is_better=GREATER_IS_BETTER[self.confs.evaluate.primary],
            lag=self.confs.data.label_lag,
            shadow=self._looks,
            training=self.confs.train.windows,
            scores=scores,
            gains=gains,
            passed=frozenset(passed),
            drifted=drifted,
            compute=compute,
        )

    # ---- what is measured -----------------------------------------------------------------------------------------

    def _train(self, model: int) -> Made:
        means, confs, key = self.means, self.confs, self._key(model)
        rows = TrainingRows(windows=tuple(map(self.window, self._trained_on(model))), holdout=self.window(model + 1))
        recipe = Recipe(
            data=confs.data,
            train=confs.train,
            search=confs.search,
            space=confs.space,
            compose=means.compose,
            price=confs.decide.hour_price,
            trusted=confs.trusted,
            folder=(means.folder / "sweeps").absolute(),
            config=confs.plain,
            loop=confs.loop.name,
        )
        id, window = digest("backtest", self.kept.code, key), self.names[model + 1]
        decision = unweighed(id, window, "backtest", "a model of the past", confs.decide.currency)
        found = challenger.train(
            decision, rows, recipe, means.search, means.store, warm=None, watch=lambda sweep, total: together()
        )
        if found.winner is None:
            first = next((trial.reason for trial in found.trials if trial.reason), "")
            what = f"{unfinished(found.trials)} on the windows up to it{f' ({first})' if first else ''}"
            raise DataError(f"{confs.data.path}:{self.names[model]}", what, "try `tidegate train` with this config")
        self._loaded.pop(model, None)
        return Made(artifact=found.model, seconds=found.winner.seconds, all_seconds=found.seconds)

    def _score(self, model: int, window: int) -> Estimate:
        conf = replace(self.confs.evaluate, metrics=[self.confs.evaluate.primary])
        key = [self._key(model), self.window(window).fingerprint, self._interval, to_plain(self.confs.monitor)]

        def made() -> Performance:
            rows = self._labelled(self._predictor(model), self.window(window))
            return realised(str(model), rows, conf, self.confs.monitor)

        found = self._once("scores", 1, Performance, key, made).metric(conf.primary)
        if not math.isfinite(found.value):
            what = f"what a model was worth there is undecidable: {found.reason or 'not finite'}"
            cure = "wait for its labels, and end before it until then: loop.until=..."
            raise DataError(f"{self.confs.data.path}:{self.names[window]}", what, cure)
        return found

    def _labelled(self, model: Predictor, window: Window) -> Mature:
        """All labelled rows as one: slices are not asked for."""
        rows = mature_rows(model, window, self.confs.data, self._predict(model, window))
        return replace(rows, slices={})

    def _drift(self, monitor: Monitor, model: int, window: int) -> Moved:
        """By the loop's own monitor: columns, predictions, labels, all columns together."""
        newest = max(self.confs.loop.founding_windows - 1, window - self.confs.data.label_lag)
        near = [window, window - 1, newest, model + 1]
        key = [self._key(model), [self.window(w).fingerprint for w in near], to_plain(self.confs.monitor)]

        def made() -> Moved:
            champion = self._predictor(model)
            holdout, live, labelled = (self.window(w) for w in (model + 1, window, newest))
            report = monitor.report(
                model=str(model),
                window=live,
                reference=[self.window(w) for w in self._trained_on(model)],
                previous=self.window(window - 1),
                predictions=(self._predict(champion, holdout), self._predict(champion, live)),
                mature=self._labelled(champion, labelled),
            ).baseline
            return Moved(drifted=len(report.drifted), columns=len(report.columns))

        return self._once("drift", 1, Moved, key, made)

    def _duel(self, model: int, champion: int) -> tuple[Estimate, bool]:
        """Challenger against champion on its hold-out, and if that opens the gate, in shadow: (gain, does it pass)."""
        conf, began = self.confs, time.monotonic()
        before = self.kept.made
        told: dict[str, Any] = {"power": conf.gate.power}
        report = self._judged(model, champion, [model + 1], conf.gate.rules)
        verdict = judge(report, conf.gate.rules, gate="offline", greater_is_better=_ways(conf.gate.rules), **told)
        passes = verdict.outcome is Outcome.PASS and self._shadowed(model, champion, told)
        self._pace.done("duels", 1, time.monotonic() - began if self.kept.made > before else None)
        return find(report.differences, conf.evaluate.primary), passes

    def _shadowed(self, model: int, champion: int, told: dict[str, Any]) -> bool:
        """The shadow gate, look by look, on the windows after the hold-out; what lies beyond the last one is not seen
        in this past, and holds no model back.
        """
        gate, earlier = self.confs.gate, list[Verdict]()
        for number in range(1, self._looks + 1):
            if model + 1 + number >= len(self.names):
                return True
            report = self._judged(model, champion, list(range(model + 2, model + 2 + number)), gate.shadow)
            told = {**told, "gate": "shadow", "greater_is_better": _ways(gate.shadow)}
            if self._looks == 1:
                return judge(report, gate.shadow, **told).outcome is Outcome.PASS
            look = Look(number=number, most=self._looks, spending=gate.spending, futility=gate.futility)
            verdict = judge_look(report, gate.shadow, **told, look=look, earlier=earlier)
            if not verdict.waiting:
                return verdict.outcome is Outcome.PASS
            earlier.append(verdict)
        return self._looks == 0

    def _judged(
        self, model: int, champion: int, windows: Sequence[int], rules: dict[str, RuleConf]
    ) -> EvaluationReport:
        """Both models on the labelled rows of these windows together: what the rules ask for, and no more."""
        evaluate = self.confs.evaluate
        metrics = dict.fromkeys([evaluate.primary, *(rule.metric for rule in rules.values())])
        searched = any(rule.kind == "worst_slice" for rule in rules.values())
        conf = replace(
            evaluate,
            metrics=[metric for metric in evaluate.metrics if metric in metrics],
            find_slices=evaluate.find_slices if searched else 0,
        )
        needs = asked(rules.values(), evaluate.primary)
        near = self._near(windows, needs)
        rows = [self.window(w).fingerprint for w in (*windows, *near.values())]
        key = [self._key(model), self._key(champion), rows, to_plain(conf), to_plain(needs)]

        def made() -> EvaluationReport:
            tables = [self.window(w) for w in windows]
            if len(tables) > 1:
                parts = [replace(w, table=challenger.labelled_rows(w, self.confs.data)) for w in tables]
                tables = [join(parts, self.confs.data.id)]
            models = self._predictor(model), self._predictor(champion)
            beside = {shift: self.window(w) for shift, w in near.items()}
            return challenger.judge_rows(*models, tables[0], self.confs.data, conf, needs, beside)

        return self.kept.once("duels", EvaluationReport, key, made)

    def _near(self, windows: Sequence[int], needs: Asked) -> dict[int, int]:
        """The windows beside these that robustness asks for, by their shift: those whose labels were in."""
        shifts = {p.shift for p in challenger.perturbations(needs) if p.shift}
        return {shift: windows[0] + shift for shift in shifts if shift < 0 and windows[0] + shift >= 0}

    # ---- windows, models, time ------------------------------------------------------------------------------------

    def window(self, place: int) -> Window:
        """A labelled window; those read last stay at hand."""
        return self._read(self.names[place])

    def _read_anew(self, name: str) -> Window:
        return self.means.source.read(name, labelled=True)

    def _trained_on(self, model: int) -> range:
        return range(max(0, model + 1 - self.confs.train.windows), model + 1)

    @functools.cached_property
    def _interval(self) -> list[Any]:
        conf = self.confs.evaluate
        return [conf.primary, conf.confidence_level, conf.n_resamples, conf.seed]

    @property
    def _looks(self) -> int:
        return self.confs.promote.shadow_windows

    def _key(self, model: int) -> list[Any]:
        """What a model follows from."""
        return [[self._fingerprint(w) for w in self._trained_on(model)], self._recipe]

    @functools.cache  # noqa: B019  a Remaking lives as long as its command
    def _fingerprint(self, place: int) -> str:
        return self.window(place).fingerprint

    def _predictor(self, model: int) -> Predictor:
        """The model, loaded once; made again where the store does not hold it any more (gc knows no backtest)."""
        if model not in self._loaded:
            made = self.kept.find("models", Made, self._key(model))
            assert made is not None  # it was made before it was asked for
            try:
                self._loaded[model] = load(self.means.store, made.artifact, self.confs.trusted)
            except ArtifactError:
                again = self.kept.put("models", self._key(model), self._train(model))
                self._loaded[model] = load(self.means.store, again.artifact, self.confs.trusted)
        return self._loaded[model]

    def _monitor(self) -> Monitor:
        data, evaluate = self.confs.data, self.confs.evaluate
        metrics = replace(evaluate, metrics=[evaluate.primary])
        return Monitor(self.confs.monitor, metrics, data.numeric, data.categorical, data.label, data.kind)

    def _once(self, kind: str, weight: float, cls: type[T], key: Sequence[Any], make: Callable[[], T]) -> T:
        before, began = self.kept.made, time.monotonic()
        found = self.kept.once(kind, cls, key, make)
        self._pace.done(kind, weight, time.monotonic() - began if self.kept.made > before else None)
        return found

    def _work(self) -> dict[str, float]:
        """How much there is of each kind."""
        later = [len(self.names) - 1 - model for model in self.models]
        n = len(self.models)
        trained = sum(len(self._trained_on(model)) for model in self.models)
        return {"models": trained, "scores": sum(later), "drift": sum(later) - n, "duels": n * (n - 1) // 2}

    def _tell(self, model: int, score: Estimate) -> None:
        from engine.report.words import duration

        left = self._pace.left
        said = "" if left is None else f"; about {duration(left)} left" if left else "; that was the last"
        at = f"{score.name} {score.value:.4f} [{score.low:.4f}, {score.high:.4f}] on {self.names[model + 1]}"
        done = model - self.models[0] + 1
        self.means.say(f"model {done} of {len(self.models)}, trained up to {self.names[model]}: {at}{said}")


def _ways(rules: dict[str, RuleConf]) -> dict[str, bool]:
    return {rule.metric: GREATER_IS_BETTER[rule.metric] for rule in rules.values() if rule.metric in GREATER_IS_BETTER}


def fit_windows(source: Source, names: Sequence[str], confs: Confs) -> tuple[list[str], list[str]]:
    """(the windows that are labelled and fit for use, those that validation blocks): each is held against the declared
    schema, or what the founding windows look like, and the window before it.

    The newest windows, whose labels need not be in, end the past where they are not.
    """
    schema = founding.declared(confs.validate, confs.data)
    if schema is None:
        first = names[: founding.reference_windows(confs.loop)]
        schema = founding.schema_of([source.read(name, labelled=True) for name in first], confs.data)
    fit, left_out = list[str](), list[str]()
    before: Window | None = None
    for place, name in enumerate(names):
        try:
            window = source.read(name, labelled=True)
        except ClassError:
            if confs.validate.severity.of(STRANGE) is None or place < confs.loop.founding_windows:
                raise
            left_out.append(name)
            continue
        except DataError:
            if place < len(names) - confs.data.label_lag:
                raise
            break
        usable = validate(window, schema, confs.validate, previous=before).usable
        (fit if usable else left_out).append(name)
        before = window
    return fit, left_out
