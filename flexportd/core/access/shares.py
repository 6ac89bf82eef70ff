"""Share links: access to one shipment without a key, until it expires or is revoked.

Revoking a key revokes the links that were made with it; an expired key does not, since links have their own expiry.

A token is `fxs_` and, in base64, the link's id, its expiry and our signature of both: a forged or expired one is
refused without a database read, and the database holds no secret of a link. See `share_view` for what a link shows.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

import msgspec

from flexportd.clock import parse, stamp
from flexportd.core.access.keys import CONTROL_CHARACTERS, Principal, Signer, parse_expiry, random_text
from flexportd.core.json_types import document_of
from flexportd.core.resources import shipments
from flexportd.errors import ConflictError, InvalidError, NotFoundError, RefusedError, not_found
from flexportd.storage.repositories.access import Share
from flexportd.storage.transaction import Transaction

DEFAULT_LIFETIME = "30d"
MAX_LIFETIME = timedelta(days=365)
MAX_LABEL_LENGTH = 120
MAX_LINKS = 100  # links to one shipment that show something

_ID, _END, _SIGNATURE = 8, 5, 20  # bytes; together they need no base64 padding
_TOKEN = re.compile(r"fxs_([0-9A-Za-z_-]{44})")


class ShareDocument(TypedDict):
    """A link as its owner sees it; `state` is live, expired or revoked."""

    id: str
    shipment_id: str
    label: str | None
    state: str
    created_at: str
    created_by: str
    expires_at: str
    revoked_at: str | None
    views: int
    last_viewed_at: str | None


class NewShare(msgspec.Struct, frozen=True):
    """A request for a link."""

    expires: str = DEFAULT_LIFETIME
    label: str | None = None


def create(tx: Transaction, shipment_id: int, wanted: NewShare, by: Principal, now: datetime) -> Share:
    """Share a shipment, until the link or the key that made it is revoked.

    Raises NotFoundError, InvalidError, and ConflictError for too many links.
    """
    if not tx.resources.load(shipments.TABLE, (shipment_id,)):
        raise not_found("shipment", shipment_id)
    if by.key_id is not None:
        key = tx.keys.by_id(by.key_id)
        if key is None or key.revoked_at is not None:  # while this request was waiting
            raise RefusedError(401, "key-revoked", "This key was revoked.")
    at, expires_at = stamp(now), parse_expiry(wanted.expires, now, MAX_LIFETIME)
    if tx.shares.count(shipment_id, at) >= MAX_LINKS:
        raise ConflictError(f"shipment {shipment_id} has the maximum of {MAX_LINKS} links; revoke some")
    share_id = random_text(_ID)
    while tx.shares.by_id(share_id) is not None:
        share_id = random_text(_ID)
    share = Share(share_id, shipment_id, _label(wanted.label), at, by.name, expires_at, key_id=by.key_id)
    tx.shares.add(share)
    tx.audit.add(at, by.name, "share.create", f"share link {share_id}", f"FLEX-{shipment_id} until {expires_at}")
    return share


def revoke(tx: Transaction, share_id: str, by: str, now: datetime) -> Share:
    """Revoke a link. Raises NotFoundError."""
    at = stamp(now)
    is_new = tx.shares.revoke(share_id, at)
    share = get_share(tx, share_id)
    if is_new:
        tx.audit.add(at, by, "share.revoke", f"share link {share_id}", f"FLEX-{share.shipment_id}")
    return share


def get_share(tx: Transaction, share_id: str) -> Share:
    """The link with this id. Raises NotFoundError."""
    share = tx.shares.by_id(share_id)
    if share is None:
        raise not_found("share link", share_id)
    return share


def token(signer: Signer, share_id: str, expires_at: str) -> str:
    """The token in the URL of a link."""
    message = share_id.encode() + int(parse(expires_at).timestamp()).to_bytes(_END, "big")
    return "fxs_" + base64.urlsafe_b64encode(message + signer.sign("share", message, _SIGNATURE)).decode()


def verify_token(signer: Signer, text: str, now: datetime) -> str:
    """The link id of a token. Raises NotFoundError for a forged one, RefusedError for an expired one."""
    found = _TOKEN.fullmatch(text)
    content = base64.urlsafe_b64decode(found[1]) if found is not None else b""
    message, signature = content[: _ID + _END], content[_ID + _END :]
    if not hmac.compare_digest(signer.sign("share", message, _SIGNATURE), signature):
        raise NotFoundError("This link is not valid")
    end = datetime.fromtimestamp(int.from_bytes(message[_ID:], "big"), UTC)
    if end <= now:
        raise RefusedError(410, "share-expired", f"This link expired at {stamp(end)}.")
    return message[:_ID].decode()


def live_share(tx: Transaction, share_id: str) -> Share:
    """A link that is not revoked. Raises RefusedError for a revoked one, NotFoundError for an unknown one."""
    share = tx.shares.by_id(share_id)
    if share is None:
        raise NotFoundError("This link is not valid")
    if share.revoked_at is not None:
        raise RefusedError(410, "share-revoked", "This link was revoked.")
    return share


def row_document(row: Mapping[str, Any], now: str) -> ShareDocument:
    """A row of the list as the API returns it."""
    state = "revoked" if row["revoked_at"] else "expired" if row["expires_at"] <= now else "live"
    return document_of(ShareDocument, row, shipment_id=str(row["shipment_id"]), state=state)


def _label(text: str | None) -> str | None:
    found = (text or "").strip()
    if len(found) > MAX_LABEL_LENGTH or CONTROL_CHARACTERS.search(found):
        why = f"label is {found[:50]!r}; one line of at most {MAX_LABEL_LENGTH} characters is required"
        raise InvalidError(why, "label")
    return found or None
