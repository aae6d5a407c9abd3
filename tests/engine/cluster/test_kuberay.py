"""A RayJob: every field is one that KubeRay's definition knows, of its type, and those that it requires are there."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from engine.cluster.conf import ClusterConf
from engine.cluster.kuberay import manifest
from engine.cluster.request import make_request
from engine.doctor import version_of
from engine.errors import ConfigError

# What we use of the CustomResourceDefinition rayjobs.ray.io, v1, of KubeRay 1.7: a type, a list of one kind of thing,
# or the fields of a thing; a star marks what is required.
POD = {
    "spec": {
        "containers*": [
            {
                "name*": str,
                "image": str,
                "env": [{"name*": str, "value": str}],
                "envFrom": [{"secretRef": {"name": str}}],
                "resources": {"limits": dict, "requests": dict},
                "volumeMounts": [{"name*": str, "mountPath*": str}],
            }
        ],
        "volumes": [{"name*": str, "persistentVolumeClaim": {"claimName*": str}}],
    }
}
GROUP = {"rayStartParams": dict, "template*": POD}
WORKERS = {"groupName*": str, "replicas": int, "minReplicas*": int, "maxReplicas*": int} | GROUP
RAYJOB = {
    "apiVersion*": str,
    "kind*": str,
    "metadata*": {"name*": str, "namespace": str, "labels": dict},
    "spec*": {
        "entrypoint": str,
        "metadata": dict,
        "backoffLimit": int,
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "rayClusterSpec": {
            "rayVersion": str,
            "authOptions": {"mode": str},
            "headGroupSpec*": GROUP,
            "workerGroupSpecs": [WORKERS],
        },
    },
}


def faults(value: Any, kind: Any, path: str) -> list[str]:
    """Where a value is not of a kind."""
    if isinstance(kind, list):
        return [f for i, item in enumerate(value) for f in faults(item, kind[0], f"{path}[{i}]")]
    if isinstance(kind, dict):
        known = {name.rstrip("*"): inner for name, inner in kind.items()}
        missing = [f"{path}.{n[:-1]} is missing" for n in kind if n.endswith("*") and n[:-1] not in value]
        unknown = [f"{path}.{name} is unknown" for name in value if name not in known]
        below = [f for name in value if name in known for f in faults(value[name], known[name], f"{path}.{name}")]
        return missing + unknown + below
    if kind is dict:  # of texts: YAML would make a number of 4 that the API refuses
        return [f"{path}.{name} is no text" for name, inner in value.items() if not isinstance(inner, str)]
    return [] if type(value) is kind else [f"{path} is {value!r}"]


def made(**values: Any) -> dict[str, Any]:
    """The manifest of a sweep, read as Kubernetes reads it."""
    conf = ClusterConf(kind="kuberay", **{"image": "registry.example/tidegate:1", **values})
    words = ["experiment=flights", "out=/mnt/tidegate/flights", "train.lr=tag(log, interval(1e-4, 1e-1))"]
    found: dict[str, Any] = yaml.safe_load(manifest(make_request("sweep", words, [], "config", conf)))
    return found


@pytest.mark.parametrize(
    "values",
    [{}, {"nodes": 3, "gpus": 2, "volume": "flights", "secret": "keys", "env": {"A": "yes"}, "memory": "64Gi"}],
)
def test_every_field_is_known(values: dict[str, Any]) -> None:
    job = made(**values)
    assert faults(job, RAYJOB, "RayJob") == []
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")


def test_the_check_itself_sees_faults() -> None:
    job = made()
    job["spec"]["entrypont"] = job["spec"].pop("entrypoint")
    job["spec"]["rayClusterSpec"]["headGroupSpec"].pop("template")
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 4
    assert faults(job, RAYJOB, "RayJob") == [
        "RayJob.spec.entrypont is unknown",
        "RayJob.spec.rayClusterSpec.headGroupSpec.template is missing",
        "RayJob.spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus is no text",
    ]


def test_what_a_cluster_of_gpus_asks_for() -> None:
    job = made(nodes=3, gpus=2, cpus=8, volume="flights", secret="keys", retries=5, namespace="ml")
    assert job["metadata"]["namespace"] == "ml"
    spec = job["spec"]
    assert spec["backoffLimit"] == 5
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["entrypoint"].endswith("cluster=ray cluster.address=null cluster.nodes=3")
    assert "'train.lr=tag(log, interval(1e-4, 1e-1))'" in spec["entrypoint"]
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == version_of("ray")
    (workers,) = cluster["workerGroupSpecs"]
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (2, 2, 2)
    for group in (cluster["headGroupSpec"], workers):
        (container,) = group["template"]["spec"]["containers"]
        asked = {"cpu": "8", "memory": "8Gi", "nvidia.com/gpu": "2"}
        assert container["resources"] == {"requests": asked, "limits": asked}
        assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
        assert container["volumeMounts"] == [{"name": "tidegate", "mountPath": "/mnt/tidegate"}]
        assert group["template"]["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "flights"}


def test_one_machine_has_no_workers() -> None:
    assert "workerGroupSpecs" not in made(nodes=1)["spec"]["rayClusterSpec"]


def test_an_image_must_be_named() -> None:
    with pytest.raises(ConfigError, match=r"^cluster\.image: there is none - name one with this version of tidegate"):
        made(image=None)
