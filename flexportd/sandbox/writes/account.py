"""What a write refers to: objects of the account by their references, and ids for the objects that it makes."""

from collections import Counter
from collections.abc import Iterable

from flexportd.sandbox.catalog.kinds import COMPANY, ENTITY, LOCATION, PORT, PRODUCT, Wire
from flexportd.sandbox.catalog.places import COUNTRIES
from flexportd.sandbox.catalog.wire_objects import wire_object
from flexportd.sandbox.ids import text_id
from flexportd.sandbox.world.world import World
from flexportd.sandbox.writes.body import RequestBody

# Far above every id that follows from a shipment: see `ids`.
_FIRST_ID = 500_000_001
_OWN = "self"
# The detail that makes a place a port for a mode, and the codes that name one.
_PORTS = {"ocean": "/ocean/port", "air": "/air/port"}
PORT_CODES = {
    "ocean": ("us_cbp_port_code", "loc_code"),
    "air": ("us_cbp_port_code", "loc_code", "iata_code", "icao_code"),
}


class AccountObjects:
    """The objects of a world, as the bodies of requests name them. Its finders raise InvalidError for unknown ones."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._made: Counter[str] = Counter()

    def int_id(self, kind: str) -> int:
        """An id for a new object whose ids are whole numbers."""
        self._made[kind] += 1
        return _FIRST_ID + self._made[kind] - 1

    def text_id(self, kind: str) -> str:
        """An id for a new object whose ids are texts."""
        self._made[kind] += 1
        return text_id(f"{self.world.plan.seed}/written{kind}", self._made[kind])

    def find(self, kind: str, body: RequestBody, name: str) -> Wire:
        """An object by its id, a whole number or a text."""
        key = str(body.integer(name)) if kind not in {COMPANY, LOCATION} else body.text(name)
        found = self.world.collections[kind].find(key)
        if found is None:
            raise body.error(name, f"is {key[:50]!r}: there is no such {kind}")
        return found

    def by_ref(self, kind: str, body: RequestBody, name: str) -> Wire:
        """A company, entity or location by its reference; `self` is the account's own company or first entity."""
        ref = body.text(name)
        if ref == _OWN and kind != LOCATION:
            return next(iter(self.world.collections[kind].rows()))
        found = next((row for row in self.world.collections[kind].rows() if row["ref"] == ref), None)
        if found is None:
            raise body.error(name, f"is {ref[:50]!r}: no {kind} has this ref")
        return found

    def new_ref(self, kind: str, body: RequestBody) -> str | None:
        """The chosen `ref` of a new object, which no other object of its kind may have."""
        ref = body.optional("ref", RequestBody.text)
        if ref is not None and any(row["ref"] == ref for row in self.world.collections[kind].rows()):
            raise body.error("ref", f"is {ref[:50]!r}, which has already been taken")
        return ref

    def address(self, body: RequestBody, name: str) -> Wire:
        """The address of a location by its reference."""
        found: Wire = self.by_ref(LOCATION, body, name)["address"]
        return found

    def port(self, mode: str, body: RequestBody, stem: str, codes: Iterable[str]) -> Wire | None:
        """The port that at most one of the fields `{stem}_{code}` names; it must be one for the mode."""
        name = body.only_one([f"{stem}_{code}" for code in codes], required=False)
        if name is None:
            return None
        code, kind = body.text(name), name.removeprefix(f"{stem}_")
        found = [row for row in self.world.collections[PORT].rows() if code in _codes(row, kind)]
        if not found:
            raise body.error(name, f"is {code[:50]!r}: there is no such port")
        suitable = [row for row in found if any(one["_object"] == _PORTS[mode] for one in row["details"])]
        if not suitable:
            raise body.error(name, f"is {code[:50]!r}, which is no port for a booking by {mode}")
        return suitable[0]

    def active_products(self) -> dict[str, Wire]:
        """The products that are not archived, by SKU."""
        return {row["sku"]: row for row in self.world.collections[PRODUCT].rows() if row["archived_at"] is None}

    def entity_or_location(self, body: RequestBody) -> Wire:
        """A supplier: the entity or location of an `id` or a `ref`."""
        name = body.only_one(("id", "ref"))
        key = body.text("ref") if name == "ref" else str(body.integer("id"))
        for kind in (ENTITY, LOCATION):
            for row in self.world.collections[kind].rows():
                if key == (row["ref"] if name == "ref" else str(row["id"])):
                    return row
        raise body.error(str(name), f"is {key[:50]!r}: there is no such supplier")


def new_address(body: RequestBody, ref: str | None) -> Wire:
    """An address of a body. Only `street_address` is required."""
    code = body.optional("country_code", RequestBody.text)
    fields = {
        name: body.optional(name, RequestBody.any_text)
        for name in ("street_address2", "city", "state", "zip", "unlocode")
    }
    return wire_object(
        "/address",
        street_address=body.text("street_address"),
        country_code=code,
        country=COUNTRIES.get(code) if code else None,
        ref=ref,
        **fields,
    )


def _codes(port: Wire, kind: str) -> set[str | None]:
    if kind == "loc_code":
        return {port["address"]["unlocode"]}
    field = "port_code" if kind == "us_cbp_port_code" else kind
    return {detail.get(field) for detail in port["details"]}
