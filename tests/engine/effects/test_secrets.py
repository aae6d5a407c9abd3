"""No secret of a channel, and nothing that a receiver says, comes into the ledger or what is told of a delivery."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.effects import ChannelConf, Outbox, make_channels
from engine.effects.command import LIST
from engine.effects.guard import Guard
from engine.promote.ledger import Ledger
from tests.engine.effects import servers
from tests.engine.effects.made import message
from tests.engine.effects.servers import NAME, Certificate, Site


@pytest.mark.parametrize("status", [200, 302, 500])
def test_nothing_of_a_channel_is_written(
    status: int, tmp_path: Path, site: Site, certificate: Certificate, inside: Callable[..., Guard]
) -> None:
    program = tmp_path / "page"
    program.write_text('#!/bin/sh\necho "token=canary-command" >&2\nexit 1\n')
    program.chmod(0o755)
    site.answers = [(status, {"Location": "https://canary.example.com/", "X-Canary": "canary"})]
    environment = {
        "HOOK": f"https://{NAME}:{site.port}/services/canary-path",
        "REFUSED": f"https://canary-user:canary-word@{NAME}:{site.port}/canary-path",
        "INSIDE": "https://canary.example.com/canary-path",
        "TOKEN": "canary-token", "SECRET": "canary-secret", "PASSWORD": "canary-password", LIST: str(program),
    }  # fmt: skip
    hosts = [f"{NAME}:{site.port}"]
    with servers.smtp_office(certificate) as office:
        office.codes = {} if status == 200 else {"AUTH": "535 canary-no"}
        confs = {
            "hook": ChannelConf(kind="webhook", url_env="HOOK", hosts=hosts, token_env="TOKEN", secret_env="SECRET"),
            "slack": ChannelConf(kind="slack", url_env="HOOK", hosts=hosts),
            "refused": ChannelConf(kind="slack", url_env="REFUSED", hosts=hosts),
            "inside": ChannelConf(kind="slack", url_env="INSIDE", hosts=hosts),
            "page": ChannelConf(kind="command", argv=[str(program), "now"]),
            "mail": ChannelConf(
                kind="email", server=NAME, port=office.port, user="me", password_env="PASSWORD", sender="a@b.c",
                to=["d@e.f"],
            ),
        }  # fmt: skip
        with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", "loop") as ledger:
            box = Outbox(ledger, make_channels(confs, environment, inside))
            box.post(message(text="see https://me:canary-url@host/ and Bearer canary-bearer"), confs)
            told = box.deliver(30)
            written = json.dumps([row.payload for row in ledger.rows()]) + repr(told)
    assert [s.channel for s in told] == list(confs)
    assert {s.channel for s in told if s.outcome == "delivered"} == (
        {"hook", "slack", "mail"} if status == 200 else set()
    )
    assert len(site.got) == 2  # it was said to the receiver
    assert site.got[0].headers["Authorization"] == "Bearer canary-token"
    assert "canary" not in written
