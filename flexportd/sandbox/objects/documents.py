"""Documents of shipments, in the proportions of recorded ones, with files that can be fetched.

`file_name` and `memo` are documented and in no recorded document. A few are archived a day later.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from flexportd.sandbox.catalog.wire_objects import DOCUMENT, SHIPMENT, Links, Wire, utc
from flexportd.sandbox.ids import from_text_id, number_of, text_id
from flexportd.sandbox.objects.files import csv, pdf
from flexportd.sandbox.objects.shipment_state import Journey
from flexportd.sandbox.rng import Lot
from flexportd.sandbox.scripts.shipment_plan import Itinerary, is_brokered

# Type, the share of shipments that have it, the stage it belongs to, minutes or hours around that stage.
_TYPES = (
    ("booking_form_pdf", 0.85, "booked", 0.02),
    ("booking_form_csv", 0.80, "booked", 0.03),
    ("freight_forwarder_quote", 0.12, "booked", 1.5),
    ("shipping_instructions", 0.50, "booked", 20.0),
    ("verified_gross_mass_declaration", 0.35, "sailing", -40.0),
    ("approved_house_bill_of_lading_draft", 0.35, "sailing", -20.0),
    ("commercial_invoice", 0.45, "sailing", 4.0),
    ("packing_list", 0.30, "sailing", 4.1),
    ("flexport_bill_of_lading", 0.25, "sailing", 30.0),
    ("isf_worksheet", 0.25, "sailing", -70.0),
    ("customs_entry_summary_7501", 0.60, "landed", 30.0),
    ("certificate_of_origin", 0.04, "sailing", 50.0),
)
_AT_SEA = frozenset(
    {
        "verified_gross_mass_declaration",
        "approved_house_bill_of_lading_draft",
        "flexport_bill_of_lading",
        "isf_worksheet",
    }
)
_ARCHIVED = 0.05


class Documents:
    """Up to a dozen for each shipment."""

    def __init__(self, links: Links, seed: int) -> None:
        self._links = links
        self._salt = f"{seed}{DOCUMENT}"

    def births(self, journey: Journey) -> Iterator[tuple[int, datetime]]:
        plan = journey.plan
        lot = Lot(plan.seed, f"documents/{plan.ordinal}")
        stages = {"booked": plan.booked, "sailing": plan.first_main.departure, "landed": plan.last_main.arrival}
        for place, (kind, share, stage, hours) in enumerate(_TYPES):
            if _fits(kind, plan) and lot.share(kind) < share:
                seconds = hours * 3600 + lot.within(f"{kind}/seconds", 10_000, 90_000) / 1000
                # Nothing is uploaded to a shipment that is not there yet.
                yield place, max(plan.booked + timedelta(seconds=2 + place), stages[stage] + timedelta(seconds=seconds))

    def number(self, key: str) -> int | None:
        return from_text_id(self._salt, key)

    def make(self, journey: Journey, place: int, now: datetime) -> Wire:
        lot = Lot(journey.plan.seed, f"documents/{journey.plan.ordinal}")
        uploaded = dict(self.births(journey))[place]
        withdrawn = uploaded + timedelta(hours=26, minutes=11)
        archived = lot.share(f"{place}/archived") < _ARCHIVED and withdrawn <= now
        number = text_id(self._salt, number_of(journey.id, place))
        return {
            "_object": DOCUMENT,
            "id": number,
            "document_type": _TYPES[place][0],
            "file_link": self._links.url(f"/documents/{number}/download"),
            "archived_at": utc(withdrawn) if archived else None,
            "file_metadata": {
                "_object": "/file/metadata",
                "size": len(file_of(journey, place)),
                "uploaded_at": utc(uploaded),
            },
            "shipment": self._links.one(SHIPMENT, journey.id),
        }

    def file(self, journey: Journey, place: int) -> tuple[bytes, str]:
        """The bytes of one of them, and their media type."""
        return file_of(journey, place), "text/csv" if _TYPES[place][0].endswith("csv") else "application/pdf"


def file_of(journey: Journey, place: int) -> bytes:
    """The file: who ships what to whom."""
    kind, cargo = _TYPES[place][0], journey.plan.cargo
    lines = [(line.good.sku, line.good.name, str(line.units), line.purchase_order) for line in cargo.lines]
    if kind.endswith("csv"):
        return csv([("sku", "name", "units", "purchase_order"), *lines])
    title = kind.replace("_", " ").capitalize()
    parties = (f"FLEX-{journey.id}", f"From {cargo.seller.name}", f"To {cargo.consignee.name}")
    return pdf([title, *parties, *(" ".join(line) for line in lines)])


def _fits(kind: str, plan: Itinerary) -> bool:
    if kind in _AT_SEA:
        return plan.route.mode == "ocean"
    if kind == "customs_entry_summary_7501":
        return is_brokered(plan) and plan.legs[-1].stretch.destination.place.country_code == "US"
    return True
