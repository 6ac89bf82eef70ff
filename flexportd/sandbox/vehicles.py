"""Vessels, flights, trains and trucks of the sandbox, and check digits that hold."""

from dataclasses import dataclass
from random import Random

from flexportd.sandbox.places import AIR_CARRIERS, OCEAN_CARRIERS, RAIL_CARRIERS, TRUCKERS, VESSELS
from flexportd.sandbox.routes import Stretch

# ISO 6346 gives letters the values 10 to 38 without the multiples of 11.
_LETTERS = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (n for n in range(10, 39) if n % 11), strict=True))
_OWNERS = ("MSKU", "MSCU", "CMAU", "HLXU", "ONEU", "EGHU", "TCLU", "TGHU")


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Who carries a leg, and the fields of its mode's sub-object."""

    carrier: str | None
    fields: tuple[tuple[str, str | None], ...]


def vehicle_for(stretch: Stretch, rng: Random) -> Vehicle:
    """A vehicle for this stretch."""
    if stretch.mode == "ocean":
        line = rng.choice(OCEAN_CARRIERS)
        vessel = f"{line.name.split()[0].upper()} {rng.choice(VESSELS)}"
        imo = imo_number(rng.randint(900_000, 989_999))
        voyage = f"{rng.randint(1, 60):03d}{rng.choice('EWNS')}"
        # Half of the recorded ocean legs carry this placeholder instead of a code.
        scac = line.code if rng.random() < 0.85 else "NONE"
        return Vehicle(
            line.name, (("scac_code", scac), ("vessel_name", vessel), ("vessel_imo", imo), ("voyage_number", voyage))
        )
    if stretch.mode == "air":
        airline = rng.choice(AIR_CARRIERS)
        flight = f"{airline.code}{rng.randint(10, 999):04d}"
        codes = (("iata_code", airline.code), ("icao_code", airline.icao), ("flight_number", flight))
        return Vehicle(airline.name, codes)
    if stretch.mode == "rail":
        overseas = stretch.origin.place.country_code != "US"
        return Vehicle("Trans-Eurasia Rail" if overseas else rng.choice(RAIL_CARRIERS).name, ())
    tracking = f"PRO{rng.randint(10**8, 10**9 - 1)}" if stretch.service == "ltl" else None
    trucker = rng.choice(TRUCKERS) if rng.random() < 0.8 else None
    return Vehicle(trucker, (("service_type", stretch.service), ("tracking_number", tracking)))


def container_number(rng: Random) -> str:
    """A container number whose check digit is right."""
    stem = f"{rng.choice(_OWNERS)}{rng.randint(100_000, 999_999)}"
    return f"{stem}{check_digit(stem)}"


def check_digit(stem: str) -> int:
    """The ISO 6346 check digit of four letters and six digits."""
    values = (_LETTERS[sign] if sign in _LETTERS else int(sign) for sign in stem)
    return sum(value << place for place, value in enumerate(values)) % 11 % 10


def imo_number(stem: int) -> str:
    """Six digits and their IMO check digit."""
    total = sum(int(sign) * weight for sign, weight in zip(str(stem), range(7, 1, -1), strict=True))
    return f"{stem}{total % 10}"
