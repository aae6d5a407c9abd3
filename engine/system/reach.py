"""Does the server of a bucket answer at all: asked before Arrow's readers ask it anything, and now and then again.

They try a server that refuses for 8 seconds a question, and one that is silent for minutes. Nothing secret is sent: one
HEAD of / without a name, and any answer will do, be it a refusal.
"""

from __future__ import annotations

import math
import os
import socket
import ssl
import threading
import time
from urllib.parse import parse_qs, urlsplit
from urllib.request import getproxies, proxy_bypass

LIMIT = 5.0
"""Seconds in which an answer must come, name look-up, connection and all."""
HOSTS = {"s3": "s3.amazonaws.com", "gs": "storage.googleapis.com", "gcs": "storage.googleapis.com"}
ENDPOINTS = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")}
RECENT = 30.0
"""Seconds for which an answer is believed."""
_answered: dict[tuple[str, str, int], float] = {}


def no_answer(uri: str) -> str:
    """Why the server behind a URI of a bucket cannot be asked; empty where it answers, or is none that we know."""
    try:
        server = _server(uri)
    except ValueError as error:
        return f"names no server: {error}"
    if server is None or time.monotonic() - _answered.get(server, -math.inf) < RECENT:
        return ""
    said: list[str] = []
    asking = threading.Thread(target=lambda: said.append(_ask(*server)), daemon=True)  # a name look-up has no limit
    asking.start()
    asking.join(LIMIT)
    _, host, port = server
    wrong = said[0] if said else _silence()
    if wrong:
        return f"{host}:{port} {wrong}"
    _answered[server] = time.monotonic()
    return ""


def _silence() -> str:
    return f"does not answer within {LIMIT:g} s"


def _server(uri: str) -> tuple[str, str, int] | None:
    """(http or https, host, port) that a URI leads to; None where a proxy stands before it, or it is no bucket."""
    parts = urlsplit(uri)
    if parts.scheme not in HOSTS or not parts.netloc:
        return None
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    told = [query.get("endpoint_override", ""), *(os.environ.get(name, "") for name in ENDPOINTS.get(parts.scheme, ()))]
    endpoint = next(filter(None, told), HOSTS[parts.scheme])
    scheme = query.get("scheme") or (urlsplit(endpoint).scheme if "://" in endpoint else "https")
    where = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    host = where.hostname or ""
    if not host or scheme not in ("http", "https") or (scheme in getproxies() and not proxy_bypass(host)):
        return None
    return scheme, host, where.port or (443 if scheme == "https" else 80)


def _ask(scheme: str, host: str, port: int) -> str:
    """What is wrong; empty once one byte came back."""
    try:
        with socket.create_connection((host, port), LIMIT) as plain:
            if scheme == "https":
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # who reads checks; we say nothing
                context.wrap_socket(plain, server_hostname=host).close()
                return ""
            plain.sendall(f"HEAD / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            return "" if plain.recv(1) else "cannot be reached: it hangs up"
    except TimeoutError:
        return _silence()
    except (OSError, ValueError) as error:
        return f"cannot be reached: {getattr(error, 'strerror', None) or error}"
