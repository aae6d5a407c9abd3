"""Modules without tables of their own for hooks that nobody has: half of what a trial takes in Python."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn

TABLES = [key for key, value in vars(nn.Module()).items() if type(value) is OrderedDict]


class _Nothing(OrderedDict[Any, Any]):
    """The table of all modules that have no hooks."""

    def __setitem__(self, key: Any, value: Any) -> None:
        raise RuntimeError("it adds a hook to a module, which trains with others")

    def __deepcopy__(self, memo: Any) -> _Nothing:
        """The step that is tried on a copy is to find that out."""
        return self


NOTHING = _Nothing()


def bare(model: nn.Module) -> None:
    """Let the empty tables of hooks be one for all. From now on a hook that is added raises RuntimeError."""
    for module in model.modules():
        attributes = vars(module)
        attributes.update({key: NOTHING for key in TABLES if not attributes[key]})
