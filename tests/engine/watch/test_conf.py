"""What may be set of a watch."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import ConfigError
from engine.watch.conf import WatchConf


def test_durations_are_read() -> None:
    conf = WatchConf(every="5m", grace="2d")
    assert (conf.seconds("every"), conf.seconds("grace"), conf.seconds("settle")) == (300.0, 172_800.0, 10.0)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("every", "soon", "watch.every: 'soon' is no duration - write 7d, 12h, 90m or 30s"),
        ("every", "0s", "watch.every: is no time at all - choose 1s or more"),
        ("settle", "", "watch.settle: '' is no duration - write 7d, 12h, 90m or 30s"),
        ("grace", "-1h", "watch.grace: '-1h' is no duration - write 7d, 12h, 90m or 30s"),
        ("release", "1.5h", "watch.release: '1.5h' is no duration - write 7d, 12h, 90m or 30s"),
        ("idle_exit", "x", "watch.idle_exit: 'x' is no duration - write 7d, 12h, 90m or 30s"),
        ("metrics_port", 0, "watch.metrics_port: 0 is no port - choose one such as 9464"),
        ("metrics_port", 70000, "watch.metrics_port: 70000 is no port - choose one such as 9464"),
        ("metrics_host", "", "watch.metrics_host: is empty - name an address, such as 127.0.0.1"),
        ("sequence", "monthly", "watch.sequence: 'monthly' is unknown - choose one of auto, none"),
        (
            "marker",
            "",
            "watch.marker: '' is no ending of a marker - write an ending such as ._SUCCESS or .done, or null",
        ),
        (
            "marker",
            "a/_SUCCESS",
            "watch.marker: 'a/_SUCCESS' is no ending of a marker - write an ending such as ._SUCCESS or .done, or null",
        ),
    ],
)
def test_what_is_refused(key: str, value: Any, line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        WatchConf(**{key: value})
    assert str(refused.value) == line
