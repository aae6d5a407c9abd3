"""Where the tables of `tidegate drift` lie: formats, folders, files that are scanned and not read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from engine import cli
from engine.data.tables import write_parquet
from engine.monitor import shards
from engine.verbs import drift
from tests.engine.tables import ROWS, left, made, moved_pair, odd, outcomes, scored, told

Line = Callable[[], str]


@pytest.mark.parametrize("ending", ["csv", "arrow", "feather", "parquet"])
def test_every_format_as_file_folder_glob_and_uri(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    old, new = pair
    table = pq.read_table(new)
    folder = old.parent / "some folder, named (so)"
    (folder / "deep").mkdir(parents=True)
    (folder / "_SUCCESS").write_text("")
    write = {"csv": pacsv.write_csv, "parquet": write_parquet}.get(ending, feather.write_feather)
    for name, first, last in (("a", 0, 200), ("deep/b", 200, 500)):
        write(table.slice(first, last - first), str(folder / f"{name}.{ending}"))
    write(table, str(folder.parent / f"whole.{ending}"))
    expected = outcomes(capsys, f"reference={old}", f"live={new}")
    whole = folder.parent / f"whole.{ending}"
    uri = folder.parent.as_uri()
    places = [whole]
    if ending in ("csv", "parquet"):
        places += [folder, f"{folder}/**/*.{ending}", f"{uri}/whole.{ending}", f"{uri}/whole.*{ending[-2:]}"]
    for place in places:
        assert outcomes(capsys, f"reference={old}", f"live={place}") == expected, place


def test_large_files_are_scanned_to_the_same_answer(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = pair
    expected = outcomes(capsys, f"reference={old}", f"live={new}")
    monkeypatch.setattr(shards, "LARGE", 1)
    assert outcomes(capsys, f"reference={old}", f"live={new}") == expected
    assert cli.run(["drift", f"reference={old}", f"live={new}", f"html={old.parent / 'x.html'}"]) == 3
    assert "drawn from the first rows" in (old.parent / "x.html").read_text()


def two_kinds(seed: int) -> pa.Table:
    """A text that becomes a number, a category that is lost, one that comes, and dictionaries."""
    rng = np.random.default_rng(seed)
    words = pa.array(rng.choice(["a", "b", "c"], ROWS)).dictionary_encode()
    mixed = pa.array(rng.choice(["x", "y"], ROWS)) if seed == 1 else pa.array(rng.normal(0, 1, ROWS))
    more = {"gone" if seed == 1 else "came": pa.array(["a", "b"] * (ROWS // 2))}
    return made(seed, mixed=mixed, words=words, code=pa.array(["1", "2"] * (ROWS // 2)), **more)


@pytest.mark.parametrize(
    ("pair_of", "more"),
    [
        (lambda: (odd(1), odd(2)), ()),
        (lambda: (two_kinds(1), two_kinds(2)), ()),
        (lambda: (scored(1, 0.0), scored(2, 0.4)), ("prediction=score", "label=y")),
        (lambda: (scored(1, 0.0), scored(2, 0.4).drop_columns(["y"])), ("prediction=score", "label=y")),
        (lambda: moved_pair(), ("ignore=[weight]",)),
    ],
    ids=["guesses", "two kinds", "performance", "no label", "ignored"],
)
def test_what_is_scanned_is_said_as_what_is_read(
    pair_of: Callable[[], tuple[pa.Table, pa.Table]],
    more: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same columns, findings, words, performance and exit code; a guess says that it rests on the first rows."""
    read = told(capsys, *pair_of(), tmp_path, *more)
    monkeypatch.setattr(shards, "LARGE", 1)
    scan = told(capsys, *pair_of(), tmp_path, *more)
    assert scan["code"] == read["code"]
    for mine, theirs in zip(scan["columns"], read["columns"], strict=True):
        floats = {name for name, value in theirs.items() if isinstance(value, float)}
        assert {k: v for k, v in mine.items() if k not in floats} == {
            k: v for k, v in theirs.items() if k not in floats
        }
        assert [mine[k] for k in floats] == pytest.approx([theirs[k] for k in floats], rel=1e-12, nan_ok=True)
    assert scan["performance"] == read["performance"]
    assert {c: why.removesuffix(" in the first rows") for c, why in left(scan).items()} == left(read)
    guesses = [{g["column"]: g["reason"] for g in answer["guesses"]} for answer in (scan, read)]
    assert {c: why.removesuffix(" in the first rows") for c, why in guesses[0].items()} == guesses[1]


def test_what_a_scan_does_not_compute_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: Line
) -> None:
    monkeypatch.setattr(shards, "LARGE", 1)
    monkeypatch.setattr(drift, "MOST_ROWS", ROWS - 1)
    answer = told(capsys, scored(1, 0.0), scored(2, 0.4), tmp_path, "prediction=score", "label=y")
    assert (answer["code"], answer["performance"]) == (0, [])
    assert left(answer)["realised performance"] == "needs its columns in memory, and 600 rows are more than 599"
    assert "left out: realised performance needs its columns in memory" in answer["said"]
    late = pa.concat_tables([made(1, n=["1.5", "2"] * (ROWS // 2)), made(2, n=["3", "oops"] * (ROWS // 2))])
    write_parquet(late, tmp_path / "late.parquet")
    monkeypatch.setattr(shards, "BATCH_ROWS", ROWS)
    files = (f"reference={tmp_path / 'late.parquet'}", f"live={tmp_path / 'late.parquet'}")
    assert cli.run(["drift", *files, "numeric=[n]"]) == 2
    assert line() == f"{tmp_path}/late.parquet:n: holds text that is no number - list it under categorical or ignore"
    assert cli.run(["drift", *files, "workers=0"]) == 2
    assert line() == "workers: 0 processes scan nothing - choose 1 or more"
    assert cli.run(["drift", *files, "cluster=slurm"]) == 2
    assert line().startswith("cluster: slurm says what to submit, and runs nothing here - use `tidegate submit")


@pytest.mark.ray
def test_workers_share_the_scan(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "LARGE", 1)
    alone, shared = (told(capsys, *moved_pair(), tmp_path, f"workers={count}") for count in (1, 2))
    assert {k: v for k, v in shared.items() if k != "said"} == {k: v for k, v in alone.items() if k != "said"}


def test_a_folder_of_two_tables_is_refused(pair: tuple[Path, Path], line: Line) -> None:
    old, _ = pair
    folder = old.parent / "two"
    folder.mkdir()
    write_parquet(made(1), folder / "a.parquet")
    write_parquet(made(1, more=[1] * ROWS), folder / "b.parquet")
    assert cli.run(["drift", f"reference={old}", f"live={folder}"]) == 2
    assert line() == f"{folder}/b.parquet:more: is int64, and absent in {folder}/a.parquet - compare files of one table"
    empty = old.parent / "empty"
    empty.mkdir()
    assert cli.run(["drift", f"reference={old}", f"live={empty}"]) == 2
    assert line().startswith(f"{empty}: holds no file *.parquet *.csv *.arrow *.feather - name another folder")
