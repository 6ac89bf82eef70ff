"""Share links: one shipment, for somebody without a key, until a day, unless it is revoked before.

Revoking a key revokes the links that were made with it. A key that expires leaves them: they have an end of their own.

A link's token is `fxs_` and, in base64, its id, its end and our signature of both: a forged or expired one is refused
without a look at the store, and the store holds nothing that opens anything. What it shows is in `core.shared`.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

import msgspec

from flexportd.clock import parse, stamp
from flexportd.core.access.expiry import until
from flexportd.core.access.keys import CONTROLS, Viewer
from flexportd.core.access.signatures import Signer, random_text
from flexportd.core.resources import shipments
from flexportd.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from flexportd.storage.repositories.shares import Share
from flexportd.storage.transaction import Session

DEFAULT_LIFE = "30d"
LONGEST_LIFE = timedelta(days=365)
LONGEST_LABEL = 120
MOST = 100  # links to one shipment that show something

_ID, _END, _SIGNATURE = 8, 5, 20  # bytes; together they fill base64 without a rest
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


class Wanted(msgspec.Struct, frozen=True):
    """A link as it is asked for."""

    expires: str = DEFAULT_LIFE
    label: str | None = None


def create(tx: Session, shipment_id: int, wanted: Wanted, by: Viewer, now: datetime) -> Share:
    """Share a shipment, until the link or the key by which it was made is revoked.

    Raises NotFoundError, InvalidError naming what is wrong, ConflictError for too many links.
    """
    if not tx.resources.load(shipments.TABLE, (shipment_id,)):
        raise NotFoundError(f"there is no shipment {shipment_id}")
    if by.key_id is not None:
        key = tx.keys.one(by.key_id)
        if key is None or key.revoked_at is not None:  # while this request waited for its turn
            raise RefusedError(401, "key-revoked", "This key was revoked.")
    at, expires_at = stamp(now), until(wanted.expires, now, LONGEST_LIFE)
    if tx.shares.count(shipment_id, at) >= MOST:
        raise ConflictError(f"shipment {shipment_id} has the maximum of {MOST} links; revoke some")
    share_id = random_text(_ID)
    while tx.shares.one(share_id) is not None:
        share_id = random_text(_ID)
    share = Share(share_id, shipment_id, _label(wanted.label), at, by.name, expires_at, key_id=by.key_id)
    tx.shares.add(share)
    return share


def revoke(tx: Session, share_id: str, now: datetime) -> Share:
    """Let a link show nothing from now on. Raises NotFoundError."""
    tx.shares.revoke(share_id, stamp(now))
    return found(tx, share_id)


def found(tx: Session, share_id: str) -> Share:
    """The link with this id. Raises NotFoundError."""
    share = tx.shares.one(share_id)
    if share is None:
        raise NotFoundError(f"there is no share link {share_id[:50]!r}")
    return share


def token(signer: Signer, share_id: str, expires_at: str) -> str:
    """What the address of a link holds."""
    message = share_id.encode() + int(parse(expires_at).timestamp()).to_bytes(_END, "big")
    return "fxs_" + base64.urlsafe_b64encode(message + signer.sign("share", message, _SIGNATURE)).decode()


def named(signer: Signer, text: str, now: datetime) -> str:
    """The id of the link that a token is for. Raises NotFoundError for a forged one, RefusedError once it is over."""
    found = _TOKEN.fullmatch(text)
    content = base64.urlsafe_b64decode(found[1]) if found is not None else b""
    message, signature = content[: _ID + _END], content[_ID + _END :]
    if not hmac.compare_digest(signer.sign("share", message, _SIGNATURE), signature):
        raise NotFoundError("This link is not valid")
    end = datetime.fromtimestamp(int.from_bytes(message[_ID:], "big"), UTC)
    if end <= now:
        raise RefusedError(410, "share-expired", f"This link expired at {stamp(end)}.")
    return message[:_ID].decode()


def opened(tx: Session, share_id: str) -> Share:
    """A link that was named. Raises RefusedError once it was revoked, NotFoundError where the store has none such."""
    share = tx.shares.one(share_id)
    if share is None:
        raise NotFoundError("This link is not valid")
    if share.revoked_at is not None:
        raise RefusedError(410, "share-revoked", "This link was revoked.")
    return share


def row_document(row: Mapping[str, Any], now: str) -> ShareDocument:
    """A row of the list as its owner sees it."""
    state = "revoked" if row["revoked_at"] else "expired" if row["expires_at"] <= now else "live"
    return {
        "id": row["id"],
        "shipment_id": str(row["shipment_id"]),
        "label": row["label"],
        "state": state,
        "created_at": row["created_at"],
        "created_by": row["created_by"],
        "expires_at": row["expires_at"],
        "revoked_at": row["revoked_at"],
        "views": row["views"],
        "last_viewed_at": row["last_viewed_at"],
    }


def _label(text: str | None) -> str | None:
    found = (text or "").strip()
    if len(found) > LONGEST_LABEL or CONTROLS.search(found):
        raise InvalidError(
            f"label is {found[:50]!r}; one line of at most {LONGEST_LABEL} characters is required", "label"
        )
    return found or None
