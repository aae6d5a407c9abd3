from __future__ import annotations

import ipaddress

import pytest

from engine.effects.addresses import LOOPBACK, MAY_BE_NAMED, names_a_network, refusal


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "93.184.215.14", "2001:4860:4860::8888", "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
     "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
)  # fmt: skip
def test_global_addresses_are_reached_also_through_nat64(text: str) -> None:
    assert refusal(ipaddress.ip_address(text)) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("169.254.169.254", "the address of a metadata service"),
        ("::ffff:169.254.169.254", "the address of a metadata service"),
        ("168.63.129.16", "the address of a metadata service"),
        ("10.0.0.1", "not a global address"),
        ("64:ff9b::10.0.0.1", "not a global address"),
        ("2002:a00:1::", "not a global address"),
        ("fe80::1%eth0", "an address of one interface"),
        ("2a00:1450::5efe:808:808", "a tunnel to another address"),
    ],
)
def test_others_are_refused_with_the_reason(text: str, reason: str) -> None:
    assert refusal(ipaddress.ip_address(text)) == reason


def test_no_named_network_opens_a_metadata_service() -> None:
    everything = names_a_network("0.0.0.0/0", "::/0")
    assert refusal(ipaddress.ip_address("10.0.0.1"), everything) == ""
    assert refusal(ipaddress.ip_address("169.254.169.254"), everything) != ""


def test_what_may_be_named_is_private() -> None:
    for network in (*MAY_BE_NAMED, *LOOPBACK):
        assert refusal(network[1] if network.num_addresses > 1 else network[0]) == "not a global address"
