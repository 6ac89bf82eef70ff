"""From a reply to what it means: the typed error, or the parsed body."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from flexportd.flexport.envelope import EnvelopeError, message_of
from flexportd.flexport.error_sentences import MESSAGES, FailureKind, status_message
from flexportd.flexport.errors import ErrorDetails, FlexportError, MalformedResponseError, RejectedError, error_class
from flexportd.flexport.transport import Reply

T = TypeVar("T")

WEB_PAGES = ("text/html", "application/xhtml+xml")
_THREAD_THRESHOLD = 64 << 10  # bytes from which parsing leaves the event loop


async def parse_response(reply: Reply, read: Callable[[bytes], T], name: str) -> T:
    """What `read` makes of a good answer's body; `name` says in messages what was asked.

    Raises the FlexportError that the status, the body or an `error` inside it stands for.
    """
    if not 200 <= reply.status < 300:
        raise error_for(reply, name)
    if reply.media_type in WEB_PAGES:
        raise MalformedResponseError(
            MESSAGES[FailureKind.WEB_PAGE], reply.error_details(always=True), detail=f"{name}: {reply.status}"
        )
    try:
        if len(reply.body) > _THREAD_THRESHOLD:
            return await asyncio.to_thread(read, reply.body)
        return read(reply.body)
    except MalformedResponseError as error:
        detail = ": ".join(filter(None, (name, error.detail)))
        malformed = MalformedResponseError(str(error), reply.error_details(always=True), detail=detail)
        # What does not even begin as JSON comes from something on the way, and passes.
        malformed.fingerprint = hash(reply.body) if reply.body.lstrip()[:1] in (b"{", b"[") else None
        raise malformed from error
    except EnvelopeError as error:
        kind = RejectedError if error.status is None else error_class(error.status)
        said = reply.error_details(always=True)
        said = ErrorDetails(error.status or reply.status, said.request_id, said.retry_after, said.body, said.started_at)
        detail = f"{name}: {reply.status} with an error: {error}"
        raise kind(status_message(error.status or reply.status, str(error)), said, detail=detail) from error


def error_for(reply: Reply, name: str) -> FlexportError:
    """The error for an answer that is no 2xx."""
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "unknown status"
    if 300 <= reply.status < 400:
        return MalformedResponseError(
            status_message(reply.status), reply.error_details(), detail=f"{name}: {reply.status} {phrase}"
        )
    heard = message_of(reply.body)
    return error_class(reply.status)(
        status_message(reply.status, heard), reply.error_details(), detail=f"{name}: {reply.status} {heard or phrase}"
    )
