"""Ports for the servers of tests."""

from __future__ import annotations

import itertools
import os
import socket

# Below those that a system gives to whoever asks for any (from 32768 on, on Linux), so that no connection of another
# process can take one between this look and the server; each process of tests begins elsewhere.
FIRST, COUNT = 20_000, 12_000
_numbers = itertools.count(os.getpid() * 101)


def free_port() -> int:
    """A port of this machine on which nothing listens; none is given twice."""
    for number in itertools.islice(_numbers, COUNT):
        port = FIRST + number % COUNT
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")
