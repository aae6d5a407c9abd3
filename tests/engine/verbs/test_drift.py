"""The verb drift: two windows of a loop, or any two files with no project around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, mean_absolute_error, roc_auc_score

from engine import cli
from engine.config.habits import DRIFT
from engine.data.tables import write_parquet
from engine.monitor import shards
from tests.engine.tables import ROWS, kinds, left, made, moved_pair, odd, outcomes, scored, told
from tests.engine.world import TURN, WINDOWS, World

Line = Callable[[], str]


def test_drift_between_two_windows(new: World) -> None:
    same = new.ask("drift", "window=2026-02")
    assert (same.code, same.value["reference"], same.value["live"]) == (0, "2026-01", "2026-02")
    turned = new.ask("drift", f"window={WINDOWS[TURN]}")
    assert turned.code == 3
    assert [c["column"] for c in turned.value["columns"] if c["outcome"] == "drift"] == ["pull"]
    far = new.ask("drift", f"window={WINDOWS[-1]}", "against=2026-01")
    assert (far.code, far.value["reference"]) == (3, "2026-01")


def test_drift_between_two_files(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = pair
    assert outcomes(capsys, f"reference={old}", f"live={new}") == (
        3,
        {"x": "drift", "y": "no drift", "word": "no drift"},
    )
    assert outcomes(capsys, f"reference={old}", f"live={old}")[0] == 0


def test_all_columns_as_one_are_compared_where_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A correlation that comes, which no column shows."""
    rng = np.random.default_rng(6)
    paths = []
    for name, together in (("a", 0.0), ("b", 0.95)):
        x, y = rng.normal(size=(2, 3000))
        table = pa.table({"x": x, "y": together * x + (1 - together**2) ** 0.5 * y})
        write_parquet(table, tmp_path / f"{name}.parquet")
        paths.append(tmp_path / f"{name}.parquet")
    files = [f"reference={paths[0]}", f"live={paths[1]}"]
    assert outcomes(capsys, *files) == (0, {"x": "no drift", "y": "no drift"})
    for method in ("pca", "mmd"):
        code, found = outcomes(capsys, *files, f"multivariate={method}")
        assert (code, found) == (3, {"x": "no drift", "y": "no drift", "all columns together": "drift"})
    assert cli.run(["drift", *files, "multivariate=energy"]) == 2
    assert line() == "multivariate: 'energy' is unknown - one of none, pca, mmd"
    monkeypatch.setattr(shards, "is_large", lambda files: True)
    assert cli.run(["drift", "--json", *files, "multivariate=pca"]) == 0
    left = json.loads(capsys.readouterr().out)["left_out"]
    assert left == [
        {"column": "all columns together", "reason": "are not compared as one: the files are read in parts"}
    ]


def test_drift_between_formats(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = pair
    pacsv.write_csv(pq.read_table(new).select(["x", "word"]), old.with_suffix(".csv"))
    code, found = outcomes(capsys, f"reference={old}", f"live={old.with_suffix('.csv')}")
    assert (code, found) == (3, {"x": "drift", "word": "no drift", "y": "undecidable"})


def test_drift_between_folders_and_globs(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = pair
    folder = old.parent / "many"
    folder.mkdir()
    for k, (first, last) in enumerate(((0, 200), (200, 500))):
        pq.write_table(pq.read_table(new).slice(first, last - first), folder / f"{k}.parquet")
    moved = {"x": "drift", "y": "no drift", "word": "no drift"}
    assert outcomes(capsys, f"reference={old}", f"live={folder}") == (3, moved)
    assert outcomes(capsys, f"reference={folder}/*.parquet", f"live={old}") == (3, moved)
    assert outcomes(capsys, f"reference={folder}", f"live={new}")[0] == 0


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"z": [1.0, 2.0]}, "live: shares no column with {old} - compare files of the same table"),
        (
            {"x;word": ["1;a", "2;b"]},
            "live: shares no column with {old} - write {new} with commas: its columns are separated by semicolons",
        ),
        (
            {"when": pa.array([1, 2], pa.timestamp("us"))},
            "live: there is no column to compare (",
        ),
        ({"x": [1.0]}, "{new}: has 1 rows - a comparison needs at least 2"),
    ],
)
def test_files_that_cannot_be_compared(
    pair: tuple[Path, Path], line: Line, columns: dict[str, object], expected: str
) -> None:
    old, new = pair
    write_parquet(pa.table(columns), new)
    assert cli.run(["drift", f"reference={old}", f"live={new}"]) == 2
    said = line()
    assert said.startswith(expected.format(old=old, new=new)), said


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ({"when": [1, 2]}, "the reference holds timestamp[us] here, not numbers"),
        ({"x": ["one", "2"]}, "the live window holds string here, not numbers"),
        ({"word": [1, 2]}, "the reference holds string here, not numbers"),
    ],
)
def test_a_column_of_two_kinds_is_undecidable_and_hides_no_other(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str], column: dict[str, object], reason: str
) -> None:
    old, new = pair
    rows = {"y": [0.5] * 200, **{name: values * 100 for name, values in column.items()}}  # type: ignore[operator]
    write_parquet(pa.table(rows), new)
    assert cli.run(["drift", f"reference={old}", f"live={new}", "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    found = {c["column"]: (c["outcome"], c["reason"]) for c in answer["columns"]}
    assert found[next(iter(column))] == ("undecidable", reason)
    assert found["y"][0] in ("drift", "no drift")


def test_files_by_the_columns_of_a_project(new: World, tmp_path: Path) -> None:
    """With a data config its columns count, and ids and times do not."""
    names = [f"{new.folder}/windows/{window}.parquet" for window in WINDOWS[:2]]
    answer = new.ask("drift", f"reference={names[0]}", f"live={names[1]}")
    assert answer.code == 0
    assert {c["column"] for c in answer.value["columns"]} == {"pull", "push", "noise", "colour"}


# ---- what columns are ----------------------------------------------------------------------------------------------


def test_columns_are_guessed_and_the_guesses_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer = told(capsys, odd(1), odd(2), tmp_path)
    assert answer["code"] == 0
    assert kinds(answer) == {
        "still": "numeric", "price": "numeric", "zip": "categorical", "weekday": "categorical", "age": "numeric",
    }  # fmt: skip
    assert {g["column"]: g["reason"] for g in answer["guesses"]} == {
        "price": "numbers written as text",
        "weekday": "whole numbers with 7 values",
    }
    assert left(answer) == {
        "customer_id": "is an id: every value is another",
        "account": "is an id: every value is another",
        "comment": "is an id or free text: there are more than half as many values as rows",
        "version": "is constant: 7 in every row of both",
        "when": "is a time (timestamp[us])",
        "raw": "holds binary, neither numbers nor categories",
        "nothing": "has no value in either",
    }
    assert "taken for categories: weekday (whole numbers with 7 values); if not: numeric=[weekday]" in answer["said"]
    assert "left out: version is constant: 7 in every row of both" in answer["said"]


def test_guesses_can_be_overridden(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("numeric=[weekday,zip,customer_id]", "categorical=[age,price,version]", "ignore=[still]")
    answer = told(capsys, odd(1), odd(2), tmp_path, *words)
    found = kinds(answer)
    assert [found.get(c) for c in ("weekday", "customer_id", "age", "version")] == [
        "numeric", "numeric", "categorical", "categorical",
    ]  # fmt: skip
    assert "still" not in found
    assert left(answer)["still"] == "ignore names it"
    assert not answer["guesses"]


def test_text_that_is_a_number_but_for_its_zero_in_front_can_be_taken_for_one_by_hand_alone(
    tmp_path: Path, line: Line
) -> None:
    for name, seed in (("old", 1), ("new", 2)):
        write_parquet(odd(seed), tmp_path / f"{name}.parquet")
    files = (f"reference={tmp_path / 'old.parquet'}", f"live={tmp_path / 'new.parquet'}")
    assert cli.run(["drift", *files, "numeric=[comment]"]) == 2
    cure = "list it under categorical or ignore"
    assert line() == f"{tmp_path}/old.parquet:comment: holds text that is no number - {cure}"
    assert cli.run(["drift", *files, "numeric=[wekday]"]) == 2
    assert line() == "numeric: there is no column 'wekday' - did you mean 'weekday'?"
    assert cli.run(["drift", *files, "numeric=[age]", "ignore=[age]"]) == 2
    assert line() == "ignore: 'age' is named twice, under numeric and ignore - name it once"
    assert cli.run(["drift", *files, "label=nothing_here"]) == 2
    assert line().startswith("label: there is no column 'nothing_here' - the files have still, price")
    assert cli.run(["drift", *files, f"html={tmp_path}"]) == 2
    assert line() == f"html: {tmp_path} cannot be written - name a file in a folder that exists"


def test_a_column_that_is_lost_cannot_be_judged_and_a_new_one_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answer = told(capsys, made(1, gone=["a", "b"] * 300), made(2, came=["a", "b"] * 300), tmp_path)
    assert answer["code"] == 3
    gone = next(c for c in answer["columns"] if c["column"] == "gone")
    assert (gone["outcome"], gone["reason"]) == ("undecidable", "the live window has no such column")
    assert left(answer) == {"came": f"is new: {tmp_path}/old.parquet has no such column"}


# ---- what moved ----------------------------------------------------------------------------------------------------


def test_what_moved_is_said_in_the_unit_of_the_column(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    old, new = moved_pair()
    answer = told(capsys, old, new, tmp_path)
    assert answer["code"] == 3
    portraits = {p["column"]: p for p in answer["portraits"]}
    assert set(portraits) == {"delay", "country"}
    for side, table in (("reference", old), ("live", new)):
        values = table["delay"].to_numpy()
        expected = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
        np.testing.assert_allclose(portraits["delay"][side]["middle"], expected, rtol=1e-12)
        inner = np.histogram(values, portraits["delay"]["edges"])[0][1:-1] / ROWS
        np.testing.assert_allclose(portraits["delay"][side]["shares"][1:-1], inner, atol=1e-12)
        assert sum(portraits["delay"][side]["shares"]) == pytest.approx(1)
    medians = [float(np.median(t["delay"].to_numpy())) for t in (old, new)]
    change = f"median {medians[0]:.1f} -> {medians[1]:.1f} (+{medians[1] - medians[0]:.1f})"
    ks = next(c["effect"] for c in answer["columns"] if c["column"] == "delay")
    assert f"up to {100 * ks:.0f} % of the rows lie elsewhere; {change}" in answer["said"]
    assert (portraits["country"]["new"], portraits["country"]["lost"]) == (["<GE>"], ["FI"])
    assert "in other categories; new '<GE>'; lost 'FI'" in answer["said"]
    gone = [table["weight"].null_count / ROWS for table in (old, new)]
    assert f"{100 * gone[0]:.1f} % -> {100 * gone[1]:.0f} %" in answer["said"]
    drifted = [c["column"] for c in answer["columns"] if c["outcome"] == "drift"]
    assert drifted == ["delay", "country", "weight is missing"]


def test_the_page_stands_alone_and_escapes_what_the_data_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "drift page.html"
    answer = told(capsys, *moved_pair(), tmp_path, f"html={page}")
    assert answer["html"] == str(page)
    text = page.read_text()
    assert "<GE>" not in text
    assert "&lt;GE&gt;" in text
    assert text.count("<svg") == 2
    assert "http:" not in text
    assert "https:" not in text
    assert "<script" not in text
    for name in ("delay", "country", "weight is missing", "3 of 5 columns drifted"):
        assert name in text
    again = told(capsys, *moved_pair(), tmp_path, f"html={tmp_path / 'again.html'}")
    assert again["code"] == 3
    assert (tmp_path / "again.html").read_text() == text


def test_predictions_and_labels_drift_under_their_names_and_performance_is_realised(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old, new = scored(1, 0.0), scored(2, 0.4)
    answer = told(capsys, old, new, tmp_path, "prediction=score", "label=y")
    assert kinds(answer) == {"still": "numeric", "score": "prediction", "y": "label"}
    for table, side in zip((old, new), answer["performance"], strict=True):
        truth = roc_auc_score(np.array(table["y"].to_pylist()) == "yes", table["score"].to_numpy())
        auc = side["metrics"][0]
        assert (auc["name"], auc["n"]) == ("roc_auc_score", ROWS)
        assert auc["value"] == pytest.approx(truth, abs=1e-12)
        assert auc["low"] < auc["value"] < auc["high"]
    assert "roc_auc_score 0." in answer["said"]


def test_performance_of_classes_and_of_numbers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    true = rng.choice(["a", "b", "c"], ROWS)
    said = np.where(rng.random(ROWS) < 0.8, true, "a")
    table = made(1, y=true, said=said)
    answer = told(capsys, table, table, tmp_path, "prediction=said", "label=y")
    assert answer["performance"][0]["metrics"][0]["value"] == pytest.approx(accuracy_score(true, said))
    value = rng.normal(0, 1, ROWS)
    near = value + rng.normal(0, 0.1, ROWS)
    table = made(1, y=value, said=near)
    answer = told(capsys, table, table, tmp_path, "prediction=said", "label=y")
    assert answer["performance"][1]["metrics"][0]["value"] == pytest.approx(mean_absolute_error(value, near))
    table = made(1, y=true, said=value)
    answer = told(capsys, table, table, tmp_path, "prediction=said", "label=y")
    assert not answer["performance"]
    assert left(answer)["realised performance"].startswith("no metric fits said and y")


# ---- the door itself -----------------------------------------------------------------------------------------------


def test_help_tells_of_every_key_that_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["drift", "--help"]) == 0
    assert DRIFT in capsys.readouterr().out
    for key in ("numeric", "categorical", "ignore", "prediction", "label", "html", "monitor.alpha", "monitor.min_rows"):
        assert f"{key}=" in DRIFT


def test_two_files_are_compared_without_pandas_sqlalchemy_or_torch(pair: tuple[Path, Path]) -> None:
    """Each of them is imported for longer than the comparison takes."""
    words = ["drift", f"reference={pair[0]}", f"live={pair[1]}"]
    program = f"import sys; from engine import cli; cli.run({words!r}); print(*sys.modules)"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    heavy = {"torch", "lightning", "ray", "pandas", "sqlalchemy", "pyarrow.dataset", "engine.promote.ledger"}
    assert not heavy & set(done.stdout.split())
