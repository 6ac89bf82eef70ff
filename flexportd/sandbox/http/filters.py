"""The filters of the lists, by parameter: each parses its text once and returns a test of a row.

`filters.toml` names the test of each parameter, and its arguments.
"""

import operator
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from flexportd.errors import InvalidError
from flexportd.sandbox.catalog import kinds
from flexportd.sandbox.catalog.kinds import Wire
from flexportd.sandbox.catalog.wire_objects import utc
from flexportd.sandbox.world.collections import LazyRows
from flexportd.sandbox.world.world import World

_PORTS = {"airport": "/air/port", "railport": "/ocean/railport", "roadport": "/trucking/port", "seaport": "/ocean/port"}

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


def enum(name: str, *allowed: str, many: bool = False) -> PredicateFactory:
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


def _any_of(get: Callable[[Wire], Iterable[Any]]) -> PredicateFactory:
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


def _seller(field: str) -> PredicateFactory:
    """By a field of the entity that is the seller among the parties."""

    def make(world: World, _name: str, text: str) -> Predicate:
        sellers = {row["id"] for row in world.collections[kinds.ENTITY].rows() if str(row[field]) == text}
        return lambda row: any(
            party["type"] == "seller" and party["company_entity"]["id"] in sellers for party in row["involved_parties"]
        )

    return make


def _entities_of(field: str) -> PredicateFactory:
    return _within(
        lambda world, _name, text: {
            entity["id"] for row in _companies(world, field, text) for entity in row["entities"]
        }
    )


def _of_company(field: str) -> PredicateFactory:
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


_FACTORIES: dict[str, Callable[..., PredicateFactory]] = {
    "equal": equal,
    "number": number,
    "linked": linked,
    "linked_text": linked_text,
    "exists": exists,
    "flag": lambda name: _matches(parse_flag, operator.itemgetter(name)),
    "enum": enum,
    "any_of": partial(enum, many=True),
    "instant": instant,
    "date": partial(instant, parse=parse_date),
    "item": lambda path: _any_of(lambda row: map(_getter(path), row["items"])),
    "master_bill": lambda: _any_of(_master_bills),
    "house_bill": lambda: _any_of(_house_bills),
    "consignee": lambda: _any_of(lambda row: [entity["ref"] for entity in row["consignees"]]),
    "none": lambda: _any_of(lambda _row: ()),
    "billed": lambda: _matches(parse_flag, lambda _row: True),
    "role": lambda: _matches(lambda name, text: parse_choice(name, text, ("buyer", "seller")), lambda _row: "buyer"),
    "of_container": lambda: _within(lambda world, _, text: {box["shipment"]["id"] for box in _containers(world, text)}),
    "on_container": lambda: _within(
        lambda world, _, text: {box["id"] for box in _containers(world, text)}, _getter("shipment_container.id")
    ),
    "of_invoice": lambda: _within(_shipment_of_invoice, lambda row: str(row["id"])),
    "of_shipment": _of_shipment,
    "of_order": lambda: _of_order,
    "port_type": lambda: _port_type,
    "seller": _seller,
    "entities_of": _entities_of,
    "of_company": _of_company,
    "same_company": _same_company,
}
_TABLE = msgspec.toml.decode(Path(__file__).with_suffix(".toml").read_bytes(), type=dict[str, dict[str, list[str]]])
MODES, STATUSES = (tuple(_TABLE[kinds.SHIPMENT][f"f.{name}"][2:]) for name in ("transportation_mode", "status"))
FILTERS: dict[str, dict[str, PredicateFactory]] = {
    kind: {parameter: _FACTORIES[test](*arguments) for parameter, (test, *arguments) in filters.items()}
    for kind, filters in _TABLE.items()
}
