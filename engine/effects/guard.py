"""Where we may connect: the one door to the network, so that no URL, name server or redirect leads inside.

The name is resolved once; every address of it must be allowed; the connection goes to one of these addresses and to no
name; and the peer that it reached is asked for its address. What the name server says next time does not matter.
Proxies of the environment are not used: behind one nobody could say what was connected to. Certificates are checked
against the name (SSL_CERT_FILE adds an authority of one's own).

(OWASP, Server-Side Request Forgery Prevention Cheat Sheet; RFC 6890; CVE-2026-64849 for the peer's check.)
"""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from engine.effects.addresses import LOOPBACK, Address, names_a_network, refusal, unwrapped
from engine.effects.urls import Url, host_and_port

Resolve = Callable[[str, int], Sequence[str]]
Dial = Callable[[str, int, float], socket.socket]


class GuardError(OSError):
    """A connection that was not made, or not kept. The words name no address, host or URL."""


class Forbidden(GuardError):
    """It is not allowed, and will not be the next time unless somebody changes the config."""


def system_resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system knows them."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def system_dial(address: str, port: int, timeout: float) -> socket.socket:
    """A connection to an address."""
    return socket.create_connection((address, port), timeout)


class Guard:
    """Stands before each connection of one channel.

    Args:
        hosts: `name` or `name:port` that may be connected to.
        networks: private networks in which they may lie.
        resolve, dial: the system's own, where a test brings none.
        trusted: certificates that are trusted; None: the system's authorities.
        plain: http, and no TLS, to a peer on loopback. For tests alone: no config sets it.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        networks: Iterable[str] = (),
        *,
        resolve: Resolve = system_resolve,
        dial: Dial = system_dial,
        trusted: ssl.SSLContext | None = None,
        plain: bool = False,
    ) -> None:
        self._hosts = {host_and_port(host, "act.channels:hosts") for host in hosts}
        self._networks = names_a_network(*networks)
        self._resolve, self._dial, self._trusted, self._plain = resolve, dial, trusted, plain

    def open(self, url: Url, deadline: float) -> socket.socket:
        """A connection for a request to that URL, under TLS. `deadline` by time.monotonic().

        Raises:
            Forbidden: no host, port or address that is allowed.
            GuardError: it cannot be reached, or its certificate is not good.
        """
        if url.scheme != "https" and not self._plain:
            raise Forbidden("the URL is not https")
        connection = self.connect(url.host, url.port, deadline)
        if url.scheme == "https":
            return self.secure(connection, url.host, deadline)
        if not on_loopback(connection):
            connection.close()
            raise Forbidden("the URL is not https")
        return connection

    def connect(self, host: str, port: int, deadline: float) -> socket.socket:
        """A connection to a host that is on the list, to an address that is allowed, not yet under TLS."""
        if not self._hosts:
            raise Forbidden("no host is allowed: name it in hosts")
        if (host, port) not in self._hosts:
            raise Forbidden("the host is not one of hosts, or its port is not")
        addresses = self._addresses(host, port, deadline)
        failed: OSError = GuardError("the host has no address")
        for others, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            left = deadline - time.monotonic()
            if left <= 0:
                raise GuardError("timed out")
            try:  # one that does not answer leaves time for the others
                return self._reached(self._dial(str(address), port, left / others), address, port)
            except Forbidden:
                raise
            except OSError as error:
                failed = error
        raise GuardError(spoken(failed)) from failed

    def secure(self, connection: socket.socket, host: str, deadline: float) -> ssl.SSLSocket:
        """The same connection under TLS (1.2 or later), once its certificate is proved to be of that host."""
        context = self._trusted or ssl.create_default_context()
        try:
            # of a handshake as a whole, not of each byte
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            return context.wrap_socket(connection, server_hostname=host)
        except (OSError, ValueError) as error:
            connection.close()
            raise GuardError(spoken(error)) from error

    def _addresses(self, host: str, port: int, deadline: float) -> list[Address]:
        """What the name resolves to, once; all of it must be allowed."""
        found = _within(deadline, lambda: self._resolve(host, port))
        addresses = []
        for text in dict.fromkeys(found):
            try:
                address = ipaddress.ip_address(text)
            except ValueError:
                raise Forbidden("the host has an address in a strange form") from None
            reason = (
                "" if self._plain and address in LOOPBACK[address.version == 6] else refusal(address, self._networks)
            )
            if reason:
                raise Forbidden(f"the host has an address that is not allowed ({reason})")
            addresses.append(address)
        return addresses

    def _reached(self, connection: socket.socket, address: Address, port: int) -> socket.socket:
        """The connection, if it is to the address that was asked for."""
        try:
            peer = connection.getpeername()
            same = unwrapped(ipaddress.ip_address(peer[0])) == unwrapped(address) and peer[1] == port
        except (OSError, ValueError, IndexError):
            same = False
        if not same:
            connection.close()
            raise Forbidden("another peer than the one that was asked for")
        return connection


def on_loopback(connection: socket.socket) -> bool:
    """Is the other end on this machine."""
    address = ipaddress.ip_address(connection.getpeername()[0])
    return address in LOOPBACK[address.version == 6]


@contextlib.contextmanager
def cut_off(connection: socket.socket, deadline: float) -> Iterator[None]:
    """Cut the connection at `deadline`, however slowly the other end drips: a socket's own timeout begins anew with
    each byte.
    """

    def cut() -> None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def spoken(error: Exception) -> str:
    """Why a connection failed, in words that name no address, host or URL."""
    if isinstance(error, GuardError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the certificate of the host is not good"
    if isinstance(error, ssl.SSLError):
        return "TLS failed"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, socket.gaierror):
        return "the name cannot be resolved"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


def _within(deadline: float, ask: Callable[[], Sequence[str]]) -> Sequence[str]:
    """The answer of a name server, or GuardError at `deadline`: the system's own resolver knows none."""
    answers: queue.Queue[Sequence[str] | Exception] = queue.Queue()

    def run() -> None:
        try:
            answers.put(ask())
        except Exception as error:
            answers.put(error)

    threading.Thread(target=run, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise GuardError("the name was not resolved in time") from None
    if isinstance(answer, Exception):
        raise GuardError(spoken(answer)) from answer
    return answer
