"""Whether the server of a bucket answers: any answer will do, a refusal too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from engine.system import reach


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered, and no variable leads elsewhere."""
    monkeypatch.setattr(reach, "_answered", {})
    monkeypatch.setattr(reach, "LIMIT", 30.0)
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], tuple[int, list[bytes]]]]:
    """Starts a server that says these bytes to whoever asks; its port, and what it heard."""
    servers = []

    def start(answer: bytes) -> tuple[int, list[bytes]]:
        server, heard = socket.create_server(("127.0.0.1", 0)), list[bytes]()
        servers.append(server)

        def work() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(4096))
                    connection.sendall(answer)

        threading.Thread(target=work, daemon=True).start()
        return server.getsockname()[1], heard

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def uri(port: int, scheme: str = "http") -> str:
    return f"s3://bucket/x?endpoint_override=127.0.0.1:{port}&scheme={scheme}"


def test_any_answer_will_do_and_is_remembered(
    serve: Callable[[bytes], tuple[int, list[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, heard = serve(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    assert reach.no_answer(uri(port)) == ""
    assert heard == [f"HEAD / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()], "no secret"
    assert reach.no_answer(uri(port).replace("bucket", "another")) == ""
    assert len(heard) == 1, "a server is not asked each time"
    monkeypatch.setattr(reach, "RECENT", 0.0)
    assert reach.no_answer(uri(port)) == ""
    assert len(heard) == 2, "but again after a while: a watch lives long"


def test_a_server_that_hangs_up_or_speaks_no_tls(serve: Callable[[bytes], tuple[int, list[bytes]]]) -> None:
    port, heard = serve(b"")
    assert reach.no_answer(uri(port)) == f"127.0.0.1:{port} cannot be reached: it hangs up"
    assert reach.no_answer(uri(port)) != "", "that is not remembered"
    assert len(heard) == 2
    port, _ = serve(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert reach.no_answer(uri(port, "https")).startswith(f"127.0.0.1:{port} cannot be reached: ")


def test_the_variables_of_aws_name_the_server(
    serve: Callable[[bytes], tuple[int, list[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, heard = serve(b"H")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    assert reach.no_answer("s3://bucket/x") == ""
    assert len(heard) == 1


@pytest.mark.parametrize(
    "place", ["/data", "file:///data", "nowhere://x", "http://127.0.0.1/x", "s3://", "s3:///x", ""]
)
def test_what_is_no_bucket_is_not_asked(place: str) -> None:
    assert reach.no_answer(place) == ""


def test_behind_a_proxy_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        port = refusing.getsockname()[1]
        assert "Connection refused" in reach.no_answer(uri(port))
        monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
        assert reach.no_answer(uri(port)) == ""
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert "Connection refused" in reach.no_answer(uri(port))


def test_a_port_that_is_none() -> None:
    assert reach.no_answer("s3://bucket/x?endpoint_override=host:99999") == (
        "names no server: Port out of range 0-65535"
    )
