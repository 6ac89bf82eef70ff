"""Bodies of products: https://apidocs.flexport.com/v2/tag/Product and /tutorials/products-api-tutorial."""

from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.problems import FieldProblem, ObjectReader, read_body, shown, unknown_reference
from flexportd.core.outbox.validation.shapes import check_country, check_hs_code
from flexportd.core.outbox.validation.vocabulary import REGIONS
from flexportd.storage.queries.table import Key


def check_new_product(body: object, account: Account) -> list[FieldProblem]:
    """The problems of the body of POST /products.

    The document of 2020 requires `product_category` and `country_of_origin`; the current page does not, nor do we.
    """
    product = read_body(body)
    product.require("name", "sku")
    _check_fields(product, account, None)
    return product.problems.finish()


def check_product_update(body: object, account: Account, product_id: Key | None = None) -> list[FieldProblem]:
    """The problems of the body of PATCH /products/{id}: all fields are optional."""
    product = read_body(body)
    _check_fields(product, account, product_id)
    product.require_change()
    return product.problems.finish()


def _check_fields(product: ObjectReader, account: Account, product_id: Key | None) -> None:
    product.line("name")
    sku = product.line("sku")
    # Flexport refuses a second active product with the same SKU.
    others = [key for key in account.product_ids(sku) if str(key) != str(product_id)] if sku else []
    if others:
        product.add("sku", f"is {shown(sku)}; product {others[0]} has it already, and it must be unique")
    for name in ("description", "product_category", "country_of_origin"):
        product.text(name, blank=True)
    product.boolean("client_verified")
    for one in product.children("product_properties"):
        one.require("type", "value")
        one.text("type")
        one.text("value")
    for one in product.children("classifications"):
        one.require("region", "codes")
        one.choice("region", REGIONS)
        for place, code in one.texts("codes", empty=False):
            if (wrong := check_hs_code(code)) is not None:
                one.problems.add(place, f"the HS code {wrong}")
    for one in product.children("suppliers"):
        one.require("country_of_origin")
        check_country(one, "country_of_origin")
        one.exactly_one("id", "ref")
        one.check_reference("ref", account.has_location, "location")
        supplier_id = one.text("id")
        if supplier_id is not None and account.has("locations", supplier_id) is False:
            one.add("id", unknown_reference(supplier_id, "location"))
