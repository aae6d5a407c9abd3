"""One trial on several processes: synchronous data parallel training (train.strategy=ddp), by torch.distributed.

Each batch is cut into `train.workers` parts. The process that runs the trial leads: it alone has Lightning's loop, the
optimizer, the schedule, checkpoints and the metric. Its helpers (members.py) have the rows, a copy of the model, and no
state: before a step they are given the weights, after it the leader gets the sum of everybody's gradients, each
weighted with its rows. So a step is the one that a single process takes on the whole batch, up to the rounding of
float32 sums, and schedulers, checkpoints and resume need to know nothing of it. What looks at a batch as a whole sees a
part of it: BatchNorm's statistics are those of the leader's part, and dropout draws differ from a single process.

Weights and gradients travel by NCCL where each process has a GPU, else by gloo. A helper that dies ends the trial with
its reason; helpers whose leader dies end by themselves (on NCCL, which does not notice, when they are needed again).

Cost a step: the weights travel once in each direction, as much as an all-reduce moves.
Source: synchronous SGD, Chen et al. 2016 (arXiv:1604.00981), without backup workers.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from engine.errors import ConfigError
from engine.records import Dataset
from engine.train.conf import TrainConf
from engine.train.inference import autocast, precision
from engine.train.loader import TensorLoader, as_tensors
from engine.train.members import OVER, Members, Part, Share, Team, gathered, gloo, hear, nccl

DEVICES = {"cpu": "cpu", "gpu": "cuda:0"}  # of a leader; each of Ray's processes sees its own GPU alone


def check(model: Any, conf: TrainConf, device: str, members: Members) -> None:
    """ConfigError where `train.workers` processes cannot share this trial."""
    if conf.workers == 1:
        return
    has = members.devices(device == "gpu")
    if has < conf.workers:
        what = f"{conf.workers} processes want a GPU each, and this trial sees {has}"
        raise ConfigError("train.workers", what, "choose fewer, search.backend=ray, or train.accelerator=cpu")
    if not getattr(model, "automatic_optimization", True):
        what = f"{type(model).__name__} steps its optimizers itself"
        raise ConfigError("train.workers", what, "set train.workers=1")


@contextlib.contextmanager
def led(share: Share, train: Dataset, validation: Dataset, members: Members) -> Iterator[Part]:
    """What the leader's trainer is given while its helpers stand by, in the role of `assist`.

    Raises:
        RuntimeError: a helper died; why, where it said so.
    """
    with gathered(members, share, train, validation) as team:
        crew = _Crew(team)
        team.resting = True
        try:
            with team.watched(crew.abort):
                yield Part((crew,))
        finally:
            if team.resting:
                team.say(OVER)


class _Crew(Callback):
    """The leader's side of a step."""

    def __init__(self, team: Team) -> None:
        self.team, self.group = team, _join(team.share, team.store)
        self._rows, self._loss = 0, torch.tensor(0.0)

    def abort(self) -> None:
        """Break the connections."""
        self.group.abort()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.team.resting = False
        self.team.say(str(trainer.current_epoch))

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._rows = len(batch[0])
        with self.team.blamed():
            self.group.broadcast(_flat(_state(pl_module)), 0).wait()

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        self._loss = loss.detach()

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Replace the gradient and the loss of this part by those of the whole batch."""
        total = _weighted(pl_module, self._loss, self._rows)
        with self.team.blamed():
            self.group.reduce(total, 0).wait()
        parameters = list(pl_module.parameters())
        counts, sums = total[: len(parameters) + 2], total[len(parameters) + 2 :]
        rows = counts[0]
        self._loss = counts[1] / rows
        start = 0
        for parameter, used in zip(parameters, counts[2:].tolist(), strict=True):
            part, start = sums[start : start + parameter.numel()], start + parameter.numel()
            if used:  # by somebody; an unused parameter has no gradient, which is not one of zero
                parameter.grad = (part / rows).reshape(parameter.shape).to(parameter.dtype)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        outputs["loss"] = self._loss.to(outputs["loss"].dtype)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        with self.team.blamed():
            if self.team.share.gpu:
                torch.cuda.synchronize()  # an epoch whose sums were broken off must not count
        self.team.resting = True


def assist(share: Share, store: Any, train: Dataset, validation: Dataset) -> None:
    """A helper: gradients of its part of every batch, until the leader says that the trial is over."""
    device, conf = torch.device(share.device), share.conf
    model = copy.deepcopy(share.model).to(device).train()
    rows = as_tensors(train, device)
    loader = TensorLoader(rows, conf.batch_size, conf.seed, part=share.rank, parts=conf.workers)
    group = _join(share, store)
    mixed = precision(conf, "gpu" if device.type == "cuda" else "cpu")
    for word in hear(store):
        if word == OVER:
            return
        loader.set_epoch(int(word))
        torch.manual_seed(seed_of(conf, share.rank, int(word)))
        for index, batch in enumerate(loader):
            _take(model, group)
            model.zero_grad()
            loss = torch.zeros((), device=device)
            if len(batch[0]):
                with autocast(mixed, device):
                    loss = _loss(model.training_step(batch, index))
                loss.backward()  # type: ignore[no-untyped-call]
            group.reduce(_weighted(model, loss.detach(), len(batch[0])), 0).wait()


def seed_of(conf: TrainConf, rank: int, epoch: int) -> int:
    """What a helper draws by in an epoch: the same after a resume."""
    return (conf.seed * conf.workers + rank) * 1_000_003 + epoch


def _join(share: Share, store: Any) -> Any:
    """The group of all processes of a trial; not torch's default one, which metrics of a user's model would look at."""
    if share.gpu:
        return nccl(store, share.rank, share.conf.workers)
    return gloo(store, share.rank, share.conf.workers, share.address)


def _loss(output: Any) -> Tensor:
    loss: Tensor = output["loss"] if isinstance(output, dict) else output
    return loss


def _state(model: Any) -> list[Tensor]:
    """What a step changes: parameters, and buffers such as BatchNorm's means."""
    return [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]


def _flat(tensors: list[Tensor]) -> Tensor:
    """All of them in one row."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _take(model: Any, group: Any) -> None:
    """Get the leader's weights."""
    state = _state(model)
    flat = _flat(state)
    group.broadcast(flat, 0).wait()
    start = 0
    with torch.no_grad():
        for tensor in state:
            tensor.copy_(flat[start : start + tensor.numel()].reshape(tensor.shape))
            start += tensor.numel()


def _weighted(model: Any, loss: Tensor, rows: int) -> Tensor:
    """[rows, loss * rows, whether each parameter has a gradient, gradients * rows]: to be summed over processes."""
    parameters = list(model.parameters())
    head = torch.tensor([float(rows), float(loss) * rows, *(float(p.grad is not None) for p in parameters)])
    grads = [torch.zeros_like(p).reshape(-1) if p.grad is None else p.grad.reshape(-1) for p in parameters]
    flat = torch.cat(grads)
    return torch.cat([head.to(flat), flat * rows])
