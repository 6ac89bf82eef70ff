"""Explanations of refused webhook deliveries: the cause, and how to fix it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from flexportd.clock import age
from flexportd.escape import escape_control
from flexportd.expose.context import CLOCK, DISPLAY, WEBHOOK_REFUSALS, DisplaySettings
from flexportd.storage.repositories.counters import WebhookRefusal

WRONG_PATH = "wrong-path"

_RECENT_SECONDS = 86_400.0  # seconds; older refusals cause no warning


@dataclass(frozen=True, slots=True)
class Explanation:
    """The meaning of a reason. `title` follows "refused: "; `hint` says what to do."""

    title: str
    hint: str
    is_noise: bool = False
    """Anyone can cause it, or it is temporary: no warning while other deliveries are accepted."""


EXPLANATIONS: Mapping[str, Explanation] = {
    WRONG_PATH: Explanation("wrong path", "Correct the endpoint's address in Flexport, or the path in the proxy."),
    "sha1-signature": Explanation(
        "signed with SHA-1 only",
        "Flexport signs with SHA-256 in X-Hub-Signature-256. If your account sends only X-Hub-Signature (SHA-1), "
        "set [webhook] allow_sha1 = true; if a proxy drops the header, let it through.",
    ),
    "signature-invalid": Explanation(
        "wrong signature",
        "Compare [webhook] secrets with the endpoint's secret token in Flexport. A proxy must not change the body.",
    ),
    "webhook-secret-missing": Explanation(
        "no secret configured", "Set [webhook] secrets to the secret token of the endpoint in Flexport."
    ),
    "signature-missing": Explanation(
        "no signature",
        "Flexport signs every delivery. A proxy may drop X-Hub-Signature-256, or another program posts here.",
        is_noise=True,
    ),
    "network-not-allowed": Explanation(
        "sender not allowed",
        "[webhook] allowed_networks does not contain the sender's address. Flexport publishes no addresses, so leave "
        "it empty; behind a proxy, check [server] trusted_proxies.",
    ),
    "content-too-large": Explanation("too large", "Raise [webhook] max_body."),
    "unsupported-media-type": Explanation(
        "not plain JSON",
        "Flexport sends application/json without compression. A proxy may change it, or another program posts here.",
    ),
    "request-timeout": Explanation(
        "body did not arrive in time", "Check the proxy and the network. Flexport sends it again.", is_noise=True
    ),
    "overloaded": Explanation(
        "too much work waiting", "Flexport sends it again. If this continues, check the queue.", is_noise=True
    ),
}
"""By reason; one recorded by another version of flexportd may be missing."""

_UNKNOWN = Explanation("another reason", "See the log for webhook_rejected.")


def explanation(reason: str) -> Explanation:
    """The explanation of a reason."""
    return EXPLANATIONS.get(reason, _UNKNOWN)


def endpoint(display: DisplaySettings) -> str:
    """The webhook endpoint: a URL, or only its path if the URL is unknown."""
    return f"{display.public_url or ''}{display.webhook_path}"


def hint(one: WebhookRefusal, display: DisplaySettings) -> str:
    """How to fix it."""
    if one.reason != WRONG_PATH:
        return explanation(one.reason).hint
    return wrong_path_message(one.last_path, display)


def wrong_path_message(path: str, display: DisplaySettings) -> str:
    """The message for a delivery that arrived at another path than the endpoint's."""
    arrived = escape_control(path, 200)
    return f"A webhook with a valid signature arrived at {arrived}; set the endpoint to {endpoint(display)}."


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


def refusal_warnings(app: web.Application, accepted_at: str | None) -> list[str]:
    """A sentence for each current refusal."""
    found = current_refusals(app[WEBHOOK_REFUSALS](), accepted_at, app[CLOCK].now())
    return [sentence(one, app[DISPLAY]) for one in found]
