"""The types of channels by their name in the configuration."""

from collections.abc import Mapping
from typing import Any

from flexportd.notify.channels.channel import Channel
from flexportd.notify.channels.email import EmailChannel

CHANNEL_TYPES: Mapping[str, type[Channel[Any]]] = {"email": EmailChannel}
