"""What a backtest refuses, and that whatever it may play can be tuned."""

from __future__ import annotations

import re
from typing import Any

import pytest

from engine.backtest.conf import KINDS, BacktestConf
from engine.backtest.streams import StreamConf
from engine.backtest.tuning import grid
from engine.decide import POLICIES, DecideConf
from engine.errors import ConfigError


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"policies": ["calender", "drift"]}, "backtest.policies: 'calender' is unknown - did you mean 'calendar'?"),
        ({"policies": ["drift", "drift"]}, "backtest.policies: names one twice - name each once"),
        ({"policies": ["drift"]}, "backtest.policies: there is nothing to compare - name two policies or more"),
        ({"streams": ["zzz"]}, "backtest.streams: 'zzz' is unknown - choose among abrupt, gradual, seasonal, benign"),
        ({"tune": -1}, "backtest.tune: -1 is out of range - choose 0 or more"),
        ({"seeds": 1}, "backtest.seeds: 1 is out of range - choose 2 or more"),
        ({"degraded": 0.0}, "backtest.degraded: 0.0 is no number of points - choose one such as 1.0"),
        ({"degraded": float("nan")}, "backtest.degraded: nan is no number of points"),
        ({"confidence_level": 1.0}, "backtest.confidence_level: 1.0 is no level"),
    ],
)
def test_refusals(more: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}"):
        BacktestConf(**more)


def test_whatever_can_be_played_can_be_tuned_and_simulated() -> None:
    for name in POLICIES:
        assert grid(name, DecideConf())
    for kind in KINDS:
        assert StreamConf(kind=kind).kind == kind
