"""torch's AdamW without torch.compile, which torch would import with the first optimizer of a process: a second.

Torch wraps methods of optimizers in decorators that keep its compiler out of them, and import it for that. Nothing is
compiled here, so the methods are taken as they are inside of these; where there is no decorator they are torch's.
"""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch
from torch.optim import Optimizer

_step = unwrap(torch.optim.AdamW.step)


class AdamW(torch.optim.AdamW):
    """torch.optim.AdamW, bit for bit; not for `differentiable=True`."""

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)

    @torch.no_grad()  # what torch's decorator does besides
    def step(self, closure: Any = None) -> Any:
        """One step of all parameters that have a gradient."""
        return _step(self, closure)
