"""Files that are no tables, no windows: 0 tracebacks, one line each."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from engine.data.conf import DataConf
from engine.data.files import open_table
from engine.data.sources import ParquetSource
from engine.data.tables import write_parquet
from engine.errors import DataError
from engine.system import places, reach
from tests.engine.bad.corpus import Case, wrong
from tests.engine.tides import make_conf, make_window
from tests.patience import timed

Record = Callable[[str, object], None]
ROWS = 60
GOOD = make_window(1, ROWS).table
CUTS = 12  # places where a good file is cut, and others where it is overwritten


def cut(data: bytes) -> Iterator[tuple[str, bytes]]:
    """A good file cut short, overwritten in its middle, and with something before or behind it."""
    for k in range(CUTS):
        yield f"cut at {k}/{CUTS}", data[: len(data) * k // CUTS]
    yield "last byte missing", data[:-1]
    yield "first byte missing", data[1:]
    chance = random.Random(3)
    for k in range(CUTS):
        start = len(data) * k // CUTS
        yield f"noise at {k}/{CUTS}", data[:start] + chance.randbytes(len(data) // 6) + data[start + len(data) // 6 :]


CSV = {
    "empty": b"",
    "one newline": b"\n",
    "header only": b"a,b\n",
    "one row": b"a,b\n1,2\n",
    "ragged": b"a,b\n1,2\n1,2,3\n4,5\n",
    "too few fields": b"a,b\n1,2\n3\n",
    "not UTF-8": b"a,b\n1,\xff\xfe\n2,\xc3\x28\n",
    "NUL": b"\0" * 400,
    "UTF-16": "a,b\n1,2\n3,4\n".encode("utf-16"),
    "an open quote": b'a,b\n1,"2\n3,4\n',
    "gzip without its name": b"\x1f\x8b\x08\x00" + bytes(60),
    "HTML": b"<!DOCTYPE html><html><body>404, not found</body></html>",
    "a name twice": b"a,a\n1,2\n3,4\n",
    "names that are empty": b",\n1,2\n3,4\n",
}


def special(folder: Path) -> Iterator[tuple[str, Path]]:
    """What a path may name that is no file."""
    for ending in (".parquet", ".csv", ".arrow"):
        (folder / f"folder{ending}").mkdir()
        yield f"a folder{ending}", folder / f"folder{ending}"
        (folder / f"dangling{ending}").symlink_to(folder / "nowhere")
        yield f"a dangling link{ending}", folder / f"dangling{ending}"
        (folder / f"loop{ending}").symlink_to(folder / f"loop{ending}")
        yield f"a link to itself{ending}", folder / f"loop{ending}"
        yield f"nothing{ending}", folder / f"nothing{ending}"
        yield f"a file as a folder{ending}", folder / "plain" / f"x{ending}"
        yield f"300 characters{ending}", folder / ("x" * 300 + ending)
        os.mkfifo(folder / f"pipe{ending}")
        yield f"a pipe{ending}", folder / f"pipe{ending}"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(folder / f"socket{ending}"))
        yield f"a socket{ending}", folder / f"socket{ending}"
    (folder / "plain").write_text("a file")
    for name in ("plain", "x.xls", "x.PARQUET.txt", "x.", "..", "x.json"):
        yield f"named {name}", folder / name


def test_files_to_compare(tmp_path: Path, record_property: Record) -> None:
    """`tidegate drift reference= live=` takes any file."""
    feather.write_feather(GOOD, str(tmp_path / "good.arrow"))
    pq.write_table(GOOD, tmp_path / "good.parquet")
    pacsv.write_csv(GOOD, tmp_path / "good.csv")
    cases = []
    for ending in (".parquet", ".arrow"):
        for name, data in cut((tmp_path / f"good{ending}").read_bytes()):
            (path := tmp_path / f"{len(cases)}{ending}").write_bytes(data)
            cases.append(Case(f"{ending} {name}", lambda path=path: open_table(str(path))))
    for name, data in CSV.items():
        (path := tmp_path / f"{len(cases)}.csv").write_bytes(data)
        cases.append(Case(f"CSV {name}", lambda path=path: open_table(str(path))))
    for name, path in special(tmp_path):
        cases.append(Case(name, lambda path=path: open_table(str(path))))
    for text in (
        "a\0b.csv",
        "\ud800.csv",
        "s3:///a.csv",
        "nowhere://x/a.csv",
        "http://127.0.0.1/a.csv",
        "/dev/zero",
        "-",
    ):
        cases.append(Case(repr(text), lambda text=text: open_table(text)))
    count, faults = wrong(cases, tmp_path)
    assert not faults, "\n".join(faults)
    record_property("bad input: files", f"{count} of {count} one line")


def tables() -> Iterator[tuple[str, Any]]:
    """Windows that Parquet can hold and the data config cannot use, by the column they spoil."""
    size = GOOD.num_rows
    columns: dict[str, list[Any]] = {
        "id": [
            pa.array([None, *range(1, size)]),
            pa.array([0] * size),
            pa.array([float(i) for i in range(size)]),
            pa.array([f"{i} " for i in range(size)]),
            pa.array(["", *map(str, range(1, size))]),
            pa.array(["same"] * size),
            pa.array([b"\xff" + bytes([i % 256]) for i in range(size)]),
            pa.array([bytes(16)] * size, pa.uuid()),
            pa.array(["same"] * size).dictionary_encode(),
            pa.array([2**64 - 1 - i for i in range(size)], pa.uint64()),
            pa.array([[i] for i in range(size)]),
            pa.array([b"x"] * size),
            pa.nulls(size),
        ],
        "at": [
            pa.array([None] * size, pa.timestamp("us")),
            pa.array(["2026-01-01"] * size),
            pa.array([1.5] * size),
            pa.array(range(size)),
            pa.array([0] * size, pa.time64("us")),
            pa.array([2**62] * size, pa.timestamp("ms")),
            pa.array([-(2**62)] * size, pa.timestamp("ms")),
            pa.array([1] * size, pa.duration("s")),
        ],
        "pull": [
            pa.array(["x"] * size),
            pa.array(["1.0"] * (size - 1) + ["oops"]),
            pa.array([b"1"] * size),
            pa.array([[1.0]] * size),
            pa.array([{"a": 1}] * size),
            pa.array([2**64 - 1] * size, pa.uint64()),
            pa.array(["x"] * size).dictionary_encode(),
            pa.array([0] * size, pa.timestamp("us")),
        ],
        "colour": [
            pa.array([1.5] * size),
            pa.array([[1]] * size),
            pa.array([b"\xff"] * size),
            pa.array([0] * size, pa.date32()),
            pa.array([{"a": 1}] * size),
            pa.array([1.5] * size).dictionary_encode(),
        ],
        "late": [
            pa.nulls(size),
            pa.array(["yes"] * size),
            pa.array([0.5] * size),
            pa.array([2] * size),
            pa.array([-1] * size),
            pa.array([float("inf")] * size),
            pa.array([2**63] * size, pa.uint64()),
            pa.array([[0]] * size),
            pa.array([float("nan")] * size),
            pa.array([b"0"] * size),
        ],
    }
    for name, values in columns.items():
        place = GOOD.column_names.index(name)
        for k, value in enumerate(values):
            yield f"{name} is {value.type}, case {k}", GOOD.set_column(place, name, value)
        yield f"no {name}", GOOD.drop_columns([name])
        yield f"{name} twice", GOOD.append_column(name, GOOD[name])
        yield f"{name} in capitals", GOOD.rename_columns([c.upper() if c == name else c for c in GOOD.column_names])
    yield "no rows", GOOD.slice(0, 0)
    yield "one row", GOOD.slice(0, 1)
    yield "no columns", pa.table({})


def test_windows(tmp_path: Path, record_property: Record) -> None:
    conf = make_conf(path=str(tmp_path))
    source = ParquetSource(conf)
    write_parquet(GOOD, tmp_path / "good.parquet")
    cases = []
    for name, data in cut((tmp_path / "good.parquet").read_bytes()):
        (tmp_path / f"c{len(cases)}.parquet").write_bytes(data)
        cases.append(Case(name, partial(source.read, f"c{len(cases)}", labelled=True)))
    for name, table in tables():
        pq.write_table(table, tmp_path / f"t{len(cases)}.parquet")
        cases.append(Case(name, partial(source.read, f"t{len(cases)}", labelled=True)))
    for name in ("", "..", "../good", "good.parquet", "go\0od", "\ud800", "x" * 5000, "Good"):
        cases.append(Case(f"window {name[:9]!r}", lambda name=name: source.read(name, labelled=False)))
    count, faults = wrong(cases, tmp_path)
    assert not faults, "\n".join(faults)
    record_property("bad input: windows", f"{count} of {count} one line")


PLACES = [
    "",
    "a\0b",
    "\ud800",
    "/dev/null",
    "x" * 5000,
    "s3://",
    "s3:///",
    "nowhere://x",
    "http://x/y",
    "file://host/x",
]
PLACES += ["s3://bucket?region=\n", "gs://\0", "://", "hdfs://nowhere:1/x", "/proc/1/mem", "~nobody/x", "a\nb"]


def test_places_of_windows(tmp_path: Path, record_property: Record) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("I am a file")
    places = [*PLACES, str(tmp_path / "empty"), str(tmp_path / "file"), str(tmp_path / "nowhere")]
    cases = [Case(repr(place), lambda place=place: ParquetSource(made(place)).names()) for place in places]
    count, faults = wrong(cases, tmp_path)
    assert not faults, "\n".join(faults)
    record_property("bad input: places", f"{count} of {count} one line")


@contextlib.contextmanager
def deaf_ports() -> Iterator[dict[str, int]]:
    """Ports of 127.0.0.1 by what they do: one refuses, one takes connections and never says a word."""
    with socket.socket() as refusing, socket.socket() as silent:
        for each in (refusing, silent):
            each.bind(("127.0.0.1", 0))
        silent.listen(64)
        yield {"refuses": refusing.getsockname()[1], "is silent": silent.getsockname()[1]}


@pytest.mark.parametrize("limit", [0.5, pytest.param(5.0, marks=pytest.mark.slow)])
def test_buckets_out_of_reach(limit: float, monkeypatch: pytest.MonkeyPatch, record_property: Record) -> None:
    """Well formed, and nobody there: Arrow alone tries for 8 seconds where it is refused, 103 where nobody speaks."""
    assert limit == 0.5 or limit == reach.LIMIT
    monkeypatch.setattr(reach, "LIMIT", limit)
    cases = []
    with deaf_ports() as ports:
        for (what, port), scheme in itertools.product(ports.items(), ("http", "https")):
            for where in ("s3://bucket/x", "gs://bucket/x"):
                uri = f"{where}?endpoint_override=127.0.0.1:{port}&scheme={scheme}"
                named = f"{where}/*.parquet?endpoint_override=127.0.0.1:{port}&scheme={scheme}"
                doors: list[Callable[[], object]] = [
                    partial(open_table, f"{where}.parquet?{uri.partition('?')[2]}"),
                    partial(places.listed, named, (".parquet",)),
                    ParquetSource(made(uri)).names,
                ]
                cases += [Case(f"{scheme} {where} {what}, {k}", door) for k, door in enumerate(doors)]
        (count, faults), spent = timed(lambda: wrong(cases), len(cases) * (limit + 2))
    assert not faults, "\n".join(faults)
    assert spent / count < limit + 2, "none waits for much longer than the limit"
    record_property("bad input: buckets out of reach", f"{count} of {count} one line, each within {limit:g} s")


def test_what_is_said_of_a_bucket_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    cure = "check the network, and the URI: endpoint_override, scheme, region"
    with deaf_ports() as ports:
        for what, limit, said in (
            ("refuses", 30.0, "cannot be reached: Connection refused"),
            ("is silent", 0.3, "does not answer within 0.3 s"),
        ):
            monkeypatch.setattr(reach, "LIMIT", limit)
            uri = f"s3://bucket/x?endpoint_override=127.0.0.1:{ports[what]}&scheme=http"
            with pytest.raises(DataError) as caught:
                ParquetSource(made(uri)).names()
            assert str(caught.value).startswith(f"{uri}: 127.0.0.1:{ports[what]} {said}")
            assert caught.value.cure == cure


def made(path: str) -> DataConf:
    return make_conf(path=path)


def test_labels(tmp_path: Path, record_property: Record) -> None:
    """The file of labels beside a good window."""
    windows, labels = tmp_path / "windows", tmp_path / "labels"
    labels.mkdir()
    good = GOOD.select(["id", "late"])
    bad: list[tuple[str, pa.Table]] = [
        ("no id", good.drop_columns(["id"])),
        ("no label", good.drop_columns(["late"])),
        ("other ids", good.set_column(0, "id", pa.array(np.arange(ROWS) + 10**6))),
        ("an id twice", pa.concat_tables([good, good])),
        ("no rows", good.slice(0, 0)),
        ("text", good.set_column(1, "late", pa.array(["late"] * ROWS))),
        ("text ids", good.set_column(0, "id", pa.array([str(i) for i in range(ROWS)]))),
        ("nulls", good.set_column(1, "late", pa.nulls(ROWS))),
    ]
    cases = []
    source = ParquetSource(make_conf(path=str(windows), labels=str(labels)))
    for name, table in bad:
        write_parquet(GOOD.drop_columns(["late"]), windows / f"w{len(cases)}.parquet")
        pq.write_table(table, labels / f"w{len(cases)}.parquet")
        cases.append(Case(name, partial(source.read, f"w{len(cases)}", labelled=True)))
    for name, data in cut((labels / "w0.parquet").read_bytes()):
        write_parquet(GOOD.drop_columns(["late"]), windows / f"w{len(cases)}.parquet")
        (labels / f"w{len(cases)}.parquet").write_bytes(data)
        cases.append(Case(name, partial(source.read, f"w{len(cases)}", labelled=True)))
    count, faults = wrong(cases, tmp_path)
    assert not faults, "\n".join(faults)
    record_property("bad input: labels", f"{count} of {count} one line")


@pytest.fixture(autouse=True)
def no_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach for a cloud's account."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
