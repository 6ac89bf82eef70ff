"""What to do before the first event has come."""

from dataclasses import dataclass

from flexportd.escape import escape_control
from flexportd.expose.context import DisplaySettings


@dataclass(frozen=True, slots=True)
class SetupHint:
    """How to make Flexport's webhooks arrive here, and its lists be read."""

    webhook_path: str
    has_secrets: bool
    has_key: bool


def setup_hint(shown: DisplaySettings, *, has_key: bool) -> SetupHint:
    """What the settings say of it; `has_key`: whether Flexport's API can be asked."""
    return SetupHint(escape_control(shown.webhook_path), shown.has_secrets, has_key)
