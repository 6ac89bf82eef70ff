"""Forms of the dashboard: their fields, and the CSRF token which proves that one of its pages sent them.

The token is a signature of the day and the caller's key with the secret of the database: it survives a restart, needs
no cookie and no script, and is useless with another key. It is only checked where the browser does not report the
origin of a request (`expose/security/cors.py`).
"""

import base64
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import parse_qs

from aiohttp import hdrs, web

from flexportd.core.access.keys import UNRESTRICTED, Signer
from flexportd.errors import ForbiddenError, RefusedError
from flexportd.expose.context import CLOCK, PRINCIPAL
from flexportd.expose.security import cors
from flexportd.expose.security.access_policy import read_body
from flexportd.expose.security.authentication import AUTHENTICATOR

TOKEN_FIELD = "form_token"  # noqa: S105 (the name of a field)
MEDIA_TYPE = "application/x-www-form-urlencoded"
MAX_FORM = 256 << 10  # bytes: a booking with many products, in characters of three bytes, each escaped
MAX_FIELDS = 2000

_VALID_DAYS = 7  # an open page without scripts does not reload
_BYTES = 18
_DAY = 86400  # seconds

Fields = Mapping[str, Sequence[str]]

_FIELDS: web.RequestKey[Fields] = web.RequestKey("fields", Mapping)


def form_token(request: web.Request) -> str:
    """The token for the forms on a page for this caller."""
    return _token(request.app[AUTHENTICATOR].signer, request, _day(request.app[CLOCK].machine.now()))


async def check_form_token(request: web.Request) -> None:
    """Refuse a form that none of the dashboard's pages sent. Raises RefusedError, ForbiddenError."""
    given = (await form_fields(request) or {}).get(TOKEN_FIELD, ()) if request.content_type == MEDIA_TYPE else ()
    token = given[0] if len(given) == 1 and given[0].isascii() else ""
    today, day = _day(request.app[CLOCK].machine.now()), token.partition(".")[0]
    number = int(day) if len(day) <= 6 and day.isdigit() else 0
    if not hmac.compare_digest(_token(request.app[AUTHENTICATOR].signer, request, number), token):
        raise ForbiddenError(
            _refusal(request, "carries no token of a page" if not token else "has a token that is not valid")
        )
    if not today - _VALID_DAYS < number <= today + 1:
        raise ForbiddenError(_refusal(request, "has expired"))


async def form_fields(request: web.Request) -> Fields | None:
    """The fields of the submitted form, read once; None if malformed. Raises RefusedError: 408, 413, 415."""
    if _FIELDS in request:
        return request[_FIELDS]
    text = await read_body(request, MAX_FORM)
    if text and request.content_type != MEDIA_TYPE:
        raise RefusedError(415, "unsupported-media-type", f"A form must be {MEDIA_TYPE}.")
    try:
        fields = parse_qs(text.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return None
    request[_FIELDS] = fields
    return fields


def _token(signer: Signer, request: web.Request, day: int) -> str:
    key_id = request.get(PRINCIPAL, UNRESTRICTED).key_id or ""
    signature = signer.sign("form", f"{day}:{key_id}".encode(), _BYTES)
    return f"{day}.{base64.urlsafe_b64encode(signature).decode()}"


def _day(now: datetime) -> int:
    return int(now.timestamp()) // _DAY


def _refusal(request: web.Request, why: str) -> str:
    origin = "no Origin" if hdrs.ORIGIN not in request.headers else "Origin: null"
    return (
        f"The browser did not say which page sent this form ({origin}, no {cors.FETCH_SITE}), and the form {why}. "
        "Nothing was changed. Load the page again and press the button once more. If that does not help, let the "
        f"proxy pass on the headers Origin and {cors.FETCH_SITE}, and set [server] public_url to the address that "
        "people use. Programs send Authorization: Bearer."
    )
