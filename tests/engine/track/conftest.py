from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.track import wandb_writer


def pytest_configure(config: pytest.Config) -> None:
    """wandb leaves the temporary folder of each of its tables to the garbage collector, which says so; and so it does
    with its own process, once it has been made to forget it.
    """
    config.addinivalue_line("filterwarnings", "ignore:Implicitly cleaning up <TemporaryDirectory:ResourceWarning")
    config.addinivalue_line("filterwarnings", "ignore:subprocess \\d+ is still running:ResourceWarning")


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no mode and no folder of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """wandb's own process may need a while to write its last bytes; files that did not grow for so long are whole."""
    monkeypatch.setattr(wandb_writer, "SETTLE_PAUSE", 0.1)
    monkeypatch.setattr(wandb_writer, "SETTLE_TIMEOUT", 60.0)


@pytest.fixture
def warnings() -> list[str]:
    """What a tracker warned of."""
    return []
