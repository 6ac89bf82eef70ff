"""Freight invoices as a list of the API."""

from collections.abc import Iterator
from datetime import datetime

from flexportd.sandbox.catalog.wire_objects import INVOICE, Wire
from flexportd.sandbox.objects.derived import DerivedObjects
from flexportd.sandbox.objects.shipment_state import ShipmentState
from flexportd.sandbox.scripts.invoice_script import invoice, invoice_kinds, issued_at


class Invoices(DerivedObjects):
    """The freight, and the delivery where there is one."""

    kind = INVOICE

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        for place in invoice_kinds(journey.plan):
            yield place, issued_at(journey.plan, place)

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:
        return invoice(journey.plan, journey.id, place, now, self.links)
