"""Liner services and flights: carriers, ports, frequency, transit times and vessels, from `schedules.toml`.

IMO numbers carry a valid check digit and come from the end of the nine-million series, so that they are unlikely to be
those of real ships.
"""

from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import NamedTuple

import msgspec

# A Monday; weeks of services are counted from here.
_EPOCH = date(2020, 1, 6)
_FIRST_IMO, _IMO_STEP = 999_013, 6


class Carrier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A carrier and its codes: SCAC at sea, IATA, ICAO and the air waybill's prefix in the air.

    At sea it has `owners` of containers, a pattern of `bill` numbers, and one of `vessel` names with the names.
    """

    name: str
    code: str
    icao: str = ""
    prefix: str = ""
    owners: tuple[str, ...] = ()
    bill: str = ""
    vessel: str = ""
    vessel_names: tuple[str, ...] = ()


class Vessel(NamedTuple):
    """A vessel with its IMO number."""

    name: str
    imo: str


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A weekly line with a round trip of `weeks`: `calls` are its ports in order and their days after the first one."""

    number: int
    carrier_code: str
    heading: str
    weeks: int
    calls: dict[str, int]

    @property
    def carrier(self) -> Carrier:
        """The carrier whose ships sail on it."""
        return CARRIERS[self.carrier_code]

    @property
    def last_port(self) -> str:
        """Where it ends."""
        return next(reversed(self.calls))

    def serves(self, origin: str, destination: str) -> bool:
        """Whether it calls at both, in that order."""
        days = self.calls
        return origin in days and destination in days and days[origin] < days[destination]

    def week(self, port: str, soonest: date) -> int:
        """The week of the first sailing that leaves a port on that day or later."""
        return -((self.departure(port, 0) - soonest).days // 7)

    def departure(self, port: str, week: int) -> date:
        """The day on which the sailing of a week calls at a port."""
        return _EPOCH + timedelta(days=week * 7 + self.number % 7 + self.calls[port])

    def vessel(self, week: int) -> Vessel:
        """The ship that sails in that week."""
        return _FLEETS[self.number][week % self.weeks]

    def voyage(self, week: int) -> str:
        """The number of a sailing: the ship's own voyages, and the direction."""
        return f"{week // self.weeks + 1:03d}{self.heading}"


class Flight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A daily flight: it leaves at `hour`:`minute` of the origin and takes `minutes`."""

    airline_code: str
    number: str
    origin: str
    destination: str
    hour: int
    minute: int
    minutes: int

    @property
    def airline(self) -> Carrier:
        """The airline that flies it."""
        return CARRIERS[self.airline_code]


class _Schedules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    carriers: list[Carrier]
    services: tuple[Service, ...]
    flights: tuple[Flight, ...]
    truckers: tuple[str, ...]
    abroad_truckers: dict[str, tuple[str, ...]]
    eurasian_rail: str
    lessors: tuple[str, ...]


def imo_number(stem: int) -> str:
    """Six digits and their IMO check digit."""
    total = sum(int(sign) * weight for sign, weight in zip(str(stem), range(7, 1, -1), strict=True))
    return f"{stem}{total % 10}"


def _fleets() -> list[list[Vessel]]:
    """The ships of each service, one for each week; no ship sails on two of them."""
    names = {code: iter(carrier.vessel_names) for code, carrier in CARRIERS.items()}
    stems = count(_FIRST_IMO, _IMO_STEP)
    return [
        [
            Vessel(line.carrier.vessel.replace("*", next(names[line.carrier_code])), imo_number(next(stems)))
            for _ in range(line.weeks)
        ]
        for line in SERVICES
    ]


_DATA = msgspec.toml.decode(Path(__file__).with_suffix(".toml").read_bytes(), type=_Schedules)
CARRIERS = {carrier.code: carrier for carrier in _DATA.carriers}
SERVICES, FLIGHTS, LESSORS = _DATA.services, _DATA.flights, _DATA.lessors
TRUCKERS, ABROAD_TRUCKERS, EURASIAN_RAIL = _DATA.truckers, _DATA.abroad_truckers, _DATA.eurasian_rail
_FLEETS = _fleets()
