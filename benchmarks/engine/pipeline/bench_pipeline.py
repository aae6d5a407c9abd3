"""What measuring the pipeline costs, inside the demo loop itself: half of the flights year, trained on the CPU.

    python -m pytest benchmarks/engine/pipeline/bench_pipeline.py -s

Every entry of the instrumentation is counted while the loop runs: what is measured at the end of a window (its row in
the ledger and fsync, the paired comparison behind the return, the text file for a node), what is counted as windows are
read, and the meter around each trial. CPU seconds of the thread inside over CPU seconds of the process: what other
programs do changes neither. Wall time is printed beside it. MOST is the largest share that we claim.

Two trials a sweep, where the demo has six: a loop that trains little is the hard case, for the instrumentation does not
grow with training.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import cli
from engine.cycle.metering import Counted, Metering
from engine.train.usage import Meter

ROOT = Path(__file__).parents[3]
MOST = 0.01
ENTRIES = (
    (Metering, "begin"),
    (Metering, "measured"),
    (Metering, "_points"),
    (Metering, "publish"),
    (Counted, "_count"),
    (Meter, "__enter__"),
    (Meter, "__exit__"),
)
LOOP = ("loop.until=2013-08", "search.backend=local", "search.num_samples=2", "track=none")
LOOP += ("promote.shadow_windows=0", "promote.cold_check=false")  # new models serve early; no child has CPU of its own


class Inside:
    """Seconds in the outermost of the entries."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0
        self.calls: Counter[str] = Counter()
        self._deep = 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted."""

        @functools.wraps(function)
        def counted(*args: Any, **named: Any) -> Any:
            self.calls[function.__name__] += 1
            if self._deep:
                return function(*args, **named)
            cpu, wall, self._deep = time.thread_time(), time.perf_counter(), 1
            try:
                return function(*args, **named)
            finally:
                self.cpu += time.thread_time() - cpu
                self.wall += time.perf_counter() - wall
                self._deep = 0

        return counted


def make_flights(folder: Path) -> None:
    """The windows of the demo."""
    found = importlib.util.spec_from_file_location("prepare", ROOT / "experiments" / "flights" / "prepare.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    assert module.main(["--out", str(folder)]) == 0


def test_instrumentation_of_the_demo_loop(benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "flights"
    make_flights(data)
    inside = Inside()
    for owner, name in ENTRIES:
        monkeypatch.setattr(owner, name, inside.around(getattr(owner, name)))
    places = (f"data.path={data}/windows", f"data.labels={data}/labels", f"out={tmp_path}/run")
    words = ["loop", "experiment=flights", *places, f"track.openmetrics={tmp_path}/loop.prom", *LOOP]
    cpu, wall = time.process_time(), time.perf_counter()
    assert benchmark.pedantic(cli.run, args=(words,), rounds=1, iterations=1) == 0
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert inside.calls["measured"] == inside.calls["publish"] == 7
    assert inside.calls["_points"] >= 1  # a promoted model was compared with the one that it replaced
    assert inside.calls["__exit__"] >= 1
    share = inside.cpu / cpu
    benchmark.extra_info |= {"cpu_inside": inside.cpu, "cpu": cpu, "share": share, "load": os.getloadavg()[0]}
    print(
        f"instrumentation: {inside.cpu:.3f} s of {cpu:.1f} s CPU = {share:.2%};"
        f" {inside.wall:.3f} s of {wall:.1f} s wall = {inside.wall / wall:.2%} at load {os.getloadavg()[0]:.1f}"
    )
    assert share < MOST
