from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from engine.records.plain import digest
from engine.track import TrackConf, make_tracker
from engine.track.told import FILE, Told, name_of
from engine.track.weights_and_biases import WandbTracker
from tests.engine.report.fixtures import LOOP, year
from tests.engine.track.offline import read_runs

OLD, NEW = "<!doctype html><title>old</title>", "<!doctype html><title>new</title>"


def told_of(folder: Path, project: str = "demo") -> Told:
    return Told(folder / "wandb", LOOP, project, "", "offline")


def test_names_are_remembered_and_the_newest_page_alone(tmp_path: Path) -> None:
    told_of(tmp_path).add(["a", "b"], "page 1")
    told_of(tmp_path).add(["c"], "page 2")
    told_of(tmp_path).add([], "")
    again = told_of(tmp_path)
    assert all(name in again for name in ("a", "b", "c", "page 2"))
    assert "page 1" not in again  # it is told again, should it be the newest once more
    assert "a" not in told_of(tmp_path, "another project")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"place": 1}', '{"place": "PLACE", "told": 3, "page": ""}'])
def test_a_file_that_is_torn_remembers_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wandb" / FILE
    path.parent.mkdir()
    path.write_text(text.replace("PLACE", digest(LOOP, "demo", "", "offline")))
    assert "a" not in told_of(tmp_path)
    told_of(tmp_path).add(["a"], "")
    assert "a" in told_of(tmp_path)


def test_where_it_cannot_be_written_all_is_told_again(tmp_path: Path) -> None:
    (tmp_path / "wandb").write_text("a file, not a folder")
    told_of(tmp_path).add(["a"], "")
    assert "a" not in told_of(tmp_path)


def test_a_tracker_knows_what_another_one_has_told_in_full(tmp_path: Path, warnings: list[str]) -> None:
    cycle, later = year()[:2]
    first = make_tracker(TrackConf(project="demo"), tmp_path, warn=warnings.append)
    first.start(LOOP, {})
    first.cycle(cycle)
    first.page(NEW)
    assert not first.knows(name_of(cycle))  # it is still being written
    first.finish()
    again = make_tracker(TrackConf(project="demo"), tmp_path, warn=warnings.append)
    again.start(LOOP, {})
    assert [again.knows(what) for what in (name_of(cycle), name_of(later), digest(NEW), digest(OLD))] == [
        True,
        False,
        True,
        False,
    ]
    anew = dataclasses.replace(cycle, n_rows=cycle.n_rows + 1)  # the same window, in a loop that was begun again
    assert not again.knows(name_of(anew))
    other = make_tracker(TrackConf(project="other"), tmp_path, warn=warnings.append)
    other.start(LOOP, {})
    assert not other.knows(name_of(cycle))
    assert warnings == []


def test_what_was_not_told_in_full_is_not_known(tmp_path: Path, warnings: list[str]) -> None:
    cycle, later = year()[:2]
    made = WandbTracker(TrackConf(), tmp_path, warn=warnings.append)
    made.start(LOOP, {})
    made.artifact("model", {"absent.bin": tmp_path / "absent.bin"}, "production")
    made.cycle(cycle)  # with a file that is not there
    made.cycle(later)
    made.finish()
    assert len(warnings) == 1
    assert not made.knows(name_of(cycle))
    assert later.window in [run.name for run in read_runs(tmp_path)]
    made.start(LOOP, {})
    made.cycle(later)
    made.finish()
    assert (made.knows(name_of(cycle)), made.knows(name_of(later))) == (False, True)
