"""Flexport's answers read: nothing is believed before it has been checked, and every object keeps its exact bytes.

Shapes: `{_object: "/api/response", self, version, data, error}`; the `data` of a list is
`{prev, next, total_count, data: []}` (https://apidocs.flexport.com/v2/tag/Pagination and recorded answers). Two samples
of the OpenAPI document come without an envelope. Where one value of an answer is no JSON, the others are read: rows
and objects come out as their bytes, for their reader to refuse. All functions raise MalformedAnswerError on what they
cannot believe, and nothing else but AnsweredError.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from flexportd.escape import escape_control
from flexportd.flexport import json_text
from flexportd.flexport.error_sentences import MESSAGES, FailureKind
from flexportd.flexport.errors import MalformedResponseError

S = TypeVar("S")

ENVELOPE = "/api/response"


class EnvelopeError(Exception):
    """A well-formed answer whose `error` is filled. `status` is what the error says of itself; None: nothing."""

    def __init__(self, message: str, status: int | None) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class PageBody:
    """What a list's page holds: `next` as it came (a URL), None at the end; `notes` are oddities, a sentence each."""

    rows: list[bytes]
    next: str | None
    total_count: int | None
    version: int | None
    notes: list[str]


@dataclass(frozen=True, slots=True)
class ObjectBody:
    """One object's exact JSON."""

    text: bytes
    version: int | None


def read_page(body: bytes) -> PageBody:
    """The rows of a list's page."""
    top = _open(body)
    if "data" not in top:
        raise _unexpected(f"no list: {_shape(top)} without data")
    if not _is_object(top["data"]):
        raise _unexpected(f"no list: data is {_kind(top['data'])}")
    page = _members(top["data"])
    if "data" not in page or _kind(page["data"]) not in ("a list", "null"):
        raise _unexpected("an object where a list was expected")
    rows = [] if _is_null(page["data"]) else [bytes(row) for row in _elements(page["data"])]
    notes: list[str] = []
    total = _value(page.get("total_count"))
    count = _whole_number(total)
    if total is not None and count is None:
        notes.append(f"total_count is {escape_control(repr(total), 60)}")
    following = _value(page.get("next"))
    if following is not None and not isinstance(following, str):
        notes.append(f"next is {_kind(page['next'])}, not a URL")
        following = ""
    return PageBody(rows, following, count, _whole_number(_value(top.get("version"))), notes)


def read_object(body: bytes) -> ObjectBody:
    """The object in an answer; also one that comes without envelope, if it has `_object` and `id`."""
    top = _open(body)
    if _is_bare(top):
        return ObjectBody(json_text.strip_bom(body).strip(), None)
    if "data" not in top:
        raise _unexpected(f"no object: {_shape(top)} without data")
    if not _is_object(top["data"]):
        raise _unexpected(f"no object: data is {_kind(top['data'])}")
    text = bytes(top["data"])
    inner = _members(text).get("data")
    if inner is not None and _kind(inner) == "a list":
        raise _unexpected("a list where an object was expected")
    return ObjectBody(text, _whole_number(_value(top.get("version"))))


def message_of(body: bytes) -> str | None:
    """What an error's body says for people, made harmless; None where it says nothing that can be read.

    The first of `error.message`, `error` as text (with `error_description`, as OAuth has it), `errors[0].message`,
    `error_description`.
    """
    try:
        top = _members(body)
        error, errors = _value(top.get("error")), _value(top.get("errors"))
        described = _text(_value(top.get("error_description")))
    except MalformedResponseError:
        return None
    found = _error_text(error)
    if isinstance(error, str) and found and described:
        found = f"{found}: {described}"
    if not found and isinstance(errors, list) and errors:
        found = _error_text(errors[0])
    return found or described


def _unexpected(what: str) -> MalformedResponseError:
    return MalformedResponseError(f"{MESSAGES[FailureKind.NO_ENVELOPE]}: {what}")


def _open(body: bytes) -> dict[str, msgspec.Raw]:
    """The members of the top, which must not tell of an error."""
    top = _members(json_text.strip_bom(body))
    error = top.get("error")
    if error is not None and not _is_null(error) and not _is_bare(top):
        value = _value(error)
        status = value.get("status") if isinstance(value, dict) else None
        believable = type(status) is int and 400 <= status < 600
        raise EnvelopeError(message_of(body) or "error is filled", status if believable else None)
    if "data" not in top and "errors" in top and not _is_bare(top):
        raise EnvelopeError(message_of(body) or "errors is filled", None)
    return top


def _is_bare(top: dict[str, msgspec.Raw]) -> bool:
    name = _value(top.get("_object"))
    return "id" in top and not _is_null(top["id"]) and isinstance(name, str) and name != ENVELOPE


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
    """What a value is that cannot be read."""

    def __repr__(self) -> str:
        return "unreadable"


_UNREADABLE = _Unreadable()


def _members(text: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    return _split(text, dict[str, msgspec.Raw], json_text.members)


def _elements(text: msgspec.Raw) -> list[msgspec.Raw]:
    return _split(text, list[msgspec.Raw], json_text.elements)


def _value(raw: msgspec.Raw | None) -> Any:
    return None if raw is None else json_text.value(raw, _UNREADABLE)


def _split(text: bytes | msgspec.Raw, shape: type[S], scan: Callable[[bytes], S]) -> S:
    """The parts of an object or a list, also where one of them is no JSON."""
    try:
        return msgspec.json.decode(text, type=shape)
    except msgspec.ValidationError as error:
        raise MalformedResponseError(
            f"{MESSAGES[FailureKind.NO_ENVELOPE]}: not a JSON object", detail=escape_control(str(error))
        ) from error
    except (ValueError, RecursionError) as error:
        with contextlib.suppress(json_text.BrokenJsonError):
            return scan(bytes(text))
        begin = bytes(memoryview(text)[:40]).decode("utf-8", "replace")
        detail = f"not JSON ({escape_control(str(error))}): {escape_control(begin)!r}"
        raise MalformedResponseError(MESSAGES[FailureKind.NOT_JSON], detail=detail) from error


_KINDS = {b"{": "an object", b"[": "a list", b'"': "text", b"n": "null", b"t": "true", b"f": "false"}


def _kind(raw: msgspec.Raw) -> str:
    return _KINDS.get(bytes(memoryview(raw)[:1]), "a number")


def _is_object(raw: msgspec.Raw) -> bool:
    return _kind(raw) == "an object"


def _is_null(raw: msgspec.Raw) -> bool:
    return _kind(raw) == "null"


def _shape(top: dict[str, msgspec.Raw]) -> str:
    names = ", ".join(escape_control(name, 30) for name in list(top)[:5])
    return f"an object with {names}" if names else "an empty object"
