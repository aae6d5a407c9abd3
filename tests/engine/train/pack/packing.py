"""Networks that a user may write, and the two ways to train a trial: alone, and beside others."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.records import Epoch, Trial
from engine.train.conf import SearchConf
from engine.train.model import Dropout, EmbeddingModel, Model, TabularModel
from engine.train.pack.search import PackSearch
from engine.train.sweep import LocalSearch, SweepJob
from tests.engine.train.made import MODEL, ignore_epoch

HERE = "tests.engine.train.pack.packing"


def of(name: str, **params: Any) -> dict[str, Any]:
    """The config of a network of this file, or of tests.engine.train.made.MODEL with other keys."""
    return {**MODEL, **params} if name == "Tabular" else {"_target_": f"{HERE}.{name}", **params}


class Own(Model):
    """Two layers and torch's dropout; its loss has a weight and label smoothing, and it logs."""

    def __init__(self, *, weight: float = 1.0, smoothing: float = 0.0, dropout: float = 0.0, **rest: Any) -> None:
        super().__init__(**rest)
        self.save_hyperparameters("weight")
        self.weight, self.smoothing = weight, smoothing
        self.body = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))

    def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.body(torch.cat((numeric, categorical.float()), dim=1)).squeeze(1)
        return output

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        numeric, categorical, target = batch
        target = target * (1 - self.smoothing) + 0.5 * self.smoothing
        loss = self.weight * self.loss(self(numeric, categorical), target)
        self.log("loss", loss)
        return {"loss": loss}


class FromHparams(Own):
    """Reads the weight where Lightning keeps it."""

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = self.hparams["weight"] * super().loss(output, target)
        return scaled


class Normed(Own):
    """Running statistics."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.body.insert(1, nn.BatchNorm1d(8))


class Branching(Own):
    """Control flow that depends on the data."""

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return super().loss(output, target) if float(output.detach().sum()) > 0 else 2 * super().loss(output, target)


class Annealed(Own):
    """Asks its trainer for the epoch, and its config for the rate."""

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (1 + self.current_epoch + self.conf.lr) * super().loss(output, target)


class Sgd(Own):
    """An optimizer that is not stacked, and a schedule that moves at every step."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.conf.lr, momentum=0.9)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class CoupledAdam(Own):
    """Adam's weight decay, and betas of its own."""

    def configure_optimizers(self) -> Any:
        decay, betas = self.conf.weight_decay, (0.8 + self.conf.lr, 0.99)
        return torch.optim.Adam(self.parameters(), lr=self.conf.lr, weight_decay=decay, betas=betas)


class Decayed(Own):
    """Its rate moves at every step."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.conf.lr)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Counting(Own):
    """The factor of its loss changes in Python, where no tensor sees it, at the 20th step since a model was made."""

    calls = 0

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        Counting.calls = 0

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        Counting.calls += 1
        return (1 + Counting.calls // 20) * super().loss(output, target)


class Numbered(Own):
    """Its loss looks at the number of the batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)["loss"]
        return loss if batch_idx % 2 else 2 * loss


class Literal(Own):
    """Makes a tensor out of numbers in every step."""

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return super().loss(output * torch.tensor([1.5], device=output.device), target)


class Hooked(Own):
    """A hook of Lightning's."""

    def on_train_batch_end(self, *rest: Any) -> None:
        self.weight *= 0.9


class Noisy(Own):
    """Draws random numbers of its own."""

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return super().loss(output + 0.1 * torch.randn_like(output), target)


class ByHand(Own):
    """Optimizes by hand."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        optimizer = self.optimizers()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(self.loss(self(*batch[:2]), batch[2]))
        optimizer.step()  # type: ignore[union-attr]
        return self.loss(self(*batch[:2]), batch[2]).detach()


class Died(BaseException):
    """The process of a pack ended: in place of a real end, where the pack runs in the process of the test."""


class Turning(Own):
    """Takes turns: its step reads what may differ between trials. Leaves a line for every epoch that begins: its rate,
    the epoch, the process. In epoch `dies` its process ends by `how`, or Died is raised; so many `times`.
    """

    def __init__(
        self, *, told: str, seconds: float = 0.0, dies: int = -1, how: int = 0, times: int = 1, **rest: Any
    ) -> None:
        super().__init__(**rest)
        self.told, self.seconds, self.dies, self.how, self.times = told, seconds, dies, how, times

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        rate, epoch = self.conf.lr, self.current_epoch
        if batch_idx == 0 and len(batch[0]) == self.conf.batch_size:  # not where a step is tried on a copy
            before = sum(line[:2] == [str(rate), str(epoch)] for line in lines(self.told))
            with open(self.told, "a") as file:
                file.write(f"{rate} {epoch} {os.getpid()}\n")
            time.sleep(self.seconds)
            if epoch == self.dies and before < self.times:
                if self.how:
                    os.kill(os.getpid(), self.how)
                raise Died
        return super().training_step(batch, batch_idx)


class Placed(Own):
    """Leaves the GPU that its process sees, at every step, which takes a while: no worker has all trials."""

    def __init__(self, *, told: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.told = told

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        with open(self.told, "a") as file:
            file.write(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', 'none')}\n")
        time.sleep(0.02)
        return super().training_step(batch, batch_idx)


def lines(told: str | Path) -> list[list[str]]:
    """What Turning has left."""
    return [line.split() for line in Path(told).read_text().splitlines()] if Path(told).exists() else []


class Dense(Own):
    """Dense layers that can be by hand; its step is repeated, and penalised, as asked."""

    def __init__(self, *, last: str = "none", passes: int = 1, penalty: float = 0.0, **rest: Any) -> None:
        super().__init__(**rest)
        dropout = self.body[2].p
        self.passes, self.penalty = passes, penalty
        layers = [nn.Linear(5, 9), nn.ReLU(), nn.Dropout(dropout), nn.LayerNorm(9), nn.Linear(9, 7), nn.GELU()]
        layers += [Dropout(dropout), nn.Linear(7, 6), nn.SiLU(), nn.Dropout(dropout), nn.Linear(6, 1)]
        self.body = nn.Sequential(*layers, *([nn.SiLU(), Dropout(dropout)] if last == "silu" else []))

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return super().loss(output, target) + self.penalty * sum(p.square().sum() for p in self.parameters())

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return sum(super(Dense, self).training_step(batch, batch_idx)["loss"] for _ in range(self.passes))


class Repeated(TabularModel):
    """The built-in network under a user's step: two passes, a penalty on the weights, a look without gradients."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        numeric, categorical, target = batch
        with torch.no_grad():
            easy = self(numeric, categorical).abs().mean()
        loss = self.loss(self(numeric, categorical), target) + self.loss(self(2 * numeric, categorical), target)
        return loss + 1e-3 * easy + 1e-3 * self.body[0].weight.square().sum()  # type: ignore[union-attr, operator]


class OwnLoss(TabularModel):
    """The built-in network with another loss."""

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return 2 * super().loss(output, target)


class Rectified(EmbeddingModel):
    """The built-in network's inputs and loss with another body, and Adam whose rate moves at every step."""

    def __init__(self, *, activation: str = "relu", dropout: float = 0.0, **rest: Any) -> None:
        super().__init__(**rest, embedding=3)
        between = {"relu": [nn.ReLU()], "silu": [nn.SiLU()], "none": []}[activation]
        layers = [nn.Linear(self.wide, 9), nn.ReLU(), Dropout(dropout), nn.Linear(9, 8), *between, Dropout(dropout)]
        self.body = nn.Sequential(*layers, nn.Linear(8, self.spec.n_outputs))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.conf.lr, betas=(0.8, 0.99), weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.97)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Late(Dense):
    """From its fifth step on its gradient has a gradient."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx < 4:
            return super().training_step(batch, batch_idx)
        numeric, categorical, target = batch
        numeric = numeric.clone().requires_grad_()
        loss = self.loss(self(numeric, categorical), target)
        (found,) = torch.autograd.grad(loss, numeric, create_graph=True)
        return loss + found.square().sum()


class Raising(Dense):
    """Fails in its fifth step."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 4:
            raise ValueError("no more")
        return super().training_step(batch, batch_idx)


class Marked(TabularModel):
    """Leaves a line for every model that is drawn."""

    def __init__(self, *, mark: str, **rest: Any) -> None:
        super().__init__(**rest)
        with open(mark, "a") as file:
            file.write("model\n")


def packed(job: SweepJob, pack: str = "auto", on_epoch: Any = ignore_epoch, **conf: Any) -> tuple[Trial, ...]:
    """The sweep with its trials together."""
    values = {"scheduler": "none", "max_failures": 0, "workers": 2}
    search = PackSearch(SearchConf(backend="local", pack=pack, **values | conf))
    return search.run(job, on_epoch=on_epoch, on_trial=lambda trial: None)


def unpacked(job: SweepJob, on_epoch: Any = ignore_epoch, **conf: Any) -> tuple[Trial, ...]:
    """The same, one trial after the other."""
    values = {"scheduler": "none", "max_failures": 0}
    search = LocalSearch(SearchConf(backend="local", **values | conf))
    return search.run(job, on_epoch=on_epoch, on_trial=lambda trial: None)


def gap(ours: Sequence[Trial], theirs: Sequence[Trial]) -> float:
    """The largest relative difference of training losses, epoch by epoch; both sides have the same epochs."""
    found = 0.0
    for one, other in zip(ours, theirs, strict=True):
        pairs: list[tuple[Epoch, Epoch]] = list(zip(one.curve, other.curve, strict=True))
        assert pairs, one.reason
        found = max(found, *(abs(e.train_loss / f.train_loss - 1) for e, f in pairs))
    return found


def weights(trial: Trial) -> bytes:
    """Of its best epoch."""
    return Path(trial.weights).read_bytes()
