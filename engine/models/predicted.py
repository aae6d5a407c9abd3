"""What models say of whole windows: each window is predicted once by each model, whoever asks how often."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import numpy as np

from engine.models.predictor import Predictor
from engine.records import Window

WINDOWS = 8  # that are at hand: 8 bytes a row each (and class)


class Predict(Protocol):
    """Predictions (N,) or (N, C) float64 of all rows of a window, in their order."""

    def __call__(self, model: Predictor, window: Window) -> np.ndarray:
        """As the model's own, made now or before."""
        ...


class Predicted:
    """Remembers the newest WINDOWS by the ids of model and content. Nothing may change what it gives."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()

    def __call__(self, model: Predictor, window: Window) -> np.ndarray:
        key = (model.artifact, window.fingerprint)
        if key not in self._known:
            found = model.predict(window.table)
            found.flags.writeable = False
            self._known[key] = found
        self._known.move_to_end(key)
        while len(self._known) > WINDOWS:
            self._known.popitem(last=False)
        return self._known[key]
