"""Where a model comes from, as others read it: an in-toto statement with SLSA provenance, made from its manifest.

The subjects are the artifact and each of its files; what it was made of are the windows (the fingerprint of their
content, engine.data.tables.fingerprint), the code and the packages. `invocationId` is the id of the ledger row with
the decision that asked for the model; `candidate` is that of the row which records it. Later rows (verdicts, stages)
name the model; the ledger's chain vouches for those.

Formats: https://in-toto.io/Statement/v1, https://slsa.dev/provenance/v1. What is claimed is SLSA build level 1:
provenance exists, and whoever holds the key vouches for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from engine.records import digest

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
BUILD = "urn:tidegate:train:v1"


def statement(artifact: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The statement about an artifact, as JSON values. `manifest` may lack whatever is not about its files."""
    code: Mapping[str, Any] = manifest.get("code", {})
    decision = str(manifest.get("decision", ""))
    made_of = [
        {"name": f"window {name}", "digest": {"tidegateFingerprint": fingerprint}}
        for name, fingerprint in sorted(manifest.get("data", {}).items())
    ]
    if code.get("commit"):
        made_of.append({"name": "code", "digest": {"gitCommit": str(code["commit"])}})
    made_of += [
        {"name": f"package {name}", "annotations": {"version": version}}
        for name, version in sorted(manifest.get("packages", {}).items())
    ]
    made_of.append({"name": "installed packages", "digest": {"sha256": _installed()}})
    return {
        "_type": STATEMENT,
        "subject": subjects(artifact, manifest),
        "predicateType": PROVENANCE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {
                    "config": {"sha256": digest(manifest.get("config", {}))},
                    "params": manifest.get("params", {}),
                    "window": manifest.get("window", ""),
                },
                "resolvedDependencies": made_of,
            },
            "runDetails": {
                "builder": {"id": "urn:tidegate", "version": {str(k): str(v) for k, v in sorted(code.items())}},
                "metadata": {"invocationId": decision},
                "byproducts": [{"name": "ledger", "annotations": {"candidate": digest("candidate", decision)}}],
            },
        },
    }


def subjects(artifact: str, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a statement about this artifact is about: the artifact and its files, by sha256."""
    files = [{"name": name, "digest": {"sha256": entry["sha256"]}} for name, entry in sorted(manifest["files"].items())]
    return [{"name": artifact, "digest": {"sha256": artifact}}, *files]


def _installed() -> str:
    """sha256 over name and version of every installed distribution: what a lock file would have pinned."""
    return digest(sorted(f"{found.name}=={found.version}" for found in metadata.distributions()))
