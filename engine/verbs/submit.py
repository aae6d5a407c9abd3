"""The verb that hands another verb to a cluster: to Ray's Job API, or as a file for kubectl and for sbatch.

Ctrl-C lets go of a job that was submitted, and the job goes on: whoever follows a log is not the one who needs the
result. The same command follows it again, `tidegate submit --stop ID` ends it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.cluster import jobs, kuberay, slurm
from engine.cluster.conf import ClusterConf
from engine.cluster.jobs import INTERRUPTED, NOT_FOUND, Jobs, JobState
from engine.cluster.request import Request, make_request
from engine.config.schema import Composer, Config
from engine.errors import ConfigError
from engine.report.terminal import Console, make_console
from engine.system.redact import redact_text

Answer = tuple[int, dict[str, Any]]
HANDED = {"kuberay": "kubectl create -f -", "slurm": "sbatch"}


def submit(config: Config, composer: Composer, quiet: bool = False) -> Answer:
    """Hand a verb to a cluster and follow it; its exit code is ours. With `--dry-run`, say what would be handed on."""
    console = make_console(quiet)
    if config.stop or config.status:
        return _ask(config, console)
    if not config.verb:
        raise ConfigError("command line:submit", "what is submitted is missing", "write tidegate submit sweep ...")
    conf = config.cluster
    if conf.kind == "local":
        raise ConfigError("cluster", "local is this machine", "add cluster=ray, cluster=kuberay or cluster=slurm")
    _check_place(config)
    request = make_request(config.verb, composer.words(), composer.searchpath, composer.name, conf)
    if config.rehearse:
        return 0, {"kind": conf.kind, "document": _document(request)}
    if conf.kind in HANDED:
        cure = f"add --dry-run and hand the text on: tidegate submit ... --dry-run | {HANDED[conf.kind]}"
        raise ConfigError("cluster", f"tidegate does not speak to {conf.kind} itself", cure)
    there = Jobs(_web(conf))
    job, fresh = there.submit(request)
    console.note(f"job {job} {'is submitted to' if fresh else 'runs already on'} {there.address}")
    try:
        state = there.follow(job, _write)
    except KeyboardInterrupt:
        console.note(f"let go: job {job} goes on - the same command follows it, tidegate submit --stop {job} ends it")
        return INTERRUPTED, {"job": job, "status": "RUNNING", "message": "let go", "code": None}
    return _told(state, console)


def _ask(config: Config, console: Console) -> Answer:
    """--status and --stop."""
    there = Jobs(_web(config.cluster))
    if config.stop:
        state = there.stop(config.stop)
        console.note(f"job {state.job} {state.status}: {state.message}")
        return 0, asdict(state)
    state = there.state(str(config.status))
    console.note(f"job {state.job} {state.status}: {state.message}")
    return 0, asdict(state)


def _told(state: JobState, console: Console) -> Answer:
    console.note(f"job {state.job} {state.status}: {state.message}")
    if state.code == NOT_FOUND:
        console.warn("tidegate is not installed on the cluster - install the same version on every machine of it")
    return (1 if state.code is None else state.code), asdict(state)


def _document(request: Request) -> str:
    if request.conf.kind == "kuberay":
        return kuberay.manifest(request)
    if request.conf.kind == "slurm":
        return slurm.script(request)
    asked = {
        "address": _web(request.conf) or jobs.DEFAULT,
        "entrypoint": request.entrypoint,
        "runtime_env": request.runtime_env,
        "metadata": request.metadata,
    }
    return json.dumps(asked, indent=2) + "\n"


def _web(conf: ClusterConf) -> str | None:
    if conf.address is not None and not conf.is_web:
        cure = "write the URL of its dashboard, such as http://127.0.0.1:8265"
        raise ConfigError("cluster.address", f"{conf.address} is no Job API", cure)
    return conf.address


def _write(text: str) -> None:
    """The log of a job is for people: stdout is for what --json answers."""
    sys.stderr.write(redact_text(text))
    sys.stderr.flush()


def _check_place(config: Config) -> None:
    """ConfigError where what the job writes would be gone with the job."""
    conf = config.cluster
    if conf.kind != "slurm" and not Path(config.out).is_absolute():
        cure = "name a folder of the cluster that stays: out=/mnt/tidegate/..."
        raise ConfigError("out", f"{config.out} is relative, and the folder of a job goes with the job", cure)
    if conf.kind != "kuberay" or (conf.volume and Path(config.out).is_relative_to(conf.mount)):
        return
    ledger, store = config.promote.ledger or "sqlite", config.promote.store or ""
    if ledger.startswith("sqlite") or "://" not in store:
        cure = (
            f"add cluster.volume=CLAIM and out={conf.mount}/..., or promote.ledger=postgresql... and promote.store=s3:"
        )
        raise ConfigError("out", "ledger and models would go with their pod", cure)
