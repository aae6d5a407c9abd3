from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.track import NullTracker, TrackConf, Tracker, make_tracker, resync
from engine.track.weights_and_biases import WandbTracker
from tests.engine.report.fixtures import FIRST, LOOP, SECOND, year


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "mlflow"}, "track.kind: 'mlflow' is not known - use one of none, wandb"),
        ({"mode": "later"}, "track.mode: 'later' is not known - use one of auto, offline, online"),
        ({"openmetrics": "/var/x.txt"}, "track.openmetrics: '/var/x.txt' does not end with .prom - name it so"),
        ({"project": ""}, "track.project: '' is not a project name"),
        ({"project": "a/b"}, "track.project: 'a/b' is not a project name"),
        ({"project": "p" * 129}, "is not a project name"),
    ],
)
def test_a_wrong_value_is_one_clear_line(values: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        TrackConf(**values)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_both_trackers_keep_the_port(tmp_path: Path) -> None:
    trackers: list[Tracker] = [NullTracker(), make_tracker(TrackConf(), tmp_path)]
    assert isinstance(trackers[1], WandbTracker)
    methods = [name for name in vars(Tracker) if not name.startswith("_")]
    assert methods == ["start", "sweep", "knows", "cycle", "artifact", "page", "finish"]
    assert all(callable(getattr(tracker, name)) for tracker in trackers for name in methods)


class Recorder(NullTracker):
    """Notes the calls in their order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def start(self, loop: str, config: object) -> None:
        self.calls.append(("start", loop))

    def cycle(self, cycle: object) -> None:
        self.calls.append(("cycle", cycle.window))  # type: ignore[attr-defined]
        if cycle.window == "2013-10":  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    def artifact(self, model: str, files: object, stage: str) -> None:
        self.calls.append((stage, model))

    def finish(self) -> None:
        self.calls.append(("finish", ""))


def test_resync_tells_all_in_order_and_finishes_even_when_interrupted() -> None:
    recorder, cycles = Recorder(), year()
    with pytest.raises(KeyboardInterrupt):
        resync(recorder, LOOP, {}, cycles, lambda model: {})
    assert recorder.calls[0] == ("start", LOOP)
    assert recorder.calls[-1] == ("finish", "")
    assert [window for kind, window in recorder.calls if kind == "cycle"] == [c.window for c in cycles]
    assert [model for kind, model in recorder.calls if kind == "production"] == [FIRST, SECOND]


def test_wandb_is_imported_by_nothing_but_a_run() -> None:
    code = (
        "import sys, pathlib; from engine.track import *;"
        "make_tracker(TrackConf(), pathlib.Path('x')).start('l', {});"
        "bad = {'wandb', 'torch', 'ray', 'numpy', 'pyarrow', 'rich'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
