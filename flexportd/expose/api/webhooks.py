"""The webhook endpoint."""

from typing import Literal, TypedDict

from aiohttp import web

from flexportd.expose.context import WEBHOOKS
from flexportd.expose.openapi.declaration import route
from flexportd.expose.openapi.route import Parameter

_SIGNATURE = {"type": "string", "pattern": "^sha256=[0-9a-fA-F]{64}$"}


class WebhookAcknowledgement(TypedDict):
    """The event is stored; `duplicate`: it was already stored."""

    status: Literal["accepted", "duplicate"]
    id: str


@route(
    "POST",
    "/webhooks/flexport",  # [webhook] path replaces it
    prefix="",
    tag="events",
    returns=WebhookAcknowledgement,
    scope=None,
    any_query=True,
    any_slashes=True,
    headers=(
        Parameter(
            name="X-Hub-Signature-256",
            description="sha256= followed by the signature in hexadecimal digits.",
            schema=_SIGNATURE,
            where="header",
        ),
    ),
    problems=(
        "signature-missing",
        "signature-invalid",
        "webhook-secret-missing",
        "sha1-signature",
        "network-not-allowed",
        "request-timeout",
        "content-too-large",
        "unsupported-media-type",
        "overloaded",
    ),
)
async def receive_webhook(request: web.Request) -> web.StreamResponse:
    """Receive events from Flexport.

    The body is signed with the shared secret: HMAC-SHA256 over its exact bytes. The response is sent after the event is
    stored on disk.
    """
    return await request.app[WEBHOOKS].receive(request)
