"""What the mirrored account knows: references, ids and codes that a request body may name."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import msgspec

from flexportd.core.resources.registry import REGISTRY
from flexportd.core.resources.values import text
from flexportd.storage.queries.table import Key
from flexportd.storage.repositories.resources import Record
from flexportd.storage.transaction import Transaction

SELF = "self"
"""The ref of the client's own legal entity, as a sample of Flexport's document has it."""

PORT_CODES: Mapping[str, str] = {"loc": "unlocode", "us_cbp_port": "cbp", "iata": "iata", "icao": "icao"}
"""The kinds of port codes in the names of Flexport's fields (`origin_port_<kind>_code`) -> our column."""

_BOOKING_REFS = {"locations": ("origin_ref", "destination_ref"), "company_entities": ("shipper_ref", "consignee_ref")}

_DEFAULT_REF = "id-"  # https://developers.flexport.com/tutorials/booking: refs are `id-123456` where none was chosen
_MAX_MATCHES = 10
_LAST_ZONE = timedelta(hours=-12)  # where a day ends last


class Account:
    """The mirrored account within one read transaction.

    Whether something exists has three answers: True, False, and None where that list was never read completely.
    """

    def __init__(self, tx: Transaction, now: datetime) -> None:
        """`now` is the present, aware."""
        self._tx = tx
        self._now = now

    @property
    def today(self) -> date:
        """The day that it is now in UTC."""
        return self._now.astimezone(UTC).date()

    @property
    def earliest_today(self) -> date:
        """The day that it is now where days end last: one before it is past everywhere."""
        return (self._now.astimezone(UTC) + _LAST_ZONE).date()

    def has_entity(self, ref: str) -> bool | None:
        """Whether a company entity has this ref, or is the client's own."""
        return True if ref == SELF else self._has_ref("company_entities", ref)

    def has_location(self, ref: str) -> bool | None:
        """Whether a location has this ref."""
        return self._has_ref("locations", ref)

    def has_company(self, ref: str) -> bool | None:
        """Whether a company has this ref."""
        return self._has_ref("companies", ref)

    def has_product(self, sku: str) -> bool | None:
        """Whether a product that is not archived has this SKU."""
        return True if self.product_ids(sku) else self._unless_unread("products")

    def has_port(self, kind: str, code: str) -> bool | None:
        """Whether a port has this code; the kinds are those of PORT_CODES."""
        return True if self._ports(kind, code) else self._unless_unread("ports")

    def has(self, resource: str, key: Key) -> bool | None:
        """Whether an object of a resource, by the resource's name, has this id."""
        return True if self.find(resource, key) is not None else self._unless_unread(resource)

    def find(self, resource: str, key: Key) -> Record | None:
        """An object of a resource by its id, which may be written as a number or as text; None for a removed one."""
        records = self._tx.resources.load(REGISTRY[resource].table, _spellings(key))
        return next((record for record in records.values() if record.removed_at is None), None)

    def product_ids(self, sku: str) -> list[Key]:
        """The ids of the products with this SKU that are not archived."""
        return [one.id for one in self._find_by("products", "sku", sku) if one.fields["archived_at"] is None]

    def location_country(self, ref: str) -> str | None:
        """The ISO 3166 code of the country of a location; None if it is unknown."""
        locations = self._by_ref("locations", ref)
        if locations:
            return _single(one.fields["country_code"] for one in locations)
        bookings = [one.id for one in self._find_by("bookings", "origin_ref", ref)]
        codes = self._tx.resources.raw_members(REGISTRY["bookings"].table, bookings, "origin_address.country_code")
        return _single(msgspec.json.decode(code) for code in codes.values())

    def port_country(self, kind: str, code: str) -> str | None:
        """The ISO 3166 code of the country of a port, which a UN/LOCODE begins with; None if it is unknown."""
        return (
            code[:2].upper()
            if kind == "loc"
            else _single(one.fields["country_code"] for one in self._ports(kind, code))
        )

    def _has_ref(self, resource: str, ref: str) -> bool | None:
        if self._by_ref(resource, ref):
            return True
        # Only bookings name the refs of a partner; no mirrored list has them.
        columns = _BOOKING_REFS.get(resource, ())
        return True if any(self._find_by("bookings", name, ref) for name in columns) else self._unless_unread(resource)

    def _by_ref(self, resource: str, ref: str) -> Sequence[Record]:
        """The objects with this ref, own or default."""
        records = self._find_by(resource, "ref", ref)
        if not records and ref.startswith(_DEFAULT_REF):
            record = self.find(resource, ref.removeprefix(_DEFAULT_REF))
            return [record] if record is not None and text(record.fields["ref"]) is None else []
        return records

    def _ports(self, kind: str, code: str) -> Sequence[Record]:
        return self._find_by("ports", PORT_CODES[kind], code)

    def _find_by(self, resource: str, column: str, value: str) -> list[Record]:
        """The objects, without removed ones, that have exactly this value, apart from blanks around it."""
        return self._tx.resources.with_value(REGISTRY[resource].table, column, value.strip(), _MAX_MATCHES)

    def _unless_unread(self, resource: str) -> bool | None:
        """False if the whole list was read, else None."""
        return False if resource in self._read_lists else None

    @cached_property
    def _read_lists(self) -> frozenset[str]:
        states = self._tx.sync.list_states().values()
        return frozenset(one.resource for one in states if one.complete_at and not one.unavailable_at)


def _spellings(key: Key) -> list[Key]:
    """An id as a number and as text."""
    written = str(key)
    is_number = written.isascii() and written.isdigit() and len(written) < 19 and str(int(written)) == written
    return [int(written), written] if is_number else [written]


def _single(countries: Iterable[object]) -> str | None:
    """The one country code of these; None for none and for several."""
    codes = {text(code) for code in countries if isinstance(code, str)}
    return codes.pop() if len(codes) == 1 else None
