"""Effects: what goes outside. A message is posted once, in the ledger, and delivered at least once, under one key.

message.py what is told; conf.py the channels as written; addresses.py, urls.py and guard.py where we may connect;
webhook.py, slack.py, mail.py and command.py how each kind sends; sendings.py what the ledger says; outbox.py posts and
delivers.
"""

from engine.effects.channels import Channel, make_channels
from engine.effects.conf import KINDS, ChannelConf
from engine.effects.message import EVENTS, SEVERITIES, Message
from engine.effects.outbox import Outbox
from engine.effects.sendings import DELIVERY, EFFECT, Sending, sendings

__all__ = [
    "DELIVERY",
    "EFFECT",
    "EVENTS",
    "KINDS",
    "SEVERITIES",
    "Channel",
    "ChannelConf",
    "Message",
    "Outbox",
    "Sending",
    "make_channels",
    "sendings",
]
