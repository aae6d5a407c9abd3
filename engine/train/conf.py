"""What a person sets about training and searching. No heavy import here: the command line reads this file."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

from engine.errors import ConfigError

ACCELERATORS = ("auto", "cpu", "gpu")
PRECISIONS = ("auto", "32", "bf16")
SCHEDULES = ("cosine", "constant")
SEEDS = 2**32
MOST = 2**31 - 1  # what is above is a slip, and would overflow far from here


def require(condition: bool, key: str, what: str, cure: str) -> None:
    """Raise ConfigError unless `condition` holds."""
    if not condition:
        raise ConfigError(key, what, cure)


@dataclass(kw_only=True, slots=True)
class TrainConf:
    """One trial of the model."""

    windows: int = 4
    """How many of the newest labelled windows are trained on; the hold-out window is never among them."""
    validation: float = 0.15
    """Share of the training rows, the latest ones, on which the sweep compares its trials."""
    max_epochs: int = 8
    """Passes over the training rows."""
    batch_size: int = 1024
    """Rows a step."""
    lr: float = 2e-3
    """Peak learning rate."""
    weight_decay: float = 1e-4
    """AdamW's decoupled weight decay."""
    schedule: str = "cosine"
    """Learning rate over the epochs: cosine (down to a twentieth) or constant."""
    seed: int = 0
    """Initial weights and the order of rows."""
    accelerator: str = "auto"
    """auto takes a GPU where there is one."""
    precision: str = "auto"
    """auto is bf16 on a GPU that has it, else 32."""
    threads: int = 1
    """CPU threads of one trial."""
    gpus: float | None = None
    """GPUs of one trial: with a share such as 0.25 four trials train on one, each with a quarter of its memory; null: a
    whole one where there is any; 0: none."""
    checkpoint_seconds: float = 10.0
    """Seconds between two checkpoints of a trial, at least; more where writing one would take above a twentieth of the
    time. 0: one after every epoch."""

    def __post_init__(self) -> None:
        require(self.windows >= 1, "train.windows", f"{self.windows} is below 1", "train on at least one window")
        require(
            0 < self.validation < 1,
            "train.validation",
            f"{self.validation} is not a share",
            "choose a number between 0 and 1, such as 0.15",
        )
        for name in ("max_epochs", "batch_size", "threads"):
            value = getattr(self, name)
            require(value >= 1, f"train.{name}", f"{value} is below 1", "choose a positive number")
            require(value <= MOST, f"train.{name}", f"{value} is above {MOST}", "choose a smaller number")
        require(0 < self.lr < inf, "train.lr", f"{self.lr} is not a positive number", "choose one such as 2e-3")
        require(
            0 <= self.weight_decay < inf,
            "train.weight_decay",
            f"{self.weight_decay} is not a number from 0 on",
            "choose 0 or more",
        )
        require(
            self.gpus is None or 0 <= self.gpus <= 1,
            "train.gpus",
            f"{self.gpus} is not a share of a GPU",
            "choose a number from 0 to 1, such as 0.25: a trial trains on one GPU",
        )
        require(
            self.gpus != 0 or self.accelerator != "gpu",
            "train.gpus",
            "0 leaves no GPU to train.accelerator=gpu",
            "choose a share such as 0.25, or accelerator=auto",
        )
        require(
            0 <= self.checkpoint_seconds < inf,
            "train.checkpoint_seconds",
            f"{self.checkpoint_seconds} is not a number from 0 on",
            "choose seconds such as 10, or 0 for a checkpoint after every epoch",
        )
        require(0 <= self.seed < SEEDS, "train.seed", f"{self.seed} is no seed", f"choose one from 0 to {SEEDS - 1}")
        for name, allowed in (
            ("accelerator", ACCELERATORS),
            ("precision", PRECISIONS),
            ("schedule", SCHEDULES),
        ):
            value = getattr(self, name)
            require(
                value in allowed,
                f"train.{name}",
                f"{value!r} is unknown",
                f"choose one of {', '.join(allowed)}",
            )


@dataclass(kw_only=True, slots=True)
class TabularConf:
    """The built-in network: embeddings and standardised numbers into a perceptron (engine/train/model.py)."""

    _target_: str = "engine.train.model.TabularModel"
    """Class of the model; one of our own, or of a package named in `trust`."""
    width: int = 128
    """Neurons of a hidden layer."""
    depth: int = 2
    """Hidden layers."""
    dropout: float = 0.1
    """Share of hidden activations dropped in training."""
    embedding: int = 8
    """Dimensions of a category's embedding."""

    def __post_init__(self) -> None:
        for name, least, most in (("width", 1, 2**16), ("depth", 0, 2**10), ("embedding", 1, 2**16)):
            value = getattr(self, name)
            require(value >= least, f"model.{name}", f"{value} is below {least}", f"choose {least} or more")
            require(value <= most, f"model.{name}", f"{value} is above {most}", f"choose {most} or less")
        require(
            0 <= self.dropout <= 0.999,
            "model.dropout",
            f"{self.dropout} is not a share up to 0.999",
            "choose 0 to switch it off, or a number such as 0.1",
        )


@dataclass(kw_only=True, slots=True)
class SearchConf:
    """A sweep: which points are tried, how they are compared, and on what."""

    space: dict[str, str] = field(default_factory=dict)
    """Config key to Hydra sweep expression, such as train.lr: tag(log, interval(1e-4, 1e-2))."""
    num_samples: int = 6
    """Trials (times the size of the grid, where the space has one)."""
    metric: str = "roc_auc_score"
    """Any name of kernels.metrics; computed on the validation rows after every epoch."""
    mode: str = "max"
    """max or min."""
    workers: int = 0
    """Trials at once, a process each; 0: one a CPU."""
    grace_period: int = 2
    """ASHA: epochs before a trial may be stopped."""
    reduction_factor: int = 2
    """ASHA: one in this many goes on at each rung."""
    max_failures: int = 1
    """How often a failed trial is tried again within one command; the same command later tries it anew."""
    max_preemptions: int = 16
    """How often a trial goes on after its worker was taken away: that is no failure, unless it happens twice in the
    same epoch, as it does where memory is short."""
    backend: str = "ray"
    """ray, or local: one after the other in this process."""
    address: str | None = None
    """Ray cluster to join; null starts one on this machine that ends with the command."""
    seed: int = 0
    """Of the points drawn."""

    def __post_init__(self) -> None:
        require(self.mode in ("max", "min"), "search.mode", f"{self.mode!r} is unknown", "choose max or min")
        require(
            self.backend in ("ray", "local"),
            "search.backend",
            f"{self.backend!r} is unknown",
            "choose ray or local",
        )
        for name, most in (("num_samples", 100_000), ("grace_period", MOST)):
            value = getattr(self, name)
            require(value >= 1, f"search.{name}", f"{value} is below 1", "choose a positive number")
            require(value <= most, f"search.{name}", f"{value} is above {most}", "choose a smaller number")
        require(0 <= self.seed < SEEDS, "search.seed", f"{self.seed} is no seed", f"choose one from 0 to {SEEDS - 1}")
        require(
            self.reduction_factor >= 2,
            "search.reduction_factor",
            f"{self.reduction_factor} is below 2",
            "choose 2 or more",
        )
        for name in ("workers", "max_failures", "max_preemptions"):
            value = getattr(self, name)
            require(value >= 0, f"search.{name}", f"{value} is negative", "choose 0 or more")


ModelConf = dict[str, Any]
"""A model's `_target_` and its keyword arguments, as plain values."""
