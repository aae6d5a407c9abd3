"""What a person sets about training and searching. No heavy import here: the command line reads this file."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

from engine.errors import ConfigError
from engine.system.timing import duration

ACCELERATORS = ("auto", "cpu", "gpu")
PRECISIONS = ("auto", "32", "bf16")
SCHEDULES = ("cosine", "constant")
STRATEGIES = ("auto", "ddp", "fsdp")
SEARCHERS = ("random", "grid", "tpe", "gp")
SCHEDULERS = ("none", "asha", "hyperband", "median", "paired", "pbt")
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
    """CPU threads of one trial (of each of its workers)."""
    gpus: float | None = None
    """GPUs of one trial (of each of its workers): with a share such as 0.25 four trials train on one, each with a
    quarter of its memory; null: a whole one where there is any; 0: none."""
    checkpoint_seconds: float = 10.0
    """Seconds between two checkpoints of a trial, at least; more where writing one would take above a twentieth of the
    time. 0: one after every epoch."""
    workers: int = 1
    """Processes that train one trial together, each on its part of every batch: with train.threads CPUs and train.gpus
    GPUs each, on one machine or, with search.backend=ray, on several."""
    strategy: str = "auto"
    """Where there are several workers: ddp (each holds the whole model), fsdp (each a part of it), or auto: ddp, unless
    parameters, gradients and optimizer state do not fit a GPU (on CPUs: a worker's part of the memory)."""

    def __post_init__(self) -> None:
        require(self.windows >= 1, "train.windows", f"{self.windows} is below 1", "train on at least one window")
        require(
            0 < self.validation < 1,
            "train.validation",
            f"{self.validation} is not a share",
            "choose a number between 0 and 1, such as 0.15",
        )
        for name in ("max_epochs", "batch_size", "threads", "workers"):
            value = getattr(self, name)
            require(value >= 1, f"train.{name}", f"{value} is below 1", "choose a positive number")
            require(value <= MOST, f"train.{name}", f"{value} is above {MOST}", "choose a smaller number")
        require(
            self.workers <= self.batch_size,
            "train.workers",
            f"{self.workers} is above train.batch_size {self.batch_size}",
            "give every worker a row of each batch",
        )
        require(
            self.workers == 1 or not self.gpus or self.gpus == 1,
            "train.gpus",
            f"{self.gpus} of a GPU is no device of its own for each of {self.workers} workers",
            "choose 1 or null, or train.workers=1",
        )
        require(
            self.workers > 1 or self.strategy != "fsdp",
            "train.strategy",
            "fsdp cuts a model over several workers, and train.workers is 1",
            "set train.workers=2 or more, or train.strategy=auto",
        )
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
            ("strategy", STRATEGIES),
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
        _check_sizes(self, ("width", 1, 2**16), ("depth", 0, 2**10), ("embedding", 1, 2**16))
        _check_dropout(self.dropout)


@dataclass(kw_only=True, slots=True)
class ResidualConf:
    """The other built-in network: the same inputs into a residual perceptron (engine/train/model.py)."""

    _target_: str = "engine.train.model.ResidualModel"
    """Class of the model."""
    width: int = 128
    """Neurons that go from block to block."""
    blocks: int = 2
    """Residual blocks of two layers each."""
    expansion: float = 2.0
    """Neurons inside a block, in units of `width`."""
    dropout: float = 0.1
    """Share of the activations inside a block dropped in training."""
    embedding: int = 8
    """Dimensions of a category's embedding."""

    def __post_init__(self) -> None:
        _check_sizes(self, ("width", 1, 2**16), ("blocks", 0, 2**10), ("embedding", 1, 2**16))
        require(
            0 < self.expansion <= 16,
            "model.expansion",
            f"{self.expansion} is not between 0 and 16",
            "choose a number such as 2",
        )
        _check_dropout(self.dropout)


def _check_sizes(conf: Any, *bounds: tuple[str, int, int]) -> None:
    for name, least, most in bounds:
        value = getattr(conf, name)
        require(value >= least, f"model.{name}", f"{value} is below {least}", f"choose {least} or more")
        require(value <= most, f"model.{name}", f"{value} is above {most}", f"choose {most} or less")


def _check_dropout(dropout: float) -> None:
    require(
        0 <= dropout <= 0.999,
        "model.dropout",
        f"{dropout} is not a share up to 0.999",
        "choose 0 to switch it off, or a number such as 0.1",
    )


BUILT_IN = {conf()._target_: conf for conf in (TabularConf, ResidualConf)}
"""Class of a model of ours to the config class that bounds its keys."""


@dataclass(kw_only=True, slots=True)
class SearchConf:
    """A sweep: which points are tried, how they are compared, and on what."""

    space: dict[str, str] = field(default_factory=dict)
    """Config key to Hydra sweep expression, such as train.lr: tag(log, interval(1e-4, 1e-2))."""
    searcher: str = "random"
    """How points are chosen: random, grid (each one once), tpe or gp (Optuna: from what earlier trials gave)."""
    num_samples: int = 6
    """Trials (times the size of the grid, where the space has one); grid tries every point and needs none."""
    startup: int = 10
    """tpe, gp: trials drawn at random before what they gave is believed."""
    metric: str = "roc_auc_score"
    """Any name of kernels.metrics; computed on the validation rows after every epoch."""
    mode: str | None = None
    """max or min; null: the metric's own direction."""
    metrics: list[str] = field(default_factory=list)
    """Further metrics to be good at, such as [log_loss] or [log_loss:min]; `metric` chooses the epoch of a trial."""
    workers: int = 0
    """Processes that train; 0: one a CPU."""
    max_concurrent: int = 0
    """Trials at once, where this should be fewer than the workers; 0: as many. With 1 a sweep is reproducible."""
    time_budget: str | None = None
    """Wall time of the sweep, such as 30m or 2h, earlier runs of it included; then the best so far is taken."""
    compute_hours: float | None = None
    """Hours of GPUs (of CPUs where no trial has a GPU) of all trials together; counted and kept as time_budget."""
    scheduler: str = "asha"
    """Which trials are stopped early: none, asha, hyperband, median, or paired (worse than the best, row by row). Or
    pbt, population-based training: none is stopped, the worst take over weights and hyperparameters of the best."""
    grace_period: int = 2
    """Epochs before a trial may be stopped."""
    reduction_factor: int = 2
    """asha, hyperband: one in this many goes on at each rung."""
    brackets: int = 3
    """hyperband: brackets at most, each with a longer grace period than the one before."""
    min_trials: int = 3
    """median: other trials that must have come as far before one is stopped."""
    alpha: float = 0.05
    """paired: the chance, over its whole run, that a trial as good as the best is stopped."""
    perturbation_interval: int = 2
    """pbt: epochs of every trial between two rounds of taking over."""
    quantile: float = 0.25
    """pbt: share of the population that takes over in a round, and that is taken over."""
    perturbation: float = 0.2
    """pbt: a hyperparameter that was taken over is multiplied by 1 minus or plus this, within its interval; of a list
    its neighbour is taken."""
    resample: float = 0.25
    """pbt: chance that it is drawn anew instead."""
    max_failures: int = 1
    """How often a failed trial is tried again within one command; the same command later tries it anew. pbt tries none
    again: a trial that failed takes over from a better one when the others have come as far."""
    max_preemptions: int = 16
    """How often a trial goes on after its worker was taken away: that is no failure, unless it happens twice in the
    same epoch, as it does where memory is short."""
    backend: str = "ray"
    """ray, or local: in this process, one after the other or in one pack."""
    seed: int = 0
    """Of the points drawn."""
    pack: str = "none"
    """Trials that train together in one process (engine/train/pack): none, auto (as many as memory has room for, up to
    64, on a GPU 1,024), or how many at most, such as 16. With backend=ray every worker has such a pack, with its CPUs
    and GPUs, with local this process, on `workers` of its CPUs and its first GPU."""

    def __post_init__(self) -> None:
        self._check_pack()
        for name, mode in (("mode", self.mode), *((f"metrics:{key}", mode) for key, mode in self.further.items())):
            require(mode in (None, "max", "min"), f"search.{name}", f"{mode!r} is unknown", "choose max or min")
        for name, allowed in (
            ("backend", ("ray", "local")),
            ("searcher", SEARCHERS),
            ("scheduler", SCHEDULERS),
        ):
            value = getattr(self, name)
            require(value in allowed, f"search.{name}", f"{value!r} is unknown", f"choose {_either(allowed)}")
        for name, most in (
            ("num_samples", 100_000),
            ("startup", MOST),
            ("grace_period", MOST),
            ("brackets", 10),
            ("min_trials", MOST),
            ("perturbation_interval", MOST),
        ):
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
        for name in ("workers", "max_concurrent", "max_failures", "max_preemptions"):
            value = getattr(self, name)
            require(value >= 0, f"search.{name}", f"{value} is negative", "choose 0 or more")
        require(
            0 < self.alpha < 0.5,
            "search.alpha",
            f"{self.alpha} is no error rate below a half",
            "choose a number such as 0.05",
        )
        self._check_population()
        hours = self.compute_hours
        require(
            hours is None or 0 < hours < inf,
            "search.compute_hours",
            f"{hours} is not a positive number",
            "choose one such as 4, or null for no bound",
        )
        require(
            self.seconds is None or self.seconds > 0,
            "search.time_budget",
            f"{self.time_budget} leaves no time",
            "choose a longer one such as 30m, or null for no bound",
        )
        if self.metrics:
            what = f"{self.scheduler} compares trials by one metric, and search.metrics names more"
            require(self.scheduler == "none", "search.scheduler", what, "add search.scheduler=none")
            what = f"{self.metric} is search.metric already"
            require(self.metric not in self.further, "search.metrics", what, "name the further metrics alone")
            twice = len(self.further) < len(self.metrics)
            require(not twice, "search.metrics", "a metric is named twice", "name each of them once")

    def _check_pack(self) -> None:
        if self.pack == "none":
            return
        known = self.pack == "auto" or (self.pack.isdecimal() and 1 <= int(self.pack) <= MOST)
        require(known, "search.pack", f"{self.pack!r} is unknown", "choose none, auto, or a number such as 16")
        what = "a population hands its checkpoints on from trial to trial, and each waits for all"
        require(self.scheduler != "pbt", "search.pack", what, "choose none")

    def _check_population(self) -> None:
        require(0 < self.quantile <= 0.5, "search.quantile", f"{self.quantile} is no share up to a half", "choose 0.25")
        require(
            0 < self.perturbation < 1,
            "search.perturbation",
            f"{self.perturbation} is not between 0 and 1",
            "choose a number such as 0.2",
        )
        require(0 <= self.resample <= 1, "search.resample", f"{self.resample} is no chance", "choose one from 0 to 1")
        if self.scheduler != "pbt":
            return
        what = f"{self.searcher} chooses points from what earlier trials gave, and a population begins at once"
        require(self.searcher in ("random", "grid"), "search.searcher", what, "choose random or grid")
        enough = self.num_samples > 1 or self.searcher == "grid"
        require(enough, "search.num_samples", "a population of one has nobody to learn from", "choose 4 or more")

    @property
    def further(self) -> dict[str, str | None]:
        """`metrics` by name, each with the direction that is written behind it; None where none is."""
        pairs = (text.partition(":") for text in self.metrics)
        return {name: mode if colon else None for name, colon, mode in pairs}

    @property
    def population(self) -> tuple[float, ...]:
        """What shapes the rounds of pbt, besides the points."""
        return (self.perturbation_interval, self.quantile, self.perturbation, self.resample, self.seed)

    @property
    def seconds(self) -> float | None:
        """`time_budget` in seconds; None where there is none."""
        if self.time_budget is None:
            return None
        return duration(self.time_budget, "search.time_budget").total_seconds()


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


ModelConf = dict[str, Any]
"""A model's `_target_` and its keyword arguments, as plain values."""
