"""The filters of the lists, by parameter: each parses its text once and returns a test of a row."""

import operator
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from flexportd.errors import InvalidError
from flexportd.sandbox.catalog import kinds
from flexportd.sandbox.catalog.kinds import Wire
from flexportd.sandbox.catalog.wire_objects import utc
from flexportd.sandbox.world.collections import LazyRows
from flexportd.sandbox.world.world import World

STATUSES = (
    "seller_location",
    "origin_stop_off",
    "in_transit_to_departure_port",
    "departure_port",
    "in_transit_to_intermediary_port",
    "intermediary_port",
    "in_transit_to_arrival_port",
    "arrival_port",
    "deconsolidation",
    "in_transit_to_final_destination",
    "destination_stop_off",
    "gated_out",
    "final_destination",
)
MODES = (
    "ocean",
    "air",
    "truck",
    "rail",
    "unknown_transportation",
    "ocean_air",
    "truck_intl",
    "warehouse_storage",
    "barge",
)
_WITH_EQUAL = ("gt", "gte", "lt", "lte")
_PORTS = {"airport": "/air/port", "railport": "/ocean/railport", "roadport": "/trucking/port", "seaport": "/ocean/port"}
_SERVICES = ("freight_management_bco", "flexport_freight", "import_customs_service", "export_customs_service")

Predicate = Callable[[Wire], bool]
PredicateFactory = Callable[[World, str, str], Predicate]
"""Takes the world, the name of the parameter and its text. Raises InvalidError for a text that cannot be parsed."""
Getter = Callable[[Wire], Any]


def parse_int(name: str, text: str) -> int:
    """A whole number. Raises InvalidError."""
    if not (text.isascii() and text.removeprefix("-").isdigit()) or len(text) > 18:
        raise InvalidError(f"{name} is {text!r}: it must be a whole number.", name)
    return int(text)


def parse_flag(name: str, text: str) -> bool:
    """`true` or `false`. Raises InvalidError."""
    return parse_choice(name, text, ("true", "false")) == "true"


def parse_choice(name: str, text: str, allowed: tuple[str, ...]) -> str:
    """One of the allowed words. Raises InvalidError."""
    if text not in allowed:
        raise InvalidError(f"{name} is {text!r}: it must be one of {', '.join(allowed)}.", name)
    return text


def parse_time(name: str, text: str) -> str:
    """A time in the spelling of the rows, so that text order is time order. Without a zone it is UTC."""
    try:
        # An unescaped + arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+") if text[-6:-5] == " " else text)
    except ValueError:
        raise InvalidError(f"{name} is {text!r}: it must be an ISO 8601 time.", name) from None
    return utc(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def parse_date(name: str, text: str) -> str:
    """A plain date, in the spelling of the rows. Raises InvalidError."""
    try:
        return datetime.fromisoformat(text).date().isoformat()
    except ValueError:
        raise InvalidError(f"{name} is {text!r}: it must be an ISO 8601 date.", name) from None


def metadata(key: str, values: frozenset[str]) -> Predicate:
    """Any of the values: the same key repeated is OR."""
    return lambda row: not values.isdisjoint(row["metadata"].get(key, ()))


def has_property(kind: str, value: str) -> Predicate:
    """By a property of a product."""
    return lambda row: any(one["type"] == kind and one["value"] == value for one in row["product_properties"])


def _getter(path: str) -> Getter:
    """Reads the value at a dotted path, None where any part of it is null."""
    first, *parts = path.split(".")
    if not parts:
        return operator.itemgetter(first)

    def get(row: Wire) -> Any:
        value = row.get(first)
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    return get


def _matches(parse: Callable[[str, str], Any], get: Getter) -> PredicateFactory:
    """Rows whose value is equal to the parsed text."""

    def make(_world: World, name: str, text: str) -> Predicate:
        wanted = parse(name, text)
        return lambda row: bool(get(row) == wanted)

    return make


def equal(path: str) -> PredicateFactory:
    return _matches(lambda _name, text: text, _getter(path))


def number(path: str) -> PredicateFactory:
    return _matches(parse_int, _getter(path))


def linked(name: str) -> PredicateFactory:
    """By the id in a link. Quick, because large worlds are read shipment by shipment."""
    return _matches(parse_int, lambda row: row[name] and row[name]["id"])


def linked_text(name: str) -> PredicateFactory:
    """By an id that is a text in a link that every row has."""
    return _matches(lambda _name, text: text, lambda row: str(row[name]["id"]))


def exists(name: str) -> PredicateFactory:
    """Whether a field is set."""
    return _matches(parse_flag, lambda row: row[name] is not None)


def enum(name: str, allowed: tuple[str, ...], *, many: bool = False) -> PredicateFactory:
    def make(_world: World, parameter: str, text: str) -> Predicate:
        wanted = {parse_choice(parameter, one.strip(), allowed) for one in (text.split(",") if many else [text])}
        return lambda row: row[name] in wanted

    return make


def instant(path: str, comparison: str, parse: Callable[[str, str], str] = parse_time) -> PredicateFactory:
    """A bound on a time, or on a plain date with `parse_date`; it excludes rows without a value."""
    get, compare = _getter(path), getattr(operator, {"gte": "ge", "lte": "le"}.get(comparison, comparison))

    def make(_world: World, name: str, text: str) -> Predicate:
        bound = parse(name, text)
        return lambda row: get(row) is not None and compare(get(row), bound)

    return make


def _instants(parameter: str, path: str, comparisons: tuple[str, ...]) -> dict[str, PredicateFactory]:
    return {f"f.{parameter}.{comparison}": instant(path, comparison) for comparison in comparisons}


def _any_of(get: Callable[[Wire], Iterable[Any]]) -> PredicateFactory:
    """Rows with the text among several values."""
    return lambda _world, _name, text: lambda row: text in get(row)


def _within(find: Callable[[World, str, str], set[Any]], get: Getter = operator.itemgetter("id")) -> PredicateFactory:
    """Rows with a value in a set that is found once in the world."""

    def make(world: World, name: str, text: str) -> Predicate:
        wanted = find(world, name, text)
        return lambda row: get(row) in wanted

    return make


def _house_bills(row: Wire) -> tuple[str, ...]:
    """The whole text, and each of the numbers joined in it."""
    joined = _getter("ocean_shipment.house_bill_number")(row) or _getter("air_shipment.house_airway_bill")(row)
    return (joined, *joined.split(", ")) if joined else ()


def _master_bills(row: Wire) -> tuple[str | None, ...]:
    paths = ("ocean_shipment.master_bill_number", "air_shipment.master_airway_bill")
    return tuple(_getter(path)(row) for path in paths)


def _containers(world: World, text: str) -> list[Wire]:
    return [box for box in world.tables[kinds.CONTAINER].values() if box["container_number"] == text]


def _shipment_of_invoice(world: World, _name: str, text: str) -> set[str]:
    """Used in links only: the name of an invoice contains its shipment; one of type Client has none."""
    invoice = world.collections[kinds.INVOICE].find(text)
    return set() if invoice is None or invoice["type"] == "Client" else {invoice["name"].split("-")[1]}


def _of_shipment(kind: str) -> PredicateFactory:
    """By shipment, for objects without a link to it."""
    return _within(lambda world, name, text: {row["id"] for row in _for_shipment(world, kind, name, text)})


def _for_shipment(world: World, kind: str, name: str, text: str) -> LazyRows:
    return world.collections[kind].for_shipment(parse_int(name, text))


def _of_order(world: World, name: str, text: str) -> Predicate:
    """Lines of bookings by the order of their order line, which follows from the same shipment."""
    wanted = parse_int(name, text)

    def holds(row: Wire) -> bool:
        line = world.collections[kinds.ORDER_LINE].find(str(row["purchase_order_line_item"]["id"]))
        return line is not None and bool(line["purchase_order"]["id"] == wanted)

    return holds


def _port_type(_world: World, name: str, text: str) -> Predicate:
    kind = _PORTS[parse_choice(name, text, tuple(_PORTS))]
    return lambda row: any(one["_object"] == kind for one in row["details"])


def _seller(prefix: str) -> PredicateFactory:
    """By the seller among the parties; a ref is `id-` and the id."""
    return _any_of(
        lambda row: [
            f"{prefix}{party['company_entity']['id']}" for party in row["involved_parties"] if party["type"] == "seller"
        ]
    )


def _entities_of(field: str) -> PredicateFactory:
    return _within(
        lambda world, _name, text: {
            entity["id"] for row in _companies(world, field, text) for entity in row["entities"]
        }
    )


def _of_company(field: str) -> PredicateFactory:
    """Contacts and locations of a company, by its id or its ref."""
    return _within(
        lambda world, _name, text: {row["id"] for row in _companies(world, field, text)}, _getter("company.id")
    )


def _companies(world: World, field: str, text: str) -> list[Wire]:
    return [row for row in world.collections[kinds.COMPANY].rows() if row[field] == text]


def _same_company(kind: str) -> PredicateFactory:
    """Contacts of a location and locations of a contact: those of its company."""

    def find(world: World, _name: str, text: str) -> set[str]:
        other = world.collections[kind].find(text)
        return set() if other is None else {other["company"]["id"]}

    return _within(find, _getter("company.id"))


FILTERS: dict[str, dict[str, PredicateFactory]] = {
    kinds.SHIPMENT: {
        "f.transportation_mode": enum("transportation_mode", MODES),
        "f.status": enum("status", STATUSES),
        "f.statuses.any": enum("status", STATUSES, many=True),
        "f.container_number": _within(
            lambda world, _name, text: {box["shipment"]["id"] for box in _containers(world, text)}
        ),
        # Items are empty before commercial invoices are digitised, as at Flexport.
        "f.purchase_order": _any_of(lambda row: [item["purchase_order_number"] for item in row["items"]]),
        "f.sku": _any_of(lambda row: [item["product"]["sku"] for item in row["items"]]),
        **_instants("updated_at", "updated_at", ("gt", "lt")),
        "f.master_bill_number": _any_of(_master_bills),
        "f.house_bill_number": _any_of(_house_bills),
        "f.consignee_external_ref": _any_of(lambda row: [entity["ref"] for entity in row["consignees"]]),
        "f.invoice_id": _within(_shipment_of_invoice, lambda row: str(row["id"])),
        **{f"f.wants_{name}": _matches(parse_flag, _getter(f"wants_{name}")) for name in _SERVICES},
    },
    kinds.LEG: {
        "f.shipment.id": linked("shipment"),
        "f.transportation_mode": enum("transportation_mode", MODES),
    },
    kinds.CONTAINER: {
        "f.shipment.id": linked("shipment"),
        "f.container_number": equal("container_number"),
        # No container here has a reference code: none of its published fields holds one.
        "f.reference_code": _any_of(lambda _row: ()),
    },
    kinds.CONTAINER_LEG: {
        "f.leg.id": linked("leg"),
        "f.shipment_container.id": linked("shipment_container"),
        "f.shipment_container.container_number": _within(
            lambda world, _name, text: {box["id"] for box in _containers(world, text)}, _getter("shipment_container.id")
        ),
    },
    kinds.EVENT: {
        "f.type": equal("type"),
        **_instants("occurred_at", "occurred_at", ("gte", "lte")),
        "f.data.shipment.id": number("data.shipment.id"),
        "f.data.resource._object": equal("data.resource._object"),
    },
    kinds.BOOKING: {
        "f.status": enum("status", ("booked", "submitted")),
        "f.shipment.id": linked("shipment"),
        "f.consignee_entity_ref": equal("consignee_entity.ref"),
        "f.shipper_entity_ref": equal("shipper_entity.ref"),
        "f.name": equal("name"),
        "f.cargo_ready_date": instant("cargo_ready_date", "eq", parse_date),
        **{f"f.cargo_ready_date.{one}": instant("cargo_ready_date", one, parse_date) for one in _WITH_EQUAL},
        "f.created_at": instant("created_at", "eq"),
        **_instants("created_at", "created_at", _WITH_EQUAL),
    },
    kinds.BOOKING_LINE: {
        "f.purchase_order.id": _of_order,
        "f.booking.id": linked("booking"),
        "f.purchase_order_line_item.id": linked("purchase_order_line_item"),
    },
    kinds.ORDER: {
        "f.archived_at.exists": exists("archived_at"),
        "f.status": enum("status", ("open", "closed", "cancelled")),
        "f.buyer_ref": equal("buyer.ref"),
        "f.seller_ref": equal("seller.ref"),
        # The account is the buyer of all its orders.
        "f.role": _matches(lambda name, text: parse_choice(name, text, ("buyer", "seller")), lambda _row: "buyer"),
        "f.shipment.id": _of_shipment(kinds.ORDER),
        "f.name": equal("name"),
        **_instants("updated_at", "updated_at", ("gt", "lt")),
        **_instants("created_at", "created_at", ("gt", "lt")),
    },
    kinds.ORDER_LINE: {
        "f.purchase_order.id": linked("purchase_order"),
        "f.line_item_number": number("line_item_number"),
        "f.item_key": equal("item_key"),
        # The versions of an order are not published: here an order is its own only one.
        "f.purchase_order_version.id": linked("purchase_order"),
    },
    kinds.INVOICE: {
        "f.status": enum("status", ("outstanding", "past_due", "void", "paid")),
        "f.shipment.id": _of_shipment(kinds.INVOICE),
        "f.shipment_id": _of_shipment(kinds.INVOICE),
        "f.billed_directly_to_client": _matches(parse_flag, lambda _row: True),
        "f.entity.id": number("recipient.id"),
        "f.entity.ref": equal("recipient.ref"),
        "f.client_id": number("recipient.id"),
        "f.name": equal("name"),
        **_instants("issued_at", "issued_at", ("gt", "lt")),
        **_instants("last_updated_at", "last_updated_at", ("gt", "lt")),
    },
    kinds.COMMERCIAL_INVOICE: {
        "f.shipment.id": linked_text("shipment"),
        "f.invoice_number": equal("invoice_number"),
        "f.involved_party_seller_id": _seller(""),
        "f.involved_party_seller_ref": _seller("id-"),
        "f.updated_at": instant("updated_at", "eq"),
        # Named by the creation, documented as the update.
        **_instants("created_at", "updated_at", _WITH_EQUAL),
    },
    kinds.CUSTOMS_ENTRY: {"f.shipment.id": linked_text("shipment")},
    kinds.DOCUMENT: {
        "f.shipment.id": linked_text("shipment"),
        "f.document_type": equal("document_type"),
        "f.archived_at.exists": exists("archived_at"),
        **_instants("uploaded_at", "file_metadata.uploaded_at", _WITH_EQUAL),
    },
    kinds.PRODUCT: {"f.sku": equal("sku"), "f.archived_at.exists": exists("archived_at")},
    kinds.COMPANY: {"f.ref": equal("ref")},
    kinds.ENTITY: {"f.ref": equal("ref"), "f.company_id": _entities_of("id"), "f.company_ref": _entities_of("ref")},
    kinds.CONTACT: {
        "f.company_ref": _of_company("ref"),
        "f.company.id": _of_company("id"),
        "f.location.id": _same_company(kinds.LOCATION),
    },
    kinds.LOCATION: {
        "f.ref": equal("ref"),
        "f.company_ref": _of_company("ref"),
        "f.company.id": _of_company("id"),
        "f.contact.id": _same_company(kinds.CONTACT),
    },
    kinds.PORT: {"f.port_type": _port_type, "f.unlocode": equal("address.unlocode")},
}
