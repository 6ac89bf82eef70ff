"""The configuration: file, environment, credentials, defaults and their documentation.

Of our modules it may import only `flexportd.errors`. Other packages use only what is exported here.
"""

from flexportd.settings.addresses import ListenAddress, environment_note
from flexportd.settings.docs import render_docs, render_example, render_initial
from flexportd.settings.errors import format_value
from flexportd.settings.loader import LoadedConfig, describe_values, load, open_access_warning
from flexportd.settings.notify import (
    AppriseChannelSettings,
    ChannelSettings,
    EmailChannelSettings,
    RuleSettings,
    SlackChannelSettings,
    WebhookChannelSettings,
)
from flexportd.settings.schema import changed_keys
from flexportd.settings.sections import Settings
from flexportd.settings.value_types import (
    UNLIMITED,
    Rate,
    format_duration,
    parse_duration,
    parse_rate,
    suggest,
    toml_value,
)

__all__ = [
    "UNLIMITED", "AppriseChannelSettings", "ChannelSettings", "EmailChannelSettings", "ListenAddress", "LoadedConfig",
    "Rate", "RuleSettings", "Settings", "SlackChannelSettings", "WebhookChannelSettings", "changed_keys",
    "describe_values", "environment_note", "format_duration", "format_value", "load", "open_access_warning",
    "parse_duration", "parse_rate", "render_docs", "render_example", "render_initial", "suggest",
    "toml_value",
]  # fmt: skip
