"""Access: API keys with their scope, expiry and audience; share links, which are opened without a key."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypedDict

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta

from flexportd.clock import stamp
from flexportd.core.access import keys, share_view, shares
from flexportd.core.access.keys import AccessKey, NewKey, Principal, Scope
from flexportd.core.access.share_view import SharedShipment
from flexportd.core.access.shares import NewShare, ShareDocument
from flexportd.core.json_types import doc
from flexportd.core.resources import shipments
from flexportd.errors import ConflictError, NotFoundError
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.api.shipments import object_key
from flexportd.expose.cached_response import respond_with
from flexportd.expose.context import CLOCK, DB, PRINCIPAL, READS
from flexportd.expose.openapi.parameters import LINE, NOT_BLANK, identifier
from flexportd.expose.openapi.router import json_body, list_route, route
from flexportd.expose.openapi.schemas import json_response
from flexportd.expose.security.access_policy import NO_BASE_URL, base_url
from flexportd.expose.security.authentication import AUTHENTICATOR, MAX_CACHED_KEYS, KeyAuthenticator
from flexportd.expose.serialize import json_document
from flexportd.expose.streaming.broadcaster import BROADCASTER
from flexportd.storage.repositories.access import KEYS, StoredKey
from flexportd.storage.repositories.access import SHARES as SHARES_QUERY
from flexportd.storage.transaction import Transaction

Name = Annotated[str, Meta(min_length=1, max_length=keys.MAX_NAME_LENGTH, pattern=LINE, examples=["Warehouse screen"])]
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
    KEYS.filters,
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
    principal: Principal = request[PRINCIPAL]
    now = request.app[CLOCK].now()

    def work(tx: Transaction) -> tuple[StoredKey, list[tuple[StoredKey, bytes]]]:
        return keys.revoke(tx, key_id, principal.name, now), tx.keys.with_digests(MAX_CACHED_KEYS)

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


PAGE_PATH = "/s/{token}"
"""Path of the page of a link; its JSON is at `/api/v1/shared/{token}`."""

_LABEL = r"^[^\x00-\x1f\x7f-\x9f]*$"


class CreateShareRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A new share link."""

    expires: Annotated[
        Annotated[str, Meta(min_length=1, max_length=40)],
        doc("Expiry: a duration from now (30d), the last valid day (2027-01-31) or a time; at most 365d."),
    ] = shares.DEFAULT_LIFETIME
    label: Annotated[
        Annotated[str, Meta(max_length=shares.MAX_LABEL_LENGTH, pattern=_LABEL)] | None,
        doc("Recipient or purpose; not shown to the recipient."),
    ] = None


class ShareLink(ShareDocument):
    """A link as its owner sees it. `url` is absolute; `url` and `path` are null once the link is no longer valid."""

    path: str | None
    url: str | None


class SharedShipmentView(TypedDict):
    """The shared shipment, and the expiry of the link."""

    shipment: SharedShipment
    expires_at: str


SHARES = ListEndpoint.of(
    ShareLink,
    {"created_at": "created_at", "id": "id"},
    SHARES_QUERY.filters,
    read=lambda tx, page: tx.shares.page(page),
    as_of=lambda tx: tx.shares.changed_at(),
    text_keys=True,
)


@list_route("/shares", SHARES.rules, ShareLink, "newest first", scope="write")
async def list_shares(request: web.Request) -> web.StreamResponse:
    """List share links, including revoked and expired ones.

    The response contains the links, so the scope is the same as for creating one.
    """
    now = stamp(request.app[CLOCK].now())
    return await replace(SHARES, document=lambda row: dict(_share_document(request, row, now))).respond(request)


@route(
    "POST",
    "/shipments/{id}/shares",
    tag="shares",
    returns=json_response(ShareLink, "The link.", 201, Location="URL of the link's details."),
    scope="write",
    body=CreateShareRequest,
    body_required=False,
    problems=("conflict",),
)
async def create_share(request: web.Request) -> web.StreamResponse:
    """Share a shipment.

    Creates a link that shows where the cargo is, but never money, parties, documents or metadata.
    """
    number, body = int(object_key(request, shipments.RESOURCE_TYPE)), json_body(request, CreateShareRequest)
    principal: Principal = request[PRINCIPAL]
    now = request.app[CLOCK].now()
    if base_url(request) is None:
        raise ConflictError(NO_BASE_URL)
    new_share = NewShare(body.expires, body.label)
    share = await request.app[DB].write(lambda tx: shares.create(tx, number, new_share, principal, now))
    document = _share_document(request, msgspec.structs.asdict(share), stamp(now))
    return json_document(document, 201, location=f"/api/v1/shares/{share.id}")


@route("GET", "/shares/{id}", returns=ShareLink, scope="write")
async def get_share(request: web.Request) -> web.StreamResponse:
    """Get a share link."""
    share = await request.app[DB].read(lambda tx: shares.get_share(tx, request.match_info["id"]))
    document = _share_document(request, msgspec.structs.asdict(share), stamp(request.app[CLOCK].now()))
    return await respond_with(request, document)


@route("DELETE", "/shares/{id}", returns=ShareLink, scope="write")
async def revoke_share(request: web.Request) -> web.StreamResponse:
    """Revoke a share link.

    The link stops working and remains in the list. Revoking it again has no effect.
    """
    principal: Principal = request[PRINCIPAL]
    now = request.app[CLOCK].now()
    share = await request.app[DB].write(lambda tx: shares.revoke(tx, request.match_info["id"], principal.name, now))
    return json_document(_share_document(request, msgspec.structs.asdict(share), stamp(now)))


@route(
    "GET",
    "/shared/{token}",
    tag="shares",
    returns=SharedShipmentView,
    scope=None,
    path_parameters=(identifier("Token of the link: the part after /s/.", "token", "fxs_…"),),
    problems=("share-expired", "share-revoked"),
)
async def get_shared_shipment(request: web.Request) -> web.StreamResponse:
    """Get the shipment of a share link.

    Needs no key: the link's token authorises the request. Each view is counted.
    """
    return await respond_with(request, await open_share(request))


async def open_share(request: web.Request) -> SharedShipmentView:
    """The shared shipment of the link in the path; counts a view. Raises NotFoundError, RefusedError."""
    authenticator = request.app[AUTHENTICATOR]
    now = request.app[CLOCK].now()
    share_id = shares.verify_token(authenticator.signer, request.match_info["token"], now)

    def read(tx: Transaction) -> SharedShipmentView:
        share = shares.live_share(tx, share_id)
        bundle = request.app[READS].shipment_bundle(tx, share.shipment_id)
        if bundle is None:
            raise NotFoundError("the shipment of this link no longer exists")
        return {"shipment": share_view.document(bundle), "expires_at": share.expires_at}

    view = await request.app[DB].read(read)
    if request.method == hdrs.METH_GET:
        authenticator.usage.shares.record(share_id, now)
    return view


def _share_document(request: web.Request, row: Mapping[str, Any], now: str) -> ShareLink:
    """A link as a document, with the views that are not written yet, and its URL while it is valid."""
    authenticator, base = request.app[AUTHENTICATOR], base_url(request)
    document, more = shares.row_document(row, now), authenticator.usage.shares.pending(row["id"])
    if more is not None:
        document["last_viewed_at"], document["views"] = more[0], document["views"] + more[1]
    path = None
    if document["state"] == "live":
        path = PAGE_PATH.format(token=shares.token(authenticator.signer, row["id"], row["expires_at"]))
    return {**document, "path": path, "url": path and base and base + path}
