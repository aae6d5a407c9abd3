"""The windows that found a loop. The lines that people see are in test_bad_input.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.cycle import founding
from engine.cycle.conf import LoopConf
from engine.data.sources import ParquetSource
from engine.errors import DataError
from tests.engine.world import WINDOWS, World


def test_good_windows_pass(new: World) -> None:
    config, _ = new.config()
    data = config.need_data
    windows = [ParquetSource(data).read(name, labelled=True) for name in WINDOWS[:2]]
    founding.check_names(list(WINDOWS), LoopConf(until=WINDOWS[1]), data)
    founding.check_windows(windows, config.validate, data)


def test_the_schema_spans_all_of_them(new: World) -> None:
    """What one window has seen, the next may bring."""
    data = new.config()[0].need_data
    windows = [ParquetSource(data).read(name, labelled=True) for name in WINDOWS[:3]]
    one, three = founding.schema_of(windows[:1], data), founding.schema_of(windows, data)
    assert (one.reference, three.reference) == (WINDOWS[0], f"{WINDOWS[0]} to {WINDOWS[2]}")
    least = [float(window.table["noise"].to_numpy().min()) for window in windows]
    assert min(least) < least[0]
    assert one.columns["noise"].minimum is not None
    assert three.columns["noise"].minimum is not None
    assert three.columns["noise"].minimum < one.columns["noise"].minimum


def test_good_windows_pass_the_schema_that_was_made_of_them(new: World) -> None:
    config, _ = new.config()
    data = config.need_data
    windows = [ParquetSource(data).read(name, labelled=True) for name in WINDOWS[:3]]
    schema = founding.schema_of(windows, data)
    founding.check_windows(windows, config.validate, data, schema)
    again = replace(windows[1], table=windows[0].table)
    with pytest.raises(
        DataError, match=r"overlap: .+ rows up to .+ - mend the window, or lower validate.severity.over"
    ):
        founding.check_windows([windows[0], again], config.validate, data, schema)
