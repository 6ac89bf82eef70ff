"""The filters of the lists that follow from shipments, and of those an account has besides; see `filters`."""

from flexportd.sandbox.catalog.wire_objects import (
    BOOKING,
    BOOKING_LINE,
    COMMERCIAL_INVOICE,
    COMPANY,
    CONTACT,
    CUSTOMS_ENTRY,
    DOCUMENT,
    ENTITY,
    INVOICE,
    LOCATION,
    ORDER,
    ORDER_LINE,
    PORT,
    PRODUCT,
    Wire,
)
from flexportd.sandbox.http.filters import (
    Predicate,
    PredicateFactory,
    enum,
    equal,
    exists,
    instant,
    linked,
    linked_text,
    number,
    parse_choice,
    parse_date,
    parse_flag,
    parse_int,
)
from flexportd.sandbox.world.world import World

_PORTS = {"airport": "/air/port", "railport": "/ocean/railport", "roadport": "/trucking/port", "seaport": "/ocean/port"}
_WITH_EQUAL = ("gt", "gte", "lt", "lte")


def _of_shipment(kind: str) -> PredicateFactory:
    """By the shipment that a paper without a link to it follows from."""

    def make(world: World, name: str, text: str) -> Predicate:
        wanted = {row["id"] for row in world.shelves[kind].for_shipment(parse_int(name, text), world.now)}
        return lambda row: row["id"] in wanted

    return make


def _of_order(world: World, name: str, text: str) -> Predicate:
    """Lines of bookings by the order of their order line, which follows from the same shipment."""
    wanted = parse_int(name, text)

    def holds(row: Wire) -> bool:
        line = world.shelves[ORDER_LINE].find(str(row["purchase_order_line_item"]["id"]), world.now)
        return line is not None and bool(line["purchase_order"]["id"] == wanted)

    return holds


def _role(_world: World, name: str, text: str) -> Predicate:
    """The account is the buyer of all its orders."""
    wanted = parse_choice(name, text, ("buyer", "seller")) == "buyer"
    return lambda _row: wanted


def _billed_directly(_world: World, name: str, text: str) -> Predicate:
    """All invoices here are billed directly to the client."""
    wanted = parse_flag(name, text)
    return lambda _row: wanted


def _port_type(_world: World, name: str, text: str) -> Predicate:
    wanted = _PORTS[parse_choice(name, text, tuple(_PORTS))]
    return lambda row: any(one["_object"] == wanted for one in row["details"])


def _seller(field: str) -> PredicateFactory:
    """By the seller among the parties; a handle is `id-` and the id."""

    def make(_world: World, _name: str, text: str) -> Predicate:
        wanted = text.removeprefix("id-") if field == "ref" else text
        return lambda row: any(
            one["type"] == "seller" and str(one["company_entity"]["id"]) == wanted for one in row["involved_parties"]
        )

    return make


def _entities_of(field: str) -> PredicateFactory:
    def make(world: World, _name: str, text: str) -> Predicate:
        companies = [row for row in world.shelves[COMPANY].rows(world.now) if row[field] == text]
        wanted = {entity["id"] for row in companies for entity in row["entities"]}
        return lambda row: row["id"] in wanted

    return make


def _of_company(field: str) -> PredicateFactory:
    """Contacts and locations of a company, by its id or its handle."""

    def make(world: World, _name: str, text: str) -> Predicate:
        wanted = {row["id"] for row in world.shelves[COMPANY].rows(world.now) if row[field] == text}
        return lambda row: row["company"]["id"] in wanted

    return make


def _same_company(kind: str) -> PredicateFactory:
    """Contacts of a location and locations of a contact: those of one company belong together."""

    def make(world: World, _name: str, text: str) -> Predicate:
        found = world.shelves[kind].find(text, world.now)
        return lambda row: found is not None and bool(row["company"]["id"] == found["company"]["id"])

    return make


def _times(parameter: str, path: str, operators: tuple[str, ...]) -> dict[str, PredicateFactory]:
    return {f"f.{parameter}.{operator}": instant(path, operator) for operator in operators}


DERIVED_FILTERS: dict[str, dict[str, PredicateFactory]] = {
    BOOKING: {
        "f.status": enum("status", ("booked", "submitted")),
        "f.shipment.id": linked("shipment"),
        "f.consignee_entity_ref": equal("consignee_entity", "ref"),
        "f.shipper_entity_ref": equal("shipper_entity", "ref"),
        "f.name": equal("name"),
        "f.cargo_ready_date": instant("cargo_ready_date", "eq", parse_date),
        **{f"f.cargo_ready_date.{one}": instant("cargo_ready_date", one, parse_date) for one in _WITH_EQUAL},
        "f.created_at": instant("created_at", "eq"),
        **_times("created_at", "created_at", _WITH_EQUAL),
    },
    BOOKING_LINE: {
        "f.purchase_order.id": _of_order,
        "f.booking.id": linked("booking"),
        "f.purchase_order_line_item.id": linked("purchase_order_line_item"),
    },
    ORDER: {
        "f.archived_at.exists": exists("archived_at"),
        "f.status": enum("status", ("open", "closed", "cancelled")),
        "f.buyer_ref": equal("buyer", "ref"),
        "f.seller_ref": equal("seller", "ref"),
        "f.role": _role,
        "f.shipment.id": _of_shipment(ORDER),
        "f.name": equal("name"),
        **_times("updated_at", "updated_at", ("gt", "lt")),
        **_times("created_at", "created_at", ("gt", "lt")),
    },
    ORDER_LINE: {
        "f.purchase_order.id": linked("purchase_order"),
        "f.line_item_number": number("line_item_number"),
        "f.item_key": equal("item_key"),
        # The versions of an order are not published: here an order is its own only one.
        "f.purchase_order_version.id": linked("purchase_order"),
    },
    INVOICE: {
        "f.status": enum("status", ("outstanding", "past_due", "void", "paid")),
        "f.shipment.id": _of_shipment(INVOICE),
        "f.shipment_id": _of_shipment(INVOICE),
        "f.billed_directly_to_client": _billed_directly,
        "f.entity.id": number("recipient", "id"),
        "f.entity.ref": equal("recipient", "ref"),
        "f.client_id": number("recipient", "id"),
        "f.name": equal("name"),
        **_times("issued_at", "issued_at", ("gt", "lt")),
        **_times("last_updated_at", "last_updated_at", ("gt", "lt")),
    },
    COMMERCIAL_INVOICE: {
        "f.shipment.id": linked_text("shipment"),
        "f.invoice_number": equal("invoice_number"),
        "f.involved_party_seller_id": _seller("id"),
        "f.involved_party_seller_ref": _seller("ref"),
        "f.updated_at": instant("updated_at", "eq"),
        # Called by the creation, described as by the update.
        **_times("created_at", "updated_at", _WITH_EQUAL),
    },
    CUSTOMS_ENTRY: {"f.shipment.id": linked_text("shipment")},
    DOCUMENT: {
        "f.shipment.id": linked_text("shipment"),
        "f.document_type": equal("document_type"),
        "f.archived_at.exists": exists("archived_at"),
        **_times("uploaded_at", "file_metadata.uploaded_at", _WITH_EQUAL),
    },
    PRODUCT: {"f.sku": equal("sku"), "f.archived_at.exists": exists("archived_at")},
    COMPANY: {"f.ref": equal("ref")},
    ENTITY: {"f.ref": equal("ref"), "f.company_id": _entities_of("id"), "f.company_ref": _entities_of("ref")},
    CONTACT: {
        "f.company_ref": _of_company("ref"),
        "f.company.id": _of_company("id"),
        "f.location.id": _same_company(LOCATION),
    },
    LOCATION: {
        "f.ref": equal("ref"),
        "f.company_ref": _of_company("ref"),
        "f.company.id": _of_company("id"),
        "f.contact.id": _same_company(CONTACT),
    },
    PORT: {"f.port_type": _port_type, "f.unlocode": equal("address", "unlocode")},
}
