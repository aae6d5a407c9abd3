from __future__ import annotations

import pytest

from engine.effects.urls import Url, UrlError, host_and_port, normal_host, parse_url


def test_a_url_in_parts() -> None:
    assert parse_url("https://Ops.Example.com/a/b?c=d&e") == Url("https", "ops.example.com", 443, "/a/b?c=d&e")
    assert parse_url("HTTPS://ops.example.com:8443") == Url("https", "ops.example.com", 8443, "/")
    assert parse_url("https://ops.example.com?x") == Url("https", "ops.example.com", 443, "/?x")
    assert parse_url("https://[2606:2800:21f::8b2c]:1/").authority == "[2606:2800:21f::8b2c]:1"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://a.com/\nb", "the URL holds what no URL holds"),
        ("https://a.com/\\b.com", "the URL holds what no URL holds"),
        ("https://a.com/ b", "the URL holds what no URL holds"),
        ("https://a.com/#b", "the URL has a fragment"),
        ("a.com/b", "this is no URL"),
        ("ftp://a.com/", "the URL is not https"),
        ("https://me@a.com/", "the URL holds a user or a password"),
        ("https://me:word@a.com/", "the URL holds a user or a password"),
        ("https:///a", "the URL has no host, or a host with a strange port"),
        ("https://a.com:b/", "the URL has no host, or a host with a strange port"),
        ("https://a.com/é", "the path of the URL is not ASCII"),
        ("https://a..com/", "the host is no name"),
        ("https://-a.com/", "the host is no name"),
        ("https://1.2.3/", "the host is an address in a strange form"),
        ("https://0x7f.1/", "the host is an address in a strange form"),
        ("https://a.0x10/", "the host is an address in a strange form"),
        ("https://" + "a" * 64 + ".com/", "the host is no name"),
    ],
)
def test_what_is_wrong_is_said_without_the_url(url: str, said: str) -> None:
    with pytest.raises(UrlError) as caught:
        parse_url(url)
    assert str(caught.value) == said


def test_a_host_has_one_form() -> None:
    assert normal_host("Bücher.Example.") == normal_host("xn--bcher-kva.example") == "xn--bcher-kva.example"
    assert normal_host("[2606:2800:021F::8B2C]") == "2606:2800:21f::8b2c"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("A.com", ("a.com", 443)),
        ("a.com:8443", ("a.com", 8443)),
        ("8.8.8.8", ("8.8.8.8", 443)),
        ("[::1]:25", ("::1", 25)),
        ("2606:2800:21f::8b2c", ("2606:2800:21f::8b2c", 443)),
    ],
)
def test_a_host_of_the_list(written: str, read: tuple[str, int]) -> None:
    assert host_and_port(written, "hosts") == read
