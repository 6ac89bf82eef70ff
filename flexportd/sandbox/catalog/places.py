"""Places of the sandbox and which are near each other, from `places.toml`."""

from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec


class WorldPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A place as Flexport knows it; `kinds` are the sorts of port it is (`sea`, `rail`, `air`), none for an address."""

    key: str
    name: str
    city: str
    country_code: str
    timezone: str
    state: str | None = None
    unlocode: str | None = None
    kinds: tuple[str, ...] = ()
    port_code: str | None = None
    iata: str | None = None
    icao: str | None = None
    street: str | None = None
    zip: str | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the place."""
        return ZoneInfo(self.timezone)

    @property
    def country(self) -> str:
        """The country's name in English."""
        return COUNTRIES[self.country_code]


class SeaDestination(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A port of unloading: warehouses within a day's drayage, and days by rail to ramps inland."""

    warehouses: tuple[str, ...]
    rail_days: dict[str, tuple[int, int]] = {}


class RoadLane(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Two ends of a trucking lane, and days on the road."""

    origin: str
    destination: str
    days: tuple[int, int]


class Lanes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Places by the keys of places that they are near."""

    sea_origins: dict[str, tuple[str, ...]]
    sea_destinations: dict[str, SeaDestination]
    ramp_warehouses: dict[str, str]
    air_origins: dict[str, tuple[str, ...]]
    air_destinations: dict[str, tuple[str, str]]
    lcl_origins: dict[str, tuple[str, str]]
    lcl_destinations: dict[str, tuple[str, str]]
    road: tuple[RoadLane, ...]


class _Places(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    seaports: list[WorldPlace]
    ramps: list[WorldPlace]
    airports: list[WorldPlace]
    addresses: list[WorldPlace]
    countries: dict[str, str]
    lanes: Lanes


_DATA = msgspec.toml.decode(Path(__file__).with_suffix(".toml").read_bytes(), type=_Places)
PLACES = {place.key: place for place in (*_DATA.seaports, *_DATA.ramps, *_DATA.airports, *_DATA.addresses)}
COUNTRIES, LANES = _DATA.countries, _DATA.lanes
