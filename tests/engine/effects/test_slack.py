from __future__ import annotations

import json
from collections.abc import Callable

from engine.effects.channels import make_channels
from engine.effects.conf import ChannelConf
from engine.effects.guard import Guard
from engine.effects.slack import Slack
from tests.engine.effects.made import message
from tests.engine.effects.servers import NAME, Site

CONF = ChannelConf(kind="slack", url_env="SLACK_URL")


def body(**fields: object) -> dict[str, object]:
    return Slack(CONF, {}, Guard).body(message(**fields))


def test_it_comes_as_slack_reads_it(site: Site, inside: Callable[..., Guard]) -> None:
    conf = ChannelConf(kind="slack", url_env="SLACK_URL", hosts=[f"{NAME}:{site.port}"])
    held = {"SLACK_URL": f"https://{NAME}:{site.port}/services/T/B/X"}
    told = message(
        key="0123456789abcdef", window="w1", rule="drift", severity="detected", owner="data", metric="drift.share",
        value=0.6123456, threshold=0.5, runbook="ask the source", done="promotions are frozen",
    )  # fmt: skip
    assert make_channels({"ops": conf}, held, inside)["ops"].send(told, 5.0).ok
    (request,) = site.got
    assert request.path == "/services/T/B/X"
    assert json.loads(request.body) == {
        "text": "[detected] flights w1: drift raised drift.share = 0.6 &gt; 0.5",
        "blocks": [
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": "*[detected] flights w1: drift raised*\ndrift.share = 0.6 &gt; 0.5",
                },
            },
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": "owner data · drift.share 0.6123 (threshold 0.5) · runbook ask the source"
                        " · done: promotions are frozen · key 0123456789ab",
                    }
                ],
            },
        ],
    }


def test_nobody_is_called_and_nothing_is_linked() -> None:
    shown = json.dumps(body(text="<!channel> <https://evil.com|here> &amp;", owner="<@U1>", rule="<!here>"))
    assert "<" not in shown
    assert "&lt;!channel&gt; &lt;https://evil.com|here&gt; &amp;amp;" in shown


def test_it_is_no_longer_than_slack_takes() -> None:
    blocks = body(text="&" * 2000, runbook="&" * 2000)["blocks"]
    assert isinstance(blocks, list)
    assert len(blocks[0]["text"]["text"]) <= 3000
    assert len(blocks[1]["elements"][0]["text"]) <= 2000
