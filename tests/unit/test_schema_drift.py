"""Drift: what nobody published is found, named, counted once an object, and never breaks anything."""

import copy
import json
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from flexportd.core.schema_drift import FUTURE_TIMESTAMP, SchemaDrift, excerpt
from flexportd.flexport.milestones import milestone
from flexportd.flexport.published_schema import FieldKind, ListOf, ObjectShape, OpenEnum, canonical, published_schema
from flexportd.storage.connection import open_writer
from flexportd.storage.migrate import migrate
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories import schema_drift as storage
from flexportd.storage.repositories.schema_drift import COLUMNS, KINDS, TOO_MANY, DriftRecord
from flexportd.storage.transaction import Transaction
from tests.events import container, event, leg, shipment

SHARED = Path(__file__).parents[2].parent / "shared"


def encoded(value):
    return json.dumps(value).encode()


def look(name, value):
    drift = SchemaDrift()
    drift.inspect(name, encoded(value))
    return {(found.kind, found.object, found.name) for found in drift.drain()}


def link(kind, number=1):
    return {"_object": "/api/refs/object", "ref_type": kind, "link": "https://api.example/x", "id": number}


def links(kind):
    return {"_object": "/api/refs/collection", "ref_type": kind, "link": "https://api.example/x"}


# --- what is published ---


def shared(name):
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not beside this checkout")
    return json.loads((SHARED / name).read_text())


# Known beside the collected document: what samples and connectors show.
BESIDE = {
    ("AdditionalDates", "delivery_appointment_requested_for_date"),
    ("Booking", "updated_at"),
    ("BookingAmendment", "new_destination_port"),
    ("BookingAmendment", "new_origin_address_ref"),
    ("BookingAmendment", "new_origin_port"),
    ("Cargo", "contains_no_li_ion_battery"),
    ("CommercialInvoice", "charge_adjustments"),
    ("CommercialInvoice", "currency"),
    ("CommercialInvoice", "incoterm"),
    ("CommercialInvoice", "invoice_date"),
    ("CommercialInvoice", "order_number"),
    ("CommercialInvoiceLineItem", "id"),
    ("InvoiceQuantity", "amount"),
    ("InvoiceRate", "amount"),
    ("OceanBookingDetail", "wants_pick_up_service"),
    ("Shipment", "dangerous_goods"),
    ("Shipment", "target_delivery_date"),
    ("ShipmentLeg", "customs_entries"),
    ("ShippingUnit", "description"),
}


def test_all_that_was_collected_is_published_and_little_else():
    collected = shared("flexport-api.json")
    schemas = collected["schemas"] | {one["schema"]: one for one in collected["resources"]}
    beside, seen = set(), set()

    def compare(schema, shape):
        if schema in seen:
            return
        seen.add(schema)
        fields = {field["name"]: field for field in schemas[schema]["fields"]}
        assert fields.keys() <= shape.fields.keys(), schema
        beside.update((schema, name) for name in shape.fields.keys() - fields.keys())
        for name, field in fields.items():
            kind = field["type"].removeprefix("array<").removesuffix(">")
            spec = shape.fields[name]
            inner = spec.of if isinstance(spec, ListOf) else spec
            words = field.get("enum") or schemas.get(kind, {}).get("enum")
            if words:
                assert isinstance(inner, OpenEnum), (schema, name)
                assert set(words) <= inner.known, (schema, name)
            elif isinstance(inner, ObjectShape) and kind in schemas:
                compare(kind, inner)

    for one in collected["resources"]:
        compare(one["schema"], published_schema().shapes[one["object"]])
    assert len(seen) > 40
    assert beside == BESIDE
    assert set(collected["document_types_seen"]) <= published_schema().shapes["/document"].fields["document_type"].known
    assert set(collected["node_tags_seen"]) <= published_schema().shapes["/shipment_node"].fields["tags"].of.known
    assert [one["type"] for one in collected["event_types"] if milestone(one["type"]) is None] == []


def test_every_object_inside_another_is_published_too():
    def inside(spec):
        return inside(spec.of) if isinstance(spec, ListOf) else spec

    for shape in published_schema().shapes.values():
        for spec in map(inside, shape.fields.values()):
            if isinstance(spec, ObjectShape):
                assert spec.names <= published_schema().shapes.keys()


RECORDED = {
    "shipments": "/shipment",
    "shipment_legs": "/shipment_leg",
    "ocean_shipment_containers": "/ocean/shipment_container",
    "ocean_shipment_container_legs": "/ocean/shipment_container_leg",
    "documents": "/document",
    "bookings": "/booking",
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_objects_hold_nothing_new_and_are_passed_without_a_walk(name):
    check, count = published_schema().checks[RECORDED[name]], 0
    for answer in shared(f"recorded/{name}.json").values():
        data = answer["data"]
        for value in data["data"] if isinstance(data.get("data"), list) else [data]:
            check(encoded(value))
            assert look(RECORDED[name], value) == set()
            count += 1
    assert count > 30


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("/shipment", shipment(metadata={"PO #": ["1"], "anything": {"at": ["all"]}})),
        ("/shipment", shipment(status=None, incoterm="", ocean_shipment=None, items=None, pieces="12", id="7")),
        ("/shipment", shipment(_object="/shipments", ocean_shipment="", consignees=[])),
        ("/shipment", shipment(calculated_weight={"value": 8200.5, "unit": "t"}, freight_cost=512.14)),
        ("/shipment_leg", leg(additional_dates={"delivery_appointment_scheduled_for_date": "2026-03-01T00:00:00Z"})),
        ("/shipment_leg", leg(air_leg={"_object": "/air/shipment_leg", "pieces": 3})),
        ("/ocean/shipment_container", container()),
        ("/ocean/shipment_container", container(container_size="forty_ft_hc")),
        ("/ocean/shipment_container_leg", {"id": 1, "dates": {}}),
        ("/ocean/shipment_container_leg", {"id": 1, "dates": {"actual_discharge_date": "2026-03-01T00:00:00Z"}}),
        ("/booking", {"_object": "/booking", "id": 1, "flex_id": "FLEX-1"}),
        ("/document", {"id": "-x", "file_metadata": {"_object": "file/metadata", "size": 1}}),
        ("/customs_entry", {"id": "x", "release_status": "released"}),
        ("/network/company", {"id": "x", "contacts": links("/network/contacts")}),
        ("/network/contact", {"id": "x", "phone": "1", "phone_number": "1", "company": link("/network/company", "x")}),
    ],
)
def test_what_is_known_is_no_drift(name, value):
    assert look(name, value) == set()


# --- what is found, and what it is called ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (shipment(foo=1), ("field", "/shipment", "foo")),
        (shipment(foo=None), ("field", "/shipment", "foo")),
        (shipment(ocean_shipment={"foo": 1, "is_lcl": True}), ("field", "/shipment", "ocean_shipment.foo")),
        (shipment(items=[{}, {"product": {"foo": {"a": 1}}}]), ("field", "/shipment", "items[].product.foo")),
        (shipment(legs=links("/shipment_leg") | {"count": 4}), ("field", "/shipment", "legs.count")),
        (shipment(status="teleported"), ("value", "/shipment", 'status = "teleported"')),
        (shipment(status="Arrival_Port"), ("value", "/shipment", 'status = "Arrival_Port"')),
        (shipment(status=7), ("value", "/shipment", "status = 7")),
        (shipment(booking=link("/bookings_two")), ("value", "/shipment", 'booking.ref_type = "/bookings_two"')),
        (shipment(status={"name": "x"}), ("shape", "/shipment", "status is an object")),
        (shipment(calculated_weight="5 kg"), ("shape", "/shipment", "calculated_weight is a text")),
        (shipment(name=["A", "B"]), ("shape", "/shipment", "name is a list")),
        (shipment(items={"a": 1}), ("shape", "/shipment", "items is an object")),
        (shipment(legs=7), ("shape", "/shipment", "legs is a number")),
        (shipment(_object="/teleport"), ("object", "/shipment", '_object = "/teleport"')),
        (shipment(calculated_weight={"_object": "/w"}), ("object", "/shipment", 'calculated_weight._object = "/w"')),
        ([shipment()], ("shape", "/shipment", "is a list")),
    ],
)
def test_what_is_strange_is_named_by_its_place(value, expected):
    assert look("/shipment", value) == {expected}


def test_tags_and_the_details_of_a_place_are_looked_at():
    node = copy.deepcopy(leg()["origin"])
    node["tags"] = ["port_of_loading", "moon_base"]
    node["place"]["details"] = [
        {"_object": "/ocean/port", "port_code": "1"},
        {"_object": "/air/port", "iata_code": "HKG", "runways": 2},
        {"_object": "/space/port"},
    ]
    assert look("/shipment_leg", leg(origin=node)) == {
        ("value", "/shipment_leg", 'origin.tags[] = "moon_base"'),
        ("field", "/shipment_leg", "origin.place.details[].runways"),
        ("object", "/shipment_leg", 'origin.place.details[]._object = "/space/port"'),
    }


@pytest.mark.parametrize(
    "expanded",
    [
        leg(),
        [leg(), leg()],
        {"_object": "/api/collections/paginated", "prev": None, "next": None, "total_count": 1, "data": [leg()]},
        {"data": {"items": [leg()]}},
        {"data": None},
    ],
)
def test_an_expanded_link_counts_only_for_what_it_holds(expanded):
    assert look("/shipment", shipment(legs=expanded)) == set()
    marked = json.loads(json.dumps(expanded).replace('"carrier_name"', '"foo"'))
    found = {("field", "/shipment_leg", "foo")} if marked != expanded else set()
    assert look("/shipment", shipment(legs=marked)) == found


def test_an_object_that_never_had_a_name_may_get_one():
    found = look("/shipment_leg", leg(additional_dates={"_object": "/dates"}))
    assert found == {("field", "/shipment_leg", "additional_dates._object")}


def test_a_link_in_the_place_of_an_object_is_no_drift():
    assert look("/purchase_orders/line_item", {"id": 1, "product": link("/product")}) == set()
    found = look("/purchase_orders/line_item", {"id": 1, "product": link("/product") | {"foo": 1}})
    assert found == {("field", "/purchase_orders/line_item", "product.foo")}


def test_an_unknown_object_is_noted_as_a_whole():
    drift = SchemaDrift("webhook")
    drift.inspect("/teleport", b'{"_object": "/teleport", "id": 1}')
    (found,) = drift.drain()
    assert found == DriftRecord("object", "/teleport", "_object", '{"_object": "/teleport", "id": 1}', "webhook")


def test_events_are_looked_at_by_type_envelope_and_resource():
    def told(one):
        drift = SchemaDrift("events")
        resource = one["data"]["resource"].get("_object", "")
        drift.inspect_event(one["type"], encoded(one), resource)
        return {(found.kind, found.object, found.name) for found in drift.drain()}

    assert told(event(shipment())) == set()
    assert told(event(leg(), type="/somewhere/new#departed")) == set()  # the prefix is not the resource, and varies
    assert told(event(leg(), type="/shipment_leg#teleported")) == {("event_type", "/event", "/shipment_leg#teleported")}
    assert told(event(leg(), urgency="high")) == {("field", "/event", "urgency")}
    one = event({"_object": "/teleport", "id": 1})
    one["data"] |= {"location": leg()["origin"] | {"gate": 4}, "warehouse": None}
    assert told(one) == {
        ("field", "/event", "data.location.gate"),
        ("field", "/event", "data.warehouse"),
        ("object", "/teleport", "_object"),
    }
    assert told(event({"id": 1})) == {("object", "(without a name)", "_object")}


def test_an_object_counts_once_however_often_it_holds_something():
    drift = SchemaDrift()
    text = encoded(shipment(items=[{"foo": n} for n in range(50)]))
    for _ in range(3):
        drift.inspect("/shipment", text)
    (found,) = drift.drain()
    assert (found.name, found.count, found.example, found.source) == ("items[].foo", 3, "0", "sync")
    assert drift.drain() == []


def test_changed_fields_alone_are_looked_at():
    drift = SchemaDrift()
    fields = msgspec.json.decode(encoded(shipment(foo=1, status="teleported")), type=dict[str, msgspec.Raw])
    drift.inspect_changed("/shipment", {name: fields[name] for name in ("id", "updated_at", "consignees", "metadata")})
    assert drift.drain() == []
    drift.inspect_changed("/shipment", {"status": fields["status"], "foo": fields["foo"]})
    assert {found.name for found in drift.drain()} == {'status = "teleported"', "foo"}
    drift.inspect_changed("/teleport", fields)
    assert drift.drain() == []


def test_examples_are_short_and_harmless():
    drift = SchemaDrift()
    drift.inspect("/shipment", json.dumps(shipment(foo="\u202e\n" * 500), ensure_ascii=False).encode())
    drift.inspect("/shipment", encoded(shipment(**{"bar\x1b[2J": ["x" * 9] * 10_000})))
    drift.report("/shipment", FUTURE_TIMESTAMP, "2090-01-01")
    for found in drift.drain():
        assert len(found.example) <= 500
        assert len(found.name) <= 500
        assert found.name.isprintable()
        assert found.example.isprintable()
    assert excerpt(b'"short"', 200) == '"short"'


def test_odd_answers_go_by_a_sentence_without_its_numbers():
    drift = SchemaDrift()
    for page in (3, 12):
        drift.report("/invoice", f"next of page {page} names no page")
    drift.report("/shipment", FUTURE_TIMESTAMP, "7: 2090-01-01T00:00:00.000Z")
    assert [(one.kind, one.object, one.name, one.count, one.example) for one in drift.drain()] == [
        ("response", "/invoice", "next of page N names no page", 2, "next of page 3 names no page"),
        ("response", "/shipment", FUTURE_TIMESTAMP, 1, "7: 2090-01-01T00:00:00.000Z"),
    ]


def test_many_threads_may_look_while_one_takes():
    drift, text, total = SchemaDrift(), encoded(shipment(foo=1)), 0

    def look_often():
        for _ in range(500):
            drift.inspect("/shipment", text)

    threads = [threading.Thread(target=look_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        total += sum(found.count for found in drift.drain())
    total += sum(found.count for found in drift.drain())
    assert total == 2000


def test_different_findings_are_bounded_and_the_rest_is_counted():
    drift = SchemaDrift()
    for n in range(1500):
        drift.inspect("/shipment", encoded(shipment(**{f"field_{n}": n})))
    found = {one.name: one.count for one in drift.drain()}
    assert len(found) == 1001
    assert found[TOO_MANY] == 500
    drift.inspect("/shipment", encoded({f"field_{n}": n for n in range(5000)}))
    found = {one.name: one.count for one in drift.drain()}
    assert len(found) == 1001
    assert found[TOO_MANY] == 1


# --- nothing breaks ---


def json_of(text, numbers):
    keys = st.sampled_from(["_object", "data", "legs", "items", "origin", "place", "status"]) | text
    return st.recursive(
        st.none() | st.booleans() | st.integers() | numbers | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=20,
    )


ANYTHING = json_of(st.text(st.characters()), st.floats())  # with lone surrogates and NaN, which no JSON has
CLEAN = json_of(st.text(), st.floats(allow_nan=False, allow_infinity=False))


def anywhere(value):
    """(path, object) of every object in the value that is looked at by the fields of a published shape."""

    def walk(shape, value, path):
        yield path, value
        for name, part in value.items():
            spec = shape.fields[name]
            many = isinstance(spec, ListOf)
            spec = spec.of if many else published_schema().link if spec is FieldKind.LINK else spec
            if isinstance(spec, ObjectShape):
                for one in part if many else [part]:
                    if isinstance(one, dict):
                        yield from walk(spec, one, f"{path}{name}{'[]' if many else ''}.")

    return list(walk(published_schema().shapes[canonical(value["_object"])], value, ""))


FULL = (
    leg(),
    shipment(
        items=[{"product": {"name": "A", "hs_codes": [{"code": "1"}]}}],
        booking=link("/booking"),
        calculated_weight={"_object": "/quantity/weight", "value": 1, "unit": "kg"},
    ),
    container(items=[{"total_weight": {"value": 1}}]),
)


@given(st.sampled_from(FULL), st.data(), CLEAN)
def test_a_new_field_anywhere_is_found_there(value, data, content):
    value = copy.deepcopy(value)
    path, inside = data.draw(st.sampled_from(anywhere(value)))
    inside["foo"] = content
    assert look(value["_object"], value) == {("field", value["_object"], f"{path}foo")}


@given(st.sampled_from(sorted(published_schema().shapes)), ANYTHING)
def test_any_json_is_looked_through(name, value):
    text = encoded(value)
    drift = SchemaDrift()
    drift.inspect(name, text)
    drift.inspect_event("x", text, "/teleport")
    if isinstance(value, dict):
        try:
            fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        except ValueError:
            return
        drift.inspect_changed(name, fields)
    assert all(found.kind in KINDS for found in drift.drain())


@given(st.binary(max_size=200))
def test_any_bytes_are_looked_through(body):
    drift = SchemaDrift()
    for name in ("/shipment", "/teleport"):
        drift.inspect(name, body)
        drift.inspect_changed(name, {"status": msgspec.Raw(body), "legs": msgspec.Raw(body), "foo": msgspec.Raw(body)})
    drift.inspect_event(None, body, None)


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"legs":' * 100_000, b'{"foo":' + b"[" * 5000 + b"]" * 5000 + b"}"])
def test_depth_is_no_trouble(deep):
    drift = SchemaDrift()
    drift.inspect("/shipment", deep)
    drift.inspect_event("x", deep, "")


def test_links_expanded_within_each_other_end():
    value = leg(shipment=shipment(foo=1))
    for _ in range(10):
        value = leg(shipment=shipment(legs=[value]))
    assert look("/shipment_leg", value) == set()


# --- the table ---


@pytest.fixture
def tx(tmp_path):
    migrate(tmp_path / "x.db")
    raw = open_writer(tmp_path / "x.db")
    yield Transaction(raw)
    raw.close()


def rows(tx, **filters):
    return tx.drift.page(PageRequest(100, "last_seen_at", filters={name: (value,) for name, value in filters.items()}))


def test_the_first_example_and_time_stay_while_it_is_counted(tx):
    for at, foo in (("2026-03-02T00:00:00.000Z", 1), ("2026-03-03T00:00:00.000Z", 2), ("2026-03-01T00:00:00.000Z", 3)):
        drift = SchemaDrift("webhook" if foo == 1 else "sync")
        drift.inspect("/shipment", encoded(shipment(foo=foo)))
        drift.inspect("/shipment", encoded(shipment(foo=foo)))
        drift.write(tx, at)
        drift.write(tx, at)
    assert rows(tx) == [
        {
            "id": 1, "kind": "field", "object": "/shipment", "name": "foo", "count": 6, "example": "1",
            "first_seen_at": "2026-03-02T00:00:00.000Z", "last_seen_at": "2026-03-03T00:00:00.000Z", "source": "webhook",
        }
    ]  # fmt: skip
    assert set(rows(tx)[0]) == set(COLUMNS)


def test_what_is_new_enters_the_log_once(tx):
    told = []
    for _ in range(2):
        drift = SchemaDrift()
        drift.inspect("/shipment", encoded(shipment(status="teleported")))
        with capture_logs() as lines:
            drift.write(tx, "2026-03-01T00:00:00.000Z")
        told.append([(line["event"], line["object"], line["name"]) for line in lines])
    assert told == [[("schema_drift_detected", "/shipment", 'status = "teleported"')], []]


def test_names_that_look_the_same_once_they_are_harmless_are_one(tx):
    drift = SchemaDrift()
    drift.inspect("/shipment", encoded(shipment(**{"x" * 300 + "a": 1, "x" * 300 + "b": 1})))
    drift.write(tx, "2026-03-01T00:00:00.000Z")
    assert [row["count"] for row in rows(tx)] == [1]
    drift.inspect("/shipment_leg", encoded(leg(**{"x\u202e": 1, r"x\u202e": 1})))
    drift.write(tx, "2026-03-01T00:00:00.000Z")
    assert [row["count"] for row in rows(tx, object="/shipment_leg")] == [2]


def test_the_table_is_bounded_and_the_rest_is_counted(tx, monkeypatch):
    monkeypatch.setattr(storage, "MAX_FINDINGS", 3)
    for n in range(5):
        tx.drift.merge([DriftRecord("field", "/shipment", f"f{n}", "", "sync", 2)], "2026-03-01T00:00:00.000Z")
    new = tx.drift.merge(
        [DriftRecord("field", "/shipment", name, "", "sync") for name in ("f1", "g", "h")], "2026-03-02T00:00:00.000Z"
    )
    assert new == []
    assert {(row["name"], row["count"]) for row in rows(tx)} == {("f0", 2), ("f1", 3), ("f2", 2), (TOO_MANY, 6)}
    assert tx.drift.total() == 4
    assert tx.drift.sums() == [("field", 3, 7), ("response", 1, 6)]


def test_every_kind_fits_the_table(tx):
    tx.drift.merge([DriftRecord(kind, "/x", "y", "", "events") for kind in KINDS], "2026-03-01T00:00:00.000Z")
    assert {row["kind"] for row in rows(tx, object="/x")} == set(KINDS)


def test_the_command_knows_the_kinds():
    from flexportd.cli.commands.drift import KINDS as OFFERED

    assert OFFERED == KINDS
