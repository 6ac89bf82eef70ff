"""Products of the library. SKUs of active products are unique: a second one is refused as a duplicate."""

from flexportd.sandbox.catalog.kinds import PRODUCT, Wire
from flexportd.sandbox.catalog.wire_objects import wire_object
from flexportd.sandbox.writes.account import AccountObjects
from flexportd.sandbox.writes.body import RequestBody

_TEXTS = ("description", "product_category", "country_of_origin")


def create_product(account: AccountObjects, body: RequestBody) -> Wire:
    """`name` and `sku` are required; the document of 2020 also requires category and country, the current page not."""
    empty: Wire = {"product_properties": [], "classifications": [], "suppliers": [], "hs_codes": []}
    fields = {"name": body.text("name"), "sku": _new_sku(account, body), "client_verified": False}
    made = wire_object(PRODUCT, id=account.int_id(PRODUCT), **{**empty, **fields, **_fields(account, body)})
    account.world.put(made)
    return made


def update_product(account: AccountObjects, body: RequestBody, key: str) -> Wire:
    """Change the fields that are given; lists replace the earlier ones. Raises NotFoundError."""
    product = account.world.find(PRODUCT, key)
    fields = _fields(account, body)
    if "name" in body:
        fields["name"] = body.text("name")
    if "sku" in body and body.text("sku") != product["sku"]:
        fields["sku"] = _new_sku(account, body)
    return account.world.override(PRODUCT, key, fields)


def _new_sku(account: AccountObjects, body: RequestBody) -> str:
    sku = body.text("sku")
    if sku in account.active_products():
        raise body.error("sku", f"is {sku[:50]!r}, which has already been taken")
    return sku


def _fields(account: AccountObjects, body: RequestBody) -> Wire:
    """The given fields but name and SKU."""
    found: Wire = {name: body.any_text(name) for name in _TEXTS if name in body}
    if "client_verified" in body:
        found["client_verified"] = body.flag("client_verified")
    if "product_properties" in body:
        found["product_properties"] = [
            wire_object("/product/property", type=one.text("type"), value=one.text("value"))
            for one in body.parts("product_properties")
        ]
    if "classifications" in body:
        found["classifications"] = [
            {"_object": "/product/classification", "codes": one.texts("codes"), "region": one.text("region")}
            for one in body.parts("classifications")
        ]
        found["hs_codes"] = [
            wire_object("/hs_code", code=code)
            for one in found["classifications"]
            for code in one["codes"]
            if one["region"] == "US"
        ]
    if "suppliers" in body:
        found["suppliers"] = [_supplier(account, one) for one in body.parts("suppliers")]
    return found


def _supplier(account: AccountObjects, body: RequestBody) -> Wire:
    party = account.entity_or_location(body)
    country = body.text("country_of_origin")
    return {"_object": "/product/supplier", "id": party["id"], "ref": party["ref"], "country_of_origin": country}
