"""Containers that stay at the terminal beyond their free time, because nobody picks them up.

One in eight does. At least one always stays until the free time of another ends, so that a demo shows at any time what
costs money.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import zip_longest
from random import Random

from flexportd.sandbox.scripts.shipment_plan import Itinerary
from flexportd.sandbox.scripts.world_events import last_free_day

_ONE_OF = 8  # shipments of full containers that are delivered to a door
_DAYS = 3, 12  # beyond the last free day
_OVERLAP = timedelta(days=2)  # with the next one
_LONGEST = timedelta(days=35)
_UNKNOWN = timedelta(days=12)  # until the next one, if none is booked yet


class Overstays:
    """Postpones what follows the main carriage of some shipments."""

    def __init__(self) -> None:
        self._until: datetime | None = None  # a container overstays until then

    def apply(self, plans: Sequence[Itinerary]) -> list[Itinerary]:
        """These plans, in their order."""
        result = {plan.ordinal: plan for plan in plans}
        able = sorted((plan for plan in plans if _can_overstay(plan)), key=_expiry)
        for plan, following in zip_longest(able, able[1:]):
            begin = _expiry(plan)
            rng = Random(f"{plan.seed}/overstay/{plan.ordinal}")  # noqa: S311 (a world, not a secret)
            by_chance = begin + timedelta(days=rng.randint(*_DAYS)) if rng.randrange(_ONE_OF) == 0 else None
            needed = (begin + _UNKNOWN) if following is None else _expiry(following) + _OVERLAP
            leaves = by_chance
            if self._until is None or self._until < needed:
                leaves = max(by_chance or begin, min(needed, begin + _LONGEST))
            if leaves is not None:
                result[plan.ordinal] = _postpone(plan, leaves)
                self._until = max(self._until or leaves, leaves)
        return list(result.values())


def _can_overstay(plan: Itinerary) -> bool:
    return plan.route.kind == "fcl" and plan.route.main[-1] + 1 < len(plan.legs)


def _expiry(plan: Itinerary) -> datetime:
    """The end of the last free day."""
    return last_free_day(plan) + timedelta(days=1)


def _postpone(plan: Itinerary, leaves: datetime) -> Itinerary:
    onward = plan.route.main[-1] + 1
    later = timedelta(days=max(0, (leaves.date() - plan.legs[onward].departure.date()).days))
    legs = [replace(leg, departure=leg.departure + later, arrival=leg.arrival + later) for leg in plan.legs[onward:]]
    return replace(plan, legs=(*plan.legs[:onward], *legs))
