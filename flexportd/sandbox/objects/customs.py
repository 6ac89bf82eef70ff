"""Customs entries: filed before the arrival where Flexport is the broker, held now and then, and cleared."""

from collections.abc import Iterator
from datetime import datetime

from flexportd.sandbox.catalog.wire_objects import CUSTOMS_ENTRY, SHIPMENT, Wire, day
from flexportd.sandbox.objects.derived import DerivedObjects
from flexportd.sandbox.objects.shipment_state import ShipmentState
from flexportd.sandbox.rng import KeyedRandom
from flexportd.sandbox.scripts.shipment_plan import is_brokered
from flexportd.sandbox.scripts.world_events import between

# The code of a broker that does not exist.
_FILER = "HPX"
_LETTER_VALUES = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (*range(1, 10), *range(1, 10), *range(2, 10)), strict=True))
RELEASED = "/shipment#customs_entry_release_status_released"


class CustomsEntries(DerivedObjects):
    """One for each shipment that crosses a border and whose importer has no broker of its own."""

    kind = CUSTOMS_ENTRY

    def creation_times(self, journey: ShipmentState) -> Iterator[tuple[int, datetime]]:
        if is_brokered(journey.plan):
            main = journey.plan.first_main.departure, journey.plan.last_main.arrival
            yield (
                0,
                between(
                    *main, KeyedRandom(journey.plan.seed, f"entry/{journey.plan.ordinal}").random("filed") * 0.3 + 0.5
                ),
            )

    def make(self, journey: ShipmentState, place: int, now: datetime) -> Wire:
        serial = KeyedRandom(journey.plan.seed, f"entry/{journey.plan.ordinal}").randint("serial", 10**6, 10**7 - 1)
        recorded = journey.event_types_until(now)
        released = recorded.get(RELEASED)
        held = any("customs" in kind for kind in recorded)
        status = "cleared" if released else "customs_hold" if held else "pending"
        return {
            "_object": CUSTOMS_ENTRY,
            "id": self.id_of(journey.id, place),
            "entry_number": f"{_FILER}-{serial}-{_check_digit(f'{_FILER}{serial}')}",
            "release_status": status,
            "release_date": day(released.date()) if released else None,
            "shipment": self.links.to_object(SHIPMENT, journey.id),
        }


def _check_digit(stem: str) -> int:
    """The check digit of an entry number, as US Customs computes it: letters count as digits, every other twice."""
    values = [int(sign) if sign.isdigit() else _LETTER_VALUES[sign] for sign in stem]
    doubled = [value * 2 if place % 2 == 0 else value for place, value in enumerate(reversed(values))]
    total: int = sum(value // 10 + value % 10 for value in doubled)
    return (10 - total % 10) % 10
