"""Networks as Lightning wants them: a base for a user's own, and what makes a built-in one a LightningModule."""

from __future__ import annotations

from functools import cache
from typing import Any

import lightning
from torch import nn

from engine.train.model import Network


class Model(Network, lightning.LightningModule):
    """A LightningModule that only has to define `forward`: it has loss, optimizer and schedule of the built-in ones."""

    __module__ = "engine.train.model"  # where it is imported from


def in_lightning(model: nn.Module) -> Any:
    """The model itself, a LightningModule from here on; a built-in network becomes one in place.

    Its class is then one with both bases, the network's own first: its parameters, their names and whatever a subclass
    has of Lightning's hooks stay.
    """
    if not isinstance(model, lightning.LightningModule):
        for name, value in vars(lightning.LightningModule()).items():  # what its __init__ would have set
            vars(model).setdefault(name, value)
        own: Any = type(model)
        model.__class__ = _both(own)
    return model


@cache
def _both(network: type[Any]) -> type[Any]:
    return type(network.__name__, (network, lightning.LightningModule), {"__module__": network.__module__})
