"""What to do before the first event has come."""

from dataclasses import dataclass

from flexportd.expose.parts import Shown
from flexportd.text import harmless


@dataclass(frozen=True, slots=True)
class Connecting:
    """How to make Flexport's webhooks arrive here."""

    webhook_path: str
    has_secrets: bool


def connecting(shown: Shown) -> Connecting:
    """What the settings say of it."""
    return Connecting(harmless(shown.webhook_path), shown.has_secrets)
