"""Bookings, purchase orders, documents, the network and ports: read, kept, found again, summed up."""

import json
import sqlite3
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.core.resources import bookings, documents, network, ports, purchase_orders, shipments
from flexportd.core.resources.registry import Registry
from flexportd.errors import MalformedError
from flexportd.flexport.models.documents import COVERS, TYPES
from flexportd.flexport.models.places import KINDS
from flexportd.storage.connection import open_writer
from flexportd.storage.migrate import migrate
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.resources import Record, Resources
from tests import wire_orders as wire
from tests.events import container, leg, shipment

OURS = (
    bookings.RESOURCE_TYPE,
    purchase_orders.BOOKING_LINES_RESOURCE_TYPE,
    purchase_orders.RESOURCE_TYPE,
    purchase_orders.LINE_ITEMS_RESOURCE_TYPE,
    documents.RESOURCE_TYPE,
    network.COMPANIES_RESOURCE_TYPE,
    network.ENTITIES_RESOURCE_TYPE,
    network.CONTACTS_RESOURCE_TYPE,
    network.LOCATIONS_RESOURCE_TYPE,
    ports.RESOURCE_TYPE,
)
REGISTRY = Registry(tuple({domain.name: domain for domain in (*Registry(), *OURS)}.values()))
SHARED = Path(__file__).parents[2].parent / "shared"
each = pytest.mark.parametrize("domain", OURS, ids=lambda domain: domain.name)


def load(domain, value):
    """The wire model of a JSON value, which must be readable as a whole."""
    model, problems = domain.wire.load(json.dumps(value).encode())
    assert problems == []
    return model


def fields(domain, value):
    return domain.normalise(load(domain, value))


def record(domain, value, **marks):
    model = load(domain, value)
    at = "2026-03-04T02:41:09.377Z"
    marks = {"as_of": at, "seq": 1, "source": "sync", "synced_at": at, "first_seen_at": at} | marks
    return Record(model.key, domain.normalise(model), json.dumps(value), **marks)


@pytest.fixture
def raw(tmp_path):
    migrate(tmp_path / "x.db")
    with closing(open_writer(tmp_path / "x.db")) as connection:
        yield connection


def store(raw, domain, *values, **marks):
    derived = dict.fromkeys(domain.derived)
    states = []
    for value in values:
        one = record(domain, value, **marks)
        fields = {**one.fields, **derived}
        if domain is shipments.RESOURCE_TYPE:
            fields |= shipments.best_known(fields)
        states.append((one.with_fields(fields), None))
    Resources(raw).save(domain.table, states)


def rows(raw, view):
    raw.row_factory = sqlite3.Row
    return [dict(row) for row in raw.execute(f"SELECT * FROM {view}")]


def asked(raw, domain, /, sort=None, **filters):
    """The ids that a list answers."""
    page = PageRequest(50, sort or next(iter(domain.table.sorts)), descending=False, filters=filters)
    return [row["id"] for row in Resources(raw).page(domain.table, page)]


# Every resource


@each
def test_a_domain_and_its_table_agree(raw, domain):
    columns = {row[1] for row in raw.execute(f"PRAGMA table_xinfo({domain.name})")}
    assert columns == set(domain.table.columns)
    assert domain.table.name == domain.name
    assert set(fields(domain, wire.ONE_OF_EACH[domain.name])) == set(domain.table.names)


@each
def test_what_is_stored_comes_back(raw, domain):
    value = wire.ONE_OF_EACH[domain.name]
    store(raw, domain, value)
    one = record(domain, value)
    found = Resources(raw).load(domain.table, [one.id])[one.id]
    assert found.fields == one.fields
    assert json.loads(found.raw) == value
    assert domain.parse_id(str(one.id)) == one.id


@each
def test_unknown_fields_and_values_are_kept(domain):
    value = {**wire.ONE_OF_EACH[domain.name], "brand_new": {"deep": [1, "x", None]}}
    assert load(domain, value).raw() == value


@each
def test_everything_but_the_id_may_be_missing_or_null(domain):
    value = wire.ONE_OF_EACH[domain.name]
    kept = ("id", "_object", "name") if domain.name == "ports" else ("id", "_object")
    bare = {name: part for name, part in value.items() if name in kept}
    empty = {name: part if name in kept else None for name, part in value.items()}
    assert set(fields(domain, bare).values()) <= {None, value.get("name")}
    assert fields(domain, bare) == fields(domain, empty)


@each
def test_lists_are_sorted_by_an_index_and_take_every_filter(raw, domain):
    table = domain.table
    for number, sort in enumerate(table.sorts):
        order = f"{table.sorts[sort]}, id" if sort != "id" else "id"
        plan = raw.execute(f"EXPLAIN QUERY PLAN SELECT id FROM {table.name} ORDER BY {order} LIMIT 51").fetchall()
        assert number == len(table.sorts) or not any("TEMP B-TREE" in row[3] for row in plan), sort
    for name, filter_ in table.listing.filters.items():
        asked(raw, domain, **{name: ["[]"] * filter_.condition.count("?")})


@pytest.mark.parametrize(
    ("domain", "name", "index"),
    [
        (documents.RESOURCE_TYPE, "shipment", "documents_shipment"),
        (documents.RESOURCE_TYPE, "type", "documents_type"),
        (bookings.RESOURCE_TYPE, "shipment", "bookings_shipment"),
        (purchase_orders.BOOKING_LINES_RESOURCE_TYPE, "booking", "booking_line_items_booking"),
        (purchase_orders.BOOKING_LINES_RESOURCE_TYPE, "purchase_order_line_item", "booking_line_items_line"),
        (purchase_orders.RESOURCE_TYPE, "name", "purchase_orders_name"),
        (purchase_orders.RESOURCE_TYPE, "shipment", "bookings_shipment"),
        (purchase_orders.LINE_ITEMS_RESOURCE_TYPE, "purchase_order", "purchase_order_line_items_order"),
        (purchase_orders.LINE_ITEMS_RESOURCE_TYPE, "sku", "purchase_order_line_items_sku"),
        (purchase_orders.LINE_ITEMS_RESOURCE_TYPE, "item_key", "purchase_order_line_items_key"),
    ],
)
def test_large_tables_are_asked_through_an_index(raw, domain, name, index):
    fragment = domain.table.listing.filters[name].condition
    plan = raw.execute(f"EXPLAIN QUERY PLAN SELECT count(*) FROM {domain.name} WHERE {fragment}", ("[]",)).fetchall()
    assert any(index in row[3] for row in plan), [row[3] for row in plan]
    assert not any(row[3].startswith("SCAN") and "VIRTUAL" not in row[3] for row in plan), [row[3] for row in plan]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["2026-03-01", "9" * 5000, "1e999999", "NaN", "12.50", " ", "0001-01-01T00:00:00+14:00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def _paths(value, path=()):
    yield path
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _paths(part, (*path, name))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _paths(part, (*path, place))


def _replaced(value, path, by):
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(value[path[0]], path[1:], by)
    return copy


PLACES = [(domain, path) for domain in OURS for path in _paths(wire.ONE_OF_EACH[domain.name]) if path]


@given(st.sampled_from(PLACES), JSON)
def test_any_value_anywhere_is_read_or_called_malformed(where, value):
    domain, path = where
    try:
        model, _ = domain.wire.load(json.dumps(_replaced(wire.ONE_OF_EACH[domain.name], path, value)).encode())
        key = model.key
    except MalformedError:
        return
    assert domain.parse_id(str(key)) == key
    found = domain.normalise(model)
    assert set(found) == set(domain.table.names)
    with closing(sqlite3.connect(":memory:")) as raw:
        types = {"integer": "INTEGER", "boolean": "INTEGER"}
        kinds = ", ".join(f"{one.name} {types.get(one.kind, 'TEXT')}" for one in domain.table.fields)
        raw.execute(f"CREATE TABLE one ({kinds.replace('_id INTEGER', '_id ANY')}) STRICT")
        raw.execute(f"INSERT INTO one VALUES ({', '.join('?' * len(found))})", domain.table.values_of(found))
    for one in domain.table.fields:
        if one.kind in ("json", "list") and found[one.name] is not None:
            assert isinstance(json.loads(found[one.name]), dict if one.kind == "json" else list)
    domain.timestamp(model)


@each
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b"{}", b'{"id": null}', b'{"id": []}'])
def test_what_is_no_such_object_is_malformed(domain, body):
    with pytest.raises(MalformedError):
        _ = domain.wire.load(body)[0].key


@pytest.mark.parametrize(
    ("domain", "given", "key"),
    [
        (bookings.RESOURCE_TYPE, "31001", 31_001),
        (purchase_orders.RESOURCE_TYPE, "26088", 26_088),
        (purchase_orders.RESOURCE_TYPE, "po_1", "po_1"),
        (purchase_orders.LINE_ITEMS_RESOURCE_TYPE, 900, 900),
        (purchase_orders.BOOKING_LINES_RESOURCE_TYPE, "501", 501),
        (network.ENTITIES_RESOURCE_TYPE, "77", 77),
        (network.ENTITIES_RESOURCE_TYPE, "e-77", "e-77"),
        (documents.RESOURCE_TYPE, "_Zz58", "_Zz58"),
        (documents.RESOURCE_TYPE, 12, "12"),
        (network.COMPANIES_RESOURCE_TYPE, 123456, "123456"),
    ],
)
def test_ids_are_read_as_what_they_are(domain, given, key):
    assert load(domain, {**wire.ONE_OF_EACH[domain.name], "id": given}).key == key


@pytest.mark.parametrize(
    "found",
    [
        {"_object": "/api/refs/object", "id": 910_233, "link": "https://x"},
        {"_object": "/api/refs/object", "id": "910233"},
        {"_object": "/shipment", "id": 910_233, "name": "PO 4471", "data": None},
        [{"_object": "/shipment", "id": 910_233}],
        {"_object": "/api/collections/paginated", "data": [{"id": "910233"}], "total_count": 1},
    ],
)
def test_a_link_may_be_a_reference_the_object_a_list_or_a_page(found):
    assert fields(documents.RESOURCE_TYPE, wire.document(shipment=found))["shipment_id"] == 910_233
    assert load(documents.RESOURCE_TYPE, wire.document(shipment=found)).shipment.target_id == 910_233
    assert fields(network.CONTACTS_RESOURCE_TYPE, wire.contact(company=found))["company_id"] == "910233"
    line = wire.booking_line(purchase_order_line_item=found)
    assert fields(purchase_orders.BOOKING_LINES_RESOURCE_TYPE, line)["purchase_order_line_item_id"] == 910_233


@pytest.mark.parametrize(
    "found", [[], [{"id": 1}, {"id": 2}], {"data": []}, {"link": "https://x"}, [None], [{"id": True}]]
)
def test_a_link_to_none_or_several_names_no_object(found):
    assert fields(documents.RESOURCE_TYPE, wire.document(shipment=found))["shipment_id"] is None
    assert fields(network.CONTACTS_RESOURCE_TYPE, wire.contact(company=found))["company_id"] is None


# Bookings


def booking(**given):
    return fields(bookings.RESOURCE_TYPE, wire.booking(**given))


def test_a_booking_tells_its_request():
    found = booking()
    assert found["name"] == "Spring goods 31001"
    assert found["notify_party"] is None
    assert (found["shipper"], found["shipper_ref"], found["consignee"]) == ("Example Works", "id-66", "Example Imports")
    assert (found["origin_port"], found["origin_port_code"]) == ("Yantian, China", "CNYTN")
    assert (found["destination_port"], found["destination_port_code"]) == ("Los Angeles, CA", "USLAX")
    assert found["origin"] == "2 World Way, Shenzhen, 44, China"
    assert found["cargo_ready_date"] == "2026-03-01"
    assert json.loads(found["products"]) == [{"description": "Lobster", "hs_code": "0306.21", "hs_country_code": "US"}]


def test_container_counts_are_by_size_in_either_spelling():
    found = booking()
    assert json.loads(found["container_counts"]) == {"forty_ft": 2}
    counts = {"fourty_ft_hc": "3", "twenty_ft": 1.0, "fifty_three_ft": 4, "forty_ft": -1, "odd": [1], "half": 0.5}
    found = booking(ocean_booking=wire.ocean_booking(container_counts=counts))
    assert json.loads(found["container_counts"]) == {"forty_ft_hc": 3, "twenty_ft": 1, "fifty_three_ft": 4}
    found = booking(ocean_booking=None, air_booking=wire.ocean_booking())
    assert found["container_counts"] is None


@pytest.mark.parametrize(
    ("cargo", "weight", "volume"),
    [
        ({}, {"unit": "kg", "value": 10000}, {"unit": "cbm", "value": 20}),
        (
            {"weight": None, "volume": wire.quantity(0, "cbm")},
            {"unit": "kg", "value": 125},
            {"unit": "cbm", "value": 2},
        ),
        ({"weight": wire.quantity("472.62")}, {"unit": "kg", "value": "472.62"}, {"unit": "cbm", "value": 20}),
        (
            {"weight": None, "shipping_units": [wire.unit(), wire.unit(weight=wire.quantity(1, "lbs"))]},
            None,
            {"unit": "cbm", "value": 20},
        ),
        ({"weight": None, "volume": None, "shipping_units": []}, None, None),
        ({"weight": wire.quantity(0), "shipping_units": [wire.unit(count=None)]}, None, {"unit": "cbm", "value": 20}),
    ],
)
def test_cargo_totals_are_those_given_else_the_sum_of_the_units(cargo, weight, volume):
    found = booking(cargo=wire.cargo(**cargo))
    assert json.loads(found["weight"] or "null") == weight
    assert json.loads(found["volume"] or "null") == volume


def test_units_keep_their_sizes_and_leave_zeros_out():
    units = [wire.unit(name="Mats", atomic_count="40", height=wire.quantity(120, "cm")), wire.unit(count=5)]
    found = booking(cargo=wire.cargo(shipping_units=units))
    assert found["unit_count"] == 15
    assert json.loads(found["shipping_units"])[0] == {
        "name": "Mats",
        "type": "carton",
        "count": 10,
        "atomic_count": 40,
        "weight": {"value": 12.5, "unit": "kg"},
        "volume": {"value": 0.2, "unit": "cbm"},
        "height": {"value": 120, "unit": "cm"},
    }


def test_more_units_than_a_database_holds_are_not_counted():
    assert booking(cargo=wire.cargo(shipping_units=[wire.unit(count="9" * 30)]))["unit_count"] is None


@pytest.mark.parametrize(
    ("given", "dangerous", "goods"),
    [
        ({}, False, None),
        ({"contains_hazmat": True, "contains_li_ion": True}, True, ["hazmat", "li_ion"]),
        (dict.fromkeys(bookings._DANGERS), None, None),
    ],
)
def test_dangerous_goods_are_told_from_not_said(given, dangerous, goods):
    found = booking(cargo=wire.cargo(**given))
    assert (found["is_dangerous"], json.loads(found["dangerous_goods"] or "null")) == (dangerous, goods)
    assert booking(cargo=None)["is_dangerous"] is None


@pytest.mark.parametrize(
    ("truck", "is_ftl"), [({"is_ftl": True}, True), ({"is_ltl": True}, False), ({"is_ltl": False}, True), ({}, None)]
)
def test_a_booking_by_road_is_full_or_less_than_a_truckload(truck, is_ftl):
    truck |= {"payment_terms": "collect", "description_of_products": "Chairs"}
    found = booking(ocean_booking=None, trucking_booking=truck)
    assert (found["is_ftl"], found["payment_terms"]) == (is_ftl, "collect")
    assert json.loads(found["products"]) == [{"description": "Chairs"}]


@pytest.mark.parametrize(
    ("status", "shipment_id", "says", "is_open", "is_known"),
    [
        ("draft", None, "Draft, not sent yet", True, True),
        ("submitted", None, "Sent, under review by Flexport", True, True),
        ("booked", 7, "Accepted by Flexport; shipment FLEX-7", True, True),
        ("booked", None, "Accepted by Flexport", True, True),
        ("shipment", 7, "Handed over to its shipment; shipment FLEX-7", False, True),
        ("archived", None, "Withdrawn", False, True),
        ("on_ice", None, "On ice", True, False),
        (None, None, "Unknown", True, False),
    ],
)
def test_the_stage_of_a_booking(status, shipment_id, says, is_open, is_known):
    found = bookings.derived_values({"status": status, "shipment_id": shipment_id}, date(2026, 3, 1))
    assert found == {"stage": says, "stage_known": is_known, "open": is_open}


def test_what_follows_from_a_booking_and_an_order():
    today = date(2026, 3, 1)
    assert bookings.derived_values(booking(), today) == {
        "stage": "Accepted by Flexport; shipment FLEX-910233",
        "stage_known": True,
        "open": True,
    }
    order = fields(purchase_orders.RESOURCE_TYPE, wire.purchase_order())
    assert purchase_orders.derived_values(order, today) == {"days_until_must_arrive": 10}
    assert purchase_orders.RESOURCE_TYPE.derived_value_names == ("days_until_must_arrive",)
    assert bookings.RESOURCE_TYPE.derived_value_names == ("stage", "stage_known", "open")


def test_a_booking_has_a_stamp_only_if_flexport_sends_one():
    assert bookings.RESOURCE_TYPE.timestamp(load(bookings.RESOURCE_TYPE, wire.booking())) is None
    sent = wire.booking(updated_at="2026-03-04T02:41:09Z")
    assert bookings.RESOURCE_TYPE.timestamp(load(bookings.RESOURCE_TYPE, sent)) == "2026-03-04T02:41:09Z"


def test_bookings_are_found(raw):
    store(
        raw, bookings.RESOURCE_TYPE, wire.booking(1), wire.booking(2, status="draft", shipment=None, flex_id="FLEX-9")
    )
    assert asked(raw, bookings.RESOURCE_TYPE, status=['["draft","archived"]']) == [2]
    assert asked(raw, bookings.RESOURCE_TYPE, shipment=[910_233]) == [1]
    assert asked(raw, bookings.RESOURCE_TYPE, q=["flex-9"]) == [1, 2]
    assert asked(raw, bookings.RESOURCE_TYPE, cargo_ready_before=["2026-03-01"]) == []
    assert asked(raw, bookings.RESOURCE_TYPE, cargo_ready_after=["2026-03-01"]) == [1, 2]
    assert asked(raw, bookings.RESOURCE_TYPE, not_dangerous=[]) == [1, 2]


# Purchase orders


def line(number, **given):
    return record(purchase_orders.LINE_ITEMS_RESOURCE_TYPE, wire.purchase_order_line(number, **given))


def test_a_line_tells_its_product_and_day():
    found = line(900).fields
    assert (found["product_id"], found["sku"], found["product"]) == (54321, "CHAIRS-BL-1", "Black chairs")
    assert (found["line_number"], found["must_arrive_date"]) == ("1", "2026-03-11")
    assert json.loads(found["hs_codes"]) == ["8309.90.10.00"]
    assert line(900, metadata={"share": [0.5]}).fields["metadata"] == '{"share":[0.5]}'
    linked = line(900, product=wire.link("/product", "54321")).fields
    assert (linked["product_id"], linked["sku"]) == (54321, None)


@pytest.mark.parametrize(
    ("amount", "kept"),
    [
        ('"121.00"', "121"),
        ("512.14", "512.14"),
        ("512.10", "512.1"),
        ("1234567890123456789.123456789", "1234567890123456789.123456789"),
        ("0.1", "0.1"),
        ("7", "7"),
        ("1e2", "100"),
        ('"1e2"', "100"),
        ('" 4.5 "', "4.5"),
        ('""', None),
        ('"abc"', None),
        ("1e400", None),
        ('"1e999999999"', None),
        ('"NaN"', None),
        ("null", None),
    ],
)
def test_money_is_a_decimal_to_the_last_digit(amount, kept):
    body = json.dumps(wire.purchase_order_line()).replace('"121.00"', amount)
    model, _ = purchase_orders.LINE_ITEMS_RESOURCE_TYPE.wire.load(body.encode())
    found = purchase_orders.LINE_ITEMS_RESOURCE_TYPE.normalise(model)
    assert found["unit_cost_amount"] == kept
    assert found["unit_cost_currency"] == "USD"


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12))
def test_money_as_a_number_or_a_text_is_the_same_amount(amount):
    for written in (str(amount), f'"{amount}"'):
        body = json.dumps(wire.purchase_order_line()).replace('"121.00"', written)
        model, _ = purchase_orders.LINE_ITEMS_RESOURCE_TYPE.wire.load(body.encode())
        assert Decimal(purchase_orders.LINE_ITEMS_RESOURCE_TYPE.normalise(model)["unit_cost_amount"]) == amount


def test_units_that_are_no_whole_number_are_reported():
    value = wire.purchase_order_line(units=2.5)
    model, problems = purchase_orders.LINE_ITEMS_RESOURCE_TYPE.wire.load(json.dumps(value).encode())
    assert purchase_orders.LINE_ITEMS_RESOURCE_TYPE.normalise(model)["units"] is None
    assert ["units" in problem for problem in problems] == [True]


def test_orders_are_found_also_by_shipment(raw):
    store(raw, bookings.RESOURCE_TYPE, wire.booking())
    store(raw, purchase_orders.BOOKING_LINES_RESOURCE_TYPE, wire.booking_line())
    store(raw, purchase_orders.LINE_ITEMS_RESOURCE_TYPE, wire.purchase_order_line())
    other = wire.purchase_order(2, name="other", archived_at="2026-02-05T15:32:08.723Z", must_arrive_date="2026-05-01")
    store(raw, purchase_orders.RESOURCE_TYPE, wire.purchase_order(), other)
    domain = purchase_orders.RESOURCE_TYPE
    assert asked(raw, domain, shipment=[910_233]) == [26_088]
    assert asked(raw, domain, shipment=[1]) == []
    assert asked(raw, domain, name=["po1234"]) == [26_088]
    assert asked(raw, domain, archived=[]) == [2]
    assert asked(raw, domain, must_arrive_after=["2026-05-01"]) == [2]
    assert asked(raw, domain, seller=["SELLERCO"]) == [2, 26_088]
    assert asked(raw, purchase_orders.LINE_ITEMS_RESOURCE_TYPE, sku=["chairs-bl-1"], purchase_order=[26_088]) == [900]
    assert asked(
        raw, purchase_orders.BOOKING_LINES_RESOURCE_TYPE, booking=[31_001], purchase_order_line_item=[900]
    ) == [501]


def test_an_order_is_as_new_as_it_says():
    assert (
        purchase_orders.RESOURCE_TYPE.timestamp(load(purchase_orders.RESOURCE_TYPE, wire.purchase_order()))
        == "2026-02-05T15:32:08.723Z"
    )


# Documents


def paper(name, kind, uploaded="2026-02-23T02:56:26.560Z", **given):
    file = {"size": 1, "uploaded_at": uploaded}
    marks = {"removed_at": given.pop("removed_at", None)}
    return record(
        documents.RESOURCE_TYPE, wire.document(name, document_type=kind, file_metadata=file, **given), **marks
    )


def test_the_documents_that_count_by_type():
    held = [
        paper("a", "packing_list"),
        paper("b", "packing_list", "2026-02-24T02:56:26.560Z"),
        paper("c", "certificate_of_origin", archived_at="2026-02-25T02:56:26.560Z"),
        paper("d", "isf_worksheet", removed_at="2026-02-25T02:56:26.560Z"),
        paper("e", None),
    ]
    required = ["commercial_invoice", "packing_list", "certificate_of_origin", "isf_worksheet", "commercial_invoice"]
    assert documents.missing_types(held, required) == ["commercial_invoice", "certificate_of_origin", "isf_worksheet"]


def test_one_file_may_be_two_papers_and_two_files_one():
    joint = [paper("a", "commercial_invoice_packing_list")]
    assert documents.missing_types(joint, ["commercial_invoice", "packing_list", "nra"]) == ["nra"]
    apart = [paper("a", "commercial_invoice"), paper("b", "packing_list")]
    assert documents.missing_types(apart, ["commercial_invoice_packing_list"]) == []
    assert documents.missing_types(apart[:1], ["commercial_invoice_packing_list"]) == [
        "commercial_invoice_packing_list"
    ]
    assert documents.missing_types([], []) == []


def test_types_are_known_as_far_as_they_were_seen():
    file = SHARED / "flexport-api.json"
    if file.exists():
        assert list(TYPES) == json.loads(file.read_text())["document_types_seen"]
    assert documents.type_title("un_38_3") == "Test report for lithium batteries (UN 38.3)"
    assert documents.type_title("love_letter") == "Love letter"
    assert documents.type_title(None) == "Unknown"
    assert set(COVERS) | {one for some in COVERS.values() for one in some} <= set(TYPES)


def test_documents_are_found(raw):
    archived = wire.document("b", archived_at="2026-02-25T02:56:26.560Z", file_name="invoice.pdf", document_type="nra")
    store(raw, documents.RESOURCE_TYPE, wire.document("-a"), archived)
    assert asked(raw, documents.RESOURCE_TYPE, shipment=[910_233]) == ["-a", "b"]
    assert asked(raw, documents.RESOURCE_TYPE, type=['["nra"]'], archived=[]) == ["b"]
    assert asked(raw, documents.RESOURCE_TYPE, not_archived=[]) == ["-a"]
    assert asked(raw, documents.RESOURCE_TYPE, uploaded_since=["2026-02-24T00:00:00.000Z"]) == []
    assert asked(raw, documents.RESOURCE_TYPE, q=["INVOICE"]) == ["b"]


# The network


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "2 World Way, Los Angeles, CA 90045, United States"),
        ({"street_address2": "2 world way "}, "2 World Way, Los Angeles, CA 90045, United States"),
        (
            {"street_address": "", "city": "Hong Kong", "state": None, "zip": None, "country": "Hong Kong"},
            "Hong Kong",
        ),
        ({"country": None, "zip": ""}, "2 World Way, Los Angeles, CA, US"),
        (dict.fromkeys(wire.address()), None),
    ],
)
def test_an_address_in_one_line(given, line):
    assert fields(network.LOCATIONS_RESOURCE_TYPE, wire.location(address=wire.address(**given)))["address"] == line


def test_vat_numbers_name_their_country_once():
    numbers = [
        {"country_code": "DE", "number": "123456789"},
        {"_object": "company_entity/vat_number", "country_code": "US", "number": "US 123746396"},
        {"country_code": None, "number": "42"},
        {"country_code": "FR", "number": " "},
        {"country_code": "DE", "number": "123456789"},
    ]
    expected = ["DE 123456789", "US 123746396", "42"]
    assert (
        json.loads(fields(network.ENTITIES_RESOURCE_TYPE, wire.entity(vat_numbers=numbers))["vat_numbers"]) == expected
    )
    company = wire.company(entities=[wire.entity(vat_numbers=numbers), wire.entity("x", name="Second")])
    found = fields(network.COMPANIES_RESOURCE_TYPE, company)
    assert json.loads(found["vat_numbers"]) == expected
    assert json.loads(found["entities"]) == ["Example Imports", "Second"]
    assert json.loads(found["entity_ids"]) == [77, "x"]


@pytest.mark.parametrize(
    ("given", "phone"),
    [
        ({}, "861-555-5555"),
        ({"phone": None, "phone_number": "+49 30 1"}, "+49 30 1"),
        ({"phone": "", "phone_number": 6789998212}, "6789998212"),
        ({"phone": None}, None),
    ],
)
def test_a_contact_has_a_number_in_either_spelling(given, phone):
    assert fields(network.CONTACTS_RESOURCE_TYPE, wire.contact(**given))["phone"] == phone


def test_a_location_takes_the_handle_of_its_address_where_it_has_none():
    assert fields(network.LOCATIONS_RESOURCE_TYPE, wire.location())["ref"] == "zoomit-west"
    assert fields(network.LOCATIONS_RESOURCE_TYPE, wire.location(ref=None))["ref"] == "id-2"


def test_the_network_is_found(raw):
    store(
        raw, network.COMPANIES_RESOURCE_TYPE, wire.company("K1"), wire.company("K2", entities=[], ref="other", name="A")
    )
    store(raw, network.ENTITIES_RESOURCE_TYPE, wire.entity(77), wire.entity(78))
    store(
        raw,
        network.CONTACTS_RESOURCE_TYPE,
        wire.contact("c1", company=wire.link("/network/company", "K1")),
        wire.contact(),
    )
    store(raw, network.LOCATIONS_RESOURCE_TYPE, wire.location("l1", company=wire.link("/network/company", 12)))
    assert asked(raw, network.COMPANIES_RESOURCE_TYPE) == ["K2", "K1"]
    assert asked(raw, network.COMPANIES_RESOURCE_TYPE, ref=["ZOOMIT_REF"]) == ["K1"]
    assert asked(raw, network.ENTITIES_RESOURCE_TYPE, company=["K1"]) == [77]
    assert asked(raw, network.ENTITIES_RESOURCE_TYPE, company=["K2"]) == []
    assert asked(raw, network.ENTITIES_RESOURCE_TYPE, ref=["id-78"]) == [78]
    assert asked(raw, network.CONTACTS_RESOURCE_TYPE, company=["K1"], q=["JOHN"]) == ["c1"]
    assert asked(raw, network.LOCATIONS_RESOURCE_TYPE, company=[12], country=["us"]) == ["l1"]


# Ports


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (wire.port(), "CNYTN/Yantian, China"),
        (wire.port(code="us lax"), "USLAX/Yantian, China"),
        (wire.airport(), "USLAX/LAX - Los Angeles - CA"),
        (wire.airport(address=None), "iata:LAX/LAX - Los Angeles - CA"),
        (wire.port(code=None), "cbp:57078/Yantian, China"),
        (wire.port(code=None, details=[{"_object": "/ocean/port", "port_code": 57078}]), "cbp:57078/Yantian, China"),
        (wire.port(code="", details=[None, "x", {"port_code": True}]), "Yantian, China"),
        (wire.port(name=None), "CNYTN"),
        (wire.port(id=7), "CNYTN/Yantian, China"),
        (wire.port(name="x" * 500), "CNYTN/" + "x" * 194),
    ],
)
def test_a_port_is_known_by_its_code_and_its_name(value, key):
    assert load(ports.RESOURCE_TYPE, value).key == key


def test_a_port_that_nothing_identifies_is_refused():
    with pytest.raises(MalformedError, match="nothing identifies this port"):
        _ = load(ports.RESOURCE_TYPE, wire.port(name=" ", code=None, details=[])).key


def test_the_codes_of_a_port_by_kind():
    found = fields(ports.RESOURCE_TYPE, wire.airport())
    assert json.loads(found["codes"]) == {"unlocode": "USLAX", "iata": "LAX", "icao": "KLAX", "cbp": "2720"}
    assert (found["iata"], found["icao"], found["cbp"]) == ("LAX", "KLAX", "2720")
    assert json.loads(found["kinds"]) == ["airport", "roadport"]
    plain = fields(ports.RESOURCE_TYPE, wire.port(details=[{"_object": "/moon/port", "port_code": ""}]))
    assert (json.loads(plain["codes"]), plain["kinds"]) == ({"unlocode": "CNYTN"}, None)


def test_ports_are_found(raw):
    store(raw, ports.RESOURCE_TYPE, wire.port(), wire.airport())
    assert asked(raw, ports.RESOURCE_TYPE, kind=["airport"]) == ["USLAX/LAX - Los Angeles - CA"]
    assert asked(raw, ports.RESOURCE_TYPE, unlocode=["cnytn"], country=["CN"]) == ["CNYTN/Yantian, China"]
    assert asked(raw, ports.RESOURCE_TYPE, q=["KLAX"]) == ["USLAX/LAX - Los Angeles - CA"]


# For analysts


def test_views_of_bookings_and_orders(raw):
    gone = "2026-03-04T02:41:09.377Z"
    store(
        raw,
        bookings.RESOURCE_TYPE,
        wire.booking(),
        wire.booking(31_002, status="archived", cargo=None, ocean_booking=None),
    )
    store(raw, bookings.RESOURCE_TYPE, wire.booking(31_003), removed_at=gone)
    store(raw, purchase_orders.RESOURCE_TYPE, wire.purchase_order())
    store(
        raw,
        purchase_orders.LINE_ITEMS_RESOURCE_TYPE,
        wire.purchase_order_line(),
        wire.purchase_order_line(901, units=5),
    )
    items = [
        wire.booking_line(501, 900, 200),
        wire.booking_line(502, 900, 7, booking=wire.link("/booking", 31_002)),
        wire.booking_line(503, 900, 100, booking=wire.link("/booking", 99)),
        wire.booking_line(504, 901, 9),
    ]
    store(raw, purchase_orders.BOOKING_LINES_RESOURCE_TYPE, *items)
    store(raw, purchase_orders.BOOKING_LINES_RESOURCE_TYPE, wire.booking_line(505, 900, 1), removed_at=gone)
    (product,) = rows(raw, "v_booking_products")
    assert (product["booking_id"], product["position"], product["hs_code"]) == (31_001, 1, "0306.21")
    (unit,) = rows(raw, "v_booking_units")
    assert (unit["count"], unit["weight"], unit["weight_unit"], unit["volume"]) == (10, 12.5, "kg", 0.2)
    first, second = rows(raw, "v_purchase_order_lines")
    assert (first["purchase_order"], first["seller"], first["unit_cost_amount"]) == ("PO1234", "Seller Co.", "121")
    assert (first["units"], first["booked_units"], first["open_units"]) == (500, 300, 200)
    assert (second["units"], second["booked_units"], second["open_units"]) == (5, 9, 0)


def test_views_of_shipments_documents_and_ports(raw):
    store(raw, REGISTRY["shipments"], shipment(), shipment(2, estimated_arrival_date="2026-03-21T23:30:00.000-07:00"))
    store(raw, REGISTRY["shipments"], shipment(3), removed_at="2026-03-04T02:41:09.377Z")
    store(raw, REGISTRY["legs"], leg(), leg(2, deleted_at="2026-03-04T02:41:09.377Z"))
    store(raw, REGISTRY["containers"], container())
    store(raw, documents.RESOURCE_TYPE, wire.document(), wire.document("b", shipment=None))
    store(raw, ports.RESOURCE_TYPE, wire.airport())
    second, first = rows(raw, "v_shipments")
    assert (first["flex_id"], first["house_bills"], first["consignees"]) == (
        "FLEX-910233",
        "EXA1, EXA2",
        "Example Imports",
    )
    assert (first["departure_date"], first["departed"], second["arrival_date"]) == ("2026-03-03", 0, "2026-03-21")
    (stretch,) = rows(raw, "v_legs")
    assert (stretch["leg_id"], stretch["shipment"], stretch["origin"]) == (8_800_412, "PO 910233", "Yantian, China")
    (box,) = rows(raw, "v_containers")
    assert (box["container_number"], box["shipment"]) == ("CSQU3054383", "PO 910233")
    found = {row["document_id"]: row for row in rows(raw, "v_shipment_documents")}
    assert (found["-Zz58WVXSuGn6xmLLhYTKQ"]["shipment"], found["b"]["shipment"]) == ("PO 910233", None)
    (port,) = rows(raw, "v_ports")
    assert {kind: port[f"is_{kind}"] for kind in KINDS.values()} == {
        "seaport": 0,
        "airport": 1,
        "railport": 0,
        "roadport": 1,
    }


# What was recorded


def recorded(name):
    file = SHARED / "recorded" / f"{name}.json"
    if not file.exists():
        pytest.skip("the recorded answers are not beside this checkout")
    for answer in json.loads(file.read_text()).values():
        data = answer["data"]
        yield from data["data"] if isinstance(data.get("data"), list) else [data]


def test_recorded_bookings_load_without_loss():
    found = []
    for value in recorded("bookings"):
        model = load(bookings.RESOURCE_TYPE, value)
        assert (model.raw(), model.key) == (value, value["id"])
        found.append(bookings.RESOURCE_TYPE.normalise(model))
    assert len(found) == 42
    assert all(one["shipment_id"] and one["flex_id"] == f"FLEX-{one['shipment_id']}" for one in found)
    assert all(one["weight"] and one["volume"] and one["origin"] and one["created_at"] for one in found)
    assert all(bookings.derived_values(one, date(2026, 3, 1))["stage_known"] for one in found)
    assert sum(count for one in found for count in json.loads(one["container_counts"] or "{}").values()) == 36
    assert {one["origin_port_code"] for one in found if one["origin_port"]} >= {"CNYTN", "HKHKG", "USLAX"}
    assert all(one["is_dangerous"] is not None and one["products"] for one in found if one["mode"] == "air")


def test_recorded_documents_load_without_loss():
    found = []
    for value in recorded("documents"):
        model = load(documents.RESOURCE_TYPE, value)
        assert (model.raw(), model.key) == (value, value["id"])
        found.append(documents.RESOURCE_TYPE.normalise(model))
    assert len(found) == 163
    assert all(
        one["shipment_id"] and one["size"] and one["uploaded_at"] and one["archived_at"] is None for one in found
    )
    assert all(one["document_type"] in TYPES for one in found)
    assert not any(one["file_name"] or one["memo"] for one in found)
