"""The one place that knows configuration: file, environment, credentials, defaults and their documentation.

May import only `flexportd.errors` of ours. What is exported here is all that others use.
"""

from flexportd.settings.addresses import ListenAddress
from flexportd.settings.docs import render_docs
from flexportd.settings.example import render_example, render_initial
from flexportd.settings.loader import LoadedConfig, describe_values, load, open_access_warning
from flexportd.settings.model import Settings
from flexportd.settings.proxies import environment_note
from flexportd.settings.rates import UNLIMITED, Rate, parse_rate
from flexportd.settings.schema import KeyDoc, SectionDoc, changed_keys, describe
from flexportd.settings.units import format_duration, parse_duration

__all__ = [
    "UNLIMITED",
    "KeyDoc",
    "ListenAddress",
    "LoadedConfig",
    "Rate",
    "SectionDoc",
    "Settings",
    "changed_keys",
    "describe",
    "describe_values",
    "environment_note",
    "format_duration",
    "load",
    "open_access_warning",
    "parse_duration",
    "parse_rate",
    "render_docs",
    "render_example",
    "render_initial",
]
