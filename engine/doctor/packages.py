"""Versions, and those that must not run."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from importlib import metadata

from engine import __version__
from engine.doctor.finding import Finding, bad, good, warn

PACKAGES = (
    "torch",
    "lightning",
    "ray",
    "hydra-core",
    "numpy",
    "numba",
    "pyarrow",
    "safetensors",
    "sqlalchemy",
    "wandb",
)


def versions() -> dict[str, str]:
    """Versions of what a model depends on; packages that are not installed are left out."""
    found = {"tidegate": __version__, "python": platform.python_version()}
    return found | {name: version for name in PACKAGES if (version := version_of(name))}


def version_of(package: str) -> str:
    """The installed version; empty where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def numbers(version: str) -> tuple[int, ...]:
    """The release of a version: "2.10.0rc1+cu130" is (2, 10, 0)."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()


def python() -> Finding:
    """3.11 to 3.13 are tested."""
    found = platform.python_version()
    if (3, 11) <= numbers(found)[:2] <= (3, 13):
        return good("Python", found)
    return warn("Python", found, "use 3.11, 3.12 or 3.13: others are not tested")


def torch(version: str) -> Finding:
    """Before 2.10, `weights_only` could be got round (CVE-2025-32434, CVE-2026-24747)."""
    if not version:
        return bad("torch", "not installed", "pip install 'torch>=2.10'")
    if numbers(version) < (2, 10):
        return bad("torch", version, "use 2.10 or later: loading weights was unsafe")
    return good("torch", version)


def lightning(version: str) -> Finding:
    """2.6.2 and 2.6.3 stole credentials on import."""
    if numbers(version)[:3] in ((2, 6, 2), (2, 6, 3)):
        cure = "uninstall it and rotate this machine's credentials: this release was malware (GHSA-w37p-236h-pfx3)"
        return bad("lightning", version, cure)
    if not version:
        return bad("lightning", "not installed", "pip install 'lightning>=2.6.6'")
    if numbers(version) < (2, 6, 6):
        return warn("lightning", version, "use 2.6.6 or later: it was tried")
    return good("lightning", version)


def hydra(version: str) -> Finding:
    """Before 1.3.6, an alias led a config to any function (GHSA-37p2-j732-x8pj)."""
    if not version:
        return bad("hydra-core", "not installed", "pip install 'hydra-core>=1.3.6'")
    if numbers(version) < (1, 3, 6):
        return bad("hydra-core", version, "use 1.3.6 or later: configs could call functions")
    return good("hydra-core", version)


def others(version: Callable[[str], str]) -> Finding:
    """The packages that have no finding of their own."""
    absent = [name for name in ("numpy", "pyarrow", "safetensors", "sqlalchemy") if not version(name)]
    if absent:
        missing = " ".join(absent)
        return bad("packages", f"not installed: {missing}", f"pip install {missing}")
    return good("packages", "all are installed")
