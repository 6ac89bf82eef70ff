"""Carbon figures: the calculation request for a leg, and the figures of a shipment. Pure.

Source of the request: CreateCarbonCalculation of https://apidocs.flexport.com/v2.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, TypedDict

import msgspec

from flexportd.core.json_types import Stamp, document_of
from flexportd.core.resources.itinerary import sort_legs
from flexportd.core.resources.money import format_number
from flexportd.storage.repositories.resources import Record
from flexportd.storage.repositories.shipment_details import CarbonFigure

_MODES = ("ocean", "air", "truck", "rail")
_WEIGHTS = ("kg", "lbs")
_SERVICES = ("ftl", "ltl", "drayage", "cartage", "last_mile", "airport_transfer", "air_cartage")
_MAX_DIGITS = 15  # digits before the point, and after it
_PRECISION = 200  # more than a sum of figures has

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number", order="deterministic").encode


@dataclass(frozen=True, slots=True)
class CarbonRequest:
    """The request for one leg: the body as JSON, None with a reason if it cannot be made."""

    leg_id: int
    mode: str
    body: bytes | None
    reason: str = ""


def carbon_request(leg: Record, shipment: Record) -> CarbonRequest:
    """The request for a leg of a shipment."""
    fields, number, mode = leg.fields, int(leg.id), leg.fields["mode"] or ""
    if mode not in _MODES:
        named = f"travels by {mode.replace('_', ' ')}" if mode else "has no known mode"
        return CarbonRequest(number, mode, None, f"the leg {named}; Flexport calculates {', '.join(_MODES)}")
    weight = _weight(shipment.fields["weight"])
    if weight is None:
        return CarbonRequest(number, mode, None, "the shipment's weight is not known")
    ends = _ends(leg)
    lacking = [end for end, found in ends.items() if not found]
    if lacking:
        verb = "have" if len(lacking) > 1 else "has"
        reason = f"the leg's {' and '.join(lacking)} {verb} neither a UN/LOCODE nor an address"
        return CarbonRequest(number, mode, None, reason)
    body: dict[str, Any] = {"transportation_mode": mode, "weight": weight}
    for found in ends.values():
        body |= found
    if mode == "ocean" and shipment.fields["is_lcl"] is not None:
        body["is_lcl"] = bool(shipment.fields["is_lcl"])
    if mode == "truck" and fields["service_type"] in _SERVICES:
        body["trucking_service_type"] = fields["service_type"]
    return CarbonRequest(number, mode, _encode(body))


def _ends(leg: Record) -> dict[str, dict[str, Any]]:
    """The ends of a leg in the request: a port by its UN/LOCODE, else the address as Flexport has it."""
    found: dict[str, dict[str, Any]] = {}
    for end in ("origin", "destination"):
        port = leg.fields[f"{end}_code"]
        address = None if port else _address(leg.raw, end)
        found[end] = {f"{end}_port": port} if port else {f"{end}_address": address} if address else {}
    return found


def _address(raw: str, end: str) -> dict[str, Any] | None:
    """The address of one end in Flexport's own JSON of a leg (a door has no UN/LOCODE); None for one without a town."""
    found = _decode(raw)
    for name in (end, "place", "address"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) and (found.get("city") or found.get("zip")) else None


def _weight(stored: str | None) -> dict[str, Any] | None:
    """A stored weight in the request; None for none, for 0 (Flexport's "unknown") and for another unit."""
    found = _decode(stored) if stored else {}
    try:
        value = Decimal(str(found.get("value")))
    except InvalidOperation:
        return None
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or not exponent >= -_MAX_DIGITS or value.adjusted() > _MAX_DIGITS:
        return None
    if value <= 0 or found.get("unit") not in _WEIGHTS:
        return None
    return {"_object": "/quantity/weight", "value": value, "unit": found["unit"]}


def carbon_requests(legs: Iterable[Record], shipment: Record) -> list[CarbonRequest]:
    """The requests for the legs of a shipment, in order of travel; deleted legs are left out."""
    return [carbon_request(leg, shipment) for leg in sort_legs(legs)]


def is_current(figure: CarbonFigure | None, request: CarbonRequest) -> bool:
    """Whether a figure is the result of the present request."""
    return figure is not None and request.body is not None and figure.request == request.body.decode()


class LegCarbon(TypedDict):
    """What Flexport calculated for a leg, in kilograms of CO2e; outdated if the leg or the weight has changed since."""

    leg_id: int
    mode: str
    kg: str
    calculated_at: Stamp
    as_of: Stamp
    outdated: bool


class LegWithoutCarbon(TypedDict):
    """A leg without a figure, and the reason."""

    leg_id: int
    reason: str


class ShipmentCarbon(TypedDict):
    """The figures of a shipment's legs in order of travel, their sum in kilograms, and the legs without one."""

    data: list[LegCarbon]
    total_kg: str | None
    missing: list[LegWithoutCarbon]
    next: None
    as_of: Stamp | None


def document(shipment: Record, legs: Iterable[Record], figures: Mapping[int, CarbonFigure]) -> ShipmentCarbon:
    """The figures of a shipment's legs in order of travel, their sum, and the legs without one.

    `outdated`: the leg or the shipment's weight has changed since, or the figure can no longer be requested.
    """
    requests = carbon_requests(legs, shipment)
    found = [(one, figures[one.leg_id]) for one in requests if one.leg_id in figures]
    with localcontext() as exact:
        exact.prec = _PRECISION
        total = format_number(sum((Decimal(figure.kg) for _, figure in found), Decimal(0))) if found else None
    return {
        "data": [
            document_of(LegCarbon, msgspec.structs.asdict(figure), outdated=not is_current(figure, one))
            for one, figure in found
        ],
        "total_kg": total,
        "missing": [
            {"leg_id": one.leg_id, "reason": one.reason or "not calculated yet"}
            for one in requests
            if one.leg_id not in figures
        ],
        "next": None,
        "as_of": shipment.as_of,
    }
