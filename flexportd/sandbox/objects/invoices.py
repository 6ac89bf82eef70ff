"""Freight invoices, and the commercial invoices of the sellers."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from flexportd.sandbox.catalog.cargo import CargoLine
from flexportd.sandbox.catalog.companies import Party
from flexportd.sandbox.catalog.kinds import COMMERCIAL_INVOICE, CONTAINER, ENTITY, INVOICE, PRODUCT, SHIPMENT, Wire
from flexportd.sandbox.catalog.wire_objects import address, money, utc, volume, weight, wire_object
from flexportd.sandbox.ids import object_number
from flexportd.sandbox.objects.shipment_state import DerivedObjects, ShipmentState
from flexportd.sandbox.scripts.invoice_script import invoice, invoice_kinds, issued_at
from flexportd.sandbox.scripts.world_events import ObjectRef

DIGITISED = "/shipments#commercial_invoices_digitized"


class Invoices(DerivedObjects):
    """The freight, and the delivery where there is one."""

    kind = INVOICE

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        for place in invoice_kinds(journey.plan):
            yield place, issued_at(journey.plan, place)

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:
        return invoice(journey.plan, journey.id, place, now, self.links)


class CommercialInvoices(DerivedObjects):
    """One for each purchase order, once they are digitised.

    Their lines have the same units as the shipment's items, which appear at the same time.
    """

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
        return wire_object(
            COMMERCIAL_INVOICE,
            id=self.id_of(journey.id, place),
            invoice_number=f"CI-{order}-{journey.id % 1000:03d}",
            line_items=[self._line(journey, at + 1, line) for at, line in enumerate(lines)],
            involved_parties=[self._party(kind, party) for kind, party in parties],
            manufacturer_addresses=[address(cargo.seller.place)],
            metadata={"PO #": [order]},
            shipment=self.links.to_object(SHIPMENT, journey.id),
            total_unit_count=str(sum(line.units for line in lines)),
            total_value=money(sum((line.product.cost * line.units for line in lines), Decimal(0))),
            total_volume=volume(sum(line.product.volume * line.units for line in lines)),
            total_weight=weight(sum(line.product.weight * line.units for line in lines)),
            updated_at=None if digitised is None else utc(digitised),
        )

    def _line(self, journey: ShipmentState, position: int, line: CargoLine) -> Wire:
        value, gross = money(line.product.cost * line.units), line.product.weight * line.units
        return wire_object(
            "/commercial_invoice_line_item",
            document_line_number=position,
            price_per_unit=money(line.product.cost),
            value=value,
            net_value=value,
            total_units=line.units,
            container_number=_container(journey, position),
            purchase_order_number=line.purchase_order,
            weight=weight(gross),
            volume=volume(line.product.volume * line.units),
            net_weight=weight(gross * 0.92),
            net_net_weight=weight(gross * 0.9),
            manufacturer_address=address(journey.plan.cargo.seller.place),
            manufacturer_name=journey.plan.cargo.seller.name,
            product=self.links.to_object(PRODUCT, line.product.id),
        )

    def _party(self, kind: str, party: Party) -> Wire:
        entity = self.links.to_object(ENTITY, party.id)
        where = address(party.place)
        return wire_object("/customs/involved_party", address=where, company_entity=entity, name=party.name, type=kind)


def _container(journey: ShipmentState, position: int) -> Wire | None:
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
