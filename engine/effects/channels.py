"""A channel: its config, and how its kind sends. What a send came to is a record, never an error."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from engine.effects.conf import WHERE, ChannelConf
from engine.effects.message import Message
from engine.errors import ConfigError
from engine.records.estimates import record

if TYPE_CHECKING:  # the command line starts faster without ssl
    from engine.effects.guard import Guard

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@record
class Sent:
    """What a send came to."""

    ok: bool
    said: str
    """In a few words; never a part of the answer's body."""
    unreachable: bool = False
    """The receiver could not be reached, or is not well: its other messages may wait, too."""
    again: float = 0.0
    """Seconds after which the receiver asked to be tried again; 0: it did not."""


class Send(Protocol):
    """Sends one message within `timeout` seconds; raises nothing for what a receiver, a network or a setting does."""

    def __call__(self, message: Message, timeout: float) -> Sent: ...


@dataclass(frozen=True)
class Channel:
    """One way outside."""

    conf: ChannelConf
    send: Send


def make_channels(
    confs: Mapping[str, ChannelConf],
    environment: Mapping[str, str] | None = None,
    guard: Callable[..., Guard] | None = None,
) -> dict[str, Channel]:
    """The channels of a config, by name. Nothing is connected, resolved or read from the environment yet.

    Args:
        confs: by name, as in `act.channels`.
        environment: where the variables that they name are looked up at each send; None: the process's own.
        guard: makes what stands before each connection; None: `Guard`. Tests hand in one that knows their servers.

    Raises:
        ConfigError: a name that is none.
    """
    for name in confs:
        if not _NAME.fullmatch(name):
            what = f"{name!r} is no name of a channel"
            raise ConfigError(WHERE, what, "use 1 to 64 letters, digits, '_' or '-'")
    held = os.environ if environment is None else environment
    return {name: Channel(conf, _sender(conf, held, guard)) for name, conf in confs.items()}


def _sender(conf: ChannelConf, environment: Mapping[str, str], guard: Callable[..., Guard] | None) -> Send:
    """How its kind sends. Each is imported where it is used, so that the command line starts fast."""
    if conf.kind == "command":
        from engine.effects.command import Command

        return Command(conf, environment)
    from engine.effects.guard import Guard

    guard = guard or Guard
    if conf.kind == "email":
        from engine.effects.mail import Mail

        return Mail(conf, environment, guard)
    if conf.kind == "slack":
        from engine.effects.slack import Slack

        return Slack(conf, environment, guard)
    from engine.effects.webhook import Webhook

    return Webhook(conf, environment, guard)
