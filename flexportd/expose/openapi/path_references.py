"""Objects that a path names by the reference that people use, where it is no id."""

from aiohttp import web

from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.search.lookup import lookup
from flexportd.errors import ConflictError
from flexportd.expose.context import DB, READS
from flexportd.expose.security import authorization
from flexportd.storage.repositories.resources import Key
from flexportd.storage.transaction import Transaction

_MAX_LISTED = 10


class AmbiguousError(ConflictError):
    """Several objects have this reference."""

    slug = "ambiguous-reference"


async def resolve_reference(request: web.Request, domain: ResourceType, text: str) -> Key | None:
    """The id of the one object that the caller may see and that has this reference; None where none has.

    None also where the text is the id of an object that the caller may see: another's id is a text like any other.
    Raises AmbiguousError, which lists the ids.
    """
    seen = authorization.audience_of(request)
    key = domain.parse_id(text.upper().removeprefix("FLEX-") if domain.name == "shipments" else text)

    def read(tx: Transaction) -> list[tuple[Key, str]]:
        record = None if key is None else request.app[READS].get(tx, domain, key)
        if record is not None and authorization.is_visible(request, tx, domain, record):
            return []
        return [(hit.key, hit.title) for hit in lookup(tx, domain, text, seen)]

    found = await request.app[DB].read(read)
    if len(found) > 1:
        named = ", ".join(f"{key} ({title[:60]})" for key, title in found[:_MAX_LISTED])
        more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
        several = domain.name.replace("_", " ")
        raise AmbiguousError(f"{len(found)} {several} have the reference {text[:80]!r}; use an id: {named}{more}")
    return found[0][0] if found else None
