"""Share links: created and revoked with a key, opened without one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, TypedDict

import msgspec
from aiohttp import hdrs, web
from msgspec import Meta

from flexportd.clock import stamp
from flexportd.core.access import share_view, shares
from flexportd.core.access.keys import Principal
from flexportd.core.access.share_view import SharedShipment
from flexportd.core.access.shares import NewShare, ShareDocument
from flexportd.core.json_types import doc
from flexportd.errors import ConflictError, NotFoundError
from flexportd.expose.api.list_endpoint import ListEndpoint
from flexportd.expose.api.shipments import shipment_id
from flexportd.expose.cached_response import respond_with
from flexportd.expose.context import CLOCK, DB, PRINCIPAL, READS
from flexportd.expose.openapi.parameters import identifier
from flexportd.expose.openapi.router import json_body, list_route, route
from flexportd.expose.openapi.schemas import json_response
from flexportd.expose.security.access_policy import NO_BASE_URL, base_url
from flexportd.expose.security.authentication import AUTHENTICATOR
from flexportd.expose.serialize import json_document
from flexportd.storage.repositories.shares import LISTING
from flexportd.storage.transaction import Transaction

PAGE_PATH = "/s/{token}"
"""Path of the page of a link; its JSON is at `/api/v1/shared/{token}`."""

_LINE = r"^[^\x00-\x1f\x7f-\x9f]*$"


class CreateShareRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A new share link."""

    expires: Annotated[
        Annotated[str, Meta(min_length=1, max_length=40)],
        doc("Expiry: a duration from now (30d), the last valid day (2027-01-31) or a time; at most 365d."),
    ] = shares.DEFAULT_LIFETIME
    label: Annotated[
        Annotated[str, Meta(max_length=shares.MAX_LABEL_LENGTH, pattern=_LINE)] | None,
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


LIST = ListEndpoint.of(
    ShareLink,
    {"created_at": "created_at", "id": "id"},
    LISTING.filters,
    read=lambda tx, page: tx.shares.page(page),
    as_of=lambda tx: tx.shares.changed_at(),
    text_keys=True,
)


@list_route("/shares", LIST.rules, ShareLink, "newest first", scope="write")
async def list_shares(request: web.Request) -> web.StreamResponse:
    """List share links, including revoked and expired ones.

    The response contains the links, so the scope is the same as for creating one.
    """
    now = stamp(request.app[CLOCK].now())
    return await replace(LIST, document=lambda row: dict(_document(request, row, now))).respond(request)


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
    number, body = shipment_id(request), json_body(request, CreateShareRequest)
    principal: Principal = request[PRINCIPAL]
    now = request.app[CLOCK].now()
    if base_url(request) is None:
        raise ConflictError(NO_BASE_URL)
    new_share = NewShare(body.expires, body.label)
    share = await request.app[DB].write(lambda tx: shares.create(tx, number, new_share, principal, now))
    document = _document(request, msgspec.structs.asdict(share), stamp(now))
    return json_document(document, 201, location=f"/api/v1/shares/{share.id}")


@route("GET", "/shares/{id}", returns=ShareLink, scope="write")
async def get_share(request: web.Request) -> web.StreamResponse:
    """Get a share link."""
    share = await request.app[DB].read(lambda tx: shares.get_share(tx, request.match_info["id"]))
    document = _document(request, msgspec.structs.asdict(share), stamp(request.app[CLOCK].now()))
    return await respond_with(request, document)


@route("DELETE", "/shares/{id}", returns=ShareLink, scope="write")
async def revoke_share(request: web.Request) -> web.StreamResponse:
    """Revoke a share link.

    The link stops working and remains in the list. Revoking it again has no effect.
    """
    now = request.app[CLOCK].now()
    share = await request.app[DB].write(lambda tx: shares.revoke(tx, request.match_info["id"], now))
    return json_document(_document(request, msgspec.structs.asdict(share), stamp(now)))


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
    """The content of the link in the path, for its page and its JSON; counts a view.

    Raises NotFoundError, RefusedError once the link has expired or is revoked.
    """
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


def _document(request: web.Request, row: Mapping[str, Any], now: str) -> ShareLink:
    """A link as a document, with the views that are not written yet, and its URL while it is valid."""
    authenticator, base = request.app[AUTHENTICATOR], base_url(request)
    document, more = shares.row_document(row, now), authenticator.usage.shares.pending(row["id"])
    if more is not None:
        document["last_viewed_at"], document["views"] = more[0], document["views"] + more[1]
    path = None
    if document["state"] == "live":
        path = PAGE_PATH.format(token=shares.token(authenticator.signer, row["id"], row["expires_at"]))
    return {**document, "path": path, "url": path and base and base + path}
