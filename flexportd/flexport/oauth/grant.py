"""One token request: what is sent, and what the answer means.

Source: https://developers.flexport.com/tutorials/using-api-credentials. Whether the body must be JSON or a form, and
the shape of an error, are not documented: both are read.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Literal
from urllib.parse import urlencode

import msgspec

from flexportd.clock import Clock
from flexportd.flexport import json_text
from flexportd.flexport.envelope import message_of
from flexportd.flexport.error_sentences import status_message
from flexportd.flexport.errors import (
    ErrorDetails,
    FlexportError,
    FlexportUnavailableError,
    MalformedResponseError,
    RateLimitedError,
    UnauthorisedError,
    error_class,
)
from flexportd.flexport.oauth.token_store import Token, is_usable
from flexportd.flexport.redaction import Secrets
from flexportd.flexport.transport import HttpSession, Limits, Reply, Request, exchange

Form = Literal["json", "form"]

_MAX_BYTES = 1 << 20
_DEFAULT_LIFE = timedelta(hours=24)  # where the answer does not say
_MIN_LIFE, _MAX_LIFE = 60, 30 * 86_400  # seconds that are believed
_MEDIA = {"json": "application/json", "form": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an account's page gives, and where tokens are fetched."""

    client_id: str
    client_secret: str = field(repr=False)
    token_url: str
    audience: str

    def fingerprint(self) -> str:
        """A name for these credentials that gives nothing away; a new secret is still the same credentials."""
        return sha256(f"{self.client_id}\0{self.token_url}\0{self.audience}".encode()).hexdigest()[:32]


class OtherFormError(FlexportError):
    """The token address wants its parameters written in the other way, perhaps (400 or 415)."""


async def request_token(
    session: HttpSession, credentials: Credentials, form: Form, clock: Clock, seconds: float
) -> Token:
    """Send one token request; it may take `seconds`.

    Raises OtherFormError on 400 and 415, UnauthorisedError on another refusal, RateLimitedError, and
    FlexportUnavailableError for everything else: never what could be taken for the answer to another request.
    """
    fields = {
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
        "audience": credentials.audience,
        "grant_type": "client_credentials",
    }
    body = msgspec.json.encode(fields) if form == "json" else urlencode(fields).encode("ascii")
    headers = {"Accept": "application/json", "Content-Type": _MEDIA[form]}
    try:
        reply = await exchange(
            session, Request("POST", credentials.token_url, headers, body), clock, Limits(seconds, _MAX_BYTES)
        )
    except MalformedResponseError as error:
        Secrets((credentials.client_secret,)).clean_error(error)
        raise FlexportUnavailableError(f"No token. {error}", error.response_details, detail=error.detail) from error
    if not 200 <= reply.status < 300:
        raise _error(reply, credentials)
    return _token(reply)


def _error(reply: Reply, credentials: Credentials) -> FlexportError:
    # What is said may repeat what was sent.
    heard = Secrets((credentials.client_secret,)).clean(reply.body)
    heard = heard.replace(credentials.client_secret.encode(), b"***")
    told = reply.error_details()
    said = ErrorDetails(reply.status, told.request_id, told.retry_after)
    heard_words = message_of(heard)
    message = f"No token. {status_message(reply.status, heard_words)}"
    if reply.status in (400, 415):
        return OtherFormError(message, said)
    kind = error_class(reply.status)
    if issubclass(kind, RateLimitedError | FlexportUnavailableError):
        return kind(message, said)
    return (UnauthorisedError if reply.status >= 400 else FlexportUnavailableError)(message, said)


def _token_fields(body: bytes) -> tuple[msgspec.Raw | None, msgspec.Raw | None]:
    """The token and its life, each as its JSON; whatever else is in the answer, also what is no JSON, is left alone."""
    try:
        answer = json_text.members(json_text.strip_bom(body))
    except json_text.BrokenJsonError:
        return None, None
    return answer.get("access_token"), answer.get("expires_in")


def _token(reply: Reply) -> Token:
    text, life = (json_text.value(part) for part in _token_fields(reply.body))
    if not isinstance(text, str) or not is_usable(text):
        raise FlexportUnavailableError(
            "No token. Flexport's answer has no usable access_token", ErrorDetails(reply.status)
        )
    if isinstance(life, str) and life.isascii() and life.isdigit() and len(life) < 10:
        life = int(life)
    believable = isinstance(life, int | float) and not isinstance(life, bool) and _MIN_LIFE <= life <= _MAX_LIFE
    expires = reply.started + (timedelta(seconds=life) if believable else _DEFAULT_LIFE)
    return Token(text, reply.started, expires)
