"""Keys: who may use the API, for what, until when, and for which shipments."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.clock import stamp
from flexportd.core.access import keys
from flexportd.core.access.keys import AccessKey, Scope, Viewer, Wanted
from flexportd.expose.api.list_endpoint import ListView
from flexportd.expose.base_url import base_url
from flexportd.expose.cached_response import respond
from flexportd.expose.context import PARTS
from flexportd.expose.openapi import query_params
from flexportd.expose.openapi.blanks import FILLED
from flexportd.expose.openapi.parameters import identifier, of_list
from flexportd.expose.openapi.query_params import ListRules
from flexportd.expose.openapi.route import Route
from flexportd.expose.openapi.router import body_of
from flexportd.expose.openapi.schemas import json_of, page_of
from flexportd.expose.request_keys import VIEWER
from flexportd.expose.security.authentication import GATE, KNOWN, Gate
from flexportd.http.responses import Answer, EncodedResponse
from flexportd.storage.repositories.keys import Key
from flexportd.storage.transaction import Session

FIELDS = tuple(AccessKey.__annotations__)

# One line that is not blank.
_LINE = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"

Name = Annotated[str, Meta(min_length=1, max_length=keys.LONGEST_NAME, pattern=_LINE, examples=["Warehouse screen"])]
Value = Annotated[str, Meta(min_length=1, max_length=keys.LONGEST_VALUE, pattern=FILLED)]
Values = Annotated[list[Value], Meta(min_length=1, max_length=keys.MOST_VALUES)]
MetadataKey = Annotated[str, Meta(min_length=1, max_length=keys.LONGEST_VALUE, pattern=r"^[^\x00]*$")]


class CreateKeyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A new key. With `consignees` or `metadata` it can read only matching shipments, and its scope must be read."""

    name: Annotated[Name, Meta(description="Purpose of the key; unique among active keys.")]
    scope: Annotated[Scope, Meta(description="admin includes write, and write includes read.")] = "read"
    expires: Annotated[
        Annotated[str, Meta(min_length=1, max_length=40)] | None,
        Meta(description="Expiry: a duration from now (90d), the last valid day (2027-01-31) or a time; null: never."),
    ] = None
    consignees: Annotated[Values | None, Meta(description="Limit to shipments to any of these consignees.")] = None
    metadata: Annotated[
        Annotated[dict[MetadataKey, Values], Meta(min_length=1, max_length=1)] | None,
        Meta(description="Limit to shipments with one of these metadata values; exactly one metadata key."),
    ] = None
    rate_limit: Annotated[
        Annotated[str, Meta(min_length=1, max_length=40)] | None,
        Meta(description="Rate limit such as 1200/1m, or off; null: [api] rate_limit."),
    ] = None


class CreatedAccessKey(AccessKey):
    """A new key. `token` is shown only once; `calendar_url` is null if the daemon listens only on Unix sockets."""

    token: str
    calendar_path: str
    calendar_url: str | None
    shipments: int | None


LIST = ListView(
    rules=ListRules(
        sorts={"created_at": "created_at", "id": "id"},
        filters={
            "name": query_params.equals("name"),
            "revoked": query_params.truth("revoked", "not_revoked", "true: only revoked ones; false: only the others."),
        },
        fields=FIELDS,
        text_keys=True,
    ),
    read=lambda tx, page: tx.keys.page(page),
    document=dict,
    as_of=lambda tx: tx.keys.changed_at(),
)


async def index(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/keys`: every key there was, newest first; of a key itself nothing is shown."""
    gate, now = request.app[GATE], stamp(request.app[PARTS].clock.now())
    view = replace(LIST, document=lambda row: dict(_document(gate, row, now)))
    return await view.respond(request)


async def create(request: web.Request) -> web.StreamResponse:
    """`POST /api/v1/keys`: 201 with the key, which is shown this once."""
    parts, gate, body = request.app[PARTS], request.app[GATE], body_of(request, CreateKeyRequest)
    viewer: Viewer = request[VIEWER]
    now = parts.clock.now()
    wanted = Wanted(
        body.name, body.scope, body.expires, body.consignees or (), body.metadata or {}, body.rate_limit
    )  # fmt: skip

    def work(tx: Session) -> tuple[Key, str, int | None, list[tuple[Key, bytes]]]:
        key, token = keys.create(tx, wanted, viewer.name, now)
        audience = keys.viewer(key).audience
        return key, token, None if audience is None else tx.audiences.count(audience), tx.keys.known(KNOWN)

    key, token, count, known = await parts.db.write(work)
    gate.reload(known)
    path, base = f"/calendar.ics?token={gate.feed_token(key.id)}", base_url(request)
    document: CreatedAccessKey = {
        **_document(gate, msgspec.structs.asdict(key), stamp(now)),
        "token": token,
        "calendar_path": path,
        "calendar_url": None if base is None else base + path,
        "shipments": count,
    }
    location = f"/api/v1/keys/{key.id}"
    return EncodedResponse(Answer(201, msgspec.json.encode(document), location=location))


async def show(request: web.Request) -> web.StreamResponse:
    """`GET /api/v1/keys/{id}`: one key."""
    parts, gate, key_id = request.app[PARTS], request.app[GATE], request.match_info["id"]

    async def build() -> dict[str, Any]:
        key = await parts.db.read(lambda tx: keys.found(tx, key_id))
        return dict(_document(gate, msgspec.structs.asdict(key), stamp(parts.clock.now())))

    return await respond(request, build)


async def revoke(request: web.Request) -> web.StreamResponse:
    """`DELETE /api/v1/keys/{id}`: it opens nothing from now on, and stays in the list. Again: nothing changes."""
    parts, gate, key_id = request.app[PARTS], request.app[GATE], request.match_info["id"]
    now = parts.clock.now()

    def work(tx: Session) -> tuple[Key, list[tuple[Key, bytes]]]:
        return keys.revoke(tx, key_id, now), tx.keys.known(KNOWN)

    key, known = await parts.db.write(work)
    gate.reload(known)
    parts.hub.dismiss(key_id)
    document = _document(gate, msgspec.structs.asdict(key), stamp(now))
    return EncodedResponse(Answer(200, msgspec.json.encode(document)))


def _document(gate: Gate, row: Mapping[str, Any], now: str) -> AccessKey:
    """With the uses that are not written yet."""
    document, more = keys.document(row, now), gate.uses.keys.pending(row["id"])
    if more is not None:
        document["last_used_at"], document["uses"] = more[0], document["uses"] + more[1]
    return document


_ID = identifier("Id of the key (not secret).", example="Zk3f9QaB")

ROUTES = (
    Route(
        method="GET",
        path="/api/v1/keys",
        handler=index,
        name="list_keys",
        tag="keys",
        summary="List keys, including revoked ones",
        about="The secret key is never shown: only its hash is stored.",
        scope="admin",
        query=of_list(LIST.rules),
        returns=(page_of(AccessKey, "A page, newest first."),),
        problems=("cursor-expired",),
    ),
    Route(
        method="POST",
        path="/api/v1/keys",
        handler=create,
        name="create_key",
        tag="keys",
        summary="Create a key",
        about="The response shows the secret key only once. The key is valid immediately.",
        scope="admin",
        body=CreateKeyRequest,
        returns=(json_of(CreatedAccessKey, "The key.", 201, Location="URL of the key."),),
        problems=("conflict",),
    ),
    Route(
        method="GET",
        path="/api/v1/keys/{id}",
        handler=show,
        name="get_key",
        tag="keys",
        summary="Get a key",
        scope="admin",
        path_parameters=(_ID,),
        returns=(json_of(AccessKey, "The key."),),
        problems=("not-found",),
    ),
    Route(
        method="DELETE",
        path="/api/v1/keys/{id}",
        handler=revoke,
        name="revoke_key",
        tag="keys",
        summary="Revoke a key",
        about="The key stops working and remains in the list. Revoking it again has no effect.",
        scope="admin",
        path_parameters=(_ID,),
        returns=(json_of(AccessKey, "The revoked key."),),
        problems=("not-found",),
    ),
)
