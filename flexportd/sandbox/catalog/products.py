"""The account's products, as listed and as embedded in the items of shipments and containers."""

import functools

from flexportd.sandbox.catalog.companies import (
    CATALOG,
    RETIRED_PRODUCTS,
    SELLERS,
    SKUS_OF_SELLER,
    CatalogProduct,
    Party,
)
from flexportd.sandbox.catalog.places import COUNTRIES
from flexportd.sandbox.catalog.wire_objects import PRODUCT, Wire, volume, weight

_ARCHIVED_AT = "2025-11-19T16:20:08.599Z"
# Regions that classify goods under codes of their own; they share the first six digits.
_REGIONS = ("US", "EU")


def products() -> list[Wire]:
    """Every product, archived ones too, in order of id."""
    return [product(good) for good in sorted((*CATALOG, *RETIRED_PRODUCTS), key=lambda one: one.id)]


@functools.cache
def product(good: CatalogProduct) -> Wire:
    """One product. Codes are texts: they have dots and leading zeros."""
    codes = {region: good.hs_code if region == "US" else good.hs_code[:7] for region in _REGIONS}
    return {
        "_object": PRODUCT,
        "id": good.id,
        "name": good.name,
        "sku": good.sku,
        "description": f"{good.name} ({good.category.lower()})",
        "archived_at": _ARCHIVED_AT if good in RETIRED_PRODUCTS else None,
        "product_category": good.category,
        "country_of_origin": COUNTRIES[good.country_code],
        "client_verified": good not in RETIRED_PRODUCTS,
        "product_properties": [{"_object": "/product/property", "type": "category", "value": good.category.lower()}],
        "hs_codes": [hs_code(good)],
        "classifications": [
            {"_object": "/product/classification", "codes": [code], "region": region} for region, code in codes.items()
        ],
        "suppliers": [
            {"_object": "/product/supplier", "id": party.id, "ref": party.ref, "country_of_origin": good.country_code}
            for party in _suppliers(good)
        ],
    }


def hs_code(good: CatalogProduct) -> Wire:
    """The US code of a good."""
    return {"_object": "/hs_code", "description": good.category, "code": good.hs_code, "country_code": "US"}


def _suppliers(good: CatalogProduct) -> list[Party]:
    """The makers of a good: sellers of it in its own country."""
    near = [party for group in SELLERS.values() for party in group if party.place.country_code == good.country_code]
    # What is no longer bought is in nobody's list.
    return ([party for party in near if good.sku in SKUS_OF_SELLER[party.name]] or near)[:2]


def shipment_item(number: int, good: CatalogProduct, units: int, purchase_order: str) -> Wire:
    """A line of a shipment or a container."""
    return {
        "_object": "/shipment_item",
        "id": number,
        "total_units": units,
        "total_weight": weight(good.weight * units),
        "total_volume": volume(good.volume * units),
        "purchase_order_number": purchase_order,
        "product": product(good),
    }
