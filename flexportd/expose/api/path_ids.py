"""Numeric ids in paths."""

from aiohttp import web

from flexportd.core.resources.identifiers import int_id
from flexportd.errors import not_found


def numeric_id(request: web.Request, what: str) -> int:
    """The number in the path. Raises NotFoundError if it is none."""
    text = request.match_info["id"]
    number = int_id(text)
    if not number:
        raise not_found(what, text)
    return number
