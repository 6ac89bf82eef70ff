"""Explanations of refused webhook deliveries: the cause, and how to fix it."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

import msgspec

from flexportd.clock import age
from flexportd.escape import escape_control
from flexportd.expose.context import DisplaySettings
from flexportd.storage.repositories.counters import WebhookRefusal

WRONG_PATH = "wrong-path"

_RECENT_SECONDS = 86_400.0  # seconds; older refusals cause no warning


@dataclass(frozen=True, slots=True)
class Explanation:
    """The meaning of a reason: see `webhook_refusals.toml`."""

    title: str
    hint: str
    is_noise: bool = False


_TEXT = resources.files("flexportd.expose").joinpath("webhook_refusals.toml").read_text(encoding="utf-8")
EXPLANATIONS: Mapping[str, Explanation] = msgspec.convert(tomllib.loads(_TEXT), dict[str, Explanation])

_UNKNOWN = Explanation("another reason", "See the log for webhook_rejected.")


def explanation(reason: str) -> Explanation:
    """The explanation of a reason."""
    return EXPLANATIONS.get(reason, _UNKNOWN)


def hint(one: WebhookRefusal, display: DisplaySettings) -> str:
    """How to fix it."""
    return wrong_path_message(one.last_path, display) if one.reason == WRONG_PATH else explanation(one.reason).hint


def wrong_path_message(path: str, display: DisplaySettings) -> str:
    """The message for a delivery that arrived at another path than the endpoint's."""
    arrived = escape_control(path, 200)
    endpoint = f"{display.public_url or ''}{display.webhook_path}"  # only the path if the URL is unknown
    return f"A webhook with a valid signature arrived at {arrived}; set the endpoint to {endpoint}."


def sentence(one: WebhookRefusal, display: DisplaySettings) -> str:
    """`3 webhooks refused: signed with SHA-1 only. …`."""
    number = "1 webhook" if one.count == 1 else f"{one.count} webhooks"
    return f"{number} refused: {explanation(one.reason).title}. {hint(one, display)}"


def current_refusals(
    refusals: Sequence[WebhookRefusal], accepted_at: str | None, now: datetime
) -> list[WebhookRefusal]:
    """Refusals that need a warning: of the last day, or since the last accepted webhook (`accepted_at`)."""

    def counts(one: WebhookRefusal) -> bool:
        if accepted_at is None or one.last_at > accepted_at:
            return True
        return not explanation(one.reason).is_noise and (age(one.last_at, now) or 0.0) < _RECENT_SECONDS

    return [one for one in refusals if counts(one)]
