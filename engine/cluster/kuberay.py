"""A RayJob for KubeRay (ray.io/v1, from its release 1.5.1 on): a cluster with a token, one command, the end of both."""

from __future__ import annotations

from typing import Any

import yaml

from engine.cluster.conf import ClusterConf
from engine.cluster.request import Request
from engine.doctor.packages import version_of
from engine.errors import ConfigError

KEPT = 7 * 24 * 3600  # seconds for which Kubernetes remembers an ended job
VOLUME = "tidegate"


def manifest(request: Request) -> str:
    """The YAML that `kubectl create -f -` takes; ConfigError where the config does not name an image."""
    conf = request.conf
    if not conf.image:
        cure = "name one with this version of tidegate and ray[default]: cluster.image=..."
        raise ConfigError("cluster.image", "there is none", cure)
    cluster: dict[str, Any] = {
        "rayVersion": version_of("ray"),
        "authOptions": {"mode": "token"},  # KubeRay makes the token, and hands it to every pod
        "headGroupSpec": {
            "rayStartParams": {"disable-usage-stats": "true", "num-cpus": str(conf.cpus)},
            "template": _pod(conf, "head"),
        },
    }
    if conf.nodes > 1:
        workers = {
            "groupName": "workers",
            "replicas": conf.nodes - 1,
            "minReplicas": conf.nodes - 1,
            "maxReplicas": conf.nodes - 1,
            "rayStartParams": {"num-cpus": str(conf.cpus)},
            "template": _pod(conf, "worker"),
        }
        cluster["workerGroupSpecs"] = [workers]
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": request.name,
            "namespace": conf.namespace,
            "labels": {"app.kubernetes.io/name": "tidegate", "app.kubernetes.io/managed-by": "tidegate"},
        },
        "spec": {
            "entrypoint": request.entrypoint,
            "metadata": request.metadata,
            "backoffLimit": conf.retries,  # with a new cluster; the command goes on from its record
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": KEPT,
            "rayClusterSpec": cluster,
        },
    }
    text: str = yaml.safe_dump(job, sort_keys=False, width=120)
    return text


def _pod(conf: ClusterConf, role: str) -> dict[str, Any]:
    """Requests are limits: a trial that is moved when a neighbour grows is trained twice."""
    asked: dict[str, Any] = {"cpu": str(conf.cpus), "memory": conf.memory}
    if conf.gpus:
        asked["nvidia.com/gpu"] = str(conf.gpus)
    variables = {"RAY_USAGE_STATS_ENABLED": "0"} | conf.env
    container: dict[str, Any] = {
        "name": f"ray-{role}",
        "image": conf.image,
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "resources": {"requests": asked, "limits": dict(asked)},
    }
    if conf.secret:
        container["envFrom"] = [{"secretRef": {"name": conf.secret}}]
    pod: dict[str, Any] = {"containers": [container]}
    if conf.volume:
        container["volumeMounts"] = [{"name": VOLUME, "mountPath": conf.mount}]
        pod["volumes"] = [{"name": VOLUME, "persistentVolumeClaim": {"claimName": conf.volume}}]
    return {"spec": pod}
