"""`/product`: one entry of the client's SKU library. Source: https://apidocs.flexport.com/v2/tag/Product.

Its id is documented as an integer and was never recorded. That answers carry `suppliers` is known from a connector in
use (https://github.com/airbytehq/airbyte, source-flexport), not from the document.
"""

from flexportd.flexport.models.bookings import BookingHsCode
from flexportd.flexport.models.money import ExactModel
from flexportd.flexport.models.wire import AnyId, Flag, Moment, Text, WireModel, Word


class ProductProperty(WireModel):
    """A property such as colour: `type` and `value`."""

    type: Word = None
    value: Text = None


class Classification(WireModel):
    """The HS codes for one customs region: ISO-2 or `EU`. Codes are text, with leading zeros, dots and colons."""

    region: Text = None
    codes: list[Text] | None = None


class Supplier(WireModel):
    """Who supplies the product; the country is ISO-2 here, and a name on the product."""

    id: int | str | None = None
    ref: Text = None
    country_of_origin: Text = None


class Product(ExactModel):
    """A product. The SKU is unique among active ones and may repeat among archived ones; there is no time stamp."""

    id: AnyId
    name: Text = None
    sku: Text = None
    description: Text = None
    archived_at: Moment = None
    product_category: Text = None
    country_of_origin: Text = None
    client_verified: Flag | None = None
    product_properties: list[ProductProperty] | None = None
    hs_codes: list[BookingHsCode] | None = None  # deprecated: replaced by `classifications`
    classifications: list[Classification] | None = None
    suppliers: list[Supplier] | None = None
