"""One trial on several processes of this machine: synchronous data parallel training on CPUs, by torch.distributed.

Each batch is cut into `train.workers` parts. The process that runs the trial leads: it alone has Lightning's loop, the
optimizer, the schedule, checkpoints and the metric. Its helpers have the rows (in shared memory), a copy of the model,
and no state: before a step they are given the weights, after it the leader gets the sum of everybody's gradients, each
weighted with its rows. So a step is the one that a single process takes on the whole batch, up to the rounding of
float32 sums, and schedulers, checkpoints and resume need to know nothing of it. What looks at a batch as a whole sees a
part of it: BatchNorm's statistics are those of the leader's part, and dropout draws differ from a single process.

Gloo over loopback carries weights and gradients; nothing else listens. A helper that dies ends the trial with its
reason; helpers whose leader dies end by themselves.

Cost a step: two passes of the weights through loopback, and the start of a helper (4 s, Lightning's import) a trial.
Source: synchronous SGD, Chen et al. 2016 (arXiv:1604.00981), without backup workers.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import signal
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.multiprocessing as mp
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.distributed import FileStore, ProcessGroupGloo  # type: ignore[attr-defined]

from engine.errors import ConfigError
from engine.train.conf import TrainConf
from engine.train.loader import TensorLoader

WAIT = datetime.timedelta(days=7)  # a trial may be paused between epochs; a dead process is noticed at once


def check(model: Any, conf: TrainConf, device: str) -> None:
    """ConfigError where `train.workers` processes cannot share this trial."""
    if conf.workers == 1:
        return
    if device != "cpu":
        cure = "set train.accelerator=cpu, or train.workers=1 and more trials at once"
        raise ConfigError("train.workers", f"{conf.workers} processes share a trial on CPUs alone", cure)
    if conf.precision == "bf16":
        raise ConfigError("train.precision", "bf16 is not summed over processes", "set train.precision=32")
    if not getattr(model, "automatic_optimization", True):
        what = f"{type(model).__name__} steps its optimizers itself"
        raise ConfigError("train.workers", what, "set train.workers=1")


@contextlib.contextmanager
def helpers(model: Any, loader: TensorLoader, conf: TrainConf) -> Iterator[list[Callback]]:
    """What the leader's trainer calls while `conf.workers - 1` helpers stand by; nothing where it trains alone.

    Raises:
        RuntimeError: a helper died; why, where it said so.
    """
    if conf.workers == 1:
        yield []
        return
    context = mp.get_context("spawn")  # a fork of a process with threads may hang
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        crew = _Crew()
        try:
            twin = copy.deepcopy(model)  # what is handed over moves to shared memory, and the leader's must not
            for rank in range(1, conf.workers):
                ours, theirs = context.Pipe(duplex=False)
                job = (rank, twin, loader.tensors, conf, folder, theirs)
                process = context.Process(target=_help, args=job, daemon=True, name=f"helper-{rank}")
                process.start()
                theirs.close()
                crew.helpers.append((process, ours))
            crew.assemble(folder, conf.workers)
            yield [crew]
        finally:
            for process, ours in crew.helpers:
                process.kill()  # it holds nothing
                process.join()
                ours.close()


class _Crew(Callback):
    """The leader's side of a step."""

    def __init__(self) -> None:
        self.helpers: list[tuple[Any, Any]] = []  # process, and the pipe that tells why it ended
        self.group: Any = None
        self._rows, self._loss = 0, torch.tensor(0.0)

    def assemble(self, folder: str, size: int) -> None:
        """Wait until all helpers are there."""
        for _, ours in self.helpers:
            try:
                said = ours.recv()
            except EOFError:
                said = "it ended before it began"
            if said:
                raise RuntimeError(f"a helper process failed: {said}")
        with self._blamed():
            self.group = _join(folder, 0, size)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        with self._blamed():
            self.group.broadcast(torch.tensor([trainer.current_epoch]), 0).wait()

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._rows = len(batch[0])
        with self._blamed():
            self.group.broadcast(_flat(_state(pl_module)), 0).wait()

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        self._loss = loss.detach()

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Replace the gradient and the loss of this part by those of the whole batch."""
        total = _weighted(pl_module, self._loss, self._rows)
        with self._blamed():
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

    @contextlib.contextmanager
    def _blamed(self) -> Iterator[None]:
        """What gloo calls a lost connection is the fault of a helper, and it may have said which."""
        try:
            yield
        except RuntimeError as error:
            reasons = []
            for process, ours in self.helpers:
                process.join(1.0)
                with contextlib.suppress(EOFError, OSError):
                    reasons += [ours.recv()] if ours.poll() else []
            raise RuntimeError(f"a helper process failed: {next(iter(reasons), 'it was killed')}") from error


def _help(rank: int, model: Any, tensors: tuple[Tensor, ...], conf: TrainConf, folder: str, talk: Any) -> None:
    """A helper: gradients of its part of every batch, until the leader ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the leader's
    warnings.simplefilter("ignore")  # the leader has the same ones
    try:
        torch.set_num_threads(conf.threads)
        model = copy.deepcopy(model).train()
        loader = TensorLoader(tensors, conf.batch_size, conf.seed, part=rank, parts=conf.workers)
        talk.send("")
        group = _join(folder, rank, conf.workers)
        while True:
            epoch = torch.zeros(1, dtype=torch.int64)
            group.broadcast(epoch, 0).wait()
            loader.set_epoch(int(epoch))
            torch.manual_seed((conf.seed * conf.workers + rank) * 1_000_003 + int(epoch))  # the same after a resume
            for index, batch in enumerate(loader):
                _take(model, group)
                model.zero_grad()
                loss = torch.zeros(())
                if len(batch[0]):
                    loss = _loss(model.training_step(batch, index))
                    loss.backward()  # type: ignore[no-untyped-call]
                group.reduce(_weighted(model, loss.detach(), len(batch[0])), 0).wait()
    except BaseException as error:  # the leader is gone, or the model failed: it is told, if it is there
        with contextlib.suppress(OSError):
            talk.send(" ".join(f"{type(error).__name__}: {error}".split())[:200])


def _loss(output: Any) -> Tensor:
    loss: Tensor = output["loss"] if isinstance(output, dict) else output
    return loss


def _join(folder: str, rank: int, size: int) -> Any:
    """The group of all processes of a trial; not torch's default one, which metrics of a user's model would look at."""
    options = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._timeout = WAIT
    options._devices = [ProcessGroupGloo.create_device(hostname="127.0.0.1")]
    return ProcessGroupGloo(FileStore(f"{folder}/group", size), rank, size, options)


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
    return torch.cat([head.to(flat.dtype), flat * rows])
