"""Documents of shipments, in the proportions of recorded ones, with files that can be fetched.

`file_name` and `memo` are documented and in no recorded document. A few are archived a day later.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from flexportd.sandbox.catalog.wire_objects import DOCUMENT, SHIPMENT, Wire, utc
from flexportd.sandbox.objects.derived import DerivedObjects
from flexportd.sandbox.objects.shipment_state import ShipmentState
from flexportd.sandbox.rng import KeyedRandom
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
_ENCODING = "latin-1"


class Documents(DerivedObjects):
    """Up to a dozen for each shipment."""

    kind = DOCUMENT

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        plan = journey.plan
        lot = KeyedRandom(plan.seed, f"documents/{plan.ordinal}")
        stages = {"booked": plan.booked, "sailing": plan.first_main.departure, "landed": plan.last_main.arrival}
        for place, (kind, share, stage, hours) in enumerate(_TYPES):
            if _applies(kind, plan) and lot.random(kind) < share:
                seconds = hours * 3600 + lot.randint(f"{kind}/seconds", 10_000, 90_000) / 1000
                # Nothing is uploaded before the shipment exists.
                yield place, max(plan.booked + timedelta(seconds=2 + place), stages[stage] + timedelta(seconds=seconds))

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:
        lot = KeyedRandom(journey.plan.seed, f"documents/{journey.plan.ordinal}")
        uploaded = dict(self.creation_times(journey))[place]
        withdrawn = uploaded + timedelta(hours=26, minutes=11)
        archived = lot.random(f"{place}/archived") < _ARCHIVED and withdrawn <= now
        number = self.id_of(journey.id, place)
        return {
            "_object": DOCUMENT,
            "id": number,
            "document_type": _TYPES[place][0],
            "file_link": self.links.url(f"/documents/{number}/download"),
            "archived_at": utc(withdrawn) if archived else None,
            "file_metadata": {
                "_object": "/file/metadata",
                "size": len(file_bytes(journey, place)),
                "uploaded_at": utc(uploaded),
            },
            "shipment": self.links.to_object(SHIPMENT, journey.id),
        }

    def file(self, journey: ShipmentState, place: int) -> tuple[bytes, str]:
        """The bytes of one of them, and their media type."""
        return file_bytes(journey, place), "text/csv" if _TYPES[place][0].endswith("csv") else "application/pdf"


def file_bytes(journey: ShipmentState, place: int) -> bytes:
    """The file: parties and lines of the shipment."""
    kind, cargo = _TYPES[place][0], journey.plan.cargo
    lines = [(line.product.sku, line.product.name, str(line.units), line.purchase_order) for line in cargo.lines]
    if kind.endswith("csv"):
        return csv([("sku", "name", "units", "purchase_order"), *lines])
    title = kind.replace("_", " ").capitalize()
    parties = (f"FLEX-{journey.id}", f"From {cargo.seller.name}", f"To {cargo.consignee.name}")
    return pdf([title, *parties, *(" ".join(line) for line in lines)])


def _applies(kind: str, plan: Itinerary) -> bool:
    if kind in _AT_SEA:
        return plan.route.mode == "ocean"
    if kind == "customs_entry_summary_7501":
        return is_brokered(plan) and plan.legs[-1].route_leg.destination.place.country_code == "US"
    return True


def pdf(lines: Sequence[str]) -> bytes:
    """A PDF of one page with these lines of text."""
    text = "".join(f"({_escaped(line)}) Tj T*\n" for line in lines)
    content = f"BT /F1 11 Tf 56 780 Td 16 TL\n{text}ET".encode(_ENCODING, "replace")
    font = b"<< /Font << /F1 5 0 R >> >>"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources %b >>" % font,
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    body, offsets = b"%PDF-1.4\n", []
    for number, part in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n%b" % (size, table)
    return body + table + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(body))


def csv(rows: Sequence[Sequence[str]]) -> bytes:
    """Rows of fields, every field quoted."""
    lines = (",".join('"' + field.replace('"', '""') + '"' for field in row) for row in rows)
    return "".join(f"{line}\r\n" for line in lines).encode()


def _escaped(line: str) -> str:
    for sign in "\\()":
        line = line.replace(sign, f"\\{sign}")
    return line
