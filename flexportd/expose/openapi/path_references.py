"""Path parameters that name an object by a reference instead of its id."""

from aiohttp import web

from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.search.lookup import lookup
from flexportd.errors import ConflictError
from flexportd.expose.context import DB, READS
from flexportd.expose.security import authorization
from flexportd.storage.queries.table import Key
from flexportd.storage.transaction import Transaction

_MAX_LISTED = 10


class AmbiguousError(ConflictError):
    """Several objects have this reference."""

    slug = "ambiguous-reference"


async def resolve_reference(request: web.Request, domain: ResourceType, text: str) -> Key | None:
    """The id of the only object with this reference that the caller may see; None if there is none.

    None also if the text is the id of an object that the caller may see; the id of another's object is treated as a
    reference. Raises AmbiguousError, which lists the ids.
    """
    seen = authorization.audience_of(request)
    key = domain.parse_id(text.upper().removeprefix("FLEX-") if domain.name == "shipments" else text)

    def read(tx: Transaction) -> list[tuple[Key, str]]:
        record = None if key is None else request.app[READS].get(tx, domain, key)
        if record is not None and authorization.is_visible(request, tx, domain, record):
            return []
        return [(hit.key, hit.title) for hit in lookup(tx, domain, text, seen)]

    matches = await request.app[DB].read(read)
    if len(matches) > 1:
        listed = ", ".join(f"{key} ({title[:60]})" for key, title in matches[:_MAX_LISTED])
        more = f" and {len(matches) - _MAX_LISTED} more" if len(matches) > _MAX_LISTED else ""
        several = domain.name.replace("_", " ")
        raise AmbiguousError(f"{len(matches)} {several} have the reference {text[:80]!r}; use an id: {listed}{more}")
    return matches[0][0] if matches else None
