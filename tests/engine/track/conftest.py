from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """wandb leaves the temporary folder of each of its tables to the garbage collector, which says so."""
    config.addinivalue_line("filterwarnings", "ignore:Implicitly cleaning up <TemporaryDirectory:ResourceWarning")
