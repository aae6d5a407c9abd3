"""RECALIBRATE: the champion's network is kept, and a monotone map is put behind it, fitted on labels that came since.

The map is fitted on the newest labelled window that a retrain would train on, where the network has not seen it; never
on the gate's hold-out. It is one of raw outputs: a champion that has a map gets another in its place. What such a map
would win is measured before it is decided on, on the later half of that window by a map of its earlier half, so that
neither the decision nor the map has seen what the gate decides on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from engine.cycle.past import Past
from engine.cycle.setting import Confs, Ports
from engine.data.conf import DataConf
from engine.data.tables import split_by_time
from engine.errors import DataError
from engine.models.challenger import Recipe, labelled_rows, made_with, rows_of
from engine.models.predictor import Predictor, repack
from engine.promote.store import Store
from engine.records import Candidate, Decision, Estimate, Trial, Window, record, to_plain
from engine.scoring.intervals import IntervalConf, difference
from engine.scoring.scores import OF_LABELS, direction, score
from engine.train.naming import trial_id
from engine.train.scaling import Scaling, fit
from engine.train.sweep import failed_trial

RANKS = frozenset({"roc_auc_score", "average_precision_score"})
STILL = "a monotone map moves no ranking: it can win nothing of this metric"
LABELS = "a map is fitted to probabilities, not to the class they name: nothing is expected of this metric"
KEYS = ("files", "format")  # of a manifest: the store's own


@record
class Grounds:
    """What a champion is recalibrated on, and what it was."""

    champion: Predictor
    made: Candidate
    window: Window


class Recalibrator:
    """Recalibrates the champions of one loop."""

    def __init__(
        self,
        confs: Confs,
        ports: Ports,
        read: Callable[..., Window],
        model: Callable[[str], Predictor],
    ) -> None:
        self.confs, self.ports = confs, ports
        self._read, self._model = read, model

    def measured(self, past: Past, champion: str, usable: Sequence[str]) -> Estimate | None:
        """What a map would win of the primary metric; None where `decide.recalibrate` is off, or where this loop did
        not make the champion. `usable` are the labelled windows that are fit for use, oldest first.
        """
        if not (self.confs.decide.recalibrate and champion and past.candidate(champion)):
            return None
        grounds = self._grounds(past, champion, usable)
        with self.ports.watch.lap("decide"):
            return measured(grounds, self.confs.evaluate.primary, self.confs.data, self.confs.evaluate)

    def candidate(
        self, decision: Decision, past: Past, champion: str, usable: Sequence[str], recipe: Recipe
    ) -> Candidate:
        """The champion recalibrated, as the decision says. DataError where the window is gone that it stood on."""
        grounds = self._grounds(past, champion, usable)
        if grounds is None:  # it was decided on one: the config was edited since
            what = f"{decision.window} is to recalibrate {champion[:12]}, and no labelled window is new to it"
            raise DataError("decide.recalibrate", what, "run with the config that this was decided with")
        with self.ports.watch.lap("train"):
            return recalibrate(decision, grounds, usable[-1], recipe, self.ports.store)

    def _grounds(self, past: Past, champion: str, usable: Sequence[str]) -> Grounds | None:
        """The newest labelled window before the hold-out, where the network has not seen it."""
        made = past.candidate(champion)
        if made is None or len(usable) < 2 or usable[-2] in made.training_windows:
            return None
        window = self._read(usable[-2], labelled=True)
        return Grounds(champion=self._model(champion), made=made, window=window)


def measured(grounds: Grounds | None, metric: str, data: DataConf, conf: IntervalConf) -> Estimate:
    """Metric of the recalibrated champion minus that of the champion as it is, paired by row.

    Exactly 0, `method` says why, for metrics that a map cannot move or does not aim at; NaN with its reason where
    no window can be looked at or no map is found.
    """
    if metric in RANKS | OF_LABELS:
        return _told(metric, 0.0, conf, method=STILL if metric in RANKS else LABELS)
    if grounds is None:
        return _told(metric, math.nan, conf, reason="there is no labelled window yet that the champion has not seen")
    champion, table = grounds.champion, labelled_rows(grounds.window, data)
    try:
        earlier, later = split_by_time(table, data.time, 0.5)
        known = rows_of(champion, earlier, data)
        scaling = fit(champion.task, champion.raw(earlier), known.target)
    except DataError as error:
        return _told(metric, math.nan, conf, reason=f"no map: {error.what}")
    rows = rows_of(champion, later, data)
    return difference(metric, rows, champion.predict(later), champion.scaled(scaling).predict(later), conf)


def recalibrate(decision: Decision, grounds: Grounds, holdout: str, recipe: Recipe, store: Store) -> Candidate:
    """The champion with a map behind it as a stored candidate; one without a model, and why, where there is no map.

    The same labels give the same artifact. Its training windows are those of its network.
    """
    began = time.perf_counter()
    champion, made, metric = grounds.champion, grounds.made, recipe.search.metric
    table = labelled_rows(grounds.window, recipe.data)
    model, value, trials = "", math.nan, tuple[Trial, ...]()
    try:
        rows = rows_of(champion, table, recipe.data) if table.num_rows else None
        if rows is None:
            raise DataError("labels", f"{grounds.window.name} has none", "wait for them, or retrain")
        scaling = fit(champion.task, champion.raw(table), rows.target)
    except DataError as error:
        trials = (failed_trial(trial_id(0), made.params, str(error)),)
    else:
        value = score(metric, champion.task, rows.target, champion.scaled(scaling).predict(table))
        files = repack(store, champion.artifact, scaling, recipe.trusted)
        model = store.put(files, _manifest(decision, grounds, scaling, len(rows), store))
    seconds = time.perf_counter() - began
    return Candidate(
        model=model,
        decision=decision.id,
        metric=metric,
        value=value,
        params=made.params,
        trials=trials,
        training_windows=made.training_windows,
        holdout_window=holdout,
        n_rows=table.num_rows,
        seconds=seconds,
        cost=seconds / 3600 * recipe.price,
        mode=direction(metric),
        recalibrated_on=grounds.window.name,
    )


def _manifest(decision: Decision, grounds: Grounds, scaling: Scaling, rows: int, store: Store) -> dict[str, Any]:
    """Where the network comes from, as its own manifest says; and of which model, on what, the map was fitted."""
    of = grounds.champion.artifact
    before = {key: value for key, value in store.manifest(of).items() if key not in KEYS}
    fitted = {"window": grounds.window.name, "fingerprint": grounds.window.fingerprint, "rows": rows}
    return {
        **before,
        "decision": decision.id,
        "window": decision.window,
        "recalibration": {"of": of, **fitted, "map": to_plain(scaling)},
        **made_with(),
    }


def _told(metric: str, value: float, conf: IntervalConf, *, method: str = "", reason: str = "") -> Estimate:
    level = conf.confidence_level
    return Estimate(
        name=metric,
        value=value,
        low=value,
        high=value,
        n=0,
        confidence_level=level,
        method=method,
        reason=reason,
    )
