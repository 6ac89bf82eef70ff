"""Vessels, flights, trains and trucks of the sandbox, with valid check digits."""

from dataclasses import dataclass
from random import Random

from flexportd.sandbox.catalog.routes import RouteLeg
from flexportd.sandbox.catalog.schedules import ABROAD_TRUCKERS, EURASIAN_RAIL, LESSORS, TRUCKERS, Carrier, Service

# ISO 6346 gives letters the values 10 to 38 without the multiples of 11.
_LETTERS = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (n for n in range(10, 39) if n % 11), strict=True))
SEA_FIELDS = ("scac_code", "vessel_name", "vessel_imo", "voyage_number")


@dataclass(frozen=True, slots=True)
class Vehicle:
    """The carrier of a leg, and the fields of its mode's sub-object."""

    carrier: str | None
    fields: tuple[tuple[str, str | None], ...]


def vehicle_for(stretch: RouteLeg, rng: Random) -> Vehicle:
    """A vehicle for a leg by air, rail or road."""
    if stretch.flight is not None:
        airline = stretch.flight.airline
        codes = (("iata_code", airline.code), ("icao_code", airline.icao), ("flight_number", stretch.flight.number))
        return Vehicle(airline.name, codes)
    if stretch.mode == "rail":
        return Vehicle(EURASIAN_RAIL if stretch.line is None else stretch.line.carrier.name, ())
    tracking = f"PRO{rng.randint(10**8, 10**9 - 1)}" if stretch.service == "ltl" else None
    country = stretch.origin.place.country_code
    trucker = rng.choice(ABROAD_TRUCKERS.get(country, TRUCKERS)) if rng.random() < 0.8 else None
    return Vehicle(trucker, (("service_type", stretch.service), ("tracking_number", tracking)))


def sailing(line: Service, week: int) -> Vehicle:
    """The ship of a line in that week, on its voyage."""
    vessel = line.vessel(week)
    values = line.carrier_code, vessel.name, vessel.imo, line.voyage(week)
    return Vehicle(line.carrier.name, tuple(zip(SEA_FIELDS, values, strict=True)))


def placeholder(stretch: RouteLeg) -> Vehicle:
    """The vehicle of an ocean leg before the carrier confirms: half of the recorded legs look like this."""
    europe = stretch.destination.place.country_code in {"NL", "DE", "GB"}
    fields = zip(SEA_FIELDS, ("NONE", None, None, None), strict=True)
    return Vehicle(f"FLXT {'FEWB' if europe else 'TPEB'} Ocean Line", tuple(fields))


def container_number(carrier: Carrier | None, rng: Random) -> str:
    """A container number of the carrier or a lessor, with its check digit."""
    own = () if carrier is None else carrier.owners
    owner = rng.choice(own) if own and rng.random() < 0.7 else rng.choice(LESSORS)
    while True:
        stem = f"{owner}{rng.randint(100_000, 999_999)}"
        # A remainder of ten would give the check digit 0 as well: owners do not use such numbers.
        if _remainder(stem) < 10:
            return f"{stem}{check_digit(stem)}"


def check_digit(stem: str) -> int:
    """The ISO 6346 check digit of four letters and six digits."""
    return _remainder(stem) % 10


def _remainder(stem: str) -> int:
    values = (_LETTERS[sign] if sign in _LETTERS else int(sign) for sign in stem)
    return sum(value << place for place, value in enumerate(values)) % 11


def master_bill(carrier: Carrier, port: str, rng: Random) -> str:
    """The number of a carrier's bill: an air waybill with its check digit, or SCAC and number at sea."""
    if carrier.prefix:
        serial = rng.randint(10**6, 10**7 - 1)
        return f"{carrier.prefix}-{serial}{serial % 7}"
    digits = "".join(str(rng.randint(1, 9)) if sign == "#" else sign for sign in carrier.bill)
    return carrier.code + digits.replace("@", port[2:])
