"""The contract of a model, and the built-in networks for tables.

A model is a LightningModule built as `Class(spec=FeatureSpec, train=TrainConf, **params)` whose
`forward(numeric, categorical)` returns raw outputs: (N,) for binary (logit) and regression, (N, C) for multiclass.
Its training_step gets the batch `(numeric, categorical, target)`. Subclassing `Model` leaves only `forward` to write;
any other LightningModule that keeps this contract works as well.

The built-in networks are a `Network`: `Model` without Lightning, which takes longer to import than torch does. Only a
trial that trains alone needs it, and makes LightningModules of them (module.py).

Shape letters: N rows of a batch, P numeric features, Q categorical features, C classes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.errors import ConfigError
from engine.records import FeatureSpec, Task
from engine.train.conf import TrainConf
from engine.train.optimizer import AdamW

if TYPE_CHECKING:
    from engine.train.module import Model as Model

Batch = tuple[Tensor, Tensor, Tensor]
FINAL_LR = 0.05  # of the peak, where the cosine schedule ends


def __getattr__(name: str) -> Any:
    """`Model` is a LightningModule: Lightning is imported for who wants it, and not for the built-in networks."""
    if name != "Model":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from engine.train.module import Model

    return Model


class Network(nn.Module):
    """Loss, optimizer and schedule for a network that only has to define `forward`."""

    def __init__(self, *, spec: FeatureSpec, train: TrainConf) -> None:
        super().__init__()
        self.spec, self.conf = spec, train

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        numeric, categorical, target = batch
        return self.loss(self(numeric, categorical), target)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean loss () of raw outputs: cross-entropy, or Huber in units of the target's standard deviation."""
        if self.spec.task is Task.BINARY:
            return F.binary_cross_entropy_with_logits(output, target)
        if self.spec.task is Task.MULTICLASS:
            return F.cross_entropy(output, target)
        scale = self.spec.target_scale
        return F.huber_loss(output / scale, target / scale)

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate changes once an epoch, so that a step costs no Python for it."""
        fused = next(self.parameters()).device.type in ("cpu", "cuda")
        optimizer = AdamW(self.parameters(), lr=self.conf.lr, weight_decay=self.conf.weight_decay, fused=fused)
        if self.conf.schedule == "constant":
            return optimizer
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._cosine)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def _cosine(self, epoch: int) -> float:
        progress = min(epoch / max(1, self.conf.max_epochs - 1), 1.0)
        return FINAL_LR + (1 - FINAL_LR) * 0.5 * (1 + math.cos(math.pi * progress))


class Dropout(nn.Module):
    """nn.Dropout in 0.4 of its time on a CPU, where drawing a double a neuron was a quarter of a training step.

    One draw of 64 bits decides on four neurons: each is dropped with probability round(65536 p) / 65536, and what is
    kept is scaled by the inverse of exactly that share. Elsewhere it is F.dropout. `generator` is what it draws from;
    None: torch's own.
    """

    generator: torch.Generator | None = None

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.dropped = round(p * 65_536)  # of the 65,536 values of 16 bits
        if not 0 <= self.dropped < 65_536:
            raise ValueError(f"dropout is a share from 0 up to 0.999, not {p}")

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape, some of it 0; x itself in eval mode."""
        if not self.training or not self.dropped:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return x * self.noise(x.shape, x.dtype)

    def noise(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """What activations of this shape are multiplied by, on the CPU: 0 where they are dropped; 1 for p = 0."""
        if not self.dropped:
            return torch.ones(shape, dtype=dtype)
        size = shape.numel()
        bits = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None, generator=self.generator)
        kept = bits.view(torch.int16)[:size].view(shape) >= self.dropped - 32_768
        return kept.to(dtype).mul_(65_536 / (65_536 - self.dropped))


class EmbeddingModel(Network):
    """What both built-in networks share: one row of numbers a sample on the way in, the task's units on the way out.

    All Q categorical features share one embedding table (one lookup a batch); row 0 of each feature is the unknown or
    missing category.
    """

    offsets: Tensor
    body: nn.Module  # outputs (N, 1) or (N, C) of rows (N, wide)

    def __init__(self, *, spec: FeatureSpec, train: TrainConf, embedding: int) -> None:
        super().__init__(spec=spec, train=train)
        sizes = torch.tensor((0, *spec.cardinalities), dtype=torch.int64)
        self.register_buffer("offsets", sizes.cumsum(0)[:-1], persistent=False)
        self.embedding = nn.Embedding(max(1, int(sizes.sum())), embedding)
        nn.init.normal_(self.embedding.weight, std=0.05)
        self.wide = len(spec.numeric) + embedding * len(spec.categorical)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Raw outputs (N,) or (N, C) of numeric (N, P) float32 and categorical (N, Q) int64."""
        return self.in_units(self.body(self.embedded(numeric, categorical)))

    def embedded(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Rows (N, wide): the numbers, and the embedded categories beside them."""
        embedded = self.embedding(categorical + self.offsets).flatten(1)
        return torch.cat((numeric, embedded), dim=1)

    def in_units(self, output: Tensor) -> Tensor:
        """What the body gives, in the task's shape and units."""
        if self.spec.task is Task.MULTICLASS:
            return output
        output = output.squeeze(1)
        if self.spec.task is Task.REGRESSION:  # in float32: bf16 keeps three digits of a mean of minutes
            return output.float() * self.spec.target_scale + self.spec.target_mean
        return output


class TabularModel(EmbeddingModel):
    """Embeddings of the categories beside the standardised numbers, into a perceptron."""

    def __init__(
        self,
        *,
        spec: FeatureSpec,
        train: TrainConf,
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.1,
        embedding: int = 8,
    ) -> None:
        super().__init__(spec=spec, train=train, embedding=embedding)
        layers: list[nn.Module] = []
        wide = self.wide
        for _ in range(depth):
            layers += [nn.Linear(wide, width), nn.SiLU(), Dropout(dropout)]
            wide = width
        self.body = nn.Sequential(*layers, nn.Linear(wide, spec.n_outputs))


class ResidualModel(EmbeddingModel):
    """The same inputs into a residual perceptron: each block adds to what it was given.

    Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data", equation 2, with layer in place of batch
    normalisation: the last batch of an epoch may be a single row.
    """

    def __init__(
        self,
        *,
        spec: FeatureSpec,
        train: TrainConf,
        width: int = 128,
        blocks: int = 2,
        expansion: float = 2.0,
        dropout: float = 0.1,
        embedding: int = 8,
    ) -> None:
        super().__init__(spec=spec, train=train, embedding=embedding)
        hidden = max(1, round(expansion * width))
        made = [ResidualBlock(width, hidden, dropout) for _ in range(blocks)]
        head = (nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, spec.n_outputs))
        self.body = nn.Sequential(nn.Linear(self.wide, width), *made, *head)


class ResidualBlock(nn.Module):
    """x + Linear(dropout(SiLU(Linear(norm(x)))))."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.SiLU(), Dropout(dropout), nn.Linear(hidden, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, width) of (N, width)."""
        added: Tensor = self.inner(x)
        return x + added


def link(task: Task, output: Tensor) -> Tensor:
    """Predictions of raw outputs, float64: probability (N,), probabilities (N, C), or the value itself (N,).

    ConfigError where the outputs of a user's `forward` have another shape.
    """
    if output.dim() != (2 if task is Task.MULTICLASS else 1):
        asked = "(N, C), a raw output a class" if task is Task.MULTICLASS else "(N,), one raw output a row: squeeze(1)"
        what = f"gives {tuple(output.shape)} for N = {len(output) if output.dim() else 0} rows"
        raise ConfigError("model.forward", what, f"a {task.value} model gives {asked}")
    output = output.double()
    if task is Task.BINARY:
        return output.sigmoid()
    if task is Task.MULTICLASS:
        return output.softmax(dim=1)
    return output
