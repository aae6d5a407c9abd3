"""What is kept by content: found again, made anew where anything about it has changed, whole or not there."""

from __future__ import annotations

import errno
import math
from pathlib import Path

import pytest

from engine.backtest.kept import Kept, code_of
from engine.errors import InputError
from engine.records.estimates import Estimate
from engine.system import durable


def estimate(value: float) -> Estimate:
    return Estimate(name="m", value=value, low=math.nan, high=1.0, n=3, confidence_level=0.95, method="x")


def test_a_fact_is_made_once_and_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "code")
    first = kept.once("scores", Estimate, ["rows", 1], lambda: estimate(0.25))
    again = Kept(tmp_path, "code")
    found = again.once("scores", Estimate, ["rows", 1], lambda: estimate(9.0))
    assert (first.value, found.value, math.isnan(found.low)) == (0.25, 0.25, True)
    assert (kept.made, again.made) == (1, 0)


@pytest.mark.parametrize(
    ("code", "kind", "key"), [("new", "scores", [1]), ("code", "drift", [1]), ("code", "scores", [2])]
)
def test_other_code_kinds_and_keys_are_other_facts(tmp_path: Path, code: str, kind: str, key: list[int]) -> None:
    Kept(tmp_path, "code").put("scores", [1], estimate(0.25))
    assert Kept(tmp_path, code).find(kind, Estimate, key) is None


@pytest.mark.parametrize("text", ["", "{", '{"name": "m"}', "[]", '{"unknown": 1}'])
def test_a_file_that_cannot_be_read_is_measured_again(tmp_path: Path, text: str) -> None:
    kept = Kept(tmp_path, "code")
    kept.put("scores", [1], estimate(0.25))
    (path,) = tmp_path.rglob("*.json")
    path.write_text(text)
    assert kept.once("scores", Estimate, [1], lambda: estimate(0.5)).value == 0.5
    found = kept.find("scores", Estimate, [1])
    assert found is not None
    assert found.value == 0.5


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    def full(step: durable.Step, execute: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    kept = Kept(tmp_path, "code")
    with durable.intercept(full), pytest.raises(InputError, match="No space left on device"):
        kept.put("scores", [1], estimate(0.25))
    assert list(tmp_path.rglob("*.json")) == []
    assert kept.made == 0


def test_the_code_is_told_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "pack" / "deep").mkdir(parents=True)
    for name in ("one.py", "pack/two.py", "pack/deep/three.py", "other.py"):
        (tmp_path / name).write_text("x = 1\n")
    before = code_of(tmp_path, ["one.py", "pack"])
    (tmp_path / "other.py").write_text("x = 2\n")
    assert code_of(tmp_path, ["one.py", "pack"]) == before
    (tmp_path / "pack" / "deep" / "three.py").write_text("x = 2\n")
    assert code_of(tmp_path, ["one.py", "pack"]) != before
