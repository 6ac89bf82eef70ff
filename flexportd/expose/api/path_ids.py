"""Ids in paths, and the error for an id that nothing has."""

from aiohttp import web

from flexportd.errors import NotFoundError
from flexportd.storage.repositories.resources import Key

MAX_DIGITS = 18


def not_found(what: str, key: Key) -> NotFoundError:
    """The error: there is no such thing with this id."""
    return NotFoundError(f"there is no {what} {key if isinstance(key, int) else repr(key[:50])}")


def number_or_zero(text: str) -> int:
    """An id made of digits; 0, which nothing has, for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else 0


def numeric_id(request: web.Request, what: str) -> int:
    """The number in the path. Raises NotFoundError if it is none."""
    number = number_or_zero(request.match_info["id"])
    if not number:
        raise not_found(what, request.match_info["id"])
    return number
