"""The types of channels by their name in the configuration."""

from collections.abc import Mapping
from typing import Any

from flexportd.notify.channels.apprise import AppriseChannel
from flexportd.notify.channels.base import Channel
from flexportd.notify.channels.slack import SlackChannel
from flexportd.notify.channels.webhook import WebhookChannel

CHANNEL_TYPES: Mapping[str, type[Channel[Any]]] = {
    "slack": SlackChannel,
    "webhook": WebhookChannel,
    "apprise": AppriseChannel,
}
