"""Bodies of booking line items: https://apidocs.flexport.com/v2/tag/Booking-Line-Item."""

from flexportd.core.outbox.validation.account import Account
from flexportd.core.outbox.validation.problems import FieldProblem, read_body

_MAX_UNITS = 2**31 - 1


def check_new_line_item(body: object, account: Account) -> list[FieldProblem]:
    """The problems of the body of POST /booking_line_items: three numbers, all required."""
    line = read_body(body)
    line.require("purchase_order_line_item_id", "booking_id", "units")
    line.check_id(
        "purchase_order_line_item_id",
        lambda key: account.has("purchase_order_line_items", key),
        "line item of a purchase order",
    )
    line.check_id("booking_id", lambda key: account.has("bookings", key), "booking")
    line.integer("units", 1, _MAX_UNITS)
    return line.problems.finish()
