"""What to do before the first event has come."""

from dataclasses import dataclass

from flexportd.escape import harmless
from flexportd.expose.context import Shown


@dataclass(frozen=True, slots=True)
class Connecting:
    """How to make Flexport's webhooks arrive here, and its lists be read."""

    webhook_path: str
    has_secrets: bool
    has_key: bool


def connecting(shown: Shown, *, has_key: bool) -> Connecting:
    """What the settings say of it; `has_key`: whether Flexport's API can be asked."""
    return Connecting(harmless(shown.webhook_path), shown.has_secrets, has_key)
