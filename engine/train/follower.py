"""A process that trains beside the leader of a trial whose model is cut over several (sharded.py).

It runs the same loop on its part of every batch, and computes whatever the leader computes with the model, since each
process holds a part of that. It decides nothing, keeps nothing and writes nothing: the leader's words do.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback

from engine.records import Dataset
from engine.train.distributed import seed_of
from engine.train.fit import Memory, make_trainer
from engine.train.inference import predict
from engine.train.loader import TensorLoader, as_tensors
from engine.train.members import KEEP, OVER, STATE, STOP, Share, hear
from engine.train.module import in_lightning
from engine.train.scorer import keep_hyperparameters, quieten
from engine.train.sharded import Mean, Sharded, joined, put_together


class _Over(Exception):
    """The leader has left the trial."""


def follow(share: Share, store: Any, train: Dataset, validation: Dataset) -> None:
    """Train until the leader ends the trial.

    Raises:
        RuntimeError: the leader has gone. What the model's own code raises is let through.
    """
    quieten()
    conf = share.conf
    kept, model = copy.deepcopy((share.kept, share.model))  # they may lie in memory that the leader trains in as well
    rows = as_tensors(train, share.device)
    loader = TensorLoader(rows, conf.batch_size, conf.seed, part=share.rank, parts=conf.workers, filled=True)
    echo = _Echo(share, hear(store), validation)
    with joined(share, store), warnings.catch_warnings(), contextlib.suppress(_Over):
        warnings.simplefilter("ignore")  # the leader has the same ones
        device = "gpu" if share.gpu else "cpu"
        trainer = make_trainer(conf, device, [Mean(), echo], Memory(kept), echo.rest, Sharded(share))
        trainer.fit(in_lightning(model), loader, ckpt_path="the checkpoint" if kept else None)


class _Echo(Callback):
    """Does with the model what the leader's scorer (scorer.py) does, when it does it."""

    def __init__(self, share: Share, words: Iterator[str], validation: Dataset) -> None:
        self.share, self.words, self.validation = share, words, validation

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """As the leader, a trial that goes on from another one's state keeps its own hyperparameters."""
        kept = self.share.kept
        if kept is not None and kept.adopted:
            keep_hyperparameters(trainer, kept.state)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Order of rows, and random draws."""
        trainer.train_dataloader.set_epoch(trainer.current_epoch)
        torch.manual_seed(seed_of(self.share.conf, self.share.rank, trainer.current_epoch))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Predict with the leader, and put the weights together where it keeps them."""
        predict(pl_module, self.validation, self.share.task)
        if next(self.words) == KEEP:
            put_together(pl_module)

    def rest(self, trainer: Any, memory: Memory) -> None:
        """Between two epochs: checkpoints that the leader writes, and its verdict."""
        while (word := next(self.words)) == STATE:
            memory.current(trainer)
        if word == OVER:
            raise _Over
        trainer.should_stop = word == STOP
