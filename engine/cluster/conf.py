"""What a person sets about the cluster. No heavy import here: the command line reads this file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from engine.errors import ConfigError
from engine.system.redact import is_secret, redact_text

KINDS = ("local", "ray", "kuberay", "slurm")
WEB = ("http", "https")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")  # of a Kubernetes object
_MEMORY = re.compile(r"[1-9][0-9]*(Mi|Gi|Ti)")
_TIME = re.compile(r"([0-9]+-)?[0-9]{1,2}:[0-9]{2}:[0-9]{2}")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,-]*")  # of Slurm
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(kw_only=True, slots=True)
class ClusterConf:
    """Where trials run."""

    kind: str = "local"
    """local: Ray starts here and ends with the command, whatever RAY_ADDRESS says; ray: a cluster that runs is joined;
    kuberay, slurm: what `tidegate submit` describes."""
    address: str | None = None
    """ray: host:port of the head, null: RAY_ADDRESS, or the cluster of this machine. For submit the URL of its Job API,
    null: RAY_API_SERVER_ADDRESS, or http://127.0.0.1:8265."""
    working_dir: str | None = None
    """submit to ray: folder of this machine that travels with the job and is its working directory there, such as one
    with your own models and --config-dir; what .gitignore names stays behind. null: nothing travels."""
    env: dict[str, str] = field(default_factory=dict)
    """submit: variables of the job. No secrets: they are shown on the dashboard."""
    nodes: int = 1
    """kuberay, slurm: machines, the head among them; ray: how many to wait for, five minutes at most."""
    cpus: int = 4
    """kuberay, slurm: of a machine."""
    gpus: int = 0
    """kuberay, slurm: of a machine."""
    memory: str = "8Gi"
    """kuberay, slurm: of a machine, such as 512Mi or 64Gi."""
    image: str | None = None
    """kuberay: an image in which this version of tidegate is installed with ray[default]."""
    namespace: str = "default"
    """kuberay: of Kubernetes."""
    volume: str | None = None
    """kuberay: a PersistentVolumeClaim, mounted in every pod; `out` belongs on it."""
    mount: str = "/mnt/tidegate"
    """kuberay: where the volume is mounted."""
    secret: str | None = None
    """kuberay: a Secret whose entries become variables of every pod: keys of S3, the password of the ledger."""
    retries: int = 3
    """kuberay: how often a job whose cluster was lost is begun again; it goes on from its record."""
    time: str = "24:00:00"
    """slurm: at most [days-]hours:minutes:seconds; a job that needs longer queues itself again and goes on."""
    partition: str | None = None
    """slurm: null: the site's own choice."""
    account: str | None = None
    """slurm: null: the user's own."""
    setup: list[str] = field(default_factory=list)
    """slurm: lines of bash that make `tidegate` and `ray` known on every machine, such as "module load cuda"."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("cluster.kind", f"{self.kind!r} is unknown", f"choose one of {', '.join(KINDS)}")
        self._check_address()
        for name, least, most in (("nodes", 1, 10_000), ("cpus", 1, 10_000), ("gpus", 0, 1_000), ("retries", 0, 1_000)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"cluster.{name}", f"{value} is not from {least} to {most}", "choose one that is")
        for name, pattern, example in (
            ("memory", _MEMORY, "8Gi"),
            ("time", _TIME, "24:00:00"),
            ("image", _IMAGE, "registry.example/tidegate:1"),
            ("namespace", _NAME, "default"),
            ("volume", _NAME, "tidegate"),
            ("secret", _NAME, "tidegate"),
            ("partition", _WORD, "gpu"),
            ("account", _WORD, "team"),
        ):
            value = getattr(self, name)
            if value is not None and not pattern.fullmatch(value):
                raise ConfigError(f"cluster.{name}", f"{value!r} cannot be one", f"write it like {example}")
        if not self.mount.startswith("/"):
            raise ConfigError("cluster.mount", f"{self.mount!r} is relative", "write the whole path")
        for name, value in self.env.items():
            if not _VARIABLE.fullmatch(name):
                raise ConfigError("cluster.env", f"{name!r} is no name of a variable", "use letters, digits and _")
            if is_secret(name) or redact_text(value) != value:
                cure = "set it on the cluster's own machines (kuberay: cluster.secret)"
                raise ConfigError(f"cluster.env.{name}", "is a secret, and the dashboard shows it", cure)

    def _check_address(self) -> None:
        if self.address is None:
            return
        if self.kind != "ray":
            raise ConfigError("cluster.address", f"{self.kind} joins nothing", "add cluster=ray, or leave it out")
        if self.address.startswith("ray://"):
            cure = "use host:port from a machine of the cluster, or `tidegate submit` from any other"
            raise ConfigError("cluster.address", "Ray Client is not supported", cure)
        try:
            parts = urlsplit(self.address if "://" in self.address else f"//{self.address}")
            whole = bool(parts.hostname) and parts.scheme in ("", *WEB) and bool(parts.port or parts.scheme)
        except ValueError:
            whole = False
        if not whole and self.address != "auto":
            cure = "write host:port, such as 10.0.0.1:6379; for submit http://host:8265"
            raise ConfigError("cluster.address", f"{redact_text(self.address)!r} is no address", cure)
        if redact_text(self.address) != self.address:
            raise ConfigError("cluster.address", "holds a secret", "give the token in RAY_AUTH_TOKEN_PATH")

    @property
    def is_web(self) -> bool:
        """Is the address that of a Job API."""
        return urlsplit(self.address or "").scheme in WEB

    def check_runs_here(self) -> None:
        """ConfigError where this describes something else than a Ray for this process."""
        if self.kind in ("kuberay", "slurm"):
            cure = "use `tidegate submit VERB ...`, or cluster=local"
            raise ConfigError("cluster", f"{self.kind} says what to submit, and runs nothing here", cure)
        if self.is_web:
            cure = "use `tidegate submit VERB ...`, or the host:port of the head"
            raise ConfigError("cluster.address", "this is a Job API, which is submitted to", cure)
