"""A real S3-protocol server on loopback (moto's), whose every request a test may record, refuse or change."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import boto3
from moto.core.utils import utcnow
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import WSGIRequestHandler, make_server

Environ = dict[str, Any]
Rule = Callable[[Environ], tuple[str, bytes] | None]  # None: let the request through

SECRET = "canary-secret-key"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "canary-access-key",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": "canary-session-token",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
}


@dataclass
class Server:
    """Where it listens, and what it was asked."""

    url: str
    requests: list[tuple[str, str]] = field(default_factory=list)  # (method, path)
    rule: Rule | None = None
    filesystem: Any = None  # of s3fs, shared by the tests
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def bucket(self) -> str:
        """The URL of a new bucket's prefix."""
        name = f"bucket-{next(self.numbers)}"
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}/models/flights"

    @functools.cached_property
    def _client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=SECRET,
        )

    def client(self) -> Any:
        """Direct access, past the code under test."""
        return self._client

    @contextlib.contextmanager
    def ruled(self, rule: Rule) -> Iterator[list[tuple[str, str]]]:
        """While this lasts every request is shown to `rule` first; gives the requests that came."""
        self.requests.clear()
        self.rule = rule
        try:
            yield self.requests
        finally:
            self.rule = None

    def age(self, url: str, days: float) -> None:
        """Make all that is below a URL so old."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        for key in s3_backends["123456789012"]["aws"].buckets[bucket].keys.values():
            if key.name.startswith(prefix):
                key.last_modified = utcnow() - timedelta(days=days)

    def __call__(self, app: Any) -> Any:
        """The WSGI application `app` behind the rule."""

        def answer(environ: Environ, start: Any) -> Iterable[bytes]:
            ours = "boto3" not in environ.get("HTTP_USER_AGENT", "").lower()  # aiobotocore's requests, not `client`'s
            if ours:
                self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            refused = self.rule(environ) if ours and self.rule else None
            if refused is None:
                found: Iterable[bytes] = app(environ, start)
                return found
            status, body = refused
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]

        return answer


class _Quiet(WSGIRequestHandler):
    def log(self, *_words: object) -> None:
        """Say nothing."""


def error(status: str, code: str, message: str = "") -> tuple[str, bytes]:
    """An answer of S3 that says no."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return status, body.encode()


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    """A server on a free port of 127.0.0.1."""
    listening = make_server("127.0.0.1", 0, lambda *_: [], threaded=True, request_handler=_Quiet)
    server = Server(url=f"http://127.0.0.1:{listening.server_port}")
    listening.app = server(DomainDispatcherApplication(create_backend_app))
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
