"""Flexport's responses: checked, parsed into their exact JSON, or turned into an error.

Shapes: `{_object: "/api/response", self, version, data, error}`; the `data` of a list is
`{prev, next, total_count, data: []}` (https://apidocs.flexport.com/v2/tag/Pagination and recorded responses). Two
samples of the OpenAPI document have no envelope. If one value of a response is not JSON, the others are still read:
rows and objects are returned as their bytes, and their reader may refuse them. The functions on bytes raise only
MalformedResponseError and EnvelopeError.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from flexportd.escape import escape_control
from flexportd.flexport import json_text
from flexportd.flexport.error_sentences import FailureKind, status_message
from flexportd.flexport.errors import FlexportError, MalformedResponseError, RejectedError, error_class
from flexportd.flexport.transport import Reply
from flexportd.type_lock import decode_as

T = TypeVar("T")

ENVELOPE = "/api/response"
WEB_PAGES = ("text/html", "application/xhtml+xml")
_THREAD_THRESHOLD = 64 << 10  # bytes from which parsing leaves the event loop


class EnvelopeError(Exception):
    """A well-formed response whose `error` is filled. `status` is the one inside the error, None if there is none."""

    def __init__(self, message: str, status: int | None) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class PageBody:
    """A page of a list. `next` is a URL as received, None at the end; `notes` are oddities, a sentence each."""

    rows: list[bytes]
    next: str | None
    total_count: int | None
    notes: list[str]


async def parse_response(reply: Reply, read: Callable[[bytes], T], name: str) -> T:
    """What `read` returns for the body of a successful response; `name` names the request in messages.

    Raises the FlexportError of the status, the body or an `error` inside it.
    """
    if not 200 <= reply.status < 300:
        raise error_for(reply, name)
    if reply.media_type in WEB_PAGES:
        raise MalformedResponseError(
            FailureKind.WEB_PAGE.value, reply.error_details(always=True), detail=f"{name}: {reply.status}"
        )
    try:
        if len(reply.body) > _THREAD_THRESHOLD:
            return await asyncio.to_thread(read, reply.body)
        return read(reply.body)
    except MalformedResponseError as error:
        detail = ": ".join(filter(None, (name, error.detail)))
        malformed = MalformedResponseError(str(error), reply.error_details(always=True), detail=detail)
        # A body that does not even begin as JSON comes from something in between, and is temporary.
        malformed.fingerprint = hash(reply.body) if reply.body.lstrip()[:1] in (b"{", b"[") else None
        raise malformed from error
    except EnvelopeError as error:
        kind = RejectedError if error.status is None else error_class(error.status)
        details = replace(reply.error_details(always=True), status=error.status or reply.status)
        detail = f"{name}: {reply.status} with an error: {error}"
        raise kind(status_message(details.status, str(error)), details, detail=detail) from error


def error_for(reply: Reply, name: str) -> FlexportError:
    """The error for a response that is not 2xx."""
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "unknown status"
    message = None if 300 <= reply.status < 400 else message_of(reply.body)
    return error_class(reply.status)(
        status_message(reply.status, message),
        reply.error_details(),
        detail=f"{name}: {reply.status} {message or phrase}",
    )


def read_page(body: bytes) -> PageBody:
    """The rows of a list's page."""
    page = _members(_data(_open(body), "list"))
    if "data" not in page or _kind(page["data"]) not in ("a list", "null"):
        raise _unexpected("an object where a list was expected")
    rows = [] if _kind(page["data"]) == "null" else _split(page["data"], list[msgspec.Raw], json_text.elements)
    notes: list[str] = []
    total = _value(page.get("total_count"))
    count = _whole_number(total)
    if total is not None and count is None:
        notes.append(f"total_count is {escape_control(repr(total), 60)}")
    following = _value(page.get("next"))
    if following is not None and not isinstance(following, str):
        notes.append(f"next is {_kind(page['next'])}, not a URL")
        following = ""
    return PageBody(list(map(bytes, rows)), following, count, notes)


def read_object(body: bytes) -> bytes:
    """The exact JSON of the object in a response, also without an envelope if it has `_object` and `id`."""
    top = _open(body)
    if _is_bare(top):
        return json_text.strip_bom(body).strip()
    text = bytes(_data(top, "object"))
    inner = _members(text).get("data")
    if inner is not None and _kind(inner) == "a list":
        raise _unexpected("a list where an object was expected")
    return text


def message_of(body: bytes) -> str | None:
    """The message for people in an error's body, escaped; None if there is none that can be read.

    The first of `error.message`, `error` as text (with `error_description`, as in OAuth), `errors[0].message`,
    `error_description`.
    """
    try:
        top = _members(body)
    except MalformedResponseError:
        return None
    error, errors = _value(top.get("error")), _value(top.get("errors"))
    description = _text(_value(top.get("error_description")))
    message = _error_text(error)
    if isinstance(error, str) and message and description:
        message = f"{message}: {description}"
    if not message and isinstance(errors, list) and errors:
        message = _error_text(errors[0])
    return message or description


def _unexpected(what: str, detail: str = "") -> MalformedResponseError:
    return MalformedResponseError(f"{FailureKind.NO_ENVELOPE}: {what}", detail=detail)


def _open(body: bytes) -> dict[str, msgspec.Raw]:
    top = _members(json_text.strip_bom(body))
    error = top.get("error")
    if error is not None and _kind(error) != "null" and not _is_bare(top):
        value = _value(error)
        status = value.get("status") if isinstance(value, dict) else None
        is_status = type(status) is int and 400 <= status < 600
        raise EnvelopeError(message_of(body) or "error is filled", status if is_status else None)
    if "data" not in top and "errors" in top and not _is_bare(top):
        raise EnvelopeError(message_of(body) or "errors is filled", None)
    return top


def _data(top: dict[str, msgspec.Raw], expected: str) -> msgspec.Raw:
    if "data" not in top:
        names = ", ".join(escape_control(name, 30) for name in list(top)[:5])
        raise _unexpected(f"no {expected}: {f'an object with {names}' if names else 'an empty object'} without data")
    if _kind(top["data"]) != "an object":
        raise _unexpected(f"no {expected}: data is {_kind(top['data'])}")
    return top["data"]


def _is_bare(top: dict[str, msgspec.Raw]) -> bool:
    name = _value(top.get("_object"))
    return "id" in top and _kind(top["id"]) != "null" and isinstance(name, str) and name != ENVELOPE


def _error_text(error: Any) -> str | None:
    if isinstance(error, dict):
        return _text(error.get("message")) or _text(error.get("code"))
    return _text(error)


def _text(value: Any) -> str | None:
    return escape_control(value.strip()) or None if isinstance(value, str) else None


def _whole_number(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    return value if type(value) is int and 0 <= value < 2**63 else None


class _Unreadable:
    def __repr__(self) -> str:
        return "unreadable"


def _members(text: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    return _split(text, dict[str, msgspec.Raw], json_text.members)


def _value(raw: msgspec.Raw | None) -> Any:
    return None if raw is None else json_text.value(raw, _Unreadable())


def _split(text: bytes | msgspec.Raw, shape: type[T], scan: Callable[[bytes], T]) -> T:
    try:
        return decode_as(text, shape)
    except msgspec.ValidationError as error:
        raise _unexpected("not a JSON object", escape_control(str(error))) from error
    except (ValueError, RecursionError) as error:
        with contextlib.suppress(json_text.BrokenJsonError):
            return scan(bytes(text))
        begin = bytes(memoryview(text)[:40]).decode("utf-8", "replace")
        detail = f"not JSON ({escape_control(str(error))}): {escape_control(begin)!r}"
        raise MalformedResponseError(FailureKind.NOT_JSON.value, detail=detail) from error


_KINDS = {b"{": "an object", b"[": "a list", b'"': "text", b"n": "null", b"t": "true", b"f": "false"}


def _kind(raw: msgspec.Raw) -> str:
    return _KINDS.get(bytes(memoryview(raw)[:1]), "a number")
