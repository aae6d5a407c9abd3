"""Values that make no sense are refused in one line that names the key."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.monitor.conf import MonitorConf

FLOORS = ("numeric_floor", "categorical_floor", "missing_floor", "multivariate_floor")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("alpha", value) for value in (0, 1, -0.1, math.nan)],
        *[(name, value) for name in FLOORS for value in (-0.1, 1)],
        ("numeric_floor", math.nan),
        ("method", "fdr"),
        ("multivariate", "energy"),
        ("min_rows", 1),
        ("risk_loss", "squared"),
        ("risk_tolerance", 1.0),
        ("risk_tolerance", math.nan),
        ("risk_delta", 0),
    ],
)
def test_refusals(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as error:
        MonitorConf(**{field: value})
    assert error.value.where == f"monitor.{field}"
    assert str(value) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_defaults_stand() -> None:
    conf = MonitorConf()
    assert (conf.alpha, conf.method, conf.min_rows, conf.multivariate) == (0.01, "bh", 50, "pca")
