"""Objects that a path names by the reference that people use, where it is no id."""

from aiohttp import web

from flexportd.core.resources.resource_type import Domain
from flexportd.core.search.lookup import lookup
from flexportd.errors import ConflictError
from flexportd.expose.context import PARTS
from flexportd.expose.security import authorization
from flexportd.storage.repositories.resources import Key
from flexportd.storage.transaction import Session

_MOST_NAMED = 10


class AmbiguousError(ConflictError):
    """Several objects have this reference."""

    slug = "ambiguous-reference"


async def referred(request: web.Request, domain: Domain, text: str) -> Key | None:
    """The id of the one object that the caller may see and that has this reference; None where none has.

    None also where the text is the id of an object that the caller may see: another's id is a text like any other.
    Raises AmbiguousError, which lists the ids.
    """
    parts, seen = request.app[PARTS], authorization.of(request)
    key = domain.key_of(text.upper().removeprefix("FLEX-") if domain.name == "shipments" else text)

    def read(tx: Session) -> list[tuple[Key, str]]:
        record = None if key is None else parts.mirror.one(tx, domain, key)
        if record is not None and authorization.visible(request, tx, domain, record):
            return []
        return [(hit.key, hit.title) for hit in lookup(tx, domain, text, seen)]

    found = await parts.db.read(read)
    if len(found) > 1:
        named = ", ".join(f"{key} ({title[:60]})" for key, title in found[:_MOST_NAMED])
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        several = domain.name.replace("_", " ")
        raise AmbiguousError(f"{len(found)} {several} have the reference {text[:80]!r}; use an id: {named}{more}")
    return found[0][0] if found else None
