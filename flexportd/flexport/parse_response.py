"""From a reply to what it means: the typed error, or the parsed body."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from flexportd.flexport.envelope import AnsweredError, message_of
from flexportd.flexport.error_sentences import SENTENCES, FailureKind, of_status
from flexportd.flexport.errors import FlexportError, MalformedAnswerError, RejectedError, Said, kind_of
from flexportd.flexport.transport import Reply

T = TypeVar("T")

WEB_PAGES = ("text/html", "application/xhtml+xml")
_OFF_THE_LOOP = 64 << 10  # bytes from which parsing leaves the event loop


async def parsed(reply: Reply, read: Callable[[bytes], T], name: str) -> T:
    """What `read` makes of a good answer's body; `name` says in messages what was asked.

    Raises the FlexportError that the status, the body or an `error` inside it stands for.
    """
    if not 200 <= reply.status < 300:
        raise refusal(reply, name)
    if reply.media_type in WEB_PAGES:
        raise MalformedAnswerError(
            SENTENCES[FailureKind.WEB_PAGE], reply.said(always=True), detail=f"{name}: {reply.status}"
        )
    try:
        if len(reply.body) > _OFF_THE_LOOP:
            return await asyncio.to_thread(read, reply.body)
        return read(reply.body)
    except MalformedAnswerError as error:
        detail = ": ".join(filter(None, (name, error.detail)))
        malformed = MalformedAnswerError(str(error), reply.said(always=True), detail=detail)
        # What does not even begin as JSON comes from something on the way, and passes.
        malformed.fingerprint = hash(reply.body) if reply.body.lstrip()[:1] in (b"{", b"[") else None
        raise malformed from error
    except AnsweredError as error:
        kind = RejectedError if error.status is None else kind_of(error.status)
        said = reply.said(always=True)
        said = Said(error.status or reply.status, said.request_id, said.retry_after, said.body, said.started_at)
        detail = f"{name}: {reply.status} with an error: {error}"
        raise kind(of_status(error.status or reply.status, str(error)), said, detail=detail) from error


def refusal(reply: Reply, name: str) -> FlexportError:
    """The error for an answer that is no 2xx."""
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "unknown status"
    if 300 <= reply.status < 400:
        return MalformedAnswerError(of_status(reply.status), reply.said(), detail=f"{name}: {reply.status} {phrase}")
    heard = message_of(reply.body)
    return kind_of(reply.status)(
        of_status(reply.status, heard), reply.said(), detail=f"{name}: {reply.status} {heard or phrase}"
    )
