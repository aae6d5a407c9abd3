"""What a person may say about a cluster, and the line that refuses what nobody means."""

from __future__ import annotations

from typing import Any

import pytest

from engine.cluster.conf import ClusterConf
from engine.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"kind": "yarn"}, "cluster.kind: 'yarn' is unknown - choose one of local, ray, kuberay, slurm"),
        ({"address": "a:1"}, "cluster.address: local joins nothing - add cluster=ray, or leave it out"),
        (
            {"kind": "ray", "address": "ray://a:10001"},
            "cluster.address: Ray Client is not supported - use host:port from a machine of the cluster, or "
            "`tidegate submit` from any other",
        ),
        (
            {"kind": "ray", "address": "http://me:hunter2@a:8265"},
            "cluster.address: holds a secret - give the token in RAY_AUTH_TOKEN_PATH",
        ),
        ({"nodes": 0}, "cluster.nodes: 0 is not from 1 to 10000 - choose one that is"),
        ({"gpus": -1}, "cluster.gpus: -1 is not from 0 to 1000 - choose one that is"),
        ({"memory": "8GB"}, "cluster.memory: '8GB' cannot be one - write it like 8Gi"),
        ({"time": "a day"}, "cluster.time: 'a day' cannot be one - write it like 24:00:00"),
        ({"partition": "gpu; rm -rf /"}, "cluster.partition: 'gpu; rm -rf /' cannot be one - write it like gpu"),
        ({"volume": "Mine"}, "cluster.volume: 'Mine' cannot be one - write it like tidegate"),
        ({"mount": "data"}, "cluster.mount: 'data' is relative - write the whole path"),
        ({"env": {"A-B": "1"}}, "cluster.env: 'A-B' is no name of a variable - use letters, digits and _"),
        (
            {"env": {"WANDB_API_KEY": "x"}},
            "cluster.env.WANDB_API_KEY: is a secret, and the dashboard shows it - set it on the cluster's own machines "
            "(kuberay: cluster.secret)",
        ),
    ],
)
def test_refusals(values: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClusterConf(**values)
    assert str(caught.value) == line


@pytest.mark.parametrize("address", ["", ":1", "host", "http://", "host:99999", "ftp://a:1", "http://["])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^cluster\.address: .* is no address - write host:port"):
        ClusterConf(kind="ray", address=address)


@pytest.mark.parametrize("address", ["10.0.0.1:6379", "auto", "http://a:8265", "https://ray.example", "[::1]:6379"])
def test_what_is_one(address: str) -> None:
    assert ClusterConf(kind="ray", address=address).is_web is address.startswith("http")


def test_what_describes_a_job_runs_nothing_here() -> None:
    ClusterConf().check_runs_here()
    ClusterConf(kind="ray", address="a:6379").check_runs_here()
    for conf in (ClusterConf(kind="slurm"), ClusterConf(kind="kuberay")):
        with pytest.raises(
            ConfigError, match=f"^cluster: {conf.kind} says what to submit, and runs nothing here - use"
        ):
            conf.check_runs_here()
    with pytest.raises(ConfigError, match=r"^cluster\.address: this is a Job API, which is submitted to - use"):
        ClusterConf(kind="ray", address="http://a:8265").check_runs_here()
