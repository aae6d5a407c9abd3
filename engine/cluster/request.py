"""What is submitted: the command of a job, and what it asks for. Nothing secret is in it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import __version__
from engine.cluster.conf import ClusterConf
from engine.errors import ConfigError
from engine.records.plain import digest
from engine.system.redact import redact_text

EXCLUDED = [".git", ".venv", "runs"]  # what never travels with a job
OWN = ("verb", "rehearse", "status", "stop", "cluster")  # keys that are for submit itself


@dataclass(frozen=True, kw_only=True)
class Request:
    """One job: `name` is the same for the same command, `words` are its command line."""

    name: str
    words: tuple[str, ...]
    conf: ClusterConf

    @property
    def entrypoint(self) -> str:
        """As a shell reads it."""
        return shlex.join(self.words)

    @property
    def runtime_env(self) -> dict[str, Any]:
        """What Ray prepares for the job. `tidegate` is not sent: it is installed there."""
        folder = self.conf.working_dir
        packed = {"working_dir": str(Path(folder).absolute()), "excludes": EXCLUDED} if folder else {}
        return packed | ({"env_vars": dict(self.conf.env)} if self.conf.env else {})

    @property
    def metadata(self) -> dict[str, str]:
        """What is shown beside the job."""
        return {"tidegate": __version__, "name": self.name}


def make_request(verb: str, overrides: list[str], folders: list[str], config_name: str, conf: ClusterConf) -> Request:
    """The job of a verb with these overrides.

    Args:
        verb: of the command line.
        overrides: words of the command line; those that are for submit itself are left out.
        folders: `--config-dir`s of this machine.
        config_name: of the primary config.
        conf: where it runs.

    Raises:
        ConfigError: a word holds a secret, or a folder does not travel.
    """
    words = ["tidegate", verb]
    for folder in folders:
        words += ["--config-dir", _travelling(folder, conf)]
    if config_name != "config":
        words += ["--config-name", config_name]
    words += [word for word in overrides if _key(word).partition(".")[0] not in OWN]
    words += ["cluster=ray", "cluster.address=null", f"cluster.nodes={conf.nodes}"]
    for word in words:
        if redact_text(word) != word:
            cure = "set it in the environment there, and refer to it: ${oc.env:NAME}"
            raise ConfigError(f"command line:{redact_text(word)}", "is a secret, and jobs are shown to others", cure)
    return Request(name=f"tidegate-{verb}-{digest(words, conf.kind, conf.env)[:10]}", words=tuple(words), conf=conf)


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~").replace("/", ".")


def _travelling(folder: str, conf: ClusterConf) -> str:
    """A folder of configs as the job names it."""
    path = Path(folder.removeprefix("file://")).absolute()
    if conf.kind == "slurm":  # whose machines share the folder it is submitted from
        return str(path)
    if conf.kind == "ray" and conf.working_dir and path.is_relative_to(Path(conf.working_dir).absolute()):
        return str(path.relative_to(Path(conf.working_dir).absolute()))
    cure = "put it into cluster.working_dir, which travels" if conf.kind == "ray" else "put its files into the image"
    raise ConfigError("command line:--config-dir", f"{path} is a folder of this machine alone", cure)
