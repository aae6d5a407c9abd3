"""Slack, and what understands its incoming webhooks (Mattermost, Rocket.Chat): a text, and blocks of it.

Slack knows no idempotency key: after a crash a message may show twice. Its last line holds the key, so that people see
that it is the same.
"""

from __future__ import annotations

import math
from typing import Any

from engine.effects.message import Message
from engine.effects.webhook import Webhook


class Slack(Webhook):
    """Sends a message for people."""

    def body(self, message: Message) -> dict[str, Any]:
        """Slack's payload. `text` is what a notification shows; blocks are what the channel shows."""
        facts = [f"owner {message.owner}"] if message.owner else []
        if message.metric and not math.isnan(message.value):
            facts.append(f"{message.metric} {message.value:.4g} (threshold {message.threshold:.4g})")
        facts += [f"runbook {message.runbook}"] if message.runbook else []
        facts += [f"done: {message.done}"] if message.done else []
        said = f"*{escape(message.title)}*\n{escape(message.text)}"
        small = escape(" · ".join([*facts, f"key {message.key[:12]}"]))
        return {
            "text": f"{escape(message.title)} {escape(message.text)}",
            "blocks": [
                {"type": "section", "text": {"type": "mrkdwn", "text": said[:3000]}},
                {"type": "context", "elements": [{"type": "mrkdwn", "text": small[:2000]}]},
            ],
        }


def escape(text: str) -> str:
    """Text that calls nobody and links nowhere: `&`, `<` and `>` are Slack's only control characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
