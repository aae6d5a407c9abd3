from __future__ import annotations

from collections.abc import Sequence

import pytest

from engine.train.pack import together
from engine.train.pack.compiled import Compiled
from engine.train.pack.layout import Unlike
from engine.train.pack.stack import Stack
from engine.train.pack.trial import PackedTrial
from engine.train.pack.vector import Vector


@pytest.fixture
def vectorised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many trials each vector of this process has held. (Equal bits prove nothing: some machines make them.)"""
    sizes: list[int] = []

    class Counted(Vector):
        def __init__(self, trials: Sequence[PackedTrial], stack: Stack) -> None:
            sizes.append(len(trials))
            super().__init__(trials, stack)

    monkeypatch.setattr(together, "Vector", Counted)
    return sizes


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in network trains as a user's does."""

    def check(self: Compiled, trial: PackedTrial) -> None:
        raise Unlike

    monkeypatch.setattr(Compiled, "check", check)
