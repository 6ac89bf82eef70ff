"""Where Flexport's webhooks arrive."""

from typing import Literal, TypedDict

from aiohttp import web

from flexportd.expose.context import WEBHOOKS
from flexportd.expose.openapi.route import Parameter, Route
from flexportd.expose.openapi.schemas import json_response

_SIGNATURE = {"type": "string", "pattern": "^sha256=[0-9a-fA-F]{64}$"}


class WebhookAcknowledgement(TypedDict):
    """The event is stored; `duplicate`: it was already stored."""

    status: Literal["accepted", "duplicate"]
    id: str


async def receive(request: web.Request) -> web.StreamResponse:
    """Keep what Flexport sends."""
    return await request.app[WEBHOOKS].receive(request)


def routes(path: str) -> tuple[Route, ...]:
    """The one route, at the configured path."""
    return (
        Route(
            method="POST",
            path=path,
            handler=receive,
            name="receive_webhook",
            tag="events",
            summary="Receive events from Flexport",
            description="The body is signed with the shared secret: HMAC-SHA256 over its exact bytes. The response is "
            "sent after the event is stored on disk.",
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
            returns=(json_response(WebhookAcknowledgement, "The event is stored."),),
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
        ),
    )
