"""The filters of the lists, by parameter: each is read once into a test of a row."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flexportd.errors import InvalidError
from flexportd.sandbox.catalog.wire_objects import CONTAINER, CONTAINER_LEG, EVENT, INVOICE, LEG, SHIPMENT, Wire, utc
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

Predicate = Callable[[Wire], bool]
PredicateFactory = Callable[[World, str, str], Predicate]


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
    """A bound in the rows' own spelling, so that text order is time order. A time without zone is UTC."""
    try:
        # An unescaped + arrives as a blank.
        found = datetime.fromisoformat(text.replace(" ", "+") if text[-6:-5] == " " else text)
    except ValueError:
        raise InvalidError(f"{name} is {text!r}: it must be an ISO 8601 time.", name) from None
    return utc(found if found.tzinfo else found.replace(tzinfo=UTC))


def parse_date(name: str, text: str) -> str:
    """A plain date, in the rows' own spelling. Raises InvalidError."""
    try:
        return datetime.fromisoformat(text).date().isoformat()
    except ValueError:
        raise InvalidError(f"{name} is {text!r}: it must be an ISO 8601 date.", name) from None


def metadata(key: str, wanted: frozenset[str]) -> Predicate:
    """The same key repeated is OR."""
    return lambda row: not wanted.isdisjoint(row["metadata"].get(key, ()))


def has_property(kind: str, value: str) -> Predicate:
    """By a property of a product."""
    return lambda row: any(one["type"] == kind and one["value"] == value for one in row["product_properties"])


def value_at(row: Wire, path: tuple[str, ...]) -> Any:
    value: Any = row
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def equal(*path: str) -> PredicateFactory:
    return lambda _world, _name, text: lambda row: value_at(row, path) == text


def number(*path: str) -> PredicateFactory:
    def make(_world: World, name: str, text: str) -> Predicate:
        wanted = parse_int(name, text)
        return lambda row: value_at(row, path) == wanted

    return make


def linked(name: str) -> PredicateFactory:
    """By the id in a link that nearly every row has: quick, because large worlds are asked shipment by shipment."""

    def make(_world: World, parameter: str, text: str) -> Predicate:
        wanted = parse_int(parameter, text)
        return lambda row: row[name] is not None and bool(row[name]["id"] == wanted)

    return make


def linked_text(name: str) -> PredicateFactory:
    """By an id that is a text in a link that every row has."""
    return lambda _world, _parameter, text: lambda row: str(row[name]["id"]) == text


def exists(path: str) -> PredicateFactory:
    """Whether a field is filled."""

    def make(_world: World, name: str, text: str) -> Predicate:
        wanted = parse_flag(name, text)
        return lambda row: (row[path] is not None) is wanted

    return make


def boolean(path: str) -> PredicateFactory:
    def make(_world: World, name: str, text: str) -> Predicate:
        wanted = parse_flag(name, text)
        return lambda row: row[path] is wanted

    return make


def enum(path: str, allowed: tuple[str, ...], *, many: bool = False) -> PredicateFactory:
    def make(_world: World, name: str, text: str) -> Predicate:
        wanted = {parse_choice(name, one.strip(), allowed) for one in (text.split(",") if many else [text])}
        return lambda row: row[path] in wanted

    return make


def instant(path: str, operator: str, read: Callable[[str, str], str] = parse_time) -> PredicateFactory:
    """A bound on a time, or with `read=date` on a plain date; no bound holds for a row that has none."""
    parts = tuple(path.split("."))

    def value(row: Wire) -> Any:
        return value_at(row, parts) if len(parts) > 1 else row[path]

    def make(_world: World, name: str, text: str) -> Predicate:
        bound = read(name, text)
        compare: dict[str, Predicate] = {
            "gt": lambda row: value(row) > bound,
            "lt": lambda row: value(row) < bound,
            "gte": lambda row: value(row) >= bound,
            "lte": lambda row: value(row) <= bound,
            "eq": lambda row: value(row) == bound,
        }
        holds = compare[operator]
        return lambda row: value(row) is not None and holds(row)

    return make


def _any_item(field: Callable[[Wire], Any]) -> PredicateFactory:
    """Filters on items find nothing before commercial invoices are digitised, as at Flexport."""
    return lambda _world, _name, text: lambda row: any(field(item) == text for item in row["items"])


def _house_bill(_world: World, _name: str, text: str) -> Predicate:
    """The whole text, or one of the numbers joined in it."""

    def holds(row: Wire) -> bool:
        bills = (
            value_at(row, ("ocean_shipment", "house_bill_number"))
            or value_at(row, ("air_shipment", "house_airway_bill"))
            or ""
        )
        return bool(bills) and (text == bills or text in bills.split(", "))

    return holds


def _master_bill(_world: World, _name: str, text: str) -> Predicate:
    paths = (("ocean_shipment", "master_bill_number"), ("air_shipment", "master_airway_bill"))
    return lambda row: any(value_at(row, path) == text for path in paths)


def _shipments_with_container(world: World, _name: str, text: str) -> Predicate:
    boxes = world.tables[CONTAINER].values()
    wanted = {box["shipment"]["id"] for box in boxes if box["container_number"] == text}
    return lambda row: row["id"] in wanted


def _legs_of_container(world: World, _name: str, text: str) -> Predicate:
    wanted = {box["id"] for box in world.tables[CONTAINER].values() if box["container_number"] == text}
    return lambda row: row["shipment_container"]["id"] in wanted


def _consignee(_world: World, _name: str, text: str) -> Predicate:
    return lambda row: any(entity["ref"] == text for entity in row["consignees"])


def _no_match(_world: World, _name: str, _text: str) -> Predicate:
    """No container here has a reference code: none of its published fields holds one."""
    return lambda _row: False


def _shipment_of_invoice(world: World, _name: str, text: str) -> Predicate:
    """Only in links: the shipment of an invoice, whose name tells it; none for one of type Client."""
    found = world.shelves[INVOICE].find(text, world.now)
    if found is None or found["type"] == "Client":
        return lambda _row: False
    wanted = found["name"].split("-")[1]
    return lambda row: str(row["id"]) == wanted


_WANTS = ("freight_management_bco", "flexport_freight", "import_customs_service", "export_customs_service")
FILTERS: dict[str, dict[str, PredicateFactory]] = {
    SHIPMENT: {
        "f.transportation_mode": enum("transportation_mode", MODES),
        "f.status": enum("status", STATUSES),
        "f.statuses.any": enum("status", STATUSES, many=True),
        "f.container_number": _shipments_with_container,
        "f.purchase_order": _any_item(lambda item: item["purchase_order_number"]),
        "f.sku": _any_item(lambda item: item["product"]["sku"]),
        "f.updated_at.gt": instant("updated_at", "gt"),
        "f.updated_at.lt": instant("updated_at", "lt"),
        "f.master_bill_number": _master_bill,
        "f.house_bill_number": _house_bill,
        "f.consignee_external_ref": _consignee,
        "f.invoice_id": _shipment_of_invoice,
        **{f"f.wants_{name}": boolean(f"wants_{name}") for name in _WANTS},
    },
    LEG: {
        "f.shipment.id": linked("shipment"),
        "f.transportation_mode": enum("transportation_mode", MODES),
    },
    CONTAINER: {
        "f.shipment.id": linked("shipment"),
        "f.container_number": equal("container_number"),
        "f.reference_code": _no_match,
    },
    CONTAINER_LEG: {
        "f.leg.id": linked("leg"),
        "f.shipment_container.id": linked("shipment_container"),
        "f.shipment_container.container_number": _legs_of_container,
    },
    EVENT: {
        "f.type": equal("type"),
        "f.occurred_at.gte": instant("occurred_at", "gte"),
        "f.occurred_at.lte": instant("occurred_at", "lte"),
        "f.data.shipment.id": number("data", "shipment", "id"),
        "f.data.resource._object": equal("data", "resource", "_object"),
    },
}
