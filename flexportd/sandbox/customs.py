"""Customs entries: filed before the arrival where Flexport is the broker, held now and then, and cleared."""

from collections.abc import Iterator
from datetime import datetime

from flexportd.sandbox.happenings import between
from flexportd.sandbox.identities import from_text_id, number_of, text_id
from flexportd.sandbox.itinerary import Itinerary
from flexportd.sandbox.journey import Journey
from flexportd.sandbox.lots import Lot
from flexportd.sandbox.shapes import CUSTOMS_ENTRY, SHIPMENT, Links, Wire, day

RELEASED = "/shipment#customs_entry_release_status_released"


class CustomsEntries:
    """One for each shipment that crosses a border and whose importer has no broker of its own."""

    def __init__(self, links: Links, seed: int) -> None:
        self._links = links
        self._salt = f"{seed}{CUSTOMS_ENTRY}"

    def births(self, journey: Journey) -> Iterator[tuple[int, datetime]]:
        if is_brokered(journey.plan):
            main = journey.plan.first_main.departure, journey.plan.last_main.arrival
            yield 0, between(*main, Lot(journey.plan.seed, f"entry/{journey.plan.ordinal}").share("filed") * 0.3 + 0.5)

    def number(self, key: str) -> int | None:
        return from_text_id(self._salt, key)

    def make(self, journey: Journey, place: int, now: datetime) -> Wire:
        serial = Lot(journey.plan.seed, f"entry/{journey.plan.ordinal}").within("serial", 10**6, 10**7 - 1)
        told = journey.types_by(now)
        released = told.get(RELEASED)
        held = any("customs" in kind for kind in told)
        status = "cleared" if released else "customs_hold" if held else "pending"
        return {
            "_object": CUSTOMS_ENTRY,
            "id": text_id(self._salt, number_of(journey.id, place)),
            "entry_number": f"HPX-{serial}-{serial % 9}",
            "release_status": status,
            "release_date": day(released.date()) if released else None,
            "shipment": self._links.one(SHIPMENT, journey.id),
        }


def is_brokered(plan: Itinerary) -> bool:
    """Whether Flexport clears this shipment."""
    ends = plan.legs[0].stretch.origin.place.country_code, plan.legs[-1].stretch.destination.place.country_code
    return ends[0] != ends[1] and plan.cargo.consignee.vat is None
