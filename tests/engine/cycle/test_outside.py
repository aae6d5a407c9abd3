"""The clock and the log of serving in a loop: looked at once, recorded, decided again."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.cycle import outside, replay
from engine.cycle.loop import Loop
from engine.cycle.past import Past, open_window
from engine.cycle.replay import Replayed
from engine.data.tables import write_parquet
from engine.errors import ConfigError
from engine.records import CheckOutcome, ValidationReport
from engine.validate.conf import Severities, ValidateConf
from tests.engine.tides import make_conf, make_window
from tests.engine.world import World, make_world

OK, VIOLATED, UNDECIDABLE = CheckOutcome.OK, CheckOutcome.VIOLATED, CheckOutcome.UNDECIDABLE
NAMES = ("2026-01", "2026-02", "2026-03")


@pytest.fixture
def small(tmp_path: Path) -> World:
    """Three windows, and no loop yet."""
    return make_world(tmp_path, windows=NAMES, rows=300)


def looked_at(world: World, *more: str, opened: bool = True, name: str = NAMES[-1]) -> ValidationReport:
    """What the loop finds of one window."""
    with world.opened(*more) as (confs, ports):
        if opened:
            open_window(ports.ledger, f"cycle of {name}", name, NAMES.index(name))
        steps = Loop(confs, ports).steps
        return steps.validate(steps.read(name, labelled=False), Past(ports.ledger, name))


def declare(world: World, hours: float) -> str:
    """The schema that the world infers, with a limit; the word that names it."""
    path = world.folder / "schema.yaml"
    assert world.ask("validate", "--infer", f"validate.schema={path}").code == 0
    path.write_text(path.read_text().replace("columns:\n", f"max_age_hours: {hours}\ncolumns:\n", 1))
    return f"validate.schema={path}"


def log_of(world: World, name: str, wrong: int = 0) -> None:
    """What serving saw of a window, `wrong` of its rows otherwise."""
    table = pq.read_table(world.folder / "windows" / f"{name}.parquet")
    pull = table["pull"].to_numpy() + np.where(np.arange(len(table)) < wrong, 1.0, 0.0)
    served = table.set_column(table.column_names.index("pull"), "pull", pa.array(pull))
    (world.folder / "served").mkdir(exist_ok=True)
    write_parquet(served, world.folder / "served" / f"{name}.parquet")


# ---- the clock ----------------------------------------------------------------------------------------------------


def test_the_clock_of_a_window_is_that_of_the_row_which_opened_it(small: World) -> None:
    report = looked_at(small, declare(small, 1))
    with small.ledger() as ledger:
        opened = ledger.rows("opened")[0].at
        (row,) = ledger.rows("validation")
    assert report.fresh is not None
    assert report.fresh.now == dt.datetime.fromisoformat(opened).isoformat()
    check = next(c for c in report.checks if c.name == "fresh")
    assert check.outcome is VIOLATED
    assert report.usable  # a warning, unless somebody wants more
    assert row.payload["fresh"]["now"] == report.fresh.now


def test_a_killed_cycle_finds_what_it_saw_first(small: World) -> None:
    """The file is edited meanwhile: what was recorded counts."""
    first = looked_at(small, declare(small, 1), "validate.severity.fresh=block")
    assert not first.usable
    again = looked_at(small, declare_again(small, 1e6), "validate.severity.fresh=block")
    assert again == first


def declare_again(world: World, hours: float) -> str:
    path = world.folder / "schema.yaml"
    path.write_text(re.sub(r"max_age_hours: \S+", f"max_age_hours: {hours}", path.read_text()))
    return f"validate.schema={path}"


def test_why_decides_freshness_again_bit_for_bit(small: World) -> None:
    looked_at(small, declare(small, 1), "validate.severity.fresh=block")
    with small.ledger() as ledger:
        (row,) = replay.find(ledger, NAMES[-1])
        found = replay.replay(ledger, row)
        assert (found.state, found.detail) == (
            Replayed.EQUAL, "how fresh its rows are, made again from its inputs, bit for bit",
        )  # fmt: skip
        inputs = ledger.find(f"{row.id}:inputs")
        assert inputs is not None
        for changed in ({"limit_hours": 1e6}, {"now": "2026-03-02T00:00:00+00:00"}):
            told = {**inputs.payload, "fresh": {**inputs.payload["fresh"], **changed}}
            forged = replay.replay(Forged(ledger, {f"{row.id}:inputs": told}), row)  # type: ignore[arg-type]
            assert forged.state is Replayed.DIFFERENT
    answer = small.ask("why", NAMES[-1])
    assert answer.code == 0
    assert "blocked: fresh: newest row" in answer.err
    assert answer.value["because"][0]["replay"] == "equal"


class Forged:
    """A ledger some of whose rows say something else."""

    def __init__(self, ledger: object, payloads: dict[str, dict[str, object]]) -> None:
        self.ledger, self.payloads = ledger, payloads

    def find(self, id: str) -> object:
        row = self.ledger.find(id)  # type: ignore[attr-defined]
        return replace(row, payload=self.payloads[id]) if id in self.payloads else row


def test_a_window_that_asks_nothing_of_the_outside_has_no_row(small: World) -> None:
    report = looked_at(small)
    assert (report.fresh, [c.name for c in report.checks if c.name in ("fresh", "skew")]) == (None, [])
    assert small.rows("validation") == []


def test_windows_before_teach_their_age(small: World) -> None:
    """Three have come, minutes ago; their newest rows are older from window to window."""
    with small.opened() as (confs, ports):
        steps = Loop(confs, ports).steps
        looks = [steps._look(name) for name in NAMES]
        for index, name in enumerate(NAMES):
            open_window(ports.ledger, f"cycle of {name}", name, index)
        came = Past(ports.ledger, NAMES[-1]).came
        ages = outside.ages_of(looks, came)
        assert list(came) == list(reversed(NAMES))
        assert len(ages) == 3
        assert ages[0] > ages[1] > ages[2]
        assert outside.ages_of(looks, {NAMES[0]: came[NAMES[0]]}) == ages[:1]
    assert outside.moment("") is None


def test_the_verb_may_be_told_what_time_it_is(small: World, tmp_path: Path) -> None:
    word = declare(small, 24)
    for at, outcome in (("1970-03-30T12:00", "ok"), ("1970-05-01T00:00", "violated"), ("1970-03-02T00:00", "violated")):
        found = small.ask("validate", word, f"at={at}").value
        assert [c["outcome"] for c in found["checks"] if c["name"] == "fresh"] == [outcome], at
        assert found["fresh"]["now"].startswith(at)
    assert small.ask("validate", word, "validate.severity.fresh=block").code == 3
    assert small.ask("validate", word, "at=soon").code == 2


# ---- what serving saw ---------------------------------------------------------------------------------------------


def test_the_loop_compares_each_window_with_its_log(small: World) -> None:
    log_of(small, NAMES[-1], wrong=30)
    word = f"validate.serving={small.folder}/served"
    report = looked_at(small, word)
    found = {c.column: c for c in report.checks if c.name == "skew"}
    assert {name: c.outcome for name, c in found.items()} == {"pull": VIOLATED, "push": OK, "noise": OK, "colour": OK}
    assert found["pull"].observed == "10.00% differ (30 of 300)"
    assert report.usable
    log_of(small, NAMES[-1])
    assert looked_at(small, word) == report  # it was recorded; the log may have changed
    assert looked_at(small) == report  # and so may what is asked
    with small.ledger() as ledger:
        (row,) = ledger.rows("validation")
        assert replay.replay(ledger, row).state is Replayed.MEASURED


@pytest.mark.parametrize("severity", ["block", "warn"])
@pytest.mark.parametrize("broken", ["missing", "no folder", "cut", "without ids", "ids twice", "text for numbers"])
def test_a_log_that_is_not_there_never_passes_in_silence(tmp_path: Path, broken: str, severity: str) -> None:
    window, path = make_window(2), tmp_path / "served" / "2026-03.parquet"
    table = window.table
    spoilt = {
        "without ids": table.drop_columns(["id"]),
        "ids twice": pa.concat_tables([table, table]),
        "text for numbers": table.set_column(2, "pull", table["pull"].cast(pa.string())),
    }
    if broken != "no folder":
        path.parent.mkdir()
    if broken == "cut":
        path.write_bytes(b"PAR1")
    if broken in spoilt:
        write_parquet(spoilt[broken], path)
    conf = ValidateConf(serving=str(path.parent), severity=Severities(skew=severity))
    (check,) = outside.against_serving(replace(window, name="2026-03"), make_conf(), conf)
    assert (check.outcome, check.column, check.severity.value) == (UNDECIDABLE, "", severity)
    assert check.reason.startswith(str(path))


def test_rows_that_serving_never_saw_decide_nothing(tmp_path: Path) -> None:
    window, other = make_window(2), make_window(1)
    write_parquet(other.table, tmp_path / f"{window.name}.parquet")
    found = outside.against_serving(window, make_conf(), ValidateConf(serving=str(tmp_path)))
    assert {c.outcome for c in found} == {UNDECIDABLE}
    assert {c.reason for c in found} == {"no row is on both sides"}


def test_the_verb_finds_the_log_of_the_loop(small: World) -> None:
    word = f"validate.serving={small.folder}/served"
    found = small.ask("validate", word).value["checks"]
    assert [c["outcome"] for c in found if c["name"] == "skew"] == ["undecidable"]
    assert not [
        c for c in small.ask("validate", word, "validate.severity.skew=off").value["checks"] if c["name"] == "skew"
    ]
    log_of(small, NAMES[-1])
    found = small.ask("validate", word).value["checks"]
    assert [c["outcome"] for c in found if c["name"] == "skew"] == ["ok"] * 4


def test_a_folder_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError) as error:
        ValidateConf(serving="")
    assert str(error.value) == "validate.serving: is empty - name the folder of the serving logs, or null"
