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
from pathlib import Path
from typing import Any

from engine.errors import TidegateError
from engine.records import digest
from engine.train.conf import SearchConf
from engine.train.model import TabularModel
from engine.train.sweep import best
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


def main(folder: Path, seconds: float, packed: bool) -> int:
    """Run the sweep; its exit code."""
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
    job = make_job(folder / "job", *plans, trusted=("tests",))
    conf = SearchConf(workers=1, grace_period=EPOCHS, max_failures=0)
    if packed:
        conf = SearchConf(workers=2, pack="auto", grace_period=EPOCHS, max_failures=0)
    search = RaySearch(conf, scratch=folder, paths=(os.getcwd(),))
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
    winner = best(trials, job.mode)
    shown = [[t.id, t.state, t.reason, [[e.epoch, e.train_loss, e.value] for e in t.curve], t.value] for t in trials]
    weights = [Path(t.weights).read_bytes().hex() for t in trials if t.weights]
    answer = {
        "outcome": digest(shown, weights, winner.id if winner else ""),
        "states": [t.state.value for t in trials],
        "notes": [list(t.notes) for t in trials],
    }
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as engine.cli.main
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, os.getcwd())
    from tests.engine.train import sweeping  # under the name that workers find it by

    sys.exit(sweeping.main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:] == ["packed"]))
