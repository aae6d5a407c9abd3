"""Ray for this process: one that we start on this machine, or a cluster that is joined.

The one that we start listens on loopback alone, wants a token that is made for it, has no dashboard and ends with us.
The one that is joined is the user's, and so is its token (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token).
`ray stop` is never called: it would end every Ray of the user.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.cluster.conf import ClusterConf
from engine.doctor.services import unreachable
from engine.errors import ConfigError, one_line
from engine.system.redact import redact_text

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
PATIENCE = 300.0  # seconds that a machine may take to come up after the first one
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: a Ray for one machine, whose every port is on 127.0.0.1
OBJECT_STORE_BYTES = 512 * 1024**2  # a year of flights, encoded, takes 60 MB


class Connection:
    """Between `open` and `close` this process has a Ray. Its processes die with the thread that called `open`."""

    def __init__(self, conf: ClusterConf, cpus: int) -> None:
        """`cpus` is what a Ray that we start may use."""
        self.conf, self.cpus = conf, cpus
        self.ours = False  # is the connection ours to end
        self._folder: Path | None = None  # of the token
        self._before: dict[str, str | None] = {}

    def open(self) -> None:
        """Start or join Ray; the one that this process is connected to is taken as it is.

        Raises:
            ConfigError: the cluster cannot be joined, or our own Ray does not come up.
        """
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import ray

        if ray.is_initialized():
            return
        self.ours = True
        if self.conf.kind == "local":
            self._guard()
            self._start()
        else:
            look_again()
            _join(self.conf.address or os.environ.get("RAY_ADDRESS") or "auto")
            _wait_for(self.conf.nodes)

    def _start(self) -> None:
        import ray

        try:
            ray.init(
                address="local",
                include_dashboard=False,
                num_cpus=self.cpus,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except Exception as error:  # Ray raises bare ones, such as when its node is not up within half a minute
            self.close()
            what = f"Ray does not start on this machine: {redact_text(one_line(str(error)))[:200]}"
            cure = "free some CPU, memory and disk, and run the same command again"
            raise ConfigError("cluster", what, cure) from None

    def close(self) -> None:
        """End the Ray that we started, or leave the one that we joined."""
        if not self.ours:
            return
        import ray

        ray.shutdown()
        self.ours = False
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if self._before:
            look_again()
        self._before = {}

    def _guard(self) -> None:
        """A token of its own, in a file that only this user reads: an environment is shown more often than a file."""
        self._folder = Path(tempfile.mkdtemp(prefix="tidegate-ray-"))  # 0700
        path = self._folder / "token"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, secrets.token_hex(32).encode())
        finally:
            os.close(descriptor)
        chosen = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path), "RAY_AUTH_TOKEN": None, LOOPBACK: "0"}
        self._before = {name: os.environ.get(name) for name in chosen}
        for name, value in chosen.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        look_again()


def _wait_for(count: int) -> None:
    """Until so many nodes are there: machines of one job come up one after the other. Not for ever: those that are
    there can train.
    """
    import ray

    deadline = time.monotonic() + PATIENCE
    while sum(node["Alive"] for node in ray.nodes()) < count and time.monotonic() < deadline:
        time.sleep(0.2)


def look_again() -> None:
    """Ray reads its variables once a process; where it has been imported before, it must read them anew."""
    from ray import _raylet
    from ray._private import ray_constants

    raylet: Any = _raylet
    ray_constants.ENABLE_RAY_CLUSTER = os.environ.get(LOOPBACK) != "0"
    loader = raylet.AuthenticationTokenLoader.instance()
    loader.reset_cache()
    if "RAY_AUTH_MODE" not in os.environ and loader.has_token(ignore_auth_mode=True):
        os.environ["RAY_AUTH_MODE"] = "token"  # who has a token wants it used
    raylet.Config.initialize("")


def _join(address: str) -> None:
    import ray

    if address != "auto" and (fault := unreachable(address)):  # Ray itself would try for minutes
        raise ConfigError("cluster.address", f"{redact_text(address)} {fault}", "start the cluster, or correct it")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        said = one_line(redact_text(str(error)), 200)
        cure = "check that it runs, that its Ray is of the same version, and its token: RAY_AUTH_TOKEN_PATH"
        raise ConfigError("cluster.address", f"{redact_text(address)} cannot be joined ({said})", cure) from error
