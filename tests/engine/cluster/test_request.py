"""The command of a job: the same words, nothing of submit itself, nothing secret."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from engine.cluster.conf import ClusterConf
from engine.cluster.request import make_request
from engine.errors import ConfigError

RAY = ClusterConf(kind="ray", address="http://127.0.0.1:8265", nodes=3)
TAIL = ["cluster=ray", "cluster.address=null", "cluster.nodes=3"]


def test_words_of_submit_itself_stay_behind() -> None:
    space = "train.lr=tag(log, interval(1e-4, 1e-1))"
    given = ["verb='sweep'", "experiment=flights", "+cluster=ray", "cluster.address=http://127.0.0.1:8265", space]
    request = make_request("sweep", [*given, "rehearse=true", "~act.rules"], [], "config", RAY)
    assert list(request.words) == ["tidegate", "sweep", "experiment=flights", space, "~act.rules", *TAIL]
    assert shlex.split(request.entrypoint) == list(request.words)
    assert request.runtime_env == {}  # the package is installed there


def test_the_same_command_has_the_same_name() -> None:
    names = [make_request("sweep", words, [], "config", RAY).name for words in (["a=1"], ["a=1"], ["a=2"])]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("tidegate-sweep-")


def test_a_folder_of_configs_travels_in_the_working_directory(tmp_path: Path) -> None:
    conf = ClusterConf(kind="ray", working_dir=str(tmp_path), env={"OMP_NUM_THREADS": "1"})
    request = make_request("loop", [], [f"file://{tmp_path}/my conf"], "mine", conf)
    assert list(request.words[:6]) == ["tidegate", "loop", "--config-dir", "my conf", "--config-name", "mine"]
    assert request.runtime_env == {
        "working_dir": str(tmp_path),
        "excludes": [".git", ".venv", "runs"],
        "env_vars": {"OMP_NUM_THREADS": "1"},
    }
    for other, cure in ((RAY, "put it into cluster.working_dir"), (ClusterConf(kind="kuberay"), "put its files into")):
        with pytest.raises(
            ConfigError, match=f"^command line:--config-dir: /conf is a folder of this .* alone - {cure}"
        ):
            make_request("loop", [], ["file:///conf"], "config", other)
    shared = make_request("loop", [], ["file:///conf"], "config", ClusterConf(kind="slurm"))
    assert shared.words[2:4] == ("--config-dir", "/conf")


@pytest.mark.parametrize("word", ["promote.ledger=postgresql+psycopg://me:hunter2@db/x", "act.token=abcdefgh"])
def test_a_secret_is_not_submitted(word: str) -> None:
    with pytest.raises(ConfigError, match=r"\*\*\*.*: is a secret, and jobs are shown to others - .*oc\.env") as caught:
        make_request("loop", [word], [], "config", RAY)
    assert "hunter2" not in str(caught.value)
    assert "abcdefgh" not in str(caught.value)
