"""Try out notifications: a test message, the preview of a rule, the explanation of an event, a digest now."""

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.core.json_types import doc
from flexportd.core.notification_reports import ChannelTestResult, DigestResult, EventExplanation, RulePreview
from flexportd.expose.cached_response import respond_with
from flexportd.expose.context import NOTIFICATION_TOOLS
from flexportd.expose.openapi.parameters import LINE
from flexportd.expose.openapi.router import json_body, route
from flexportd.expose.openapi.schemas import json_response

MAX_DAYS = 30  # the change log is not kept longer
_TAG = "notifications"

RuleName = Annotated[str, Meta(min_length=1, max_length=100, pattern=LINE, examples=["ETA slips"])]


class PreviewRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The rule to try, by its name in any case, and how many days of the history."""

    rule: RuleName
    days: Annotated[int, Meta(ge=1, le=MAX_DAYS)] = MAX_DAYS


class DigestRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The digest of one rule, or of every rule that has one. `dry_run`: it is not sent."""

    rule: Annotated[RuleName | None, doc("Null: every rule that has a digest.")] = None
    dry_run: bool = True


class Digests(msgspec.Struct):
    """One digest for each rule and channel."""

    data: list[DigestResult]


@route("POST", "/notify/channels/{name}/test", returns=ChannelTestResult, scope="admin", tag=_TAG)
async def send_test_message(request: web.Request) -> web.StreamResponse:
    """Send a test message to a channel now.

    A failure is in `error`, with status 200. A success switches a channel on again that was switched off.
    """
    name = request.match_info["name"]
    return await respond_with(request, dict(await request.app[NOTIFICATION_TOOLS].test(name)))


@route(
    "POST",
    "/notify/preview",
    returns=RulePreview,
    scope="read",
    body=PreviewRequest,
    problems=("not-found", "database-unavailable"),
    tag=_TAG,
)
async def preview_rule(request: web.Request) -> web.StreamResponse:
    """Preview a rule: what it would have sent in the last days, with the texts.

    The recorded changes are evaluated as at their time; nothing is sent or stored. Who acknowledged or snoozed
    exceptions does not count.
    """
    body = json_body(request, PreviewRequest)
    return await respond_with(request, dict(await request.app[NOTIFICATION_TOOLS].preview(body.rule, body.days)))


@route("GET", "/events/{id}/notifications", returns=EventExplanation, tag=_TAG)
async def explain_notifications(request: web.Request) -> web.StreamResponse:
    """Explain the notifications of an event: which rules matched, which did not, and why."""
    return await respond_with(request, dict(await request.app[NOTIFICATION_TOOLS].explain(request.match_info["id"])))


@route(
    "POST",
    "/notify/digests",
    returns=json_response(Digests, "The digests.", 200),
    scope="admin",
    body=DigestRequest,
    problems=("conflict", "invalid-request", "not-found"),
    tag=_TAG,
)
async def compose_digests(request: web.Request) -> web.StreamResponse:
    """Compose digests now; with `dry_run` false they are also sent.

    What is sent now is not part of the next digest.
    """
    body = json_body(request, DigestRequest)
    results = await request.app[NOTIFICATION_TOOLS].digest(body.rule, dry_run=body.dry_run)
    return await respond_with(request, {"data": results})
