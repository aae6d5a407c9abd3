from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from omegaconf import OmegaConf

from engine.effects import ChannelConf
from engine.errors import ConfigError

GOOD: dict[str, dict[str, Any]] = {
    "webhook": {"url": "https://ops.example.com/tidegate"},
    "slack": {"url_env": "SLACK_URL", "hosts": ["hooks.slack.com"]},
    "email": {"server": "mail.example.com", "sender": "ml@example.com", "to": ["on-call@example.com"]},
    "command": {"argv": ["/usr/local/bin/page", "--now"]},
}


def conf(kind: str, **fields: Any) -> ChannelConf:
    return ChannelConf(kind=kind, **{**GOOD.get(kind, {}), **fields})


@dataclass
class Channels:
    """As act's config holds them."""

    channels: dict[str, ChannelConf] = field(default_factory=dict)


@pytest.mark.parametrize("kind", GOOD)
def test_hydra_composes_each_kind(kind: str) -> None:
    merged = OmegaConf.merge(OmegaConf.structured(Channels), {"channels": {"it": {"kind": kind, **GOOD[kind]}}})
    found = OmegaConf.to_object(merged)
    assert isinstance(found, Channels)
    assert found.channels["it"] == conf(kind)


def test_nothing_is_allowed_until_somebody_says_so() -> None:
    assert conf("webhook").hosts == []
    assert conf("webhook").networks == []


@pytest.mark.parametrize(
    ("kind", "fields", "line"),
    [
        ("pager", {}, "act.channels:kind: 'pager' is unknown - choose one of webhook slack email command"),
        ("slack", {"argv": ["/bin/sh"]}, "act.channels:argv: is no setting of a slack channel - leave it out"),
        ("command", {"hosts": ["a.com"]}, "act.channels:hosts: is no setting of a command channel - leave it out"),
        ("webhook", {"url": None}, "act.channels:url: a webhook has one URL - set either url or url_env"),
        ("webhook", {"url_env": "X"}, "act.channels:url: a webhook has one URL - set either url or url_env"),
        ("slack", {"url_env": ""}, "act.channels:url_env: a slack channel has a URL, which is a secret - name the"),
        ("slack", {"rate": 0}, "act.channels:rate: 0 is not between 1 and 10000 - choose a number from 1 to 10000"),
        ("slack", {"tries": 0}, "act.channels:tries: 0 is not between 1 and 100"),
        ("slack", {"timeout": float("nan")}, "act.channels:timeout: nan is not between 0.1 and 600"),
        ("slack", {"per": "0s"}, "act.channels:per: is no time at all - choose 1s or more"),
        ("slack", {"per": "often"}, "act.channels:per: 'often' is no duration - write 7d, 12h, 90m or 30s"),
        ("slack", {"hosts": ["https://hooks.slack.com"]}, "act.channels:hosts: 'https://hooks.slack.com' is no host"),
        ("slack", {"hosts": ["2130706433"]}, "act.channels:hosts: '2130706433' is no host"),
        ("slack", {"hosts": ["a.com:0"]}, "act.channels:hosts: 'a.com:0' is no host"),
        ("slack", {"networks": ["10.0.0.1/8"]}, "act.channels:networks: '10.0.0.1/8' is no network - write it as"),
        ("slack", {"networks": ["0.0.0.0/0"]}, "act.channels:networks: '0.0.0.0/0' is no private network - name a"),
        ("slack", {"networks": ["127.0.0.0/8"]}, "act.channels:networks: '127.0.0.0/8' is no private network"),
        ("slack", {"networks": ["169.254.0.0/16"]}, "act.channels:networks: '169.254.0.0/16' is no private network"),
        ("email", {"server": ""}, "act.channels:server: an email channel has a server - name the host"),
        ("email", {"server": "mail:25"}, "act.channels:server: names more than a host - write the port in port"),
        ("email", {"tls": "maybe"}, "act.channels:tls: 'maybe' is unknown - choose one of starttls tls none"),
        ("email", {"user": "me"}, "act.channels:user: user and password_env go together - set both, or none"),
        ("email", {"user": "me", "password_env": "P", "tls": "none"}, "act.channels:tls: a password is never sent in"),
        ("email", {"to": []}, "act.channels:to: names nobody - write one address or more"),
        ("email", {"to": ["a@b.com, c@d.com"]}, "act.channels:to: 'a@b.com, c@d.com' is no address - write it as"),
        ("email", {"sender": "a@b.com\r\nBcc: c@d.com"}, "act.channels:sender: .* is no address"),
        ("command", {"argv": []}, "act.channels:argv: does not begin with the absolute path of a program - write it"),
        ("command", {"argv": ["page"]}, "act.channels:argv: does not begin with the absolute path of a program"),
    ],
)
def test_bad_settings_are_refused(kind: str, fields: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}"):
        conf(kind, **fields)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:canary@ops.example.com/x",
        "https://canary@ops.example.com/x",
        "https://hooks.slack.com/services/T00000000/B00000000/canaryXXXXXXXXXXXXXXXXXX",
        "https://ops.example.com/x?token=canary",
        "https://ops.example.com/x?canary",
        "https://ops.example.com/3f2504e0-4f89-11d3-9a0c-canary0c3301",
        "https://discord.com/api/webhooks/123/canary",
        "http://hooks.example.com/canary",
        "file:///etc/canary",
    ],
)
def test_a_url_that_holds_a_secret_or_is_not_https_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^act\.channels:url: ") as caught:
        conf("webhook", url=url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["url_env", "token_env", "secret_env"])
def test_what_is_no_name_of_a_variable_is_refused_and_not_shown(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^act.channels:{name}: is no name of an environment variable") as caught:
        conf("webhook", **{"url": None, "url_env": "URL", name: "https://canary.example.com"})
    assert "canary" not in str(caught.value)


def test_private_networks_may_be_named() -> None:
    assert conf("webhook", networks=["10.1.0.0/16", "fd00:1::/32"]).networks == ["10.1.0.0/16", "fd00:1::/32"]
    assert conf("email", networks=["127.0.0.1/32"]).networks == ["127.0.0.1/32"]
