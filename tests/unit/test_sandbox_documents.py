"""What follows from shipments: bookings, orders, invoices, customs entries and documents, in agreement with them."""

import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.errors import InvalidError, NotFoundError
from flexportd.sandbox import World, WorldPlan
from flexportd.sandbox.catalog.kinds import (
    ALL_PATHS,
    BOOKING,
    BOOKING_LINE,
    COMMERCIAL_INVOICE,
    COMPANY,
    CONTACT,
    CUSTOMS_ENTRY,
    DOCUMENT,
    ENTITY,
    EVENT,
    INVOICE,
    LEG,
    LOCATION,
    ORDER,
    ORDER_LINE,
    PORT,
    PRODUCT,
    SHIPMENT,
)
from flexportd.sandbox.http.api import calculation
from flexportd.sandbox.http.queries import select
from flexportd.sandbox.ids import int_id, parse_int_id, parse_text_id, text_id
from flexportd.sandbox.objects.documents import csv, pdf
from flexportd.sandbox.world.collections import key_of

START = datetime(2026, 3, 4, 8, tzinfo=UTC)
KINDS = {path: kind for kind, path in ALL_PATHS.items()}
# The stamp that says when an object came into being.
STAMPS = {
    BOOKING: "created_at",
    ORDER: "created_at",
    INVOICE: "issued_at",
    COMMERCIAL_INVOICE: "updated_at",
}


def world_of(shipments=60, seed=7):
    return World(WorldPlan(start=START, seed=seed, shipments=shipments))


@pytest.fixture(scope="module")
def world():
    """One that only tests which change nothing may use."""
    found = world_of(90)
    found.advance(START + timedelta(days=30))
    return found


def rows(world, kind):
    return list(world.collections[kind].rows())


def found(world, kind, **filters):
    return list(select(world, kind, {name: [str(value)] for name, value in filters.items()}))


def utc(text):
    return datetime.fromisoformat(text)


@given(st.text(max_size=9), st.integers(0, 2**63))
def test_text_ids_have_22_characters_and_lead_back(salt, number):
    made = text_id(salt, number)
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", made)
    assert parse_text_id(salt, made) == number
    assert parse_text_id(salt + "x", made) is None


@given(st.text(max_size=30))
def test_a_text_that_was_not_given_out_leads_nowhere(text):
    assert parse_text_id("salt", text) is None


@given(st.integers(1, 10**6), st.integers(910_233 * 16, 10**9))
def test_whole_ids_lead_back(first, number):
    assert parse_int_id(first, str(int_id(first, number))) == number


def test_some_ids_begin_with_a_hyphen_or_an_underscore(world):
    begins = Counter(row["id"][0] for row in rows(world, DOCUMENT))
    assert begins["-"]
    assert begins["_"]


def test_the_same_seed_has_the_same_papers_however_it_moved():
    one, other = world_of(), world_of()
    one.advance(START + timedelta(days=11))
    one.export()
    one.advance(START + timedelta(days=40))
    other.advance(START + timedelta(days=40))
    assert one.export() == other.export()
    assert one.export() != world_of(seed=8).export()


@pytest.mark.parametrize("kind", [kind for kind in ALL_PATHS if kind not in {EVENT, PORT}])
def test_every_row_is_found_by_its_id_and_listed_once(world, kind):
    listed = [row for row in rows(world, kind) if not row.get("deleted_at")]
    assert listed
    assert len({row["id"] for row in listed}) == len(listed)
    assert world.rows(kind) == {str(row["id"]): row for row in listed}
    for row in listed:
        assert world.find(kind, str(row["id"])) == row
    for nobody in ("0", "x", "A" * 22, "9" * 18, "²"):
        with pytest.raises(NotFoundError):
            world.find(kind, nobody)


def test_ports_have_no_id_and_go_by_code_and_name(world):
    for row in rows(world, PORT):
        assert "id" not in row
        assert row["details"]
        assert world.find(PORT, f"{row['address']['unlocode']}/{row['name']}") == row


def links_of(value):
    if isinstance(value, dict):
        if str(value.get("_object", "")).startswith("/api/refs/"):
            yield value
        for part in value.values():
            yield from links_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from links_of(part)


def test_every_link_answers(world):
    seen = {
        link["link"]: link for kind in ALL_PATHS if kind != EVENT for row in rows(world, kind) for link in links_of(row)
    }
    asked = Counter()
    for link in seen.values():
        parts = urlsplit(link["link"])
        if link["_object"] == "/api/refs/object":
            path, _, key = parts.path.rpartition("/")
            assert KINDS[path] == link["ref_type"]
            assert str(world.find(KINDS[path], key)["id"]) == key == str(link["id"])
        elif asked[parts.path] < 10:
            asked[parts.path] += 1
            query = parse_qs(parts.query)
            assert KINDS[parts.path] == link["ref_type"]
            answered = select(world, KINDS[parts.path], query)
            assert len(answered) < len(rows(world, KINDS[parts.path])), f"the filter of {link['link']} is ignored"


def test_shipments_and_bookings_link_to_each_other(world):
    shipments = rows(world, SHIPMENT)
    booked = [row for row in shipments if row["booking"]]
    assert 0.7 < len(booked) / len(shipments) < 0.97
    for row in booked:
        booking = world.find(BOOKING, str(row["booking"]["id"]))
        assert booking["shipment"]["id"] == row["id"]
        assert booking["flex_id"] == f"FLEX-{row['id']}"
        assert booking["metadata"]["PO #"] == row["metadata"]["PO #"] or row["metadata"] != {}
        assert booking["created_at"] < row["created_date"]
        assert [len(found(world, BOOKING, **{"f.shipment.id": row["id"]}))] == [1] or booking["status"] == "archived"


def test_exactly_one_mode_of_a_booking_is_an_object(world):
    for row in rows(world, BOOKING):
        filled = [name for name in ("ocean_booking", "air_booking", "trucking_booking") if row[name] is not None]
        assert len(filled) == 1


def test_bookings_are_submitted_before_their_shipment_exists_and_move_on():
    world, seen = world_of(), defaultdict(list)
    for _ in range(60):
        world.advance(world.now + timedelta(hours=8))
        for row in rows(world, BOOKING):
            if seen[row["id"]][-1:] != [row["status"]]:
                seen[row["id"]].append(row["status"])
    ways = {tuple(statuses) for statuses in seen.values()}
    assert ways <= {
        ("submitted", "booked", "shipment"),
        ("submitted", "booked"),
        ("submitted",),
        ("booked", "shipment"),
        ("booked",),
        ("shipment",),
        ("archived",),
        ("submitted", "shipment"),
    }
    assert {"submitted", "booked", "shipment", "archived"} == {status for way in ways for status in way}
    assert any(way[:2] == ("submitted", "booked") for way in ways)


def test_nothing_appears_with_a_stamp_before_the_last_look():
    """Who reads what is newer than the last look misses nothing that is new."""
    world = world_of(20)
    for _ in range(30):
        before, last = world.export(), world.now
        world.advance(last + timedelta(days=1))
        after = world.export()
        for kind, stamp in STAMPS.items():
            for key in set(after[kind]) - set(before[kind]):
                assert last < utc(after[kind][key][stamp]) <= world.now, (kind, after[kind][key])
        for key in set(after[DOCUMENT]) - set(before[DOCUMENT]):
            assert last < utc(after[DOCUMENT][key]["file_metadata"]["uploaded_at"]) <= world.now
        for kind, rows_before in before.items():
            assert set(rows_before) - set(after[kind]) == set() or kind == LEG


def test_lines_of_bookings_lead_to_lines_of_orders_of_the_same_units(world):
    for row in rows(world, BOOKING_LINE):
        line = world.find(ORDER_LINE, str(row["purchase_order_line_item"]["id"]))
        assert line["units"] == row["units"]
        booking = world.find(BOOKING, str(row["booking"]["id"]))
        order = world.find(ORDER, str(line["purchase_order"]["id"]))
        assert order["name"] in booking["metadata"]["PO #"]
        if row["id"] % 7 == 0:  # each asks for a whole list
            assert row in found(world, BOOKING_LINE, **{"f.purchase_order.id": order["id"]})


def test_orders_hold_what_their_shipment_carries_and_close_with_it(world):
    delivered = {row["id"] for row in rows(world, SHIPMENT) if row["actual_delivered_in_full_date"]}
    statuses = set()
    for shipment in rows(world, SHIPMENT):
        orders = found(world, ORDER, **{"f.shipment.id": shipment["id"]})
        assert {order["name"] for order in orders} == set(world.journey(shipment["id"]).plan.cargo.purchase_orders)
        lines = [line for one in orders for line in found(world, ORDER_LINE, **{"f.purchase_order.id": one["id"]})]
        if shipment["items"]:
            assert sorted((line["product"]["sku"], line["units"]) for line in lines) == sorted(
                (item["product"]["sku"], item["total_units"]) for item in shipment["items"]
            )
        for order in orders:
            assert order["status"] == ("closed" if shipment["id"] in delivered else "open")
            assert (order["updated_at"] > order["created_at"]) == (order["status"] == "closed")
            statuses.add(order["status"])
    assert statuses == {"open", "closed"}


def test_commercial_invoices_appear_with_the_items_of_their_shipment(world):
    for shipment in rows(world, SHIPMENT):
        found_ = found(world, COMMERCIAL_INVOICE, **{"f.shipment.id": shipment["id"]})
        assert bool(found_) == bool(shipment["items"])
        lines = [line for row in found_ for line in row["line_items"]]
        assert sum(line["total_units"] for line in lines) == sum(item["total_units"] for item in shipment["items"])
        for row in found_:
            total = sum((Decimal(line["value"]["amount"]) for line in row["line_items"]), Decimal(0))
            assert Decimal(row["total_value"]["amount"]) == total
            for line in row["line_items"]:
                price = Decimal(line["price_per_unit"]["amount"])
                assert price * line["total_units"] == Decimal(line["value"]["amount"])


def test_customs_entries_follow_the_events_of_their_shipment():
    world, statuses = world_of(100), Counter()
    for _ in range(60):
        told = defaultdict(set)
        for event in world.advance(world.now + timedelta(hours=6)):
            if event["data"]["shipment"] is not None:
                told[event["data"]["shipment"]["id"]].add(event["type"])
        for row in rows(world, CUSTOMS_ENTRY):
            statuses[row["release_status"]] += 1
            assert (row["release_status"] == "cleared") == (row["release_date"] is not None)
            customs = {kind for kind in told[row["shipment"]["id"]] if "customs" in kind}
            if "/shipment#customs_entry_release_status_released" in customs:
                assert row["release_status"] == "cleared"
                assert row["release_date"] <= world.now.date().isoformat()
            elif customs:
                assert row["release_status"] == "customs_hold"
    assert set(statuses) == {"pending", "customs_hold", "cleared"}


def test_freight_invoices_add_up(world):
    for row in rows(world, INVOICE):
        items = sum((Decimal(item["amount"]["amount"]) for item in row["items"]), Decimal(0))
        credit = sum((Decimal(memo["amount"]["amount"]) for memo in row["credit_memos"]), Decimal(0))
        assert Decimal(row["total"]["amount"]) == items > 0
        expected = Decimal(0) if row["status"] == "paid" else items - credit
        assert Decimal(row["balance"]["amount"]) == expected
        assert (row["voided_at"] is None) == (row["status"] != "void")
        assert {row["balance"]["currency_code"]} == {item["amount"]["currency_code"] for item in row["items"]}
        for item in row["items"]:
            amount = Decimal(item["rate"]["value"]) * Decimal(item["quantity"]["value"])
            assert abs(amount - Decimal(item["amount"]["amount"])) <= Decimal("0.01")
    assert len({row["name"] for row in rows(world, INVOICE)}) == len(rows(world, INVOICE))


def test_freight_invoices_live_and_say_when_they_were_adjusted():
    world, seen, stamps = world_of(), defaultdict(list), defaultdict(list)
    for _ in range(110):
        world.advance(world.now + timedelta(days=1))
        for row in rows(world, INVOICE):
            if seen[row["id"]][-1:] != [row["status"]]:
                seen[row["id"]].append(row["status"])
            if stamps[row["id"]][-1:] != [row["last_updated_at"]]:
                stamps[row["id"]].append(row["last_updated_at"])
            assert row["status"] not in {"paid", "void"} or row["last_updated_at"]
            assert row["status"] != "past_due" or row["due_date"] < world.now.date().isoformat()
            if row["last_updated_at"]:
                assert utc(row["last_updated_at"]) <= world.now
    ways = {tuple(way) for way in seen.values()}
    assert ("outstanding", "past_due", "paid") in ways
    assert ("outstanding", "paid") in ways
    assert ("outstanding", "void") in ways
    assert any("payment_pending" in way for way in ways)
    assert any(way[0] is None and len(way) > 1 for way in stamps.values())
    for way in stamps.values():
        given = [stamp for stamp in way if stamp]
        assert given == sorted(given)


def test_events_tell_of_invoices_as_they_were_then(world):
    told = [event for event in world.backlog() if event["data"]["resource"]["_object"] == INVOICE]
    types = {event["type"] for event in told}
    assert {"/invoice#invoice_shared", "/invoice#invoice_payment_made", "/invoice#invoice_credit_applied"} <= types
    last = {}
    for event in told:
        invoice = event["data"]["resource"]
        last[invoice["id"]] = invoice
        if event["type"] == "/invoice#invoice_shared":
            assert (invoice["status"], invoice["last_updated_at"]) == ("outstanding", None)
        if event["type"] == "/invoice#invoice_payment_made":
            assert (invoice["status"], Decimal(invoice["balance"]["amount"])) == ("paid", 0)
        assert (event["data"]["shipment"] is None) == (invoice["type"] == "Client")
    assert set(last) == {row["id"] for row in rows(world, INVOICE)}
    for row in rows(world, INVOICE):
        assert row["status"] in {last[row["id"]]["status"], "past_due", "payment_pending"}


def test_invoices_and_shipments_find_each_other(world):
    for row in rows(world, INVOICE)[:60]:
        shipments = found(world, SHIPMENT, **{"f.invoice_id": row["id"]})
        assert len(shipments) == (row["type"] == "Shipment")
        for shipment in shipments:
            assert row in found(world, INVOICE, **{"f.shipment.id": shipment["id"]})
            assert row in found(world, INVOICE, **{"f.shipment_id": shipment["id"]})
    assert {row["type"] for row in rows(world, INVOICE)} == {"Shipment", "Client"}


def test_invoices_are_sorted_and_filtered_by_their_dates(world):
    for direction in ("asc", "desc"):
        dates = [row["due_date"] for row in found(world, INVOICE, sort="due_date", direction=direction)]
        assert dates == sorted(dates, reverse=direction == "desc")
    bound = "2026-03-10T00:00:00Z"
    later = found(world, INVOICE, **{"f.last_updated_at.gt": bound})
    assert {row["id"] for row in later} == {
        row["id"] for row in rows(world, INVOICE) if row["last_updated_at"] and row["last_updated_at"] > bound
    }
    assert 0 < len(later) < len(rows(world, INVOICE))


def test_bookings_are_filtered_by_plain_dates(world):
    day = rows(world, BOOKING)[40]["cargo_ready_date"]
    same = found(world, BOOKING, **{"f.cargo_ready_date": day})
    assert {row["cargo_ready_date"] for row in same} == {day}
    earlier = found(world, BOOKING, **{"f.cargo_ready_date.lt": day})
    later = found(world, BOOKING, **{"f.cargo_ready_date.gt": day})
    assert len(same) + len(earlier) + len(later) == len(rows(world, BOOKING))
    assert len(found(world, BOOKING, **{"f.cargo_ready_date.gte": day})) == len(same) + len(later)


def test_documents_have_files_of_the_size_they_say(world):
    kinds = Counter()
    for row in rows(world, DOCUMENT):
        body, media_type = world.file(row["id"])
        assert len(body) == row["file_metadata"]["size"]
        assert row["file_link"].endswith(f"/documents/{row['id']}/download")
        kinds[media_type] += 1
        if media_type == "application/pdf":
            check_pdf(body)
        else:
            assert body.decode().startswith('"sku","name"')
    assert set(kinds) == {"application/pdf", "text/csv"}
    archived = found(world, DOCUMENT, **{"f.archived_at.exists": "true"})
    assert 0 < len(archived) < len(rows(world, DOCUMENT)) / 5
    assert 2 < len(rows(world, DOCUMENT)) / len(rows(world, SHIPMENT)) < 6


def check_pdf(body):
    """Every offset of the cross-reference table leads to its object."""
    assert body.startswith(b"%PDF-1.4\n")
    assert body.endswith(b"%%EOF\n")
    table = int(re.search(rb"startxref\n(\d+)\n", body)[1])
    assert body[table:].startswith(b"xref\n")
    offsets = [int(line[:10]) for line in re.findall(rb"\d{10} 00000 n ", body[table:])]
    assert len(offsets) == 5
    for number, offset in enumerate(offsets, 1):
        assert body[offset:].startswith(b"%d 0 obj\n" % number)


@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_text_makes_a_valid_pdf(lines):
    body = pdf(lines)
    check_pdf(body)
    length = int(re.search(rb"<< /Length (\d+) >>\nstream\n", body)[1])
    begin = body.index(b"stream\n") + 7
    assert body[begin + length :].startswith(b"\nendstream")


def test_fields_of_csv_are_quoted():
    assert csv([('a "b"', "c,d")]) == b'"a ""b""","c,d"\r\n'


def test_products_are_classified_and_a_sku_is_unique_among_active_ones(world):
    products = rows(world, PRODUCT)
    active = found(world, PRODUCT, **{"f.archived_at.exists": "false"})
    assert len(active) == len({row["sku"] for row in active}) < len(products)
    assert len({row["sku"] for row in products}) < len(products)
    for row in products:
        assert {one["region"] for one in row["classifications"]} == {"US", "EU"}
        assert row["suppliers"]
    items = [item for row in rows(world, SHIPMENT) for item in row["items"]]
    assert all(world.find(PRODUCT, str(item["product"]["id"])) == item["product"] for item in items)
    found_ = found(world, PRODUCT, **{"f.product_properties.category": "kitchen"})
    assert {row["product_category"] for row in found_} == {"Kitchen"}


def test_everybody_on_a_shipment_is_in_the_network(world):
    entities = {row["id"]: row for row in rows(world, ENTITY)}
    for row in rows(world, SHIPMENT):
        for party in (*row["shippers"], *row["consignees"]):
            assert entities[party["id"]] == party
    inside = [entity["id"] for row in rows(world, COMPANY) for entity in row["entities"]]
    assert sorted(inside) == sorted(entities)
    for company in rows(world, COMPANY):
        for kind in (LOCATION, CONTACT):
            of = found(world, kind, **{"f.company.id": company["id"]})
            assert of
            assert of == found(world, kind, **{"f.company_ref": company["ref"]})
        assert {one["id"] for one in company["entities"]} == {
            one["id"] for one in found(world, ENTITY, **{"f.company_id": company["id"]})
        }


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("airport", "/air/port"),
        ("railport", "/ocean/railport"),
        ("roadport", "/trucking/port"),
        ("seaport", "/ocean/port"),
    ],
)
def test_ports_are_found_by_their_type(world, kind, detail):
    for row in found(world, PORT, **{"f.port_type": kind}):
        assert detail in {one["_object"] for one in row["details"]}
    assert 0 < len(found(world, PORT, **{"f.port_type": kind})) <= len(rows(world, PORT))


@pytest.mark.parametrize("kind", [kind for kind in ALL_PATHS if kind not in {PORT, EVENT}])
def test_any_object_can_be_altered_deleted_and_put(kind):
    world = world_of(30)
    row = next(row for row in rows(world, kind) if not row.get("deleted_at"))
    count, revision = len(world.rows(kind)), world.revision
    altered = world.override(kind, row["id"], {"x_novelty": 1})
    assert altered == {**row, "x_novelty": 1}
    assert world.find(kind, str(row["id"])) == altered == world.rows(kind)[str(row["id"])]
    assert "x_novelty" not in row
    assert world.revision > revision
    world.delete(kind, row["id"])
    assert str(row["id"]) not in world.rows(kind)
    with pytest.raises(NotFoundError):
        world.find(kind, str(row["id"]))
    with pytest.raises(NotFoundError):
        world.delete(kind, row["id"])
    with pytest.raises(NotFoundError):
        world.override(kind, row["id"], {})
    world.advance(world.now + timedelta(days=30))
    assert str(row["id"]) not in world.rows(kind)
    new = {**row, "id": 5 if isinstance(row["id"], int) else "a-new-one"}
    world.put(new)
    assert world.find(kind, str(new["id"])) == new
    world.put(row)
    assert world.find(kind, str(row["id"])) == row
    assert len(world.rows(kind)) >= count
    assert key_of(new) in world.rows(kind)


def test_a_port_can_be_put_and_deleted_too():
    world = world_of(1)
    row = rows(world, PORT)[0]
    world.delete(PORT, key_of(row))
    assert row not in rows(world, PORT)
    world.put(row)
    assert row in rows(world, PORT)


def test_what_is_altered_stays_while_the_rest_moves_on():
    world = world_of(30)
    leg = next(row for row in rows(world, LEG) if row["actual_departure_date"] is None and not row["deleted_at"])
    world.override(LEG, leg["id"], {"carrier_name": "Nobody"})
    invoice = next(row for row in rows(world, INVOICE) if row["status"] == "outstanding")
    world.override(INVOICE, invoice["id"], {"notes": ["altered"]})
    world.advance(world.now + timedelta(days=70))
    moved = world.find(LEG, str(leg["id"]))
    assert moved["carrier_name"] == "Nobody"
    assert moved["actual_departure_date"] or moved["deleted_at"]
    moved = world.find(INVOICE, invoice["id"])
    assert moved["notes"] == ["altered"]
    assert moved["status"] in {"paid", "void", "past_due"}


def test_an_object_of_no_list_is_refused():
    world = world_of(1)
    with pytest.raises(InvalidError, match="/parcel"):
        world.put({"_object": "/parcel", "id": 1})
    with pytest.raises(InvalidError, match="/parcel"):
        world.find("/parcel", "1")


def test_a_document_that_was_put_has_no_file():
    world = world_of(3)
    row = rows(world, DOCUMENT)[0]
    world.put({**row, "id": "put"})
    with pytest.raises(NotFoundError, match="without a file"):
        world.file("put")


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        ({"transportation_mode": "air", "weight": {"value": 1000, "unit": "kg"}}, 4.816),
        ({"transportation_mode": "ocean", "weight": {"value": "2", "unit": "t"}}, 0.576),
        ({"transportation_mode": "rail", "teus": "2"}, 1.12),
        (
            {
                "transportation_mode": "truck",
                "weight": {"value": 1, "unit": "t"},
                "distance": {"value": 100, "unit": "km"},
            },
            0.0105,
        ),
    ],
)
def test_carbon_is_a_figure_in_tons(asked, value):
    assert calculation(asked) == {
        "_object": "/carbon_calculation",
        "co2e_emissions": {"_object": "/quantity/weight", "value": value, "unit": "t"},
    }


@pytest.mark.parametrize(
    ("asked", "parameter"),
    [
        ([], "body"),
        ({}, "transportation_mode"),
        ({"transportation_mode": "air"}, "weight"),
        ({"transportation_mode": "air", "weight": 5}, "weight"),
        ({"transportation_mode": "air", "weight": {"value": "x", "unit": "kg"}}, "weight"),
        ({"transportation_mode": "air", "teus": "nan"}, "teus"),
    ],
)
def test_a_carbon_question_that_makes_no_sense_is_refused(asked, parameter):
    with pytest.raises(InvalidError) as caught:
        calculation(asked)
    assert caught.value.parameter == parameter
