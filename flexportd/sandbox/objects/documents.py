"""Documents of shipments, in the proportions of recorded ones, with files that can be fetched; and customs entries.

`file_name` and `memo` are documented and in no recorded document. A few are archived a day later. Customs entries are
filed before the arrival where Flexport is the broker, held now and then, and cleared.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from flexportd.sandbox.catalog.kinds import CUSTOMS_ENTRY, DOCUMENT, SHIPMENT, Wire
from flexportd.sandbox.catalog.wire_objects import day, utc, wire_object
from flexportd.sandbox.objects.shipment_state import DerivedObjects, ShipmentState
from flexportd.sandbox.rng import KeyedRandom
from flexportd.sandbox.scripts.shipment_plan import Itinerary, is_brokered
from flexportd.sandbox.scripts.world_events import between

# Type, the share of shipments that have it, the stage it belongs to, hours after that stage.
_TYPES = (
    ("booking_form_pdf", 0.85, "booked", 0.02),
    ("booking_form_csv", 0.80, "booked", 0.03),
    ("freight_forwarder_quote", 0.12, "booked", 1.5),
    ("shipping_instructions", 0.50, "booked", 20.0),
    ("verified_gross_mass_declaration", 0.35, "sailing", -40.0),
    ("approved_house_bill_of_lading_draft", 0.35, "sailing", -20.0),
    ("commercial_invoice", 0.45, "departure", 4.0),
    ("packing_list", 0.30, "departure", 4.1),
    ("flexport_bill_of_lading", 0.25, "sailing", 30.0),
    ("isf_worksheet", 0.25, "sailing", -70.0),
    ("customs_entry_summary_7501", 0.60, "entry", 30.0),
    ("certificate_of_origin", 0.04, "departure", 50.0),
)
_ARCHIVED = 0.05
_ENCODING = "latin-1"
# The code of a broker that does not exist.
_FILER = "HPX"
_LETTER_VALUES = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (*range(1, 10), *range(1, 10), *range(2, 10)), strict=True))
RELEASED = "/shipment#customs_entry_release_status_released"


class Documents(DerivedObjects):
    """Up to a dozen for each shipment."""

    kind = DOCUMENT

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        plan = journey.plan
        lot = KeyedRandom(plan.seed, f"documents/{plan.ordinal}")
        stages = _stages(plan)
        for place, (kind, share, stage, hours) in enumerate(_TYPES):
            if stage in stages and lot.random(kind) < share:
                seconds = hours * 3600 + lot.randint(f"{kind}/seconds", 10_000, 90_000) / 1000
                # Nothing is uploaded before the shipment exists.
                yield place, max(plan.booked + timedelta(seconds=2 + place), stages[stage] + timedelta(seconds=seconds))

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:
        lot = KeyedRandom(journey.plan.seed, f"documents/{journey.plan.ordinal}")
        uploaded = dict(self.creation_times(journey))[place]
        withdrawn = uploaded + timedelta(hours=26, minutes=11)
        archived = lot.random(f"{place}/archived") < _ARCHIVED and withdrawn <= now
        number = self.id_of(journey.id, place)
        metadata = wire_object("/file/metadata", size=len(file_bytes(journey, place)), uploaded_at=utc(uploaded))
        return wire_object(
            DOCUMENT,
            id=number,
            document_type=_TYPES[place][0],
            file_link=self.links.url(f"/documents/{number}/download"),
            archived_at=utc(withdrawn) if archived else None,
            file_metadata=metadata,
            shipment=self.links.to_object(SHIPMENT, journey.id),
        )

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


def _stages(plan: Itinerary) -> dict[str, datetime]:
    """The stages of a shipment that have documents of their own: it sails, and enters the US, or not."""
    stages = {"booked": plan.booked, "departure": plan.first_main.departure}
    if plan.route.mode == "ocean":
        stages["sailing"] = plan.first_main.departure
    if is_brokered(plan) and plan.legs[-1].route_leg.destination.place.country_code == "US":
        stages["entry"] = plan.last_main.arrival
    return stages


class CustomsEntries(DerivedObjects):
    """One for each shipment that crosses a border and whose importer has no broker of its own."""

    kind = CUSTOMS_ENTRY

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        if is_brokered(journey.plan):
            share = _entry_random(journey.plan).random("filed") * 0.3 + 0.5
            yield 0, between(journey.plan.first_main.departure, journey.plan.last_main.arrival, share)

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:
        serial = _entry_random(journey.plan).randint("serial", 10**6, 10**7 - 1)
        recorded = journey.event_types_until(now)
        released = recorded.get(RELEASED)
        held = any("customs" in kind for kind in recorded)
        status = "cleared" if released else "customs_hold" if held else "pending"
        return wire_object(
            CUSTOMS_ENTRY,
            id=self.id_of(journey.id, place),
            entry_number=f"{_FILER}-{serial}-{_check_digit(f'{_FILER}{serial}')}",
            release_status=status,
            release_date=day(released.date()) if released else None,
            shipment=self.links.to_object(SHIPMENT, journey.id),
        )


def _entry_random(plan: Itinerary) -> KeyedRandom:
    return KeyedRandom(plan.seed, f"entry/{plan.ordinal}")


def _check_digit(stem: str) -> int:
    """The check digit of an entry number, as US Customs computes it: letters count as digits, every other twice."""
    values = [int(sign) if sign.isdigit() else _LETTER_VALUES[sign] for sign in stem]
    doubled = [value * 2 if place % 2 == 0 else value for place, value in enumerate(reversed(values))]
    total: int = sum(value // 10 + value % 10 for value in doubled)
    return (10 - total % 10) % 10


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
