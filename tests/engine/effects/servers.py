"""Real servers on loopback: HTTP and HTTPS, SMTP with STARTTLS, and a canary that only counts who comes."""

from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import itertools
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.patience import ENOUGH

NAME = "ops.example.com"  # of the certificate


@dataclass(frozen=True)
class Certificate:
    """A certificate that its own key signed, and what trusts it."""

    path: Path

    def server(self) -> ssl.SSLContext:
        """For who serves."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        return context

    def client(self) -> ssl.SSLContext:
        """For who connects."""
        context = ssl.create_default_context(cafile=str(self.path))
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does by itself
        return context


def make_certificate(folder: Path, name: str = NAME) -> Certificate:
    """A certificate of `name` and 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(_usage(), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return Certificate(path)


def _usage() -> x509.KeyUsage:
    """To sign certificates and to serve: later Pythons ask an authority for the first."""
    allowed = ("digital_signature", "key_cert_sign")
    names = (
        *allowed, "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
        "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: name in allowed for name in names})


@dataclass
class Request:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes
    name: str = ""  # that TLS was asked for


@dataclass
class Site:
    """An HTTP server: what it got, and what it answers."""

    port: int
    got: list[Request] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # the last one again and again
    before: Callable[[Request], None] = lambda _request: None  # called before it answers

    def answer(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        if not self.answers:
            return 200, {}
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_arguments: Any) -> None:
        """A client that hangs up is no fault of a test's."""


@contextlib.contextmanager
def http_site(certificate: Certificate | None = None) -> Iterator[Site]:
    """A server on 127.0.0.1, over TLS where there is a certificate."""
    site = Site(0)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = Request(self.path, dict(self.headers.items()), body, asked.get(self.client_address, ""))
            site.got.append(request)
            site.before(request)
            status, headers = site.answer()
            self.send_response(status)
            for name, value in {"Content-Length": "11", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"canary-body")

        do_GET = do_POST

        def log_message(self, *_arguments: Any) -> None:
            """Nothing on stderr."""

    asked: dict[Any, str] = {}
    server = _Quiet(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = certificate.server()

        def note(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
            if isinstance(connection, ssl.SSLSocket):
                asked[connection.getpeername()] = name or ""

        context.sni_callback = note  # type: ignore[assignment]
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    site.port = server.server_address[1]
    with _serving(server):
        yield site


@contextlib.contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(ENOUGH)


@dataclass
class Canary:
    """Counts connections and what is said on them."""

    port: int
    connections: int = 0
    heard: bytearray = field(default_factory=bytearray)

    def settled(self) -> int:
        """How many came, once those that were under way have arrived."""
        with socket.create_connection(("127.0.0.1", self.port), ENOUGH) as own:
            own.sendall(b"own")
            own.recv(1)  # answered in the order of arrival: whoever came before us has been counted
        self.connections -= 1
        del self.heard[-3:]
        return self.connections


@contextlib.contextmanager
def canary() -> Iterator[Canary]:
    """A listener on 127.0.0.1 that answers one byte and hangs up, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bird = Canary(listener.getsockname()[1])

        def listen() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                bird.connections += 1
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(ENOUGH)
                    bird.heard += connection.recv(4096)
                    connection.sendall(b"!")

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield bird
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(ENOUGH)


HANG_UP = "hang up"


@dataclass
class PostOffice:
    """An SMTP server: the mails it took, and how it behaves."""

    port: int
    mails: list[tuple[str, list[str], str]] = field(default_factory=list)  # sender, receivers, text
    logins: list[str] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)  # of each mail: was it under TLS
    codes: dict[str, str] = field(
        default_factory=dict
    )  # by the beginning of a line: what is answered, such as 451 no, or HANG_UP
    offers: tuple[str, ...] = ("STARTTLS", "AUTH PLAIN")


@contextlib.contextmanager
def smtp_office(certificate: Certificate | None = None, *, at_once: bool = False) -> Iterator[PostOffice]:
    """An SMTP server on 127.0.0.1 that knows EHLO, STARTTLS, AUTH PLAIN, MAIL, RCPT, DATA, RSET and QUIT.

    `at_once`: TLS from the first byte.
    """
    office = PostOffice(0)

    class Handler(socketserver.StreamRequestHandler):
        timeout = ENOUGH

        def handle(self) -> None:
            self.under_tls = False
            if at_once:
                self.secure()
            self.say("220 office canary-greeting")
            self.sender, self.to = "", []
            for raw in iter(lambda: self.rfile.readline(), b""):  # under TLS it is another file
                line = raw.decode().rstrip("\r\n")
                own = next((code for start, code in office.codes.items() if line.upper().startswith(start)), "")
                if own == HANG_UP:
                    return
                if own:
                    self.say(own)
                elif not self.obey(line.upper().split(":")[0].split(" ")[0], line):
                    return

        def obey(self, verb: str, line: str) -> bool:
            """Do what a line says; False at the end."""
            if verb == "EHLO":
                offers = [o for o in office.offers if not (self.under_tls and o == "STARTTLS")]
                self.say("250-office", *[f"250-{o}" for o in offers], "250 8BITMIME")
            elif verb == "STARTTLS":
                self.say("220 go on")
                self.secure()
            elif verb == "AUTH":
                office.logins.append(base64.b64decode(line.split(" ")[2]).decode())
                self.say("235 welcome")
            elif verb == "MAIL":
                self.sender, self.to = line.partition("<")[2].partition(">")[0], []
                self.say("250 ok")
            elif verb == "RCPT":
                self.to.append(line.partition("<")[2].partition(">")[0])
                self.say("250 ok")
            elif verb == "DATA":
                self.say("354 go on")
                text = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
                office.mails.append((self.sender, self.to, text))
                office.secured.append(self.under_tls)
                self.say(office.codes.get("after data", "250 taken"))
            else:
                self.say("221 bye" if verb == "QUIT" else "250 ok")
            return verb != "QUIT"

        def say(self, *lines: str) -> None:
            self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

        def secure(self) -> None:
            assert certificate is not None
            self.connection = certificate.server().wrap_socket(self.connection, server_side=True)
            self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)  # type: ignore[assignment]
            self.under_tls = True

        def finish(self) -> None:
            with contextlib.suppress(OSError):
                self.rfile.close()
                self.wfile.close()
                self.connection.close()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: Any) -> None:
            """A client that hangs up is no fault of a test's."""

    server = Server(("127.0.0.1", 0), Handler)
    office.port = server.server_address[1]
    with _serving(server):
        yield office


HELLO = b"\x16\x03\x03\x3f\x00\x02\x00\x3e\xfc" + bytes(100)  # the beginning of a long answer to a TLS handshake
HEADERS = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100


@contextlib.contextmanager
def dripping(certificate: Certificate | None = None) -> Iterator[int]:
    """A server whose answer never ends: one byte every tenth of a second, so that no single read times out.

    It drips in the handshake of TLS, or, where there is a certificate, in the headers of HTTP.
    """

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connection = self.request
            with contextlib.suppress(OSError):
                if certificate is not None:
                    connection = certificate.server().wrap_socket(connection, server_side=True)
                with connection:
                    beginning = HEADERS if certificate is not None else HELLO
                    for byte in itertools.chain(beginning, itertools.repeat(ord("x"))):
                        connection.sendall(bytes([byte]))
                        time.sleep(0.1)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    with _serving(server):
        yield server.server_address[1]
