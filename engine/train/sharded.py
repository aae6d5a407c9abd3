"""One trial whose model is cut over several processes (train.strategy=fsdp): fully sharded data parallel training.

Each process holds a part of every parameter, of its gradient and of the optimizer's state. A layer is put together when
it computes and is let go of afterwards; gradients are summed into their parts. So what N processes can hold grows with
N, and a step is the one that a single process takes on the whole batch, up to the rounding of float32 sums.

All of them run the same loop of Lightning's, since every step of the model is taken together. What depends on a clock
or on the caller is the leader's to say, through the store at which they met (members.py): is this epoch's model kept,
is a checkpoint due, does the trial go on (follower.py hears it). Weights and checkpoints are put together as they are
written: their form is that of a trial on one process.

Source: torch's FSDP2 (`torch.distributed.fsdp.fully_shard`); Zhao et al. 2023 (arXiv:2304.11277); ZeRO stage 3,
Rajbhandari et al. 2020 (arXiv:1910.02054).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies.single_device import SingleDeviceStrategy
from torch import nn

from engine.records import Dataset
from engine.train.conf import TrainConf
from engine.train.loader import TensorLoader
from engine.train.members import OVER, WAIT, Members, Part, Share, gathered, gloo

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
MOMENTS = 2  # tensors that an optimizer keeps of each parameter: AdamW's
USABLE = 0.8  # of a device's memory; the rest is for activations and rows


def chosen(model: nn.Module, conf: TrainConf, device: str) -> tuple[str, str]:
    """ddp or fsdp, and why where nobody asked for it: auto is ddp unless the training state fits no process.

    That state is parameters, gradients and two moments of each; a process has a GPU's memory, or its part of the
    machine's. Buffers, activations and rows are not counted, but left a fifth of the memory.
    """
    if conf.strategy != "auto":
        return conf.strategy, ""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    needs = _bytes(model.parameters()) + (1 + MOMENTS) * _bytes(trained)
    has = USABLE * _memory(conf, device)
    if needs <= has:
        return "ddp", ""
    state = f"parameters, gradients and optimizer state take {needs / 2**30:.3g} GiB"
    return "fsdp", f"train.strategy=fsdp: {state}, and a process may fill {has / 2**30:.3g}"


def _bytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _memory(conf: TrainConf, device: str) -> float:
    if device == "gpu":
        return float(torch.cuda.get_device_properties(0).total_memory) * (conf.gpus or 1.0)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / conf.workers


@contextlib.contextmanager
def led(share: Share, train: Dataset, validation: Dataset, members: Members) -> Iterator[Part]:
    """What the leader's trainer is given while its followers (follower.py) train beside it.

    Raises:
        RuntimeError: a follower died; why, where it said so.
    """
    with (
        gathered(members, share, train, validation) as team,
        joined(team.share, team.store),
        team.watched(_abort),
        team.blamed(),
    ):

        def say(word: str) -> None:
            team.resting = word == OVER
            team.say(word)

        yield Part((Mean(),), Sharded(team.share), say)


def _abort() -> None:
    group: Any = dist.group.WORLD
    group._get_backend(torch.device("cuda")).abort()


@contextlib.contextmanager
def joined(share: Share, store: Any) -> Iterator[None]:
    """Torch's default group is that of this trial's processes."""
    name = "nccl" if share.gpu else f"tidegate_{re.sub(r'[^a-z0-9]', '_', share.address.lower())}"
    if not share.gpu and not hasattr(dist.Backend, name.upper()):

        def made(store: Any, rank: int, size: int, timeout: Any) -> Any:
            return gloo(store, rank, size, share.address)

        dist.Backend.register_backend(name, made, devices=["cpu"])
    dist.init_process_group(name, store=store, rank=share.rank, world_size=share.conf.workers, timeout=WAIT)
    try:
        yield
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def cut(model: nn.Module, device: torch.device) -> None:
    """Shard a model over the default group: each layer of a container is a unit, and what is left another.

    Where two modules share a parameter the whole model is one unit: torch cannot cut it twice.
    """
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import fully_shard

    assert dist.group.WORLD is not None  # joined()
    mesh = DeviceMesh.from_group(dist.group.WORLD, device.type)
    tied = len(list(model.named_parameters(remove_duplicate=False))) > len(list(model.parameters()))
    containers = [] if tied else [module for module in model.modules() if isinstance(module, CONTAINERS)]
    for container in reversed(containers):  # inner ones first
        for layer in container.children():
            if not isinstance(layer, CONTAINERS) and any(True for _ in layer.parameters()):
                fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)  # training_step may use it after forward


class Sharded(SingleDeviceStrategy):
    """Lightning's view of one process of the trial: it cuts the model, and puts together what is written."""

    def __init__(self, share: Share) -> None:
        super().__init__(share.device)
        self.share = share

    def model_to_device(self) -> None:
        """Cut it, where it lies; torch moves a layer as it cuts it."""
        assert self.model is not None
        if self.share.gpu:
            torch.cuda.set_device(self.root_device)
        cut(self.model, self.root_device)
        super().model_to_device()  # buffers

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own, through torch's hooks; its loss weighted, so that the mean over processes is the batch's."""
        module = self.lightning_module
        assert module is not None
        with self.precision_plugin.train_step_context():
            output: Any = self._forward_redirection(module, module, "training_step", *args, **kwargs)
        loader = module.trainer.train_dataloader
        assert isinstance(loader, TensorLoader)
        mine, whole = loader.shares(args[1])
        weight = mine * loader.parts / whole
        return {**output, "loss": output["loss"] * weight} if isinstance(output, dict) else output * weight

    def teardown(self) -> None:
        """Nobody uses the model afterwards, and where a step was broken off its parts cannot be moved to the CPU."""
        self.precision_plugin.teardown()
        assert self.accelerator is not None
        self.accelerator.teardown()

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Whole tensors, on the leader's CPU."""
        return {name: self._whole(tensor) for name, tensor in super().lightning_module_state_dict().items()}

    def optimizer_state(self, optimizer: Any) -> Any:
        """Whole tensors, on the leader's CPU."""
        state: Any = super().optimizer_state(optimizer)
        parts = {i: {key: self._whole(value) for key, value in own.items()} for i, own in state["state"].items()}
        return {**state, "state": parts}

    def load_optimizer_state_dict(self, checkpoint: Any) -> None:
        """Take this process's part of each tensor."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            indices = [index for group in state["param_groups"] for index in group["params"]]
            owners = dict(zip(indices, parameters, strict=True))
            parts = {
                i: {key: _part(value, owners[i]) for key, value in own.items()} for i, own in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": parts})

    def _whole(self, value: Any) -> Any:
        """A tensor put together from its parts, one after the other, and kept by the leader; else as it is."""
        if not hasattr(value, "full_tensor"):
            return value
        together = value.full_tensor()
        return together.cpu() if self.share.rank == 0 else None


def put_together(model: nn.Module) -> None:
    """Take part in what the leader does with a model's weights."""
    for tensor in model.state_dict().values():
        if hasattr(tensor, "full_tensor"):
            tensor.full_tensor()


def _part(value: Any, parameter: Any) -> Any:
    """This process's part of a tensor that belongs to a parameter; a step count is everybody's."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(value, torch.Tensor) or not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    there = value.to(parameter.device)
    return distribute_tensor(there, parameter.device_mesh, parameter.placements, src_data_rank=None)


class Mean(Callback):
    """The loss of a step is that of the whole batch."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Mean over processes of what `Sharded.training_step` has weighted."""
        loss = outputs["loss"].detach().clone()
        dist.all_reduce(loss)
        outputs["loss"] = loss / dist.get_world_size()
