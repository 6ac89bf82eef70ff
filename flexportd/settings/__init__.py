"""The one place that knows configuration: file, environment, credentials, defaults and their documentation.

May import only `flexportd.errors` of ours. What is exported here is all that others use.
"""

from flexportd.settings.addresses import Listen
from flexportd.settings.docs import render_docs
from flexportd.settings.example import render_example, render_initial
from flexportd.settings.loading import Loaded, load, open_to_all, show
from flexportd.settings.model import Settings
from flexportd.settings.proxies import environment_note
from flexportd.settings.rates import UNLIMITED, Rate, parse_rate
from flexportd.settings.schema import Key, Section, changed, describe
from flexportd.settings.units import format_duration, parse_duration

__all__ = [
    "UNLIMITED",
    "Key",
    "Listen",
    "Loaded",
    "Rate",
    "Section",
    "Settings",
    "changed",
    "describe",
    "environment_note",
    "format_duration",
    "load",
    "open_to_all",
    "parse_duration",
    "parse_rate",
    "render_docs",
    "render_example",
    "render_initial",
    "show",
]
