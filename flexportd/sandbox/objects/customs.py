"""Customs entries: filed before the arrival where Flexport is the broker, held now and then, and cleared."""

from collections.abc import Iterator
from datetime import datetime

from flexportd.sandbox.catalog.wire_objects import CUSTOMS_ENTRY, SHIPMENT, Links, Wire, day
from flexportd.sandbox.ids import from_text_id, number_of, text_id
from flexportd.sandbox.objects.shipment_state import Journey
from flexportd.sandbox.rng import Lot
from flexportd.sandbox.scripts.shipment_plan import is_brokered
from flexportd.sandbox.scripts.world_events import between

# The code of a broker that does not exist.
_FILER = "HPX"
_LETTER_VALUES = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (*range(1, 10), *range(1, 10), *range(2, 10)), strict=True))
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
            "entry_number": f"{_FILER}-{serial}-{_check_digit(f'{_FILER}{serial}')}",
            "release_status": status,
            "release_date": day(released.date()) if released else None,
            "shipment": self._links.one(SHIPMENT, journey.id),
        }


def _check_digit(stem: str) -> int:
    """The check digit of an entry number, as US Customs computes it: letters count as digits, every other twice."""
    values = [int(sign) if sign.isdigit() else _LETTER_VALUES[sign] for sign in stem]
    doubled = [value * 2 if place % 2 == 0 else value for place, value in enumerate(reversed(values))]
    total: int = sum(value // 10 + value % 10 for value in doubled)
    return (10 - total % 10) % 10
