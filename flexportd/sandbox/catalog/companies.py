"""Who ships what in the sandbox: companies and products, from `companies.toml`."""

from decimal import Decimal
from pathlib import Path

import msgspec

from flexportd.sandbox.catalog.places import PLACES, WorldPlace


class Party(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A legal entity of the account's network."""

    id: int
    name: str
    place_key: str
    vat: tuple[str, str] | None = None

    @property
    def place(self) -> WorldPlace:
        """Its address."""
        return PLACES[self.place_key]

    @property
    def ref(self) -> str:
        """The external reference, for `f.consignee_external_ref`."""
        return f"id-{self.id}"


class CatalogProduct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A product of the account's library; weight in kg, volume in cbm and cost in US dollars are for one unit.

    `export_name` is what a Chinese customs declaration calls it; there are `per_carton` units in one carton.
    """

    id: int
    sku: str
    name: str
    hs_code: str
    category: str
    country_code: str
    weight: float
    volume: float
    per_carton: int
    cost: Decimal
    export_name: str | None = None


class _Companies(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    people: tuple[str, ...]
    consignees: tuple[Party, ...]
    products: tuple[CatalogProduct, ...]
    retired_products: tuple[CatalogProduct, ...]
    sellers: dict[str, dict[str, frozenset[str]]]


_DATA = msgspec.toml.decode(Path(__file__).with_suffix(".toml").read_bytes(), type=_Companies)
PEOPLE, CONSIGNEES, CATALOG, RETIRED_PRODUCTS = _DATA.people, _DATA.consignees, _DATA.products, _DATA.retired_products
_FIRST_SELLER, _SELLERS_PER_PLACE = 560_100, 10
# By place.
SELLERS = {
    key: [Party(_FIRST_SELLER + _SELLERS_PER_PLACE * group + at, name, key) for at, name in enumerate(names)]
    for group, (key, names) in enumerate(_DATA.sellers.items())
}
SKUS_OF_SELLER = {name: skus for names in _DATA.sellers.values() for name, skus in names.items()}
