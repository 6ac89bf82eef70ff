"""Values of any object in words: money, measures, times, references, lists."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.core.resources.registry import RESOURCE_TYPES
from flexportd.expose.dashboard.view import related, values
from flexportd.expose.dashboard.view.dates import ViewContext, find_zone
from flexportd.expose.dashboard.view.labels import Text

SIGHT = ViewContext(find_zone("Europe/Berlin"), datetime(2026, 3, 24, 3, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("1234.5", "USD", "1,234.50 USD"), ("125", "EUR", "125.00 EUR"), ("0.0625", "USD", "0.0625 USD"),
        ("-3", None, "-3.00"), ("12345678901234567890", "JPY", "12,345,678,901,234,567,890 JPY"), ("x", "USD", None),
        (None, "USD", None), ("1.5", "KWD", "1.500 KWD"), ("0.5", "JPY", "0.5 JPY"), ("1", ["EUR"], "1.00 ['EUR']"),
    ],
)  # fmt: skip
def test_money_keeps_its_digits_and_names_its_currency(amount, currency, shown):
    assert values.money(amount, currency) == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("units", 1204, "1,204"), ("product_id", 48101, "48101"), ("is_lcl", True, "Yes"), ("status", "in_review", "In review"),
        ("digitization_status", "complete", "Complete"), ("name", "complete", "complete"), ("mode", "ocean_air", "Ocean and air"),
        ("document_type", "packing_list", "Packing list"), ("due", "2026-03-21", "21 Mar"),
        ("at", "2026-03-21T10:00:00Z", "21 Mar 11:00 (UTC+1)"), ("weight", {"value": 8200, "unit": "kg"}, "8,200 kg"),
        ("price", {"amount": "5.9", "currency": "USD"}, "5.90 USD"), ("codes", ["a", None, "b"], "a, b"),
        ("x", {"a": {"b": {"c": {"d": {"e": 1}}}}}, "A: B: C: D: …"), ("x", None, ""), ("x", 1.5, "1.5"),
    ],
)  # fmt: skip
def test_a_value_is_written_as_people_write_it(name, value, shown):
    assert values.value_text(value, SIGHT, name) == shown


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=20,
    )
)
def test_no_json_breaks_a_page(value):
    assert isinstance(values.value_text(value, SIGHT, "x"), str)
    domain = next(one for one in RESOURCE_TYPES if one.name == "commercial_invoices")
    fields = dict.fromkeys(domain.table.names) | {"lines": json.dumps([value]), "metadata": json.dumps(value)}
    fields |= {"total_value_amount": str(value), "total_weight": json.dumps(value)}
    values.nested_tables(fields, domain.table.fields, SIGHT)
    values.pairs(value, SIGHT)
    for fact in values.facts(fields, domain.table.fields, {}, SIGHT):
        assert all(len(one.shown) <= 3000 for one in fact.values)  # what could hide text is spelt out


def test_amounts_places_and_measures_are_one_column_or_fact():
    domain = next(one for one in RESOURCE_TYPES if one.name == "commercial_invoices")
    lines = [{"line": 2, "price_amount": "5.5", "price_currency": "USD", "net_weight": "3", "net_weight_unit": "kg"}]
    fields = dict.fromkeys(domain.table.names) | {
        "total_value_amount": "7", "total_value_currency": "EUR", "lines": json.dumps(lines), "product_ids": "[1]",
    }  # fmt: skip
    links = {"product_ids": (Text("Lamp", url="/products/1"),)}
    found = values.facts(fields, domain.table.fields, links, SIGHT)
    assert [(one.name, one.values[0].shown) for one in found] == [("Total value", "7.00 EUR"), ("Product", "Lamp")]
    (sheet,) = values.nested_tables(fields, domain.table.fields, SIGHT)
    assert sheet.columns == ("Line", "Price", "Net weight")
    assert [cell.shown for cell in sheet.rows[0]] == ["2", "5.50 USD", "3 kg"]


def test_a_time_of_a_leg_is_shown_in_the_zone_of_its_end():
    domain = next(one for one in RESOURCE_TYPES if one.name == "legs")
    fields = dict.fromkeys(domain.table.names) | {
        "actual_departure": "2026-03-05T12:30:00+00:00", "origin_timezone": "Asia/Tokyo",
        "actual_arrival": "2026-03-05T12:30:00+00:00", "destination_timezone": "no/zone", "origin": "Tokyo", "origin_code": "JPTYO",
    }  # fmt: skip
    found = {one.name: one.values[0].shown for one in values.facts(fields, domain.table.fields, {}, SIGHT)}
    assert found["Actual departure"] == "5 Mar 21:30 (UTC+9)"
    assert found["Actual arrival"] == "5 Mar 12:30 UTC"  # as it is written: the zone is not known
    assert found["Origin"] == "Tokyo JPTYO"
    assert "Origin code" not in found


def test_a_flag_is_shown_for_a_wrong_number_only_and_no_time_zone():
    domain = next(one for one in RESOURCE_TYPES if one.name == "containers")
    shown = []
    for valid in (0, 1):
        fields = dict.fromkeys(domain.table.names) | {
            "container_number": "CSQU3054384", "container_number_valid": valid, "terminal": "Oakland, CA",
            "terminal_timezone": "America/Los_Angeles",
        }  # fmt: skip
        shown.append([one.name for one in values.facts(fields, domain.table.fields, {}, SIGHT)])
    assert shown == [
        ["Container number", "Container number valid (ISO 6346)", "Terminal"], ["Container number", "Terminal"],
    ]  # fmt: skip


@pytest.mark.parametrize("domain", RESOURCE_TYPES, ids=lambda one: one.name)
def test_everything_has_a_name_and_an_address_also_with_an_id_as_bad_as_can_be(domain):
    key = 7 if domain.ids == "integer" else "a/b?c#d <x>"
    found = related.name(domain, dict.fromkeys(domain.table.names), key)
    assert found.shown
    assert found.url == f"/{domain.route}/{'7' if domain.ids == 'integer' else 'a%2Fb%3Fc%23d%20%3Cx%3E'}"
    assert related.path(domain, "x" * 201) is None


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("sku", "rm_00472", "rm_00472"), ("name", "po_4471", "po_4471"), ("status", "payment_pending", "Payment pending"),
        ("invoice_type", "freight", "Freight"), ("container_size", "fourty_ft_hc", "40 ft HC"), ("status", "departure_port", "At departure port"),
    ],
)  # fmt: skip
def test_only_fields_with_enumerated_values_are_made_readable(field, value, shown):
    assert values.value_text(value, SIGHT, field) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("1234.5", "1,234.50"),
        ("0.001", "0.001"),
        ("-3", "-3.00"),
        ("9" * 30, ",".join(["999"] * 10) + ".00"),
        ("x", None),
    ],
)
def test_amounts_of_any_length_keep_their_digits(number, shown):
    assert values.money(number, None) == shown
