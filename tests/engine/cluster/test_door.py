"""The door to Ray: what is said where our own one does not come up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ray

from engine.cluster.conf import ClusterConf
from engine.cluster.door import Connection
from engine.errors import ConfigError


def test_a_ray_that_does_not_start_is_one_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def init(**options: object) -> None:
        assert list(tmp_path.iterdir()), "its token is there"
        raise Exception("The current node timed out during startup.\nThis could happen because ...")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = dict(os.environ)
    connection = Connection(ClusterConf(), 1)
    with pytest.raises(ConfigError) as error:
        connection.open()
    assert str(error.value) == (
        "cluster: Ray does not start on this machine: The current node timed out during startup. This could happen "
        "because ... - free some CPU, memory and disk, and run the same command again"
    )
    assert not connection.ours
    assert list(tmp_path.iterdir()) == []
    assert os.environ.get("RAY_AUTH_TOKEN_PATH") == before.get("RAY_AUTH_TOKEN_PATH")
