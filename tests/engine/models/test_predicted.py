"""A window is predicted once by each model, and what is remembered cannot be changed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.cycle.loop import Loop
from engine.cycle.past import Past
from engine.models.predicted import WINDOWS, Predicted
from engine.models.predictor import Predictor
from engine.records import Window
from tests.engine.world import World


def window(k: int) -> Window:
    return Window(
        name=f"w{k}", index=k, table=pa.table({"x": [float(k)] * 3}), fingerprint=f"{k}", path="", labelled=True
    )


class Counted:
    """A model that says what it is asked, and remembers how often."""

    def __init__(self, artifact: str) -> None:
        self.artifact, self.asked = artifact, list[float]()

    def predict(self, table: pa.Table) -> np.ndarray:
        found = table["x"].to_numpy().copy()
        self.asked.append(float(found[0]))
        return found


def test_each_window_is_predicted_once_by_each_model() -> None:
    predict, first, second = Predicted(), Counted("a"), Counted("b")
    models: list[Any] = [first, second]
    for model in models:
        for _ in range(3):
            assert predict(model, window(1)).tolist() == [1.0] * 3
    assert first.asked == second.asked == [1.0]
    with pytest.raises(ValueError, match="read-only"):
        predict(models[0], window(1))[0] = 9.0


def test_the_oldest_are_forgotten() -> None:
    predict, model = Predicted(), Counted("a")
    for k in (*range(WINDOWS), 0, WINDOWS, 1, 0):  # 0 was asked for again, so 1 is the oldest
        predict(model, window(k))  # type: ignore[arg-type]
    assert model.asked == [*map(float, range(WINDOWS)), float(WINDOWS), 1.0]


def test_a_cycle_predicts_no_window_twice(young: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Realised performance, the check of the estimate and the risk ask for the same labelled window."""
    asked = list[tuple[str, int, float]]()
    plain = Predictor.predict

    def counted(self: Predictor, table: pa.Table) -> np.ndarray:
        asked.append((self.artifact, table.num_rows, float(table["noise"][0].as_py())))
        return plain(self, table)

    monkeypatch.setattr("engine.cycle.steps.challenger.importance_of", lambda *words: SimpleNamespace())
    monkeypatch.setattr("engine.monitor.report.with_harm", lambda report, importance: report)
    monkeypatch.setattr(Predictor, "predict", counted)
    with young.opened() as (confs, ports):
        loop = Loop(confs, ports)
        steps = loop.steps
        cycle = max(young.cycles().values(), key=lambda c: c.index)
        past = Past(ports.ledger, cycle.window)
        steps.monitor(cycle, past, steps.read(cycle.window, labelled=False), steps.mature(cycle.index))
    assert len(asked) == len(set(asked)) == 3  # the hold-out, the newest labelled window, the live one
