"""Products: the client's SKU library with customs classifications."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from flexportd.core.resources.resource_type import ResourceType
from flexportd.core.resources.values import decode_list, json_text, text, texts
from flexportd.flexport.models.products import Product
from flexportd.storage.queries.filters import contains, equals, has_entry, is_present, since
from flexportd.storage.queries.table import Field, Table, plain_fields

NO_REGION = "unknown"  # the region of codes without one

# The product's own country is a name ("China"), that of a supplier an ISO-2 code: either may be asked for.
TABLE = Table(
    name="products",
    fields=(
        *plain_fields("name", "sku", "description", "category", "country_of_origin"),
        Field("client_verified", "boolean"),
        Field("archived_at"),
        *plain_fields("properties", "classifications", "hs_codes", "suppliers", kind="list"),
    ),
    sorts={"updated_at": "as_of", "id": "id", "sku": "sku", "name": "name"},
    filters={
        "sku": equals("sku"),
        "hs_code": has_entry("products.hs_codes"),
        "country": has_entry("products.countries"),
        "archived": is_present("archived_at", "archived at Flexport"),
        "updated_since": since("as_of"),
        "q": contains("name", "sku", "description"),
    },
)


def computed_fields(product: Product) -> Mapping[str, Any]:
    """The lists of a product. `hs_codes` are those of all regions; countries stay as they were given."""
    classes = _classifications(product)
    return {
        "properties": json_text(
            [{"type": text(one.type), "value": text(one.value)} for one in product.product_properties or ()]
        ),
        "classifications": json_text([{"region": region, "codes": codes} for region, codes in classes.items()]),
        "hs_codes": texts(code for codes in classes.values() for code in codes),
        "suppliers": json_text(
            [
                {"id": one.id, "ref": text(one.ref), "country_of_origin": text(one.country_of_origin)}
                for one in product.suppliers or ()
            ]
        ),
    }


def _classifications(product: Product) -> dict[str | None, list[str]]:
    """Region -> HS codes, from `classifications`; only where that has none, from the deprecated `hs_codes`."""
    found: dict[str | None, list[str]] = {}
    given = [(one.region, code) for one in product.classifications or () for code in one.codes or () if text(code)]
    for region, code in given or [(one.country_code, one.code) for one in product.hs_codes or ()]:
        codes = found.setdefault(text(region), [])
        cleaned = text(code)
        if cleaned and cleaned not in codes:
            codes.append(cleaned)
    return {region: codes for region, codes in found.items() if codes}


def by_region(fields: Mapping[str, Any]) -> dict[str, list[str]]:
    """Region -> HS codes of a product as stored; NO_REGION for codes without one."""
    return {one["region"] or NO_REGION: one["codes"] for one in decode_list(fields.get("classifications"))}


def is_active(fields: Mapping[str, Any]) -> bool:
    """Whether the product is still in use: not archived."""
    return fields.get("archived_at") is None


def derived_values(fields: Mapping[str, Any], today: date) -> dict[str, Any]:  # noqa: ARG001 (one signature for all domains)
    """The derived values of a product: whether it is active, and its HS codes by region."""
    return {"active": is_active(fields), "classification": by_region(fields)}


RESOURCE_TYPE = ResourceType(
    name="products",
    object_name="/product",
    wire=Product,
    table=TABLE,
    computed_fields=computed_fields,
    sources={
        "product_category": ("category",),
        "product_properties": ("properties",),
        "classifications": ("classifications", "hs_codes"),
        "hs_codes": ("classifications", "hs_codes"),
    },
    ids="any",
    derived_values=derived_values,
)
