"""Kill -9 a sweep of packed trials at every write point, run the same command again, compare. A program of its own,
because it forks.

    python -m tests.engine.train.pack.crash <work> <every n-th case> <double kills> <part> <of parts>

Two trials are vectorised, one is compiled, one takes turns through autograd, one fails. Prints one JSON object: points,
cases, killed, the largest relative difference of a loss to the undisturbed run, and what went wrong.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from engine.records import digest
from engine.train import budget
from engine.train.sweep import SweepJob
from tests.engine.promote.crash import cases_of, deaths, forked, undisturbed, warm
from tests.engine.train.made import MODEL, make_job, make_plan
from tests.engine.train.pack.packing import of, packed

CLOSE = 1e-5  # relative, of a loss


def make(work: Path) -> SweepJob:
    """Dropout and a schedule everywhere, a checkpoint after every epoch."""
    models = [of("Own", dropout=0.1), of("Own", dropout=0.3), {**MODEL, "dropout": 0.2}, of("Branching", dropout=0.2)]
    models.append({**MODEL, "_target_": "os.system"})
    plans = [
        make_plan(i, model, lr=0.01 * (i + 1), max_epochs=3, checkpoint_seconds=0.0) for i, model in enumerate(models)
    ]
    return make_job(work / "job", *plans, trusted=("tests",))


def command(work: Path) -> str:
    """What is killed and run again: a digest of all but the losses of vectorised trials, and those."""
    trials = packed(make(work))
    losses = [epoch.train_loss for trial in trials[:2] for epoch in trial.curve]
    turns = [[t.id, [[e.epoch, e.train_loss, e.value] for e in t.curve]] for t in trials[2:]]
    weights = [Path(t.weights).read_bytes().hex() for t in trials[2:] if t.weights]
    shown = [[t.id, t.state, t.reason, len(t.curve)] for t in trials]
    kept = sorted(str(path.relative_to(work)) for path in (work / "job").rglob("checkpoint-*"))
    return json.dumps([digest(shown, turns, weights, kept), losses])


def gap(found: str, expected: str) -> float:
    """The largest relative difference of losses; infinite where anything else differs."""
    (mine, losses), (other, others) = json.loads(found), json.loads(expected)
    if mine != other or len(losses) != len(others):
        return float("inf")
    return max(abs(one / two - 1) for one, two in zip(losses, others, strict=True))


def main(work: Path, every: int, doubles: int, part: int, parts: int) -> dict[str, object]:
    """All cases of a part, one after the other: parts may run apart, and together they are all."""

    def fresh() -> None:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()

    budget.EVERY = 0.0  # so that the write points are the same in every run, however fast
    fresh()
    operations, expected = undisturbed(lambda: command(work))
    fresh()
    warm(lambda: command(work))  # after the undisturbed run, which is a process that begins from nothing
    killed, worst, wrong = 0, 0.0, []
    cases = cases_of(operations, every, doubles)[part::parts]
    for case in cases:
        fresh()
        for dead, status, text in deaths(case, lambda: command(work)):
            killed += dead
            if not dead and (status or gap(text, expected) > CLOSE):
                wrong.append([case, "instead of being killed", text])
        status, text = forked(lambda: command(work))
        difference = float("inf") if status else gap(text, expected)
        worst = max(worst, difference)
        if difference > CLOSE:
            wrong.append([case, status, text])
    return {"points": len(operations), "cases": len(cases), "killed": killed, "worst": worst, "wrong": wrong[:5]}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
