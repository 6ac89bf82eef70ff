"""Share links: signed, ending, revocable; and what they show, which is where the cargo is and no more."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.clock import stamp
from flexportd.core.access import share_view, shares
from flexportd.core.access.keys import Principal, Signer
from flexportd.core.access.shares import NewShare
from flexportd.core.resources import containers, legs, registry, shipments
from flexportd.core.resources.itinerary import ShipmentRoute, route_fields
from flexportd.core.timeline import ShipmentBundle
from flexportd.core.unit_of_work import ChangeCause, UnitOfWork
from flexportd.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from flexportd.expose.security.authentication import UsageCounters
from flexportd.flexport.models.containers import Container
from flexportd.flexport.models.legs import Leg
from flexportd.flexport.models.shipments import Shipment
from flexportd.storage.database import Database
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.resources import Record
from tests.events import container, leg, place, shipment

ANNA = Principal(None, "anna", frozenset({"read", "write"}))
NOW = datetime(2026, 3, 4, 2, 41, 9, 377000, tzinfo=UTC)
MARKS = {"as_of": "2026-01-01T00:00:00.000Z", "seq": 1, "source": "webhook", "synced_at": "x", "first_seen_at": "x"}
SIGNER = Signer(b"k" * 32)


def _record(domain, wire, value, **fields):
    found = dict(domain.normalise(wire.model_validate(value)))
    return Record(value["id"], {**dict.fromkeys(domain.table.names), **found, **fields}, "{}", **MARKS)


@pytest.fixture
async def db(tmp_path):
    async with Database.open(tmp_path / "data") as db:

        def work(tx):
            workspace = UnitOfWork(tx)
            record = _record(shipments.RESOURCE_TYPE, Shipment, shipment(7))
            workspace.put(registry.Registry()["shipments"], record, ChangeCause(stamp(NOW), "webhook", "evt"))
            workspace.flush(stamp(NOW))

        await db.write(work)
        yield db


async def _shared(db, expires="30d", label=None, now=NOW):
    share = await db.write(lambda tx: shares.create(tx, 7, NewShare(expires, label), ANNA, now))
    return share, shares.token(SIGNER, share.id, share.expires_at)


async def _open(db, token, now=NOW):
    share_id = shares.verify_token(SIGNER, token, now)
    return await db.read(lambda tx: shares.live_share(tx, share_id))


# --- links ---


async def test_a_link_opens_its_shipment_until_it_ends(db):
    share, token = await _shared(db, label=" for Acme ")
    assert (share.shipment_id, share.label, share.created_by) == (7, "for Acme", "anna")
    assert share.expires_at == "2026-04-03T02:41:09.000Z"
    end = datetime.fromisoformat(share.expires_at)
    assert await _open(db, token, end - timedelta(milliseconds=1)) == share
    with pytest.raises(RefusedError, match="expired at 2026-04-03T02:41:09") as caught:
        await _open(db, token, end)
    assert (caught.value.status, caught.value.slug) == (410, "share-expired")


async def test_a_link_that_is_revoked_shows_nothing(db):
    share, token = await _shared(db)
    _, other = await _shared(db)
    for _ in range(2):
        revoked = await db.write(lambda tx: shares.revoke(tx, share.id, "Anna", NOW))
        assert revoked.revoked_at == stamp(NOW)
    with pytest.raises(RefusedError) as caught:
        await _open(db, token)
    assert (caught.value.status, caught.value.slug) == (410, "share-revoked")
    assert (await _open(db, other)).id != share.id
    with pytest.raises(NotFoundError):
        await db.write(lambda tx: shares.revoke(tx, "nosuchid", "Anna", NOW))


async def test_the_store_holds_nothing_that_opens_anything(db):
    _, token = await _shared(db)
    text = await db.read(lambda tx: "\n".join(tx.raw.iterdump()))
    assert token not in text
    assert token[-20:] not in text


@given(st.integers(4, 47), st.sampled_from("ABCXYZabcxyz0189_-"))
def test_whoever_changes_one_sign_of_a_link_has_none(place, sign):
    token = shares.token(SIGNER, "abcdefgh", "2026-04-03T02:41:09.000Z")
    assert shares.verify_token(SIGNER, token, NOW) == "abcdefgh"
    if token[place] != sign:
        with pytest.raises(NotFoundError, match="not valid"):
            shares.verify_token(SIGNER, token[:place] + sign + token[place + 1 :], NOW)


@given(st.one_of(st.text(max_size=80), st.text("ABCabc019_-", min_size=44, max_size=44).map("fxs_".__add__)))
def test_anything_else_is_no_link(text):
    with pytest.raises(NotFoundError):
        shares.verify_token(SIGNER, text, NOW)


def test_a_signature_is_worth_something_to_its_purpose_alone():
    assert Signer(b"other" * 8).sign("share", b"x", 20) != SIGNER.sign("share", b"x", 20)
    assert SIGNER.sign("calendar", b"x", 20) != SIGNER.sign("share", b"x", 20)
    token = shares.token(Signer(b"other" * 8), "abcdefgh", "2026-04-03T02:41:09.000Z")
    with pytest.raises(NotFoundError):
        shares.verify_token(SIGNER, token, NOW)


async def test_a_link_that_the_store_does_not_know_is_none(db):
    with pytest.raises(NotFoundError):
        await _open(db, shares.token(SIGNER, "abcdefgh", "2026-04-03T02:41:09.000Z"))


@pytest.mark.parametrize(
    ("wanted", "parameter"),
    [
        (NewShare("366d"), "expires"),
        (NewShare("2027-03-05"), "expires"),
        (NewShare("2026-03-03"), "expires"),
        (NewShare("never"), "expires"),
        (NewShare(""), "expires"),
        (NewShare(label="x" * 121), "label"),
        (NewShare(label="a\nb"), "label"),
    ],
)
async def test_what_is_wrong_is_named_and_changes_nothing(db, wanted, parameter):
    with pytest.raises(InvalidError) as caught:
        await db.write(lambda tx: shares.create(tx, 7, wanted, ANNA, NOW))
    assert caught.value.parameter == parameter
    assert await db.read(lambda tx: tx.shares.page(PageRequest(10, "created_at"))) == []


async def test_only_what_is_here_can_be_shared_and_not_without_bound(db, monkeypatch):
    with pytest.raises(NotFoundError, match="no shipment 8"):
        await db.write(lambda tx: shares.create(tx, 8, NewShare(), ANNA, NOW))
    monkeypatch.setattr(shares, "MAX_LINKS", 2)
    await _shared(db)
    share, _ = await _shared(db)
    with pytest.raises(ConflictError, match="maximum of 2 links"):
        await _shared(db)
    await db.write(lambda tx: shares.revoke(tx, share.id, "Anna", NOW))
    await _shared(db)


async def test_views_are_counted_and_written_together(db, clock):
    share, _ = await _shared(db)
    uses = UsageCounters(db, clock)
    for _ in range(3):
        uses.shares.record(share.id, NOW)
    await uses.flush()
    (row,) = await db.read(lambda tx: tx.shares.page(PageRequest(10, "created_at")))
    document = shares.row_document(row, stamp(NOW))
    assert (document["views"], document["last_viewed_at"], document["state"]) == (3, stamp(NOW), "live")
    assert shares.row_document(row, "2027")["state"] == "expired"


# --- what they show ---

FACTORY = place("Secret Supplier Ltd", "CNSZX", tags=("origin_address",))
PORT = place("Yantian, China", "CNYTN", "Asia/Hong_Kong", ("port_of_loading",))
FAR_PORT = place("Los Angeles, CA", "USLAX", "America/Los_Angeles", ("port_of_unloading", "customs_entry"))
DOOR = place("Secret Customer Warehouse", "USONT", tags=("destination_address",))
UNTAGGED = place("Secret Somewhere", "USXXX")


def _mode(*ends):
    return "truck" if FACTORY in ends or DOOR in ends else "ocean"


def _family(*stretches):
    found = [
        _record(
            legs.RESOURCE_TYPE,
            Leg,
            leg(number, 7, origin=start, destination=end, transportation_mode=_mode(start, end)),
        )
        for number, (start, end) in enumerate(stretches, 1)
    ]
    boxes = [_record(containers.RESOURCE_TYPE, Container, container(1, 7, metadata={"x": ["Secret metadata"]}))]
    named = {"_object": "/company_entity", "id": 1, "name": "Secret party", "ref": "x"}
    value = shipment(
        7,
        consignees=[named], shippers=[named], buyers=[named], sellers=[named], importers_of_record=[named],
        metadata={"price": ["Secret price"], "PO #": ["4471"]},
    )  # fmt: skip
    record = _record(shipments.RESOURCE_TYPE, Shipment, value)
    route = {**record.fields, **route_fields(ShipmentRoute(found), boxes)}
    route |= shipments.best_known(route)
    events = [
        {"id": "e1", "type": "/invoice#invoice_shared", "occurred_at": "2026-01-02T00:00:00.000Z", "created_at": "x"},
        {"id": "e2", "type": "/document#document_created", "occurred_at": "2026-01-02T00:00:00.000Z", "created_at": "x"},
        {"id": "e3", "type": "/x#secret_novelty", "occurred_at": "2026-01-02T00:00:00.000Z", "created_at": "x"},
        {"id": "e4", "type": "/shipment#customs_agriculture_hold", "occurred_at": "2026-01-02T00:00:00.000Z", "created_at": "x"},
        {"id": "e5", "type": "/shipment#schedule_confirmed", "occurred_at": "2026-01-02T00:00:00.000Z", "created_at": "x"},
    ]  # fmt: skip
    return ShipmentBundle(record.with_fields(route), found, boxes, (), events)


def test_a_link_shows_where_the_cargo_is():
    found = share_view.document(_family((FACTORY, PORT), (PORT, FAR_PORT), (FAR_PORT, DOOR)))
    assert (found["id"], found["flex_id"], found["name"], found["mode"]) == ("7", "FLEX-7", "PO 7", "ocean")
    assert found["references"] == {
        "bills": ["EXA1", "EXA2", "MAEU1"], "carrier_bookings": ["BK1"], "purchase_orders": ["4471"],
        "containers": ["CSQU3054383"],
    }  # fmt: skip
    assert found["route"]["port_of_loading"] == "Yantian, China"
    assert found["estimated_arrival"] == {"at": "2026-03-21T19:00:00.000Z", "date": "2026-03-21", "day_only": True}
    assert [(one["origin"], one["origin_code"], one["destination"]) for one in found["legs"]] == [
        (None, "CNSZX", "Yantian, China"),
        ("Yantian, China", "CNYTN", "Los Angeles, CA"),
        ("Los Angeles, CA", "USLAX", None),
    ]
    assert found["containers"][0]["container_number"] == "CSQU3054383"
    milestones = {one["milestone"] for one in found["milestones"]}
    assert {"departed", "arrived", "delivered", "schedule_confirmed"} <= milestones


@pytest.mark.parametrize(
    "stretches",
    [
        ((FACTORY, PORT), (PORT, FAR_PORT), (FAR_PORT, DOOR)),
        ((FACTORY, DOOR),),
        ((UNTAGGED, UNTAGGED),),
        ((PORT, UNTAGGED), (UNTAGGED, DOOR)),
        ((PORT, {**DOOR, "tags": ["destination_address", "deconsolidation"]}),),
        (),
    ],
)
def test_a_link_never_shows_money_parties_documents_or_metadata(stretches):
    family = _family(*stretches)
    text = msgspec.json.encode(share_view.document(family)).decode().lower()
    for word in ("secret", "price", "metadata", "raw", "invoice", "document", "customs", "event_id", "e1"):
        assert f'"{word}' not in text
        assert f"{word} " not in text
    assert "secret" not in text


def test_a_name_that_is_anybodys_own_at_one_end_is_shown_at_none():
    twice = place("Secret Yard", "USLAX", tags=("port_of_unloading",))
    own = {**twice, "tags": ["destination_address"]}
    text = msgspec.json.encode(share_view.document(_family((PORT, twice), (twice, own)))).decode()
    assert "Secret" not in text


def test_what_flexport_no_longer_has_says_so():
    family = _family()
    gone = msgspec.structs.replace(family.shipment, removed_at="2026-02-01T00:00:00.000Z")
    assert share_view.document(ShipmentBundle(gone))["removed_at"] == "2026-02-01T00:00:00.000Z"
