"""Which addresses may be connected to: global ones, and private ones inside a network that an administrator named.

The list of what is refused is our own: Python's `is_global` changed between its releases, and calls some tunnels global
that lead inside.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def names_a_network(*written: str) -> tuple[Network, ...]:
    """Networks as objects."""
    return tuple(ipaddress.ip_network(text) for text in written)


LOOPBACK = names_a_network("127.0.0.0/8", "::1/128")
MAY_BE_NAMED = names_a_network("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
"""Private networks that a config may open; never loopback, link-local, multicast or all of them."""

# Metadata services answer anybody on their machine with its credentials. Never, whatever a config opens.
METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254",
         "fd20:ce::254"),
    )
)  # fmt: skip

_NOT_GLOBAL = names_a_network(
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)  # fmt: skip
_UNICAST = ipaddress.ip_network("2000::/3")  # all of version 6 that is global, but for NAT64
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)  # the third quarter of an address that carries one of version 4


def unwrapped(address: Address) -> Address:
    """The address of version 4 inside a mapped or NAT64 one, which is where a packet goes; else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def refusal(address: Address, networks: Iterable[Network] = ()) -> str:
    """Why that address may not be connected to; empty: it may. `networks`: private ones that may be."""
    if getattr(address, "scope_id", None):
        return "an address of one interface"
    address = unwrapped(address)
    if address in METADATA:
        return "the address of a metadata service"
    if any(address in network for network in networks):
        return ""
    if any(address in network for network in _NOT_GLOBAL) or not address.is_global:
        return "not a global address"
    if isinstance(address, ipaddress.IPv6Address):
        if address not in _UNICAST:
            return "not a global address"
        if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "a tunnel to another address"
    return ""
