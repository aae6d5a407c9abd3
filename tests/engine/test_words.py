"""Data as companies have it, ids that are UUIDs and labels that are words, through every verb from the command line."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.promote.store import Store
from engine.records import Cycle
from tests.engine.world import WINDOWS, World, configure, rows_of, write

FIRST, SECOND, THIRD = WINDOWS[:3]
POSITIVE = "data.positive=overdue"


def uuids(ids: pa.ChunkedArray) -> list[str]:
    return [str(uuid.UUID(int=(int(i) + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for i in ids.to_pylist()]


def make(folder: Path, *, text_ids: bool, three: bool = False) -> World:
    """Three windows of the world, ids as UUIDs, labels as words in files whose rows lie in another order."""
    for index, name in enumerate(WINDOWS[:3]):
        table, label = rows_of(index, 600)
        late, push = label["late"].to_numpy(), table["push"].to_numpy()
        words = np.where(late == 1, "overdue", np.where(three & (push > 0), "early", "on time"))
        ids = pa.array(uuids(table["row"])) if text_ids else table["row"]
        (folder / "windows").mkdir(parents=True, exist_ok=True)
        (folder / "labels").mkdir(exist_ok=True)
        pq.write_table(table.set_column(0, "row", ids), folder / "windows" / f"{name}.parquet")
        labels = pa.table({"row": ids, "late": pa.array(words).dictionary_encode()})
        pq.write_table(
            labels.take(np.random.default_rng(index).permutation(600)), folder / "labels" / f"{name}.parquet"
        )
    world = configure(folder)
    if three:
        conf = folder / "conf" / "data" / "world.yaml"
        write(conf, conf.read_text().replace("task: binary", "task: multiclass"))
        experiment = folder / "conf" / "experiment" / "world.yaml"
        text = experiment.read_text()
        head = "  - override /track: none\n  - override /evaluate: multiclass\n  - override /gate: multiclass\n"
        text = text.replace("  - override /track: none\n", head)
        text = text.replace("[roc_auc_score, log_loss]", "[accuracy_score, roc_auc_score, log_loss]")
        write(experiment, text.replace("{calibrated: {kind: noninferiority, metric: log_loss, margin: 0.05}}", "{}"))
    return world


def first(world: World) -> Cycle:
    return world.cycles()[SECOND]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> World:
    """UUIDs and words; the loop has founded itself and seen one more window. To be looked at only."""
    world = make(tmp_path_factory.mktemp("words"), text_ids=True)
    answer = world.ask("loop", POSITIVE, f"loop.until={THIRD}")
    assert answer.code == 0, answer.err
    assert "late: overdue is the positive class, on time the other" in answer.err
    return world


def test_words_are_trained_and_judged_as_their_codes(young: World, tmp_path: Path) -> None:
    """Under the same ids all numbers are those of a label of 0 and 1, bit for bit."""
    world = make(tmp_path / "codes", text_ids=False)
    assert world.ask("loop", POSITIVE, f"loop.until={SECOND}").code == 0
    ours, theirs = first(world).evaluation, first(young).evaluation
    assert ours is not None
    assert theirs is not None
    assert (ours.metrics, ours.slices, ours.n_rows) == (theirs.metrics, theirs.slices, theirs.n_rows)
    assert (ours.classes, theirs.classes) == (("on time", "overdue"), ())


def test_ids_of_text_pair_all_rows(words: World, young: World) -> None:
    """Values are those of the same rows under whole numbers; only the weights of the bootstrap are drawn by id."""
    ours, theirs = first(words).evaluation, first(young).evaluation
    assert ours is not None
    assert theirs is not None
    assert ours.n_rows == theirs.n_rows == 600
    assert [e.value for e in ours.metrics] == pytest.approx([e.value for e in theirs.metrics], rel=1e-12)
    performance = words.cycles()[THIRD].monitor
    assert performance is not None
    assert performance.performance is not None
    assert performance.performance.n_rows == 600


def test_every_output_says_which_class_is_the_positive_one(words: World, tmp_path: Path) -> None:
    told = "overdue is the positive class, on time the other"
    assert f"labelled rows; {told}" in words.ask("evaluate", POSITIVE).err
    looked = words.ask("validate", POSITIVE, f"window={SECOND}", "environment=training")
    assert f"late: {told}" in looked.err
    assert {check["outcome"] for check in looked.value["checks"]} == {"ok"}  # the label is declared, its classes known
    assert f"of the label, {told}" in (words.out / "report.html").read_text()
    champion = first(words).champion_after
    assert words.ask("card", POSITIVE).value["data"]["classes"] == ["on time", "overdue"]
    assert told in (words.out / "models" / champion[:12] / "card.md").read_text()
    encoder = json.loads(Store(words.out / "store").read(champion, "encoder.json"))
    assert encoder["words"] == ["on time", "overdue"]
    schema = words.ask("validate", "--infer", POSITIVE).value["document"]
    assert "row: {kind: text, role: id}" in schema
    assert "late: {kind: string, role: label, categories: [on time, overdue]" in schema


def test_another_order_of_classes_is_refused(words: World, line: Callable[[], str]) -> None:
    assert words.run("evaluate", "data.positive='on time'") == 2
    assert line() == (
        "late: the model knows the classes on time, overdue, and the labels are overdue, on time - set "
        "data.classes=['on time',overdue], or train a model on these labels in a new loop"
    )


def test_a_loop_asks_for_the_positive_class_before_it_writes(tmp_path: Path, line: Callable[[], str]) -> None:
    world = make(tmp_path, text_ids=True)
    assert world.run("loop") == 2
    assert line() == (
        "data.positive: the labels are 'on time' and 'overdue', and which one is the positive class is not said - set "
        "data.positive='on time' or =overdue"
    )
    assert not world.out.exists()


def test_a_new_class_is_a_finding(tmp_path: Path) -> None:
    """Of validation where it reads labels; a loop stops at it with the same line, and goes on once it is mended."""
    world = make(tmp_path, text_ids=True)
    path = tmp_path / "labels" / f"{SECOND}.parquet"
    good = path.read_bytes()
    labels = pq.read_table(path)
    words_of = labels["late"].cast(pa.string()).to_pylist()
    pq.write_table(labels.set_column(1, "late", pa.array(["lost", "lost", *words_of[2:]])), path)
    named = "data.classes=[on time,overdue]"
    told = world.ask("validate", named, f"window={SECOND}", "environment=training")
    assert told.code == 3
    found = [check for check in told.value["checks"] if check["name"] == "classes"]
    assert [(c["column"], c["severity"], c["outcome"]) for c in found] == [("late", "block", "violated")]
    what = "2 rows have the label 'lost', none of the classes 'on time', 'overdue'"
    assert found[0]["observed"] == what
    lag = ("data.label_lag=0", "loop.founding_windows=2", named)
    stopped = world.ask("loop", *lag)
    assert (stopped.code, f"{SECOND}.parquet:late: {what} - mend the labels" in stopped.err) == (2, True)
    path.write_bytes(good)
    third = tmp_path / "labels" / f"{THIRD}.parquet"
    later = pq.read_table(third)
    pq.write_table(later.set_column(1, "late", pa.array(["lost"] * 600)), third)
    assert world.ask("loop", *lag).code == 0
    blocked = world.cycles()[THIRD].validation.blocked
    assert [(check.name, check.observed) for check in blocked] == [("classes", what.replace("2 rows", "600 rows"))]
    assert world.cycles()[THIRD].decision is None


def test_ids_of_another_kind_are_a_finding(tmp_path: Path, line: Callable[[], str]) -> None:
    world = make(tmp_path, text_ids=True)
    table, _ = rows_of(2, 600)
    pq.write_table(table, tmp_path / "windows" / f"{THIRD}.parquet")
    told = world.ask("validate", POSITIVE, f"window={THIRD}")
    assert told.code == 3
    blocked = [check for check in told.value["checks"] if check["severity"] == "block" and check["outcome"] != "ok"]
    assert [(c["name"], c["column"], c["observed"], c["expected"]) for c in blocked] == [
        ("type", "row", "integer", "text")
    ]
    log = tmp_path / "windows" / f"{THIRD}.parquet"
    assert world.run("validate", POSITIVE, f"window={SECOND}", f"live={log}") == 2
    assert line() == f"{log}:row: ids are whole numbers here, and text in window {SECOND} - store both as one type"


def test_three_classes_are_learnt_and_named(tmp_path: Path) -> None:
    world = make(tmp_path, text_ids=True, three=True)
    answer = world.ask("loop", f"loop.until={SECOND}", "gate.rules.floor.threshold=0.3")
    assert "late: the 3 classes are early, on time, overdue" in answer.err
    report = first(world).evaluation
    assert report is not None
    assert report.classes == ("early", "on time", "overdue")
    assert all(np.isfinite(e.value) for e in report.metrics)
