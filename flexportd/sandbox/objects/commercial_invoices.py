"""Commercial invoices of the sellers: one for each purchase order, once they are digitised."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from flexportd.sandbox.catalog.cargo import CargoLine
from flexportd.sandbox.catalog.companies import Party
from flexportd.sandbox.catalog.wire_objects import (
    COMMERCIAL_INVOICE,
    CONTAINER,
    ENTITY,
    PRODUCT,
    SHIPMENT,
    Wire,
    address,
    money,
    utc,
    volume,
    weight,
)
from flexportd.sandbox.ids import object_number
from flexportd.sandbox.objects.derived import DerivedObjects
from flexportd.sandbox.objects.shipment_state import ShipmentState
from flexportd.sandbox.scripts.world_events import ObjectRef

DIGITISED = "/shipments#commercial_invoices_digitized"


class CommercialInvoices(DerivedObjects):
    """Their lines have the same units as the shipment's items, which appear at the same time."""

    kind = COMMERCIAL_INVOICE

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        digitised = journey.time_of(DIGITISED)
        if digitised is not None:
            for place in range(len(journey.plan.cargo.purchase_orders)):
                yield place, digitised

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:  # noqa: ARG002 (it never changes)
        cargo = journey.plan.cargo
        order = cargo.purchase_orders[place]
        lines = [line for line in cargo.lines if line.purchase_order == order]
        digitised = journey.time_of(DIGITISED)
        parties = (("seller", cargo.seller), ("buyer", cargo.consignee), ("consignee", cargo.consignee))
        return {
            "_object": COMMERCIAL_INVOICE,
            "id": self.id_of(journey.id, place),
            "invoice_number": f"CI-{order}-{journey.id % 1000:03d}",
            "line_items": [self._line(journey, at + 1, line) for at, line in enumerate(lines)],
            "involved_parties": [self._party(kind, party) for kind, party in parties],
            "is_related_parties": False,
            "manufacturer_addresses": [address(cargo.seller.place)],
            "metadata": {"PO #": [order]},
            "shipment": self.links.to_object(SHIPMENT, journey.id),
            "total_unit_count": str(sum(line.units for line in lines)),
            "total_value": money(sum((line.product.cost * line.units for line in lines), Decimal(0))),
            "total_volume": volume(sum(line.product.volume * line.units for line in lines)),
            "total_weight": weight(sum(line.product.weight * line.units for line in lines)),
            "digitization_status": "complete",
            "updated_at": None if digitised is None else utc(digitised),
        }

    def _line(self, journey: ShipmentState, position: int, line: CargoLine) -> Wire:
        value = line.product.cost * line.units
        gross = line.product.weight * line.units
        return {
            "_object": "/commercial_invoice_line_item",
            "document_line_number": position,
            "price_per_unit": money(line.product.cost),
            "first_sale_value": None,
            "value": money(value),
            "net_value": money(value),
            "total_units": line.units,
            "container_number": _container(journey, position),
            "purchase_order_number": line.purchase_order,
            "weight": weight(gross),
            "volume": volume(line.product.volume * line.units),
            "net_weight": weight(gross * 0.92),
            "net_net_weight": weight(gross * 0.9),
            "manufacturer_address": address(journey.plan.cargo.seller.place),
            "manufacturer_name": journey.plan.cargo.seller.name,
            "product": self.links.to_object(PRODUCT, line.product.id),
            "metadata": {},
        }

    def _party(self, kind: str, party: Party) -> Wire:
        return {
            "_object": "/customs/involved_party",
            "address": address(party.place),
            "company_entity": self.links.to_object(ENTITY, party.id),
            "name": party.name,
            "type": kind,
        }


def _container(journey: ShipmentState, position: int) -> Wire | None:
    """The first container, which every line is in; it has no `_object`."""
    boxes = journey.plan.cargo.containers
    digitised = journey.time_of(DIGITISED)
    if not boxes or digitised is None:
        return None
    return {
        "id": object_number(journey.id, position),
        "container_number": boxes[0].number,
        "commercial_invoice_line_item_id": journey.ids.id_of(ObjectRef(CONTAINER)) * 10 + position,
        "deleted_at": None,
        "created_at": utc(digitised),
        "updated_at": utc(digitised),
    }
