"""`tidegate sweep --cfg job`: the space as it will be searched, ready for a file of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from engine import cli
from tests.engine.world import write

WORDS = [
    "sweep",
    "experiment=flights",
    "model=glob([tab*, res*])",
    "model.depth=1,2",
    "model.blocks=choice(1, 2)",
    "train.lr=tag(log, interval(1e-4, 1e-2))",
    "train.schedule=cosine,constant",
]
SPACE = {
    "model": "choice(resnet, tabular)",
    "model.blocks": "choice(1, 2)",
    "model.depth": "choice(1, 2)",
    "train.lr": "tag(log, interval(0.0001, 0.01))",
    "train.schedule": "choice(cosine, constant)",
}


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.run(list(words)) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_the_space_can_be_pasted_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, *WORDS, "--cfg", "job", "-p", "search", "search.num_samples=9")
    assert said.startswith(
        "# @package search\n# points without end\n# model.blocks: where model is resnet\n"
        "# model.depth: where model is tabular\nspace:\n"
    )
    assert yaml.safe_load(said)["space"] == SPACE
    write(tmp_path / "search" / "mine.yaml", said)
    again = shown(
        capsys, *WORDS[:2], "search=mine", "--config-dir", str(tmp_path), "--cfg", "job", "--package", "search"
    )
    assert again == said


def test_a_finite_space_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, *WORDS[:5], "--cfg", "job")
    assert said.startswith("# 4 points\n# model.blocks: where")
    assert yaml.safe_load(said)["train"]["lr"] == 0.002
    assert "${loop.name}" in said
    resolved = shown(capsys, *WORDS[:5], "--cfg", "job", "--resolve")
    assert "out: runs/flights\n" in resolved
    assert shown(capsys, *WORDS[:2], "search=none", "--cfg", "job", "-p", "search").startswith(
        "# @package search\n# nothing is searched\nspace: {}\n"
    )
    assert shown(capsys, *WORDS[:2], "--cfg", "job", "-p", "train.lr") == "# @package train.lr\n0.002\n"


def test_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(shown(capsys, *WORDS[:5], "--cfg", "job", "-p", "search", "--json"))
    assert answer["space"] == answer["config"]["space"] == {key: SPACE[key] for key in list(SPACE)[:3]}
    assert answer["where"] == {"model.blocks": {"model": ["resnet"]}, "model.depth": {"model": ["tabular"]}}
    assert answer["points"] == 4
    endless = json.loads(shown(capsys, *WORDS, "--cfg", "job", "-p", "search.space", "--json"))
    assert endless["points"] is None


def test_keys_of_the_config_are_searched_unless_they_are_set(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, *WORDS[:2], "train.lr=0.1", "--cfg", "job", "-p", "search.space")
    assert list(yaml.safe_load(said)) == ["model.dropout", "model.width"]


def test_a_space_that_names_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*WORDS[:2], "model=tabular,resnt", "--cfg", "job"]) == 2
    assert capsys.readouterr().err == "search.space:model: there is no option 'resnt' - did you mean 'resnet'?\n"
    assert cli.run([*WORDS[:2], "--cfg", "job", "-p", "nope"]) == 2
    assert capsys.readouterr().err == "command line:--package nope: there is no such package - see --cfg job\n"


def test_a_loop_shows_the_space_that_it_would_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that the command line sets is not searched; and the primary config may lie in a folder of one's own."""
    said = shown(capsys, "loop", "experiment=flights", "train.lr=0.1", "--cfg", "job", "-p", "search.space")
    assert yaml.safe_load(said) == {"model.dropout": "interval(0.0, 0.3)", "model.width": "choice(64, 128, 256)"}
    write(tmp_path / "mine.yaml", "defaults: [config, {override data: flights}, _self_]\ntrain: {lr: 0.25}\n")
    for verb in ("loop", "sweep"):
        said = shown(capsys, verb, "--config-dir", str(tmp_path), "--config-name", "mine", "--cfg", "job")
        assert yaml.safe_load(said)["train"]["lr"] == 0.25
