"""A small convolutional network for 8 x 8 images: a LightningModule of a user's own, named in conf/model/digits.yaml.

It shows the whole contract: built as Class(spec=, train=, **params), `forward(numeric, categorical)` gives raw
outputs, and `training_step` gets the batch (numeric, categorical, target). Nothing of ours is subclassed.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 8


class DigitsNet(lightning.LightningModule):
    """Two convolutions and a linear layer; N images of 64 standardised pixels in, 10 logits out."""

    def __init__(self, *, spec: Any, train: Any, channels: int = 16) -> None:
        super().__init__()
        self.lr, self.weight_decay = train.lr, train.weight_decay
        self.inputs = SIDE * SIDE  # what stands behind the pixels, missing-value indicators, is not for a convolution
        self.body = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * channels * 4, spec.n_outputs),
        )

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Logits (N, 10) of pixels (N, 64); the categories are not used."""
        images = numeric[:, : self.inputs].reshape(-1, 1, SIDE, SIDE)
        logits: Tensor = self.body(images)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy of one batch."""
        numeric, categorical, target = batch
        return F.cross_entropy(self(numeric, categorical), target)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
