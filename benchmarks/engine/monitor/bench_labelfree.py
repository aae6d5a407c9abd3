"""AUROC without labels on simulated windows that shift, ours beside NannyML's CBPE on the same rows.

    NANNYML_PYTHON=/tmp/nannyml/bin/python python -m pytest benchmarks/engine/monitor/bench_labelfree.py -s

benchmarks/peers/nannyml_cbpe.py says what to install; without NANNYML_PYTHON only our side is measured. The truth is
the AUROC that the labels of the live rows come to. NannyML sees the predictions, as its CBPE does; we also see the
features. Its estimate has no interval that is to hold the realised value, so only ours is counted.

Most of the distance to the truth is the luck of its labels, which no estimate can know: the AUROC that the
probabilities of the simulation lead to expect is as far away. So the distance to that is told, too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from engine.monitor.basis import thinned
from engine.monitor.conf import MonitorConf
from engine.monitor.expected import expected
from engine.monitor.labelfree import Estimator
from engine.monitor.labelled import LIVE_ROWS, Labelled, Live
from engine.scoring.scores import score
from tests.engine.monitor.shifted import MODELS, SHIFTS, Conf, labelled, truth

N, M, REPEATS = 20_000, 10_000, 20
PEER = Path(__file__).parents[2] / "peers" / "nannyml_cbpe.py"
AUROC = Conf(metrics=("roc_auc_score",))
SIDES = [(model, shift) for model in MODELS for shift in SHIFTS]


def windows(model: str, shift: str, n: int, m: int, repeats: int) -> list[tuple[Labelled, Labelled]]:
    """(reference, live) pairs."""
    found = []
    for k in range(repeats):
        rng = np.random.default_rng([2, k, MODELS.index(model), SHIFTS.index(shift)])
        found.append((labelled(rng, n, model), labelled(rng, m, model, shift, "June")))
    return found


def live(now: Labelled) -> Live:
    """A window before its labels are in, thinned as the loop thins it."""
    at = thinned(len(now.rows), LIVE_ROWS)
    return Live(window=now.window, n_rows=len(now.rows), prediction=now.prediction[at], features=now.features.take(at))


def realised(now: Labelled) -> float:
    return score("roc_auc_score", now.rows.task, now.rows.target, now.prediction)


def foreseen(now: Labelled) -> float:
    """The AUROC that the simulation's own probabilities lead to expect."""
    name = "roc_auc_score"
    return float(expected([name], now.rows.task, truth(now.features.numeric), now.prediction)[name][0])


def ours(pairs: list[tuple[Labelled, Labelled]]) -> tuple[list[float], list[bool], list[float]]:
    """Estimates, whether the interval held what came, seconds of fit and estimate."""
    values, inside, seconds = [], [], []
    for reference, now in pairs:
        began = time.perf_counter()
        estimator = Estimator.fit("m", reference, MonitorConf(), AUROC)  # type: ignore[arg-type]
        found = estimator.estimate(live(now), None)
        seconds.append(time.perf_counter() - began)
        assert found.reason == ""
        one = found.metric("roc_auc_score")
        values.append(one.value)
        inside.append(one.low <= realised(now) <= one.high)
    return values, inside, seconds


def theirs(pairs: list[tuple[Labelled, Labelled]], folder: Path) -> dict[str, list[float]]:
    """NannyML's estimates and seconds, in a process of its own."""
    python = os.environ.get("NANNYML_PYTHON")
    if not python:
        pytest.skip("NANNYML_PYTHON is not set")
    file = folder / "windows.npz"
    np.savez(
        file,
        reference_score=np.stack([old.prediction for old, _ in pairs]),
        reference_label=np.stack([old.rows.target for old, _ in pairs]),
        live_score=np.stack([now.prediction for _, now in pairs]),
    )
    done = subprocess.run([python, str(PEER), str(file)], capture_output=True, text=True, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_error_coverage_and_time(tmp_path: Path) -> None:
    """Twelve streams of 20 windows: our mean absolute error over all of them is at most NannyML's."""
    print(f"\n{'stream':28} {'our MAE':>8} {'theirs':>8} {'coverage':>9} {'ours s':>8} {'theirs s':>9}")
    wrong: list[tuple[float, float]] = []
    apart: list[tuple[float, float, float]] = []
    held, ratios = list[bool](), list[float]()
    for model, shift in SIDES:
        pairs = windows(model, shift, N, M, REPEATS)
        came = np.array([realised(now) for _, now in pairs])
        values, inside, seconds = ours(pairs)
        peer = theirs(pairs, tmp_path)
        own, other = (float(np.abs(np.array(v) - came).mean()) for v in (values, peer["estimates"]))
        fair = np.array([foreseen(now) for _, now in pairs])
        apart.append(tuple(float(np.abs(np.array(v) - fair).mean()) for v in (values, peer["estimates"], came)))  # type: ignore[arg-type]
        times = statistics.median(seconds), statistics.median(peer["seconds"])
        wrong.append((own, other))
        held += inside
        ratios.append(times[1] / times[0])
        print(
            f"{model + ', ' + shift:28} {own:8.4f} {other:8.4f} {np.mean(inside):9.1%} {times[0]:8.3f} {times[1]:9.3f}"
        )
    mean = np.mean(wrong, axis=0)
    print(f"mean absolute error {mean[0]:.4f} against {mean[1]:.4f}; coverage {np.mean(held):.1%}", end="; ")
    print(f"{statistics.median(ratios):.1f} x as fast (median of streams)")
    far = np.mean(apart, axis=0)
    print(
        f"from what the true probabilities expect: {far[0]:.4f} against {far[1]:.4f}; the labels are {far[2]:.4f} away"
    )
    assert mean[0] <= mean[1]


def test_time_of_a_million_rows(tmp_path: Path) -> None:
    """50,000 reference rows and 1,000,000 live ones; ours with its interval."""
    pairs = windows("overconfident", "mean", 50_000, 1_000_000, 1)
    ours(pairs[:1])  # what is loaded and compiled once
    _, _, seconds = ours(pairs)
    peer = theirs(pairs, tmp_path)
    print(f"\n1M rows: ours {seconds[0]:.2f} s, NannyML {peer['seconds'][0]:.2f} s")
    print(f"{peer['seconds'][0] / seconds[0]:.1f} x as fast")
