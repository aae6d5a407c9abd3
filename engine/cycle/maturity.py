"""What monitoring asks of labels, that come late, in part, or corrected; and of rows that have none yet.

Realised performance is of the newest window whose labels are in. Before that a window has an estimate, which is scored
here as soon as its labels are in, by the model that it was made for. And labels of earlier windows are looked at again:
where they have changed, the performance that the ledger holds is computed anew and recorded beside it, as a correction;
nothing is overwritten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from engine.cycle.past import Past
from engine.cycle.setting import Confs, Ports
from engine.data.conf import DataConf
from engine.data.tables import clusters, label_digest
from engine.errors import ClassError, DataError
from engine.models import challenger
from engine.models.predicted import Predict
from engine.models.predictor import Predictor
from engine.monitor.basis import Features, thinned
from engine.monitor.expected_risk import Grounds
from engine.monitor.labelfree import Estimator
from engine.monitor.labelled import LIVE_ROWS, REFERENCE_ROWS, Labelled, Live
from engine.monitor.performance import Levels, Mature, realised
from engine.records import (
    Correction,
    EstimateScore,
    MonitorReport,
    Performance,
    Scored,
    Window,
)


class Maturity:
    """The labels of one loop's windows, as they come in."""

    def __init__(self, confs: Confs, ports: Ports, model: Callable[[str], Predictor], predict: Predict) -> None:
        self.confs, self.ports = confs, ports
        self.model = model  # a stored one, at hand once it was asked for
        self.predict = predict
        self._estimator: Estimator | None = None

    def mature(self, model: Predictor, window: Window) -> Mature:
        """The labelled rows of a window as `mature_rows` gives them."""
        return mature_rows(model, window, self.confs.data, self.predict(model, window))

    def estimated(
        self, report: MonitorReport, model: Predictor, past: Past, holdout: Window, newest: Window | None, live: Window
    ) -> tuple[MonitorReport, Grounds | None]:
        """The report with what the model's metrics on `live` are expected to be, from its hold-out; checked on the
        newest labelled window, and as wide as it missed on those since. With what that stands on; as it was, and None,
        where `monitor.estimate` is off.
        """
        if not self.confs.monitor.estimate:
            return report, None
        if self._estimator is None or self._estimator.model != model.artifact:
            known = self._labelled(model, holdout)
            self._estimator = Estimator.fit(model.artifact, known, self.confs.monitor, self.confs.evaluate)
        check = None if newest is None or newest.name == holdout.name else self._labelled(model, newest)
        at = thinned(live.n_rows, LIVE_ROWS)
        rows = Live(
            window=live.name,
            n_rows=live.n_rows,
            prediction=self.predict(model, live)[at],
            features=_features(model, live.table if isinstance(at, slice) else live.table.take(at)),
            cluster=clusters(live.table, self.confs.data),
        )
        told = [one.estimated for one in past.watched if one.model == model.artifact and one.estimated is not None]
        found = self._estimator.estimate(rows, check, [miss for one in told for miss in one.missed])
        return replace(report, estimated=found), Grounds(estimator=self._estimator, live=rows, newest=check)

    def _labelled(self, model: Predictor, window: Window) -> Labelled:
        """Labelled rows that the model was not trained on, thinned where there are many."""
        table = challenger.labelled_rows(window, self.confs.data)
        at = thinned(table.num_rows, REFERENCE_ROWS)
        table = table if isinstance(at, slice) else table.take(at)
        prediction = self.predict(model, window)[challenger.has_label(window, self.confs.data)]
        return Labelled(
            window=window.name,
            rows=challenger.rows_of(model, table, self.confs.data),
            prediction=prediction[at],
            features=_features(model, table),
        )

    def settled(self, report: MonitorReport, past: Past, names: list[str]) -> MonitorReport:
        """The report with what labels tell of earlier windows; `names` are those whose labels are in, oldest first."""
        scored = tuple(self._scored(report, past, names))
        return replace(
            report,
            scored=scored,
            scores=tuple(_scores([*_all_scored(past), *scored])),
            corrections=tuple(self._corrections(past, names)),
        )

    def _scored(self, report: MonitorReport, past: Past, names: list[str]) -> Iterator[Scored]:
        """Estimates whose labels have come in since the last cycle, and the realised values."""
        done = {(one.window, one.model) for one in _all_scored(past)}
        for made in [watched.estimated for watched in past.watched]:
            if made is None or made.reason or made.window not in names or (made.window, made.model) in done:
                continue
            found = report.performance
            if found is None or (found.window, found.model) != (made.window, made.model):
                found = self._performance(made.model, made.window)
            for estimate in made.metrics if found and not found.reason else ():
                assert found is not None
                came = next((e.value for e in found.metrics if e.name == estimate.name), math.nan)
                if math.isfinite(estimate.value) and math.isfinite(came):
                    yield Scored(
                        window=made.window,
                        model=made.model,
                        metric=estimate.name,
                        estimated=estimate.value,
                        low=estimate.low,
                        high=estimate.high,
                        realised=came,
                    )

    def _corrections(self, past: Past, names: list[str]) -> Iterator[Correction]:
        """Performances of the newest windows in the ledger whose labels are others now."""
        newest: dict[tuple[str, str], Performance] = {}
        for watched in past.watched:
            for found in (watched.performance, *(one.performance for one in watched.corrections)):
                if found is not None:
                    newest[found.window, found.model] = found
        recheck = self.confs.monitor.recheck_windows
        windows = [name for name in dict.fromkeys(window for window, _ in newest) if name in names]
        for name in windows[max(0, len(windows) - recheck) :] if recheck else ():
            models = {model: found for (window, model), found in newest.items() if window == name and found.labels}
            now = self._labels(name) if models else ""
            for model, found in models.items():
                if now and now != found.labels:
                    made = self._performance(model, name)
                    if made is not None and made.labels != found.labels:
                        yield Correction(performance=made, before=found.metrics, labels=found.labels)

    def _labels(self, name: str) -> str:
        """Digest of the labels as the file holds them now; empty where it cannot be read."""
        try:
            with self.ports.watch.lap("read"):
                table = self.ports.source.labels(name)
        except ClassError:
            raise  # a finding, which the loop records
        except DataError as error:
            self.ports.console.warn(f"{name}: its labels cannot be looked at again: {error}")
            return ""
        return label_digest(table, self.confs.data.id, self.confs.data.label)

    def _performance(self, model: str, name: str) -> Performance | None:
        """Realised performance of any model on an earlier window, read anew; None where either is gone."""
        try:
            with self.ports.watch.lap("read"):
                window = self.ports.source.read(name, labelled=True)
            made = self.mature(self.model(model), window)
        except ClassError:
            raise  # a finding, which the loop records
        except DataError as error:
            self.ports.console.warn(f"{name}: {model[:12]} cannot be judged on it: {error}")
            return None
        return realised(model, made, self.confs.evaluate, self.confs.monitor)


def _scores(scored: list[Scored]) -> Iterator[EstimateScore]:
    """How good estimates were, by metric in the order in which they came."""
    for metric in dict.fromkeys(one.metric for one in scored):
        own = [one for one in scored if one.metric == metric]
        yield EstimateScore(
            metric=metric,
            n=len(own),
            mean_absolute_error=float(np.mean([abs(one.estimated - one.realised) for one in own])),
            coverage=float(np.mean([one.inside for one in own])),
        )


def _all_scored(past: Past) -> list[Scored]:
    """The estimates that earlier cycles have scored."""
    return [one for watched in past.watched for one in watched.scored]


def _features(model: Predictor, table: pa.Table) -> Features:
    seen = model.encoder.transform(table, labelled=False)
    return Features(numeric=seen.numeric, categorical=seen.categorical)


def mature_rows(model: Predictor, window: Window, data: DataConf, prediction: np.ndarray) -> Mature:
    """The labelled rows of a window with the model's predictions of all its rows, on the others too where some lack a
    label.
    """
    table = challenger.labelled_rows(window, data)
    known = challenger.has_label(window, data)
    return Mature(
        window=window.name,
        rows=challenger.rows_of(model, table, data),
        prediction=prediction[known],
        unlabelled=None if known.all() else prediction[~known],
        slices={column: _levels(table, column) for column in data.slices},
        labels=label_digest(table, data.id, data.label),
    )


def _levels(table: pa.Table, column: str) -> Levels:
    coded = table.column(column).cast(pa.string()).fill_null("(missing)").combine_chunks().dictionary_encode()
    return Levels(codes=coded.indices.to_numpy(), names=tuple(coded.dictionary.to_pylist()))
