"""The drift ledger: what Flexport sends that nobody published."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from flexportd.expose import parameters
from flexportd.expose.lists import ListView
from flexportd.expose.parameters import ListRules
from flexportd.storage.drift import COLUMNS, KINDS


def finding(row: Mapping[str, Any]) -> dict[str, Any]:
    """A finding as a document; its id is text."""
    return {name: row[name] for name in COLUMNS} | {"id": str(row["id"])}


LIST = ListView(
    rules=ListRules(
        sorts={"last_seen": "last_seen_at", "first_seen": "first_seen_at", "count": "count", "id": "id"},
        filters={"kind": parameters.one_of("kind", KINDS), "object": parameters.equals("object")},
        fields=COLUMNS,
    ),
    read=lambda tx, page: tx.drift.page(page),
    document=finding,
    as_of=lambda tx: tx.events.newest()[0],
)


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/drift`, what was seen last first."""
    return await LIST.respond(request)
