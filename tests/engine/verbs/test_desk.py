"""The verbs that look at windows: each on a loop that has ended, or on files of no loop at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine import cli
from engine.data.tables import write_parquet
from tests.engine.world import LAST, WINDOWS, Answer, World

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


# ---- the schema that git keeps -------------------------------------------------------------------------------------


@pytest.fixture
def declared(new: World, tmp_path: Path) -> Path:
    """The schema of the founding windows, in a file."""
    path = tmp_path / "conf" / "schema.yaml"
    answer = new.ask("validate", "--infer", f"validate.schema={path}")
    assert (answer.code, answer.value["written"], answer.value["reference"]) == (0, True, WINDOWS[0])
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, text
    path.write_text(text.replace(old, new))


def test_infer_without_a_file_is_made_to_be_piped_on(new: World, declared: Path, capfd: Any) -> None:
    assert new.run("validate", "--infer") == 0
    assert capfd.readouterr().out == declared.read_text()


def test_infer_never_overwrites_an_edited_file_in_silence(new: World, declared: Path, line: Line) -> None:
    words = ("validate", "--infer", f"validate.schema={declared}")
    edit(declared, "rows: 600", "rows: 500  # as agreed with the warehouse")
    edited = declared.read_text()
    assert new.run(*words) == 2
    assert line() == (
        f"{declared}: is there and says something else: rows a window: 500 -> 600 (+20%) - see all with --diff "
        f"{declared}, then add --overwrite or name another file"
    )
    assert declared.read_text() == edited
    assert new.ask(*words, "--overwrite").value["written"] is True
    assert "rows: 600" in declared.read_text()
    # What says the same keeps the words of the person who wrote it.
    declared.write_text("# ours\n" + declared.read_text())
    answer = new.ask(*words)
    assert (answer.code, answer.value["written"]) == (0, False)
    assert declared.read_text().startswith("# ours")
    declared.write_text("format: [")
    assert new.run(*words) == 2
    assert line().startswith(f"{declared}: is no YAML in line 1")
    assert declared.read_text() == "format: ["


def test_windows_are_held_against_the_file(new: World, declared: Path) -> None:
    words = ("validate", f"validate.schema={declared}", "window=2026-02", "validate.severity.missing=block")
    assert new.ask(*words).code == 0
    edit(declared, "rows: 600", "rows: 600\nfewest: 601")
    rows = next(c for c in new.ask(*words).value["checks"] if c["name"] == "rows")
    assert (rows["outcome"], rows["expected"]) == ("violated", "601 to 1200")
    assert new.ask(*words, "validate.severity.rows=block").code == 3


def test_a_label_may_be_absent_in_serving(new: World, declared: Path) -> None:
    words = ("validate", f"validate.schema={declared}", "window=2026-02")
    serving, training = (
        {c["name"] for c in new.ask(*words, f"environment={where}").value["checks"] if c["column"] == "late"}
        for where in ("serving", "training")
    )
    assert serving == set()
    assert {"column", "type", "label"} <= training
    edit(declared, "environments: [training]", "environments: [training, serving]")
    blocked = new.ask(*words)
    assert blocked.code == 3
    assert [c["column"] for c in blocked.value["checks"] if c["name"] == "column" and c["outcome"] != "ok"] == ["late"]


def test_two_schemas_are_compared_for_people(new: World, declared: Path, capfd: Any) -> None:
    old = declared.with_name("old.yaml")
    old.write_text(declared.read_text())
    assert cli.run(["validate", "--diff", str(old), str(declared)]) == 0  # no data is needed
    assert capfd.readouterr().out == "nothing changed\n"
    edit(declared, "rows: 600", "rows: 900")
    assert cli.run(["validate", "--diff", str(old), str(declared)]) == 3
    assert capfd.readouterr().out == "rows a window: 600 -> 900 (+50%)\n"
    assert new.ask("validate", "--diff", str(declared)).value["changes"] == ["rows a window: 900 -> 600 (-33%)"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["2026-02"], "against: validate looks at one window - name the window with window=..., or compare two"),
        (["environment=both"], "environment: 'both' is unknown - choose training or serving"),
        (["--diff", "/no.yaml"], "/no.yaml: there is no such file - make it with `tidegate validate --infer`"),
        (["validate.schema=/no.yaml"], "/no.yaml: there is no such file - make it with `tidegate validate --infer`"),
    ],
)
def test_what_validate_refuses(new: World, line: Line, more: list[str], expected: str) -> None:
    assert new.run("validate", *more) == 2
    assert line().startswith(expected)


def test_a_schema_that_leaves_a_feature_out_is_refused(new: World, declared: Path, line: Line) -> None:
    """It would never be checked; a loop finds that out before it writes anything."""
    text = declared.read_text()
    declared.write_text("".join(row for row in text.splitlines(True) if not row.startswith("  noise:")))
    for verb in ("validate", "loop"):
        assert new.run(verb, f"validate.schema={declared}") == 2
        said = line()
        assert said.startswith(f"{declared}:columns: 'noise', feature of the data config, is not there - add its line")
    declared.write_text(text.replace("role: slice", "role: feature").replace("role: label", "role: feature"))
    assert new.run("validate", f"validate.schema={declared}") == 2
    assert line().startswith(f"{declared}:columns.late.role: is 'feature', and late is the label of the data config")
    assert not new.out.exists()


def test_history_widens_what_a_window_may_be(new: World) -> None:
    """600 rows six times: their band is narrow, and that of the config is wide."""
    words = ("validate", f"window={WINDOWS[-1]}")
    wide, narrow = (
        next(c["expected"] for c in new.ask(*words, *more).value["checks"] if c["name"] == "rows")
        for more in ([], ["validate.history=6"])
    )
    assert wide == "60 to 1200"
    low, high = (int(n) for n in narrow.split(" to "))
    assert 450 < low < 600 < high < 800


def test_what_serving_saw_is_paired_by_id(new: World, tmp_path: Path, line: Line) -> None:
    table = pq.read_table(new.folder / "windows" / "2026-02.parquet")
    late = table["pull"].to_numpy() + np.where(np.arange(600) < 60, 1.0, 0.0)
    served = table.set_column(table.column_names.index("pull"), "pull", pa.array(late))
    served = served.take(np.random.default_rng(0).permutation(600)).drop_columns(["push"])
    write_parquet(served, tmp_path / "served.parquet")
    words = ("validate", "window=2026-02", f"live={tmp_path}/served.parquet")
    found = {c["column"]: c for c in new.ask(*words).value["checks"] if c["name"] == "skew"}
    assert {name: check["outcome"] for name, check in found.items()} == {
        "pull": "violated",
        "push": "undecidable",
        "noise": "ok",
        "colour": "ok",
    }
    assert found["pull"]["observed"] == "10.00% differ (60 of 600)"
    assert new.ask(*words, "validate.severity.skew=block").code == 3
    assert not [c for c in new.ask(*words, "validate.severity.skew=off").value["checks"] if c["name"] == "skew"]
    write_parquet(served.drop_columns(["row"]), tmp_path / "served.parquet")
    assert new.run(*words) == 2
    assert line().startswith(f"{tmp_path}/served.parquet:row: there is no such column - rows of serving are paired")


def test_validate_says_how_often_it_blocked(ended: tuple[World, Answer], new: World) -> None:
    world, _ = ended
    found = world.ask("validate").value["blocking"]
    assert (found["windows"], found["blocked"], found["longest"]) == (len(world.cycles()), [], 0)
    assert f"Validation blocked none of {len(world.cycles())} windows." in (world.out / "report.html").read_text()
    assert new.ask("validate").value["blocking"] is None


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
