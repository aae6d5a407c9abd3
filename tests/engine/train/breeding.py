"""A population to train: its job, and a model that tells how its state begins and ends every epoch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.train.conf import SearchConf
from engine.train.model import TabularModel
from engine.train.naming import trial_id
from engine.train.search_space import Point, Space, draw
from engine.train.sweep import Population, SweepJob, TrialPlan
from tests.engine.train.made import MODEL, make_job, make_train

SPACE = {
    "train.lr": "tag(log, interval(1e-4, 1e-1))",
    "train.batch_size": "choice(32, 64, 128)",
    "model.dropout": "interval(0.0, 0.4)",
}
EPOCHS = 6
BAD = 1e30  # a learning rate that diverges at once


class Telling(TabularModel):
    """Appends a line at both ends of every epoch: learning rate, epoch, which end, digest of weights and moments."""

    def __init__(self, *, told: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.told = Path(told)

    def on_train_epoch_start(self) -> None:
        self._tell("begins")

    def on_train_epoch_end(self) -> None:
        self._tell("ends")

    def _tell(self, end: str) -> None:
        optimizer: Any = self.optimizers()
        state = [p.detach() for p in self.parameters()]
        state += [s["exp_avg"] for p in self.parameters() for s in [optimizer.state.get(p)] if s]
        found = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in state)).hexdigest()
        with open(self.told, "a") as file:
            file.write(f"{self.conf.lr!r} {self.current_epoch} {end} {found}\n")


@dataclass(frozen=True)
class Line:
    """What a trial told."""

    lr: float
    epoch: int  # from 0
    end: str
    digest: str


def lines(told: Path) -> list[Line]:
    """All that was told."""
    split = (line.split() for line in told.read_text().splitlines())
    return [Line(float(lr), int(epoch), end, digest) for lr, epoch, end, digest in split]


def conf(**changes: Any) -> SearchConf:
    """Four members, a round after every second epoch."""
    values: dict[str, Any] = {
        "backend": "local",
        "space": SPACE,
        "num_samples": 4,
        "scheduler": "pbt",
        "metric": "log_loss",
        "seed": 3,
    }
    return SearchConf(**values | changes)


def breeding(
    folder: Path, conf: SearchConf, *, told: Path | None = None, bad: tuple[int, ...] = (), **changes: Any
) -> SweepJob:
    """The job of a population; the members `bad` begin with a learning rate that diverges."""
    model = {**MODEL, "depth": 2}
    if told is not None:
        model |= {"_target_": "tests.engine.train.breeding.Telling", "told": str(told)}

    def plan(index: int, point: Point) -> TrialPlan:
        train = make_train(max_epochs=EPOCHS, lr=point["train.lr"], batch_size=point["train.batch_size"])
        return TrialPlan(
            id=trial_id(index),
            params=point,
            train=replace(train, checkpoint_seconds=0.0),
            model={**model, "dropout": point["model.dropout"]},
        )

    space = Space.of(conf.space)
    points = [
        {**point, "train.lr": BAD} if i in bad else point
        for i, point in enumerate(draw(space, conf.num_samples, conf.seed))
    ]
    plans = [plan(i, point) for i, point in enumerate(points)]
    population = Population(domains=space.domains, plan=plan)
    of: dict[str, Any] = {"metric": "log_loss", "mode": "min", "trusted": ("tests",), "population": population}
    return make_job(folder, *plans, **of | changes)


def handed_on(told: Path, job: SweepJob, rounds: list[dict[str, Any]]) -> list[tuple[set[str], set[str]]]:
    """Of each takeover in population.json: the states that the adopter began with, and those that its donor ended the
    round with. An epoch that was trained twice tells twice.
    """
    said, rates = lines(told), {plan.id: plan.params["train.lr"] for plan in job.plans}

    def states(lr: float, epoch: int, end: str) -> set[str]:
        return {line.digest for line in said if (line.lr, line.epoch, line.end) == (lr, epoch, end)}

    found = []
    for after in sorted({takeover["after"] for takeover in rounds}):
        now = [takeover for takeover in rounds if takeover["after"] == after]
        before = dict(rates)
        rates |= {takeover["trial"]: takeover["params"]["train.lr"] for takeover in now}
        found += [
            (states(rates[t["trial"]], after, "begins"), states(before[t["donor"]], after - 1, "ends")) for t in now
        ]
    return found
