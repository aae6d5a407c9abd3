"""How wandb is told to be quiet: no console, no machine, no code, no account but the one that was meant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

INIT_TIMEOUT = 15.0  # seconds until a silent server is given up, once a loop
FINISH_TIMEOUT = 60.0  # seconds for the upload of one run

Mode = Literal["online", "offline"]


def chosen_mode(wanted: str) -> Mode:
    """online or offline; `auto` is online where a key is there and the environment does not say offline."""
    if wanted != "auto":
        return "online" if wanted == "online" else "offline"
    asked = os.environ.get("WANDB_MODE", "")
    return "online" if os.environ.get("WANDB_API_KEY") and asked not in ("offline", "dryrun") else "offline"


def quiet_settings(wandb: Any, *, stats: bool = False) -> Any:
    """Quiet, and nothing gathered that we did not hand over, but for the system metrics where `stats` asks for them."""
    wanted: dict[str, Any] = {
        "console": "off",
        "disable_git": True,
        "disable_job_creation": True,
        "host": "",
        "init_timeout": INIT_TIMEOUT,
        "save_code": False,
        "silent": True,
        "x_disable_machine_info": not stats,  # it would end the metrics; what it names is shut off by x_disable_meta
        "x_disable_meta": True,
        "x_disable_stats": not stats,
        "x_save_requirements": False,
    }
    if "finish_timeout" in wandb.Settings.model_fields:  # newer than the oldest version that we accept
        wanted |= {"finish_timeout": FINISH_TIMEOUT, "finish_timeout_raises": True}
    return wandb.Settings(**wanted)


@contextmanager
def own_folders(root: Path) -> Iterator[None]:
    """wandb reads some folders from the environment alone: ours hold while anything is told.

    For the main thread. Whoever goes through the environment meanwhile must not see a name vanish, so that another
    thread changes no more than a value (`stage`).
    """
    wanted = {
        "WANDB_CACHE_DIR": str(root / "cache"),
        "WANDB_DATA_DIR": str(root / "staging"),
        "WANDB_ERROR_REPORTING": "false",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def stage(folder: Path) -> None:
    """Let wandb lay down in `folder`, made where it is missing, what it has yet to send."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DATA_DIR"] = str(folder)
