"""The types of channels by their name in the configuration."""

from collections.abc import Mapping
from typing import Any

from flexportd.notify.channels.apprise import AppriseChannel
from flexportd.notify.channels.channel import Channel
from flexportd.notify.channels.email import EmailChannel
from flexportd.notify.channels.slack import SlackChannel
from flexportd.notify.channels.webhook import WebhookChannel

CHANNEL_TYPES: Mapping[str, type[Channel[Any]]] = {
    "email": EmailChannel,
    "slack": SlackChannel,
    "webhook": WebhookChannel,
    "apprise": AppriseChannel,
}
