"""A network with a map behind it (scaling.py): to who predicts, a network like any other."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from engine.train.scaling import Scaling


class Scaled(nn.Module):
    """Raw outputs of the inner network, mapped in float64."""

    def __init__(self, inner: Any, scaling: Scaling) -> None:
        super().__init__()
        self.inner = inner
        self.scaling = scaling

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """(N,) or (N, C) float64 of what the inner network takes."""
        output: Tensor = self.inner(numeric, categorical)
        return output.double() * self.scaling.slope + self.scaling.shift


def unscaled(network: Any) -> Any:
    """The network itself, without a map behind it."""
    return network.inner if isinstance(network, Scaled) else network
