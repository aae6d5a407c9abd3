"""The verbs that look at windows: each on a loop that has ended, or on files of no loop at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from engine import cli
from engine.data.tables import write_parquet
from tests.engine.world import LAST, TURN, WINDOWS, Answer, World

Line = Callable[[], str]


def files(folder: Path) -> dict[str, int]:
    """Every file and when it was written."""
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def test_looking_writes_nothing(ended: tuple[World, Answer]) -> None:
    world, _ = ended
    before = files(world.out)
    for verb in ("validate", "drift", "doctor"):
        assert world.ask(verb).code in (0, 3)
    assert files(world.out) == before


def test_looking_makes_no_folder(fresh: World) -> None:
    for verb in ("validate", "drift", "doctor", "report", "evaluate"):
        fresh.ask(verb)
    assert not fresh.out.exists()


# ---- validate and drift --------------------------------------------------------------------------------------------


def test_validate_a_good_window(new: World) -> None:
    answer = new.ask("validate", "window=2026-02")
    assert answer.code == 0
    assert answer.value["window"] == "2026-02"
    assert answer.value["n_rows"] == 600
    assert {check["outcome"] for check in answer.value["checks"]} <= {"ok", "violated"}


def test_validate_a_window_that_is_blocked(new: World) -> None:
    answer = new.ask("validate", "window=2026-02", "validate.min_rows=601")
    assert answer.code == 3
    blocked = [check["name"] for check in answer.value["checks"] if check["outcome"] == "violated"]
    assert "few_rows" in blocked


def test_the_first_window_is_judged_by_itself(new: World) -> None:
    assert new.ask("validate", f"window={WINDOWS[0]}").code == 0


def test_drift_between_two_windows(new: World) -> None:
    same = new.ask("drift", "window=2026-02")
    assert (same.code, same.value["reference"], same.value["live"]) == (0, "2026-01", "2026-02")
    turned = new.ask("drift", f"window={WINDOWS[TURN]}")
    assert turned.code == 3
    assert [c["column"] for c in turned.value["columns"] if c["outcome"] == "drift"] == ["pull"]
    far = new.ask("drift", f"window={WINDOWS[-1]}", "against=2026-01")
    assert (far.code, far.value["reference"]) == (3, "2026-01")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two files of no project: numbers, words and a time; the numbers have moved."""
    rng = np.random.default_rng(5)
    when = pa.array(np.arange(500), pa.timestamp("us"))
    words = rng.choice(["a", "b"], 500)
    for name, shift in (("a", 0.0), ("b", 1.0)):
        table = pa.table({"x": rng.normal(shift, 1, 500), "y": rng.normal(0, 1, 500), "word": words, "when": when})
        write_parquet(table, tmp_path / f"{name}.parquet")
    return tmp_path / "a.parquet", tmp_path / "b.parquet"


def outcomes(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, str]]:
    import json

    code = cli.run(["drift", "--json", *words])
    columns = json.loads(capsys.readouterr().out)["columns"]
    return code, {c["column"]: c["outcome"] for c in columns if c["kind"] != "missing"}


def test_drift_between_two_files(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = pair
    assert outcomes(capsys, f"reference={old}", f"live={new}") == (
        3,
        {"x": "drift", "y": "no drift", "word": "no drift"},
    )
    assert outcomes(capsys, f"reference={old}", f"live={old}")[0] == 0


def test_drift_between_formats(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = pair
    pacsv.write_csv(pq.read_table(new).select(["x", "word"]), old.with_suffix(".csv"))
    code, found = outcomes(capsys, f"reference={old}", f"live={old.with_suffix('.csv')}")
    assert (code, found) == (3, {"x": "drift", "word": "no drift"})


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
        ({"when": [1, 2]}, "{new}:when: is int64, and timestamp[us] in {old} - store it as one type in both files"),
        ({"x": ["1", "2"]}, "{new}:x: is string, and double in {old} - store it as one type in both files"),
        (
            {"when": pa.array([1, 2], pa.timestamp("us"))},
            "live: there is no column to compare - compare files that share",
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


def test_files_by_the_columns_of_a_project(new: World, tmp_path: Path) -> None:
    """With a data config its columns count, and ids and times do not."""
    names = [f"{new.folder}/windows/{window}.parquet" for window in WINDOWS[:2]]
    answer = new.ask("drift", f"reference={names[0]}", f"live={names[1]}")
    assert answer.code == 0
    assert {c["column"] for c in answer.value["columns"]} == {"pull", "push", "noise", "colour"}


# ---- report, doctor ------------------------------------------------------------------------------------------------


def test_report_is_made_again_from_the_ledger(old: World) -> None:
    page = old.out / "report.html"
    assert old.ask("loop", f"loop.until={LAST}").code == 0
    first = page.read_text()
    page.unlink()
    answer = old.ask("report", f"loop.until={LAST}")
    assert (answer.code, answer.value) == (0, {"report": str(page), "windows": 6})
    assert page.read_text() == first


def test_doctor_looks_at_the_ledger(ended: tuple[World, Answer], fresh: World) -> None:
    findings = {f["what"]: f for f in ended[0].ask("doctor").value["findings"]}
    assert findings["ledger"]["state"] == "good"
    assert findings["ledger"]["found"].endswith("rows, the hash chain holds")
    fresh.out.mkdir(parents=True)
    (fresh.out / "ledger.db").write_text("no database at all" * 100)
    broken = fresh.ask("doctor")
    assert broken.code == 3
    assert {f["what"]: f["state"] for f in broken.value["findings"]}["ledger"] == "bad"
