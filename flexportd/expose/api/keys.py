"""API keys: their scope, expiry and audience."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from flexportd.clock import stamp
from flexportd.core.access import keys
from flexportd.core.access.keys import AccessKey, NewKey, Principal, Scope
from flexportd.core.json_types import doc
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.cached_response import respond_with
from flexportd.expose.context import CLOCK, DB, PRINCIPAL
from flexportd.expose.openapi.parameters import NOT_BLANK
from flexportd.expose.openapi.router import json_body, list_route, route
from flexportd.expose.openapi.schemas import json_response
from flexportd.expose.security.access_policy import base_url
from flexportd.expose.security.authentication import AUTHENTICATOR, MAX_CACHED_KEYS, KeyAuthenticator
from flexportd.expose.serialize import json_document
from flexportd.expose.streaming.broadcaster import BROADCASTER
from flexportd.storage.repositories.keys import LISTING, StoredKey
from flexportd.storage.transaction import Transaction

# One line, not blank.
_LINE = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"

Name = Annotated[str, Meta(min_length=1, max_length=keys.MAX_NAME_LENGTH, pattern=_LINE, examples=["Warehouse screen"])]
Value = Annotated[str, Meta(min_length=1, max_length=keys.MAX_VALUE_LENGTH, pattern=NOT_BLANK)]
Values = Annotated[list[Value], Meta(min_length=1, max_length=keys.MAX_VALUES)]
MetadataKey = Annotated[str, Meta(min_length=1, max_length=keys.MAX_VALUE_LENGTH, pattern=r"^[^\x00]*$")]


class CreateKeyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A new key. With `consignees` or `metadata` it can read only matching shipments, and its scope must be read."""

    name: Annotated[Name, doc("Purpose of the key; unique among active keys.")]
    scope: Annotated[Scope, doc("admin includes write, and write includes read.")] = "read"
    expires: Annotated[
        Annotated[str, Meta(min_length=1, max_length=40)] | None,
        doc("Expiry: a duration from now (90d), the last valid day (2027-01-31) or a time; null: never."),
    ] = None
    consignees: Annotated[Values | None, doc("Limit to shipments to any of these consignees.")] = None
    metadata: Annotated[
        Annotated[dict[MetadataKey, Values], Meta(min_length=1, max_length=1)] | None,
        doc("Limit to shipments with one of these metadata values; exactly one metadata key."),
    ] = None
    rate_limit: Annotated[
        Annotated[str, Meta(min_length=1, max_length=40)] | None,
        doc("Rate limit such as 1200/1m, or off; null: [api] rate_limit."),
    ] = None


class CreatedAccessKey(AccessKey):
    """A new key. `token` is shown only once; `calendar_url` is null if the daemon listens only on Unix sockets."""

    token: str
    calendar_path: str
    calendar_url: str | None
    shipments: int | None


LIST = ListEndpoint.of(
    AccessKey,
    {"created_at": "created_at", "id": "id"},
    LISTING.filters,
    read=lambda tx, page: tx.keys.page(page),
    as_of=lambda tx: tx.keys.changed_at(),
    text_keys=True,
)


@list_route("/keys", LIST.rules, AccessKey, "newest first", scope="admin")
async def list_keys(request: web.Request) -> web.StreamResponse:
    """List keys, including revoked ones.

    The secret key is never shown: only its hash is stored.
    """
    authenticator, now = request.app[AUTHENTICATOR], stamp(request.app[CLOCK].now())
    view = replace(LIST, document=lambda row: dict(_document(authenticator, row, now)))
    return await view.respond(request)


@route(
    "POST",
    "/keys",
    returns=json_response(CreatedAccessKey, "The key.", 201, Location="URL of the key."),
    scope="admin",
    body=CreateKeyRequest,
    problems=("conflict",),
)
async def create_key(request: web.Request) -> web.StreamResponse:
    """Create a key.

    The response shows the secret key only once. The key is valid immediately.
    """
    authenticator, body = request.app[AUTHENTICATOR], json_body(request, CreateKeyRequest)
    principal: Principal = request[PRINCIPAL]
    now = request.app[CLOCK].now()
    limits = body.consignees or (), body.metadata or {}
    new_key = NewKey(body.name, body.scope, body.expires, *limits, body.rate_limit)

    def work(tx: Transaction) -> tuple[StoredKey, str, int | None, list[tuple[StoredKey, bytes]]]:
        key, token = keys.create(tx, new_key, principal.name, now)
        audience = keys.principal(key).audience
        count = None if audience is None else tx.audiences.count(audience)
        return key, token, count, tx.keys.with_digests(MAX_CACHED_KEYS)

    key, token, count, stored = await request.app[DB].write(work)
    authenticator.reload(stored)
    path, base = f"/calendar.ics?token={authenticator.feed_token(key.id)}", base_url(request)
    document: CreatedAccessKey = {
        **_document(authenticator, msgspec.structs.asdict(key), stamp(now)),
        "token": token,
        "calendar_path": path,
        "calendar_url": None if base is None else base + path,
        "shipments": count,
    }
    return json_document(document, 201, location=f"/api/v1/keys/{key.id}")


@route("GET", "/keys/{id}", returns=AccessKey, scope="admin")
async def get_key(request: web.Request) -> web.StreamResponse:
    """Get a key."""
    key = await request.app[DB].read(lambda tx: keys.get_key(tx, request.match_info["id"]))
    now = stamp(request.app[CLOCK].now())
    return await respond_with(request, _document(request.app[AUTHENTICATOR], msgspec.structs.asdict(key), now))


@route("DELETE", "/keys/{id}", returns=AccessKey, scope="admin")
async def revoke_key(request: web.Request) -> web.StreamResponse:
    """Revoke a key.

    The key stops working and remains in the list. Revoking it again has no effect.
    """
    authenticator, key_id = request.app[AUTHENTICATOR], request.match_info["id"]
    now = request.app[CLOCK].now()

    def work(tx: Transaction) -> tuple[StoredKey, list[tuple[StoredKey, bytes]]]:
        return keys.revoke(tx, key_id, now), tx.keys.with_digests(MAX_CACHED_KEYS)

    key, stored = await request.app[DB].write(work)
    authenticator.reload(stored)
    request.app[BROADCASTER].disconnect_key(key_id)
    return json_document(_document(authenticator, msgspec.structs.asdict(key), stamp(now)))


def _document(authenticator: KeyAuthenticator, row: Mapping[str, Any], now: str) -> AccessKey:
    """A key as a document, with the uses that are not written yet."""
    document, more = keys.document(row, now), authenticator.usage.keys.pending(row["id"])
    if more is not None:
        document["last_used_at"], document["uses"] = more[0], document["uses"] + more[1]
    return document
