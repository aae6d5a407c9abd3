"""What listens and what is talked to: Ray and its dashboard, W&B."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from engine.doctor.finding import Finding, bad, good, warn
from engine.doctor.packages import numbers
from engine.system.redact import redact_text

PATIENCE = 2.0  # seconds
DASHBOARD = 8265  # port
SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTENING = "0A"
WANDB = "https://api.wandb.ai"


def ray(version: str, cluster: str = "auto") -> Finding:
    """Version, login and address; the Ray that we start ourselves has a token and is on loopback.

    Before 2.54 the dashboard could be told to delete jobs (CVE-2026-27482).
    """
    if not version:
        return bad("Ray", "not installed", "pip install 'ray[tune]'")
    if numbers(version) < (2, 54):
        return bad("Ray", version, "use 2.54 or later: its dashboard had no login")
    if cluster == "local":
        return good("Ray", f"{version}, starts on this machine, on loopback and with a token")
    address = os.environ.get("RAY_ADDRESS", "") if cluster == "auto" else cluster
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if mode == "disabled":
        return warn("Ray", f"{version}, authentication off", "unset RAY_AUTH_MODE")
    if numbers(version) < (2, 59) and mode != "token":
        cure = "use 2.59 or later, or set RAY_AUTH_MODE=token"
        return warn("Ray", f"{version}, authentication off by default", cure)
    if address not in ("", "auto", "local") and (fault := unreachable(address)):
        cure = "start the cluster, correct cluster.address or RAY_ADDRESS, or use cluster=local"
        return bad("Ray", f"{version}, {redact_text(address)} {fault}", cure)
    return good("Ray", f"{version}, {redact_text(address) or 'joins the one of this machine'}")


def dashboard() -> Finding:
    """Who reaches the dashboard of a Ray without login runs code here (CVE-2023-48022)."""
    where = exposed(DASHBOARD)
    if not where:
        return good("Ray dashboard", f"not open to others on port {DASHBOARD}")
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return warn("Ray dashboard", f"open on {where}, with a token", "start Ray with --dashboard-host=127.0.0.1")
    cure = "stop it, and start Ray with --dashboard-host=127.0.0.1 and RAY_AUTH_MODE=token"
    return bad("Ray dashboard", f"open on {where} without a token", cure)


def exposed(port: int) -> str:
    """The address other than loopback on which something listens on this port; empty where nothing does."""
    for table in SOCKETS:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) < 4 or fields[3] != LISTENING:
                continue
            address, _, number = fields[1].partition(":")
            if int(number, 16) == port and not _loopback(address):
                return f"{'every address' if set(address) == {'0'} else 'an address of the network'}:{port}"
    return ""


def _loopback(address: str) -> bool:
    """Of /proc/net/tcp: hexadecimal, the bytes of each word in reverse."""
    raw = b"".join(bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8))
    return raw[0] == 127 if len(raw) == 4 else raw in (b"\0" * 15 + b"\1", raw[:12] + b"\x7f" + raw[13:])


def wandb(version: str) -> Finding:
    """Where runs go, and whether the server can be had; offline is fine."""
    if not version:
        return warn("W&B", "not installed", "pip install wandb, or track=none")
    mode = os.environ.get("WANDB_MODE", "")
    if mode not in ("", "online", "offline", "dryrun", "shared", "disabled"):
        return bad("W&B", f"{version}, WANDB_MODE={mode!r} is unknown", "unset it, or set it to online or offline")
    if not os.environ.get("WANDB_API_KEY"):
        return good("W&B", f"{version}, offline: no WANDB_API_KEY")
    if mode in ("offline", "dryrun", "disabled"):
        return good("W&B", f"{version}, offline: WANDB_MODE={mode}")
    server = os.environ.get("WANDB_BASE_URL", "") or WANDB
    if fault := unreachable(server):
        cure = "check network and WANDB_BASE_URL; until then runs go to the loop's folder, `wandb sync` sends them"
        return warn("W&B", f"{version}, {redact_text(server)} {fault}", cure)
    return good("W&B", f"{version}, online at {redact_text(server)}")


def unreachable(address: str) -> str:
    """Why no connection can be made there ("host:port" or a URL); empty where one can."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        port = parts.port or {"http": 80, "https": 443, "ray": 10001}.get(parts.scheme, 6379)
        if not parts.hostname:
            return "is no address"
        socket.create_connection((parts.hostname, port), PATIENCE).close()
    except (OSError, ValueError) as error:
        return f"cannot be reached ({getattr(error, 'strerror', None) or error})"
    return ""
