"""Files of a trial that come home: whole, the record last, into the trial's folder and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import InputError
from engine.system import durable
from engine.train.home import Home, placed
from tests.engine.train.made import make_job


def test_what_is_taken_is_given_back(tmp_path: Path) -> None:
    home = Home()
    files = {"trial.json": b"{}", "weights.safetensors": b"w" * 10}
    assert home.files(str(tmp_path), "trial-000") == {}
    home.take(str(tmp_path), "trial-000", files, [])
    (tmp_path / "trial-000" / f".half{durable.TEMPORARY}").write_bytes(b"what a crash left")
    assert home.files(str(tmp_path), "trial-000") == files
    home.take(str(tmp_path), "trial-000", {"checkpoint-0": b"c"}, ["weights.safetensors", "gone.already"])
    assert home.files(str(tmp_path), "trial-000") == {"trial.json": b"{}", "checkpoint-0": b"c"}


def test_the_record_is_written_last(tmp_path: Path) -> None:
    replaced: list[str] = []

    def watch(step: durable.Step, execute: object) -> None:
        if step.operation == "replace" and step.target:
            replaced.append(step.target.name)
        execute()  # type: ignore[operator]

    with durable.intercept(watch):
        Home().take(str(tmp_path), "trial-000", {"trial.json": b"{}", "a": b"1", "weights.safetensors": b"2"}, [])
    assert replaced == ["a", "weights.safetensors", "trial.json"]


@pytest.mark.parametrize("name", ["../x", "a/b", "", "..", "/etc/passwd"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    home = Home()
    for call in (
        lambda: home.take(str(tmp_path), "trial-000", {name: b""}, []),
        lambda: home.take(str(tmp_path), "trial-000", {}, [name]),
        lambda: home.take(str(tmp_path), name, {"x": b""}, []),
        lambda: home.files(str(tmp_path), name),
    ):
        with pytest.raises(InputError, match="is no name of a file in the folder of a trial"):
            call()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_at_home_a_trial_writes_where_it_should_be(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    with placed(job, "trial-000", "") as place:
        assert place.job is job
        place.send()  # nothing is to be sent
