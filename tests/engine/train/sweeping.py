"""A sweep on Ray in a process of its own, to be killed.

    python -m tests.engine.train.sweeping <folder> <seconds an epoch> [packed]

One trial after the other on one worker; or six in packs, on two.

Prints one JSON line: what the sweep led to. <folder>/epochs gets a line for every epoch that begins: the trial's rate,
epoch, process. Ends with 130 when it is interrupted, as the command line does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.errors import TidegateError
from engine.records import Trial, digest
from engine.train.conf import SearchConf
from engine.train.model import TabularModel
from engine.train.sweep import SweepJob, best
from engine.train.tune import RaySearch
from tests.engine.train.made import MODEL, ignore_epoch, make_job, make_plan
from tests.engine.train.pack.packing import of

EPOCHS = 4
TRIALS = 3


class Slow(TabularModel):
    """Leaves a line for every epoch that begins, and takes its time."""

    def __init__(self, *, mark: str, seconds: float, **rest: Any) -> None:
        super().__init__(**rest)
        self.mark, self.seconds = Path(mark), seconds

    def on_train_epoch_start(self) -> None:
        with open(self.mark, "a") as file:
            file.write(f"{self.conf.lr} {self.current_epoch} {os.getpid()}\n")
        time.sleep(self.seconds)


CONF = SearchConf(workers=1, grace_period=EPOCHS, max_failures=0)
PACKED = SearchConf(workers=2, pack="auto", grace_period=EPOCHS, max_failures=0)


def job_of(folder: Path, seconds: float, packed: bool = False) -> SweepJob:
    """The sweep, to be run in a folder."""
    folder.mkdir(exist_ok=True)
    model = {**MODEL, "_target_": f"{Slow.__module__}.Slow", "mark": str(folder / "epochs")}
    if packed:
        model = of("Turning", told=str(folder / "epochs"))
    plans = [
        make_plan(
            i,
            {**model, "dropout": 0.3, "seconds": seconds},
            lr=0.01 * (i + 1),
            max_epochs=EPOCHS,
            checkpoint_seconds=0.0,
        )
        for i in range(2 * TRIALS if packed else TRIALS)
    ]
    return make_job(folder / "job", *plans, trusted=("tests",))


def led_to(job: SweepJob, trials: Sequence[Trial]) -> dict[str, Any]:
    """All of an outcome that does not depend on the clock, as JSON values."""
    winner = best(trials, job.mode)
    shown = [[t.id, t.state, t.reason, [[e.epoch, e.train_loss, e.value] for e in t.curve], t.value] for t in trials]
    weights = [Path(t.weights).read_bytes().hex() for t in trials if t.weights]
    return {
        "outcome": digest(shown, weights, winner.id if winner else ""),
        "states": [t.state.value for t in trials],
        "notes": [list(t.notes) for t in trials],
    }


def main(folder: Path, seconds: float, packed: bool) -> int:
    """Run the sweep; its exit code."""
    job = job_of(folder, seconds, packed)
    search = RaySearch(PACKED if packed else CONF, scratch=folder, paths=(os.getcwd(),))
    search.start()
    try:
        trials = search.run(job, on_epoch=ignore_epoch, on_trial=lambda trial: None)
    except KeyboardInterrupt:
        return 130
    except TidegateError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    finally:
        search.close()
    print(json.dumps(led_to(job, trials)))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as engine.cli.main
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, os.getcwd())
    from tests.engine.train import sweeping  # under the name that workers find it by

    sys.exit(sweeping.main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:] == ["packed"]))
