"""Kill -9 a sweep at every write point, run the same command again, compare. A program of its own, because it forks.

    python -m tests.engine.train.crash <work> <every n-th case> <double kills> <part> <of parts>

The sweep trains one trial after the other in this process. Prints one JSON object: points, cases, killed, the most
epochs that a kill cost, and what went wrong.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from engine.records import digest
from engine.train import budget
from engine.train.conf import SearchConf
from engine.train.model import TabularModel
from engine.train.sweep import LocalSearch, SweepJob, best
from tests.engine.promote.crash import cases_of, deaths, forked, undisturbed, warm
from tests.engine.train.made import MODEL, ignore_epoch, make_job, make_plan

EPOCHS = 3


class Marked(TabularModel):
    """Leaves a line for every epoch that begins."""

    def __init__(self, *, mark: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.mark = Path(mark)

    def on_train_epoch_start(self) -> None:
        with open(self.mark, "a") as file:
            file.write("epoch\n")


def make(work: Path) -> SweepJob:
    """Two trials with dropout and a schedule, a checkpoint after every epoch; and one that fails."""
    work.mkdir(exist_ok=True)
    model = {**MODEL, "_target_": "tests.engine.train.crash.Marked", "mark": str(work / "epochs"), "dropout": 0.3}
    plans = [make_plan(i, model, lr=lr, max_epochs=EPOCHS, checkpoint_seconds=0.0) for i, lr in ((0, 0.05), (1, 0.01))]
    plans.append(make_plan(2, {**MODEL, "_target_": "os.system"}))
    return make_job(work / "job", *plans, trusted=("tests",))


def trained(work: Path) -> int:
    """Epochs begun in all processes so far."""
    return (work / "epochs").read_text().count("epoch") if (work / "epochs").exists() else 0


def command(work: Path) -> str:
    """What is killed and run again; the digest of what it leads to."""
    job = make(work)
    search = LocalSearch(SearchConf(max_failures=0))
    trials = search.run(job, on_epoch=ignore_epoch, on_trial=lambda trial: None)
    winner = best(trials, job.mode)
    shown = [
        [t.id, t.state, t.reason, [[e.epoch, e.train_loss, e.value] for e in t.curve], t.best_epoch, t.value]
        for t in trials
    ]
    weights = [Path(t.weights).read_bytes().hex() for t in trials if t.weights]
    kept = sorted(str(path.relative_to(work)) for path in (work / "job").rglob("checkpoint-*"))
    return digest(shown, weights, winner.id if winner else "", kept)


def main(work: Path, every: int, doubles: int, part: int, parts: int) -> dict[str, object]:
    """All cases of a part, one after the other: parts may run apart, and together they are all."""
    budget.EVERY = 0.0  # so that the write points are the same in every run, however fast
    shutil.rmtree(work, ignore_errors=True)
    operations, expected = undisturbed(lambda: command(work))
    needed = trained(work)
    shutil.rmtree(work)
    warm(lambda: command(work))  # after the undisturbed run, which is a process that begins from nothing
    killed, dearest, wrong = 0, 0, []
    cases = cases_of(operations, every, doubles)[part::parts]
    for case in cases:
        shutil.rmtree(work, ignore_errors=True)
        for dead, status, text in deaths(case, lambda: command(work)):
            killed += dead
            if not dead and (status or text != expected):
                wrong.append([case, "instead of being killed", text])
        status, text = forked(lambda: command(work))
        cost = trained(work) - needed
        dearest = max(dearest, cost)
        if status or text != expected or cost > len(case):
            wrong.append([case, status, text, cost])
    return {"points": len(operations), "cases": len(cases), "killed": killed, "dearest": dearest, "wrong": wrong[:5]}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
