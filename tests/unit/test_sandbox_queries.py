"""Filters, order and pages of the sandbox's lists are those that are published (flexport-api §2)."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.errors import InvalidError
from flexportd.sandbox import World, WorldPlan
from flexportd.sandbox.catalog.kinds import ALL_PATHS, CONTAINER, CONTAINER_LEG, EVENT, LEG, SHIPMENT
from flexportd.sandbox.http.queries import FILTERS, SORTS, page_of, select

SHARED = Path(__file__).parents[2].parent / "shared" / "flexport-api.json"


@pytest.fixture(scope="module")
def world() -> World:
    found = World(WorldPlan(start=datetime(2026, 3, 4, 8, tzinfo=UTC), shipments=80))
    found.advance(found.now + timedelta(days=5))
    return found


def ids(rows):
    return [row["id"] for row in rows]


def found(world, kind, **filters):
    return select(world, kind, {name: [value] for name, value in filters.items()})


@given(st.integers(0, 250), st.integers(1, 100))
def test_pages_cover_every_row_exactly_once(count, per):
    rows = [{"id": number} for number in range(count)]
    seen, number = [], 1
    while True:
        page = page_of(rows, {"page": [str(number)], "per": [str(per)]})
        assert page.total == count
        seen += page.rows
        if number * per >= count:
            break
        number += 1
    assert seen == rows


def test_a_page_has_ten_rows_unless_asked():
    assert len(page_of([{}] * 40, {}).rows) == 10


@pytest.mark.parametrize(
    "query", [{"page": ["0"]}, {"per": ["101"]}, {"per": ["0"]}, {"page": ["x"]}, {"per": [""]}, {"page": ["9" * 40]}]
)
def test_pages_out_of_bounds_are_refused(query):
    with pytest.raises(InvalidError):
        page_of([], query)


def test_shipments_come_newest_first_and_the_rest_as_recorded(world):
    assert ids(select(world, SHIPMENT, {})) == sorted(world.tables[SHIPMENT], reverse=True)
    assert ids(select(world, CONTAINER, {})) == sorted(world.tables[CONTAINER])
    assert ids(select(world, EVENT, {})) == sorted(world.tables[EVENT], reverse=True)


@pytest.mark.parametrize("field", ["id", "transportation_mode", "status", "updated_at", "archived_at"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_shipments_are_sorted_as_asked(world, field, direction):
    rows = select(world, SHIPMENT, {"sort": [field], "direction": [direction]})
    values = [row[field] for row in rows if row[field] is not None]
    assert values == sorted(values, reverse=direction == "desc")
    assert len(rows) == len(world.tables[SHIPMENT])


def test_legs_can_be_asked_for_by_shipment(world):
    row = world.tables[LEG][min(world.tables[LEG])]
    rows = select(world, LEG, {"f.shipment.id": [str(row["shipment"]["id"])]})
    assert row in rows or row["deleted_at"]
    assert {leg["shipment"]["id"] for leg in rows} == {row["shipment"]["id"]}


def test_deleted_legs_are_listed_only_on_request(world):
    every = ids(select(world, LEG, {"f.include_deleted": ["true"]}))
    standing = select(world, LEG, {})
    assert every == sorted(world.tables[LEG])
    assert 0 < len(standing) < len(every)
    assert all(leg["deleted_at"] is None for leg in standing)


def test_statuses_any_takes_several_and_excludes_status(world):
    rows = select(world, SHIPMENT, {"f.statuses.any": ["arrival_port, final_destination"]})
    assert {row["status"] for row in rows} == {"arrival_port", "final_destination"}
    with pytest.raises(InvalidError, match="exclude"):
        select(world, SHIPMENT, {"f.status": ["arrival_port"], "f.statuses.any": ["arrival_port"]})


def test_the_same_metadata_key_twice_is_or_and_two_keys_are_and(world):
    first, second = (world.tables[SHIPMENT][number] for number in sorted(world.tables[SHIPMENT])[:2])
    orders = [first["metadata"]["PO #"][0], second["metadata"]["PO #"][0]]
    rows = select(world, SHIPMENT, {"f.metadata.PO #": orders})
    assert {first["id"], second["id"]} <= set(ids(rows))
    narrowed = select(world, SHIPMENT, {"f.metadata.PO #": orders, "f.metadata.Department": ["nobody"]})
    assert not narrowed


def test_updated_at_bounds_are_exclusive(world):
    stamps = sorted(row["updated_at"] for row in world.tables[SHIPMENT].values())
    middle = stamps[len(stamps) // 2]
    later = select(world, SHIPMENT, {"f.updated_at.gt": [middle]})
    earlier = select(world, SHIPMENT, {"f.updated_at.lt": [middle]})
    assert len(later) + len(earlier) + stamps.count(middle) == len(stamps)
    assert all(row["updated_at"] > middle for row in later)


@pytest.mark.parametrize(
    "text", ["2026-03-04T09:00:00+01:00", "2026-03-04T08:00:00 00:00", "2026-03-04T08:00:00Z", "2026-03-04 08:00"]
)
def test_times_are_read_in_every_usual_spelling(world, text):
    rows = select(world, SHIPMENT, {"f.updated_at.gt": [text]})
    assert {row["id"] for row in rows} == {
        row["id"] for row in world.tables[SHIPMENT].values() if row["updated_at"] > "2026-03-04T08:00:00.000Z"
    }


def test_events_are_found_by_time_type_shipment_and_resource(world):
    event = world.events[-1]
    stamp = event["occurred_at"]
    query = {
        "f.occurred_at.gte": [stamp],
        "f.occurred_at.lte": [stamp],
        "f.type": [event["type"]],
        "f.data.shipment.id": [str(event["data"]["shipment"]["id"])],
        "f.data.resource._object": [event["data"]["resource"]["_object"]],
    }
    assert ids(select(world, EVENT, query)) == [event["id"]]


def test_containers_bills_orders_and_products_find_their_shipments(world):
    box = next(iter(world.tables[CONTAINER].values()))
    number = box["shipment"]["id"]
    assert number in ids(select(world, SHIPMENT, {"f.container_number": [box["container_number"]]}))
    assert box in select(world, CONTAINER, {"f.container_number": [box["container_number"]]})
    row = next(
        one
        for one in world.tables[SHIPMENT].values()
        if one["ocean_shipment"] and ", " in one["ocean_shipment"]["house_bill_number"]
    )
    for bill in (row["ocean_shipment"]["house_bill_number"], row["ocean_shipment"]["house_bill_number"].split(", ")[1]):
        assert row["id"] in ids(select(world, SHIPMENT, {"f.house_bill_number": [bill]}))
    assert row["id"] in ids(
        select(world, SHIPMENT, {"f.master_bill_number": [row["ocean_shipment"]["master_bill_number"]]})
    )
    row = next(one for one in world.tables[SHIPMENT].values() if one["items"])
    item = row["items"][0]
    assert row["id"] in ids(select(world, SHIPMENT, {"f.purchase_order": [item["purchase_order_number"]]}))
    assert row["id"] in ids(select(world, SHIPMENT, {"f.sku": [item["product"]["sku"]]}))
    assert select(world, SHIPMENT, {"f.consignee_external_ref": [row["consignees"][0]["ref"]]})
    assert not select(world, SHIPMENT, {"f.house_bill_number": [""]})


def test_container_legs_are_found_by_leg_and_by_container(world):
    row = next(iter(world.tables[CONTAINER_LEG].values()))
    box = world.tables[CONTAINER][row["shipment_container"]["id"]]
    for query in (
        {"f.leg.id": [str(row["leg"]["id"])]},
        {"f.shipment_container.id": [str(box["id"])]},
        {"f.shipment_container.container_number": [box["container_number"]]},
    ):
        rows = select(world, CONTAINER_LEG, query)
        assert row in rows
        assert len(rows) < len(world.tables[CONTAINER_LEG])


def test_what_a_client_wants_is_a_flag(world):
    both = [select(world, SHIPMENT, {"f.wants_import_customs_service": [flag]}) for flag in ("true", "false")]
    assert [len(rows) > 0 for rows in both] == [True, True]
    assert sum(len(rows) for rows in both) == len(world.tables[SHIPMENT])


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (SHIPMENT, "f.status", "lost"),
        (SHIPMENT, "f.transportation_mode", "pigeon"),
        (SHIPMENT, "f.updated_at.gt", "yesterday"),
        (SHIPMENT, "f.wants_flexport_freight", "maybe"),
        (SHIPMENT, "sort", "name"),
        (SHIPMENT, "direction", "up"),
        (LEG, "f.shipment.id", "FLEX-1"),
        (LEG, "f.include_deleted", "1"),
        (EVENT, "f.data.shipment.id", ""),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(world, kind, name, value):
    with pytest.raises(InvalidError) as caught:
        select(world, kind, {name: [value]})
    assert caught.value.parameter == name


def test_unknown_parameters_are_ignored(world):
    """Undocumented at Flexport; ignoring is harder on a client, which must check its rows."""
    assert len(select(world, SHIPMENT, {"f.statuss": ["arrival_port"], "expand": ["legs"]})) == len(
        world.tables[SHIPMENT]
    )


# Found in links of recorded and sample answers only.
IN_LINKS = {"f.invoice_id", "f.booking.id", "f.purchase_order_line_item.id", "f.contact.id"}


def test_every_published_filter_sort_and_path_is_served():
    if not SHARED.exists():
        pytest.skip("the published schema is not beside this repository")
    published = json.loads(SHARED.read_text())
    handled = {"page", "per", "sort", "direction", "f.include_deleted", "f.metadata.YOUR_METADATA_KEY"}
    handled |= {"f.product_properties.TYPE"}
    for resource in published["resources"]:
        if resource["object"] in {"/booking_amendment", "/carbon_calculation"}:
            continue
        kind = resource["object"]
        assert resource["path"] == ALL_PATHS[kind]
        names = {one["name"]: one for one in resource["filters"]}
        assert set(names) - handled - IN_LINKS == set(FILTERS[kind]) - IN_LINKS
        assert ("sort" in names) == (kind in SORTS)
        if kind in SORTS:
            assert set(names["sort"].get("enum", SORTS[kind][0])) == set(SORTS[kind][0])
            assert names["direction"]["default"] == SORTS[kind][1]
