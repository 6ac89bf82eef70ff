"""Products, freight invoices, commercial invoices, customs entries: read, kept, asked for, understood."""

import json
from datetime import date
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.clock import Clock
from flexportd.core.events.applier import EventApplier
from flexportd.core.resources import commercial_invoices, customs, invoices, products
from flexportd.core.resources.money import amount, as_json, decimal_text, format_number, sums
from flexportd.core.resources.registry import RESOURCE_TYPES, Registry
from flexportd.errors import MalformedError
from flexportd.flexport.models.money import _MINOR_UNITS, MINOR_UNITS
from flexportd.ingest.event_store import EVENT, IncomingEvent, store_webhook
from flexportd.storage.connection import open_writer
from flexportd.storage.migrate import migrate
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.events import ReceivedEvent
from flexportd.storage.repositories.resources import Record, Resources
from flexportd.storage.schema_docs import render
from flexportd.storage.transaction import Transaction
from tests.events import event, shipment
from tests.wire_goods import (
    classification,
    commercial_invoice,
    company_entity,
    credit_memo,
    customs_entry,
    invoice,
    invoice_item,
    line,
    link,
    money,
    product,
)

GOODS = (products.RESOURCE_TYPE, invoices.RESOURCE_TYPE, commercial_invoices.RESOURCE_TYPE, customs.RESOURCE_TYPE)
PAYLOADS = {
    "products": product,
    "invoices": invoice,
    "commercial_invoices": commercial_invoice,
    "customs_entries": customs_entry,
}
FACTS = {
    "products": products.derived_values,
    "invoices": invoices.derived_values,
    "commercial_invoices": commercial_invoices.derived_values,
    "customs_entries": customs.derived_values,
}
EACH = pytest.mark.parametrize("domain", GOODS, ids=lambda domain: domain.name)
TODAY = date(2026, 3, 20)


def read(domain, value):
    """The fields of a payload; `value` may be JSON text, for numbers written in a way of their own."""
    model, problems = domain.wire.load(value.encode() if isinstance(value, str) else json.dumps(value).encode())
    assert problems == []
    return dict(domain.normalise(model))


def of_product(**fields):
    return read(products.RESOURCE_TYPE, product(**fields))


def of_invoice(**fields):
    return read(invoices.RESOURCE_TYPE, invoice(**fields))


def of_commercial_invoice(**fields):
    return read(commercial_invoices.RESOURCE_TYPE, commercial_invoice(**fields))


@pytest.fixture
def raw(tmp_path):
    migrate(tmp_path / "x.db")
    connection = open_writer(tmp_path / "x.db")
    yield connection
    connection.close()


@pytest.fixture
def save(raw):
    """Keep payloads of one domain."""

    def save(domain, *values, removed_at=None):
        records = [
            Record(
                domain.wire.load(json.dumps(value).encode())[0].key, read(domain, value), json.dumps(value),
                f"2026-03-04T02:41:{place:02}.000Z", place, "sync", "2026-03-04T02:42:00.000Z",
                "2026-03-04T02:42:00.000Z", removed_at, None, 7,
            )
            for place, value in enumerate(values)
        ]  # fmt: skip
        Resources(raw).save(domain.table, [(record, None) for record in records])
        return records

    return save


@pytest.fixture
def ask(raw):
    """The ids that a list gives for one question."""

    def ask(domain, name, value):
        asked = domain.table.listing.filters[name]
        given = json.dumps(value) if asked.value_type == "words" else value
        sort = next(iter(domain.table.sorts))
        page = PageRequest(50, sort, filters={name: [given] * asked.condition.count("?")})
        return [row["id"] for row in Resources(raw).page(domain.table, page)]

    return ask


# --- all four ---


@EACH
def test_a_payload_is_read_without_loss_and_fills_every_field(domain):
    value = PAYLOADS[domain.name]()
    model, problems = domain.wire.load(json.dumps(value).encode())
    assert problems == []
    assert model.raw().keys() == value.keys()
    assert set(domain.normalise(model)) == set(domain.table.names)
    unknown = {**value, "brand_new": {"deep": [1, 2.5, "x", None]}}
    assert domain.wire.load(json.dumps(unknown).encode())[0].raw()["brand_new"] == unknown["brand_new"]


@EACH
def test_what_is_stored_comes_back(raw, save, domain):
    (record,) = save(domain, PAYLOADS[domain.name]())
    assert Resources(raw).load(domain.table, [record.id]) == {record.id: record}
    columns = {row[1] for row in raw.execute(f"PRAGMA table_info({domain.name})")}
    assert columns == set(domain.table.columns)


@EACH
def test_an_object_that_says_nothing_is_kept_all_the_same(save, domain):
    save(domain, {"_object": domain.object_name, "id": "x"})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["1e9999", "NaN", "-0", "2026-02-30", "2026-W01-1", "FLEX-1-1", "http://[", "/shipments/1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "amount", "value", "link", "data", "codes", "region", "sku", "container_number"])
            | st.text(max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@EACH
@given(data=st.data())
def test_no_field_of_whatever_kind_refuses_the_object(domain, data):
    """Every field is made anything, alone or inside the entries of its list."""
    value = PAYLOADS[domain.name]()
    name = data.draw(st.sampled_from(sorted(value.keys() - {"id"})))
    odd = data.draw(JSON)
    inner = value[name]
    if isinstance(inner, list) and inner and isinstance(inner[0], dict) and data.draw(st.booleans()):
        value[name] = [{**inner[0], data.draw(st.sampled_from(sorted(inner[0]))): odd}, *inner[1:]]
    elif isinstance(inner, dict) and data.draw(st.booleans()):
        value[name] = {**inner, data.draw(st.sampled_from(sorted(inner) or ["x"])): odd}
    else:
        value[name] = odd
    model, _ = domain.wire.load(json.dumps(value).encode())
    fields = domain.normalise(model)
    assert set(fields) == set(domain.table.names)
    assert all(isinstance(found, str | int | None) for found in fields.values())
    for name in domain.table.json_names:
        assert fields[name] is None or msgspec.json.decode(fields[name])
    domain.timestamp(model)
    FACTS[domain.name](fields, TODAY)


@EACH
@given(text=st.binary(max_size=30) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_malformed_and_says_so(domain, text):
    try:
        model, _ = domain.wire.load(text)
    except MalformedError:
        return
    assert model.key == json.loads(text)["id"] or str(model.key) == str(json.loads(text)["id"])


@EACH
@pytest.mark.parametrize(
    "text", [b"", b"[]", b"null", b"{}", b'{"id": null}', b'{"id": []}', b'{"id": ""}', b"{", b'{"id":']
)
def test_what_has_no_id_is_refused(domain, text):
    with pytest.raises(MalformedError):
        domain.wire.load(text)


def test_only_what_is_nested_too_deep_to_read_is_malformed():
    with pytest.raises(MalformedError):
        products.RESOURCE_TYPE.wire.load(b'{"id": 1, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@EACH
def test_every_question_can_be_asked_and_the_default_order_is_indexed(raw, domain):
    table = domain.table
    for name, filter_ in table.listing.filters.items():
        page = PageRequest(10, next(iter(table.sorts)), filters={name: ["[]"] * filter_.condition.count("?")})
        assert Resources(raw).page(table, page) == []
    for name in table.sorts:
        assert Resources(raw).page(table, PageRequest(10, name)) == []
    assert next(iter(table.sorts.values())) == "as_of"
    plan = raw.execute(f"EXPLAIN QUERY PLAN SELECT id FROM {table.name} ORDER BY as_of DESC, id DESC LIMIT 10")
    assert [f"{table.name}_as_of" in row[3] for row in plan] == [True]


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        (products.RESOURCE_TYPE, "sku"),
        (invoices.RESOURCE_TYPE, "shipment"),
        (invoices.RESOURCE_TYPE, "status"),
        (invoices.RESOURCE_TYPE, "name"),
        (commercial_invoices.RESOURCE_TYPE, "shipment"),
        (commercial_invoices.RESOURCE_TYPE, "invoice_number"),
        (customs.RESOURCE_TYPE, "shipment"),
        (customs.RESOURCE_TYPE, "state"),
        (customs.RESOURCE_TYPE, "entry_number"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_what_is_asked_for_by_value_is_found_by_an_index(raw, domain, name):
    where = domain.table.filters[name].condition
    plan = raw.execute(f"EXPLAIN QUERY PLAN SELECT id FROM {domain.name} WHERE {where}", ("[]",)).fetchall()
    assert plan[0][3].startswith(f"SEARCH {domain.name} USING"), plan


# --- money ---


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("512.14", "512.14"), ("125.00", "125"), ("125", "125"), (100, "100"), ("100", "100"), ("-0.00", "0"),
        (" 12.5 ", "12.5"), ("+7", "7"), (".5", "0.5"), ("5.", "5"), ("1e2", "100"), ("5E-1", "0.5"), ("-3.10", "-3.1"),
        ("", None), (None, None), ("NaN", None), ("Infinity", None), ("1,234.50", None), ("1_000", None),
        ("١٢", None), ("1e99", None), ("1" * 61, None), ("USD 5", None), (True, None),
    ],
)  # fmt: skip
def test_amounts_have_one_spelling(given, stored):
    assert decimal_text(given) == stored


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**30), max_value=10**30))
def test_an_amount_keeps_its_value_to_the_digit(number):
    stored = decimal_text(str(number))
    assert amount(stored) == number
    assert decimal_text(stored) == stored
    assert format_number(number) == stored


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20))
def test_a_bare_number_comes_as_it_was_written(number):
    written = format(number, "f")
    text = json.dumps(invoice(total=money("@"))).replace('"@"', written)
    assert amount(read(invoices.RESOURCE_TYPE, text)["total_amount"]) == number


def test_a_bare_number_and_a_text_are_the_same_amount():
    as_number = of_invoice(balance=money(512.14), items=[invoice_item(amount=0.1)])
    as_text = of_invoice(balance=money("512.140"), items=[invoice_item(amount="0.1")])
    assert as_number == as_text
    assert as_number["balance_amount"] == "512.14"


def test_a_field_that_is_set_aside_does_not_blur_the_others():
    text = json.dumps(invoice(total=money("@"), items=7)).replace('"@"', "12345678901234567.891")
    model, problems = invoices.RESOURCE_TYPE.wire.load(text.encode())
    assert [problem.split(":")[0] for problem in problems] == ["items"]
    assert invoices.RESOURCE_TYPE.normalise(model)["total_amount"] == "12345678901234567.891"


@pytest.mark.parametrize(
    ("unit", "one", "other", "total"),
    [
        ("JPY", "100.4", "100.4", "201"),
        ("JPY", "0.5", "0", "1"),
        ("JPY", "-0.5", "0", "-1"),
        ("KWD", "1.0004", "1.0004", "2.001"),
        ("CLF", "1.00005", "0", "1.0001"),
        ("EUR", "0.333", "0.333", "0.67"),
        ("EUR", "-0.001", "0", "0"),
        ("QQQ", "0.333", "0.333", "0.67"),
        (None, "0.333", "0.333", "0.67"),
        ("EUR", f"{10**57}.5", "0.004", f"{10**57}.5"),
    ],
)
def test_sums_are_rounded_once_to_the_currency(unit, one, other, total):
    assert as_json(sums([{"amount": one, "currency": unit}, {"amount": other, "currency": unit}])) == [
        {"amount": total, "currency": unit}
    ]


def test_a_currency_that_does_not_exist_is_kept_and_noted():
    text = json.dumps(invoice(total=money("1.005", "qqq"), items=[invoice_item(amount=None)]))
    model, problems = invoices.RESOURCE_TYPE.wire.load(text.encode())
    assert problems == ["total: currency_code: is no known currency"]
    fields = invoices.RESOURCE_TYPE.normalise(model)
    assert (fields["total_amount"], fields["total_currency"]) == ("1.005", "QQQ")
    assert invoices.RESOURCE_TYPE.retained_fields({"total_amount": "1", "total_currency": "EUR"}, problems) == {}


def test_a_doubt_does_not_hide_a_fault():
    items = [invoice_item(amount="1"), {**invoice_item(), "amount": money("x", "QQQ")}]
    items[0]["amount"]["currency_code"] = "QQQ"
    _, problems = invoices.RESOURCE_TYPE.wire.load(json.dumps(invoice(items=items)).encode())
    assert problems == ["items: amount: amount: is no number"]
    assert set(invoices.RESOURCE_TYPE.retained_fields({"items": "[]"}, problems)) == {"items"}


def test_every_currency_has_one_number_of_digits():
    codes = [code for group in _MINOR_UNITS.values() for code in group.split()]
    assert len(codes) == len(set(codes)) == len(MINOR_UNITS)
    assert {len(code) for code in codes} == {3}


@pytest.mark.parametrize(
    ("weight", "expected"), [("0", None), (0, None), ("-3", None), ("", None), ("x", None), ("1.50", "1.5")]
)
def test_a_weight_of_a_line_that_is_none_is_unknown(weight, expected):
    measure = {"_object": "/quantity/weight", "value": weight, "unit": "kg"}
    given = commercial_invoice(line_items=[line(weight=measure)], total_weight=measure)
    model, _ = commercial_invoices.RESOURCE_TYPE.wire.load(json.dumps(given).encode())
    fields = commercial_invoices.RESOURCE_TYPE.normalise(model)
    (found,) = json.loads(fields["lines"])
    assert (found["weight"], found["weight_unit"]) == (expected, "kg" if expected else None)
    assert (fields["total_weight"] is None) == (expected is None)


@given(st.lists(st.tuples(st.sampled_from(["EUR", "USD", None]), st.integers(-(10**40), 10**40)), max_size=12))
def test_sums_are_exact_and_never_cross_currencies(entries):
    rows = [{"amount": decimal_text(f"{cents}e-2"), "currency": unit} for unit, cents in entries]
    found = sums(rows)
    for unit, number in found.items():
        assert Fraction(number) * 100 == sum(cents for one, cents in entries if one == unit)
    assert found.keys() == {unit for unit, _ in entries}
    assert [row["currency"] for row in as_json(found)] == sorted(found, key=lambda unit: unit or "ZZZ")


# --- freight invoices ---


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 910_233),
        ({"name": "FLEX-910233-12 "}, 910_233),
        ({"name": "flex-910233-1", "type": "shipment"}, 910_233),
        ({"name": "FLEX-910233"}, None),
        ({"name": "Storage March"}, None),
        ({"name": None}, None),
        ({"type": "Client"}, None),
        ({"type": None}, None),
        ({"name": "X", "shipments": link("/shipment", 5)}, 5),
        ({"name": "X", "shipments": {**shipment(6)}}, 6),
        ({"name": "X", "shipments": [shipment(6), {"id": "6"}]}, 6),
        ({"name": "X", "shipments": {"data": [link("/shipment", 8)], "total_count": 1}}, 8),
        ({"name": "X", "shipments": {"link": "https://x.example/shipments?page=1&f.shipment.id=9"}}, 9),
        ({"name": "X", "shipments": {"link": "https://x.example/shipments?f.id=10&per=1"}}, 10),
        ({"name": "X", "shipments": {"link": "https://x.example/shipments/11"}}, 11),
        ({"name": "X", "shipments": {"link": "https://x.example/shipments?f.invoice_id=12"}}, None),
        ({"name": "FLEX-5-1", "shipments": [link("/shipment", 4), link("/shipment", 5)]}, 5),
        ({"name": "FLEX-6-1", "shipments": [link("/shipment", 4), link("/shipment", 5)]}, None),
        ({"name": "FLEX-6-1", "shipments": link("/shipment", 4)}, 4),
        ({"name": "X", "shipments": [[1], "2", None, {"id": True}, {"id": -1}, {"id": 2**63}]}, None),
    ],
)
def test_an_invoice_finds_its_shipment(fields, expected):
    assert of_invoice(**fields)["shipment_id"] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [910_233]),
        ({"name": "X", "shipments": link("/shipment", 5)}, [5]),
        ({"name": "FLEX-5-1", "shipments": [link("/shipment", 4), link("/shipment", 5), {"id": "4"}]}, [4, 5]),
        ({"name": "FLEX-6-1", "shipments": {"data": [shipment(4), shipment(5)]}}, [4, 5]),
        ({"name": "X"}, None),
        ({"name": "X", "type": "Client", "shipments": []}, None),
    ],
)
def test_an_invoice_names_all_its_shipments(fields, expected):
    found = of_invoice(**fields)["shipment_ids"]
    assert (None if found is None else json.loads(found)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("not_due", 11)),
        ({"due_date": "2026-03-28"}, ("not_due", 8)),
        ({"due_date": "2026-03-27"}, ("due_soon", 7)),
        ({"due_date": "2026-03-20"}, ("due_soon", 0)),
        ({"due_date": "2026-03-19"}, ("overdue", 1)),
        ({"due_date": "2026-03-19", "balance": {"amount": "-20.00", "currency_code": "USD"}}, ("paid", None)),
        ({"due_date": "2026-03-19", "status": "never_heard_of"}, ("overdue", 1)),
        ({"due_date": "2026-03-25", "status": "past_due"}, ("overdue", 0)),
        ({"due_date": None, "status": "past_due"}, ("overdue", None)),
        ({"due_date": None}, ("unknown", None)),
        ({"status": "payment_pending", "due_date": "2026-01-01"}, ("payment_pending", None)),
        ({"status": "payment_pending", "balance": money("0")}, ("payment_pending", None)),
        ({"status": "paid", "due_date": "2026-01-01"}, ("paid", None)),
        ({"balance": money("0.00")}, ("paid", None)),
        ({"status": "void"}, ("void", None)),
        ({"status": "paid", "voided_at": "2026-03-02T00:00:00Z"}, ("void", None)),
    ],
)
def test_the_due_state_of_an_invoice_on_a_day(fields, expected):
    assert invoices.due_status(of_invoice(**fields), TODAY) == expected


def test_a_void_or_paid_invoice_has_nothing_outstanding_whatever_its_balance():
    assert of_invoice()["outstanding_amount"] == "512.14"
    assert of_invoice(status="void")["outstanding_amount"] == "0"
    assert of_invoice(voided_at="2026-03-02T00:00:00Z")["outstanding_amount"] == "0"
    assert of_invoice(status="paid")["outstanding_amount"] == "0"
    assert of_invoice(balance=None)["outstanding_amount"] is None
    assert of_invoice(status="void")["balance_amount"] == "512.14"


def test_what_is_outstanding_is_told_by_currency():
    rows = [of_invoice(), of_invoice(balance=money("0.01", "usd")), of_invoice(balance=money(3, "EUR"))]
    assert as_json(sums([*rows, of_invoice(balance=None)], "outstanding")) == [
        {"amount": "3", "currency": "EUR"},
        {"amount": "512.15", "currency": "USD"},
    ]


def test_facts_of_an_invoice():
    memos = [credit_memo(), credit_memo("0.50"), {"amount": money("7", "EUR")}, {"amount": None}]
    assert invoices.derived_values(of_invoice(credit_memos=memos, due_date="2026-03-01"), TODAY) == {
        "due_state": "overdue",
        "days_until_due": None,
        "days_overdue": 19,
        "credited": [{"amount": "7", "currency": "EUR"}, {"amount": "100.5", "currency": "USD"}],
        "charged": [{"amount": "612.14", "currency": "USD"}],
        "expected_amount": None,
        "expected_currency": None,
        "difference": None,
    }


@pytest.mark.parametrize(
    ("cost", "fields", "expected"),
    [
        ('"512.14"', {}, ("512.14", "USD", "100")),  # as text and as a number: both are in the documentation
        ("512.14", {}, ("512.14", "USD", "100")),
        ("700", {}, ("700", "USD", "-87.86")),
        ("612.140", {}, ("612.14", "USD", "0")),
        ("123456789012345678.01", {"total": money("123456789012345678.02")},
         ("123456789012345678.01", "USD", "0.01")),
        ('{"amount": "512.14", "currency_code": "usd"}', {}, ("512.14", "USD", "100")),
        ('{"amount": 512.14, "currency_code": "EUR"}', {}, ("512.14", "EUR", None)),  # never across currencies
        ('{"amount": 512.14}', {}, ("512.14", None, None)),
        ("512.14", {"quote_currency_code": "EUR"}, ("512.14", "EUR", None)),
        ("512.14", {"quote_currency_code": None}, ("512.14", None, None)),  # nothing says in which currency
        ("512.14", {"total": None}, ("512.14", "USD", None)),
        ("null", {}, (None, None, None)),
        ("0", {}, (None, None, None)),
        ("-1", {}, (None, None, None)),
        ("true", {}, (None, None, None)),
        ('"1,200.00"', {}, (None, None, None)),
        ('"NaN"', {}, (None, None, None)),
        ("[1]", {}, (None, None, None)),
        ('{"amount": {"x": 1}, "currency_code": 7}', {}, (None, None, None)),
        ("512.14", {"status": "void"}, (None, None, None)),
        ("512.14", {"voided_at": "2026-03-02T00:00:00.000Z"}, (None, None, None)),
        ("512.14", {"invoice_type": "Credit Note"}, (None, None, None)),
        ("512.14", {"total": money("-10")}, (None, None, None)),
    ],
)  # fmt: skip
def test_an_invoice_is_compared_with_the_freight_cost_in_the_same_currency(cost, fields, expected):
    assert invoices.expected_cost({**of_invoice(**fields), "freight_cost": cost}) == expected


def test_items_and_credit_memos_have_one_shape_whichever_spelling_came():
    memos = [
        credit_memo(category="freight", categories=["freight", "origin"], reasons=["a", None]),
        credit_memo(category=None, reason=None, categories="customs"),
    ]
    fields = of_invoice(credit_memos=memos)
    found = json.loads(fields["credit_memos"])
    assert [one["categories"] for one in found] == [["freight", "origin"], ["customs"]]
    assert [one["reasons"] for one in found] == [["Late delivery", "a"], []]
    item = json.loads(fields["items"])[0]
    assert (item["rate"], item["rate_qualifier"]) == ("250", "USD")
    assert (item["quantity"], item["quantity_qualifier"]) == ("2", "container")


def test_an_invoice_has_no_stamp_of_its_own_until_it_was_adjusted():
    def stamp(**fields):
        return invoices.RESOURCE_TYPE.timestamp(
            invoices.RESOURCE_TYPE.wire.load(json.dumps(invoice(**fields)).encode())[0]
        )

    assert invoices.RESOURCE_TYPE.has_timestamp
    assert stamp() is None
    assert stamp(last_updated_at="2026-03-02T09:00:00Z") == "2026-03-02T09:00:00Z"
    assert not products.RESOURCE_TYPE.has_timestamp
    assert not customs.RESOURCE_TYPE.has_timestamp


def test_lists_of_invoices(save, ask):
    domain = invoices.RESOURCE_TYPE
    save(
        domain,
        invoice("a", status="paid", due_date="2026-02-01"),
        invoice("b", type="Client", name="Storage", total=money("1", "EUR"), issued_at="2026-02-01T00:00:00Z"),
        invoice("c", status="never_heard_of", recipient=company_entity(1, "Other Imports"), balance=None),
        invoice("d", name="Both", shipments=[link("/shipment", 4), link("/shipment", 5)], status="void",
                due_date=None, issued_at=None),
    )  # fmt: skip
    assert ask(domain, "shipment", 4) == ask(domain, "shipment", 5) == ["d"]
    assert ask(domain, "status", ["paid", "never_heard_of"]) == ["c", "a"]
    assert ask(domain, "type", ["Client"]) == ["b"]
    assert ask(domain, "currency", "eur") == ["b"]
    assert ask(domain, "shipment", 910_233) == ["c", "a"]
    assert ask(domain, "open", True) == ["b"]
    assert ask(domain, "not_open", True) == ["d", "c", "a"]
    assert ask(domain, "due_before", "2026-02-02") == ["a"]
    assert ask(domain, "due_after", "2026-02-02") == ["c", "b"]
    assert ask(domain, "issued_before", "2026-02-15T00:00:00.000Z") == ["b"]
    assert ask(domain, "issued_after", "2026-02-15T00:00:00.000Z") == ["c", "a"]
    assert ask(domain, "updated_since", "2026-03-04T02:41:02.000Z") == ["d", "c"]
    assert ask(domain, "name", "flex-910233-1") == ["c", "a"]
    assert ask(domain, "q", "other") == ["c"]


# --- products ---


def test_codes_keep_their_spelling_by_region():
    fields = of_product(
        classifications=[classification("US", "0301:00", "0301:00", " 0101.21 "), classification("US", 9101)]
    )
    assert products.by_region(fields) == {"US": ["0301:00", "0101.21", "9101"]}
    assert json.loads(fields["hs_codes"]) == ["0301:00", "0101.21", "9101"]


def test_a_code_that_came_as_a_number_keeps_its_last_nought():
    text = json.dumps(product(classifications=[classification("US", "@")])).replace('"@"', "8504.40")
    assert products.by_region(read(products.RESOURCE_TYPE, text)) == {"US": ["8504.40"]}


@pytest.mark.parametrize("empty", [None, [], [classification("US")], [classification("US", None, " ")]])
def test_the_deprecated_codes_count_where_there_is_no_classification(empty):
    old = [{"code": "8504.40", "country_code": "US"}, {"code": "0301", "country_code": None}, {"code": None}]
    fields = of_product(classifications=empty, hs_codes=old)
    assert products.by_region(fields) == {"US": ["8504.40"], products.NO_REGION: ["0301"]}
    assert products.by_region(of_product(hs_codes=old)).keys() == {"US", "EU"}
    assert of_product(classifications=empty, hs_codes=None)["classifications"] is None


def test_an_archived_product_is_not_active():
    active, old = of_product(archived_at=None), of_product(archived_at="2026-02-01T00:00:00Z")
    assert products.derived_values(old, TODAY) == {
        "active": False,
        "classification": {"US": ["8504.40.95", "0301:00"], "EU": ["85044055"]},
    }
    assert products.derived_values(active, TODAY)["active"]


def test_lists_of_products(save, ask):
    domain = products.RESOURCE_TYPE
    save(
        domain,
        product(1),
        product(2, sku="rm-00472", archived_at="2026-01-01T00:00:00Z", country_of_origin="Viet Nam", suppliers=None),
        product(3, sku="X", name="100%_cotton", classifications=[classification("EU", "0301")], suppliers=[]),
    )
    assert ask(domain, "sku", "RM-00472") == [2, 1]
    assert ask(domain, "hs_code", "0301") == [3]
    assert ask(domain, "hs_code", "0301:00") == [2, 1]
    assert ask(domain, "country", "china") == [3, 1]
    assert ask(domain, "country", "vn") == [1]
    assert ask(domain, "archived", True) == [2]
    assert ask(domain, "not_archived", True) == [3, 1]
    assert ask(domain, "q", "cotton") == [3]
    assert ask(domain, "q", "desk") == [3, 2, 1]


# --- commercial invoices ---


@pytest.mark.parametrize(
    ("fields", "adds_up", "unaccounted"),
    [
        ({}, True, "0"),
        ({"total_value": money("100.01")}, False, "0.01"),
        ({"line_items": [line("99.99"), line("0.02")]}, False, "-0.01"),
        ({"line_items": [line(0.1), line(0.2)], "total_value": money("0.3")}, True, "0"),
        ({"line_items": []}, None, None),
        ({"line_items": [line("39.30"), line(None)]}, True, "0"),
        ({"line_items": [line("39.30"), line(value=None)]}, True, "0"),
        ({"line_items": [line("100"), line(None, price_per_unit=None)]}, None, None),
        ({"line_items": [line("100"), line(None, total_units=None)]}, None, None),
        ({"line_items": [line("50"), line(None, price_per_unit=money("5", "EUR"))]}, None, None),
        ({"line_items": [line("99.996"), line("0.008")], "total_value": money("100.004")}, True, "0"),
        ({"line_items": [line("50"), line("50", value=money("50", "EUR"))]}, None, None),
        ({"total_value": money("100", "EUR")}, None, None),
        ({"total_value": None}, None, None),
    ],
)
def test_whether_the_lines_add_up_to_the_total(fields, adds_up, unaccounted):
    found = of_commercial_invoice(**fields)
    assert found["adds_up"] is adds_up
    assert commercial_invoices.derived_values(found, TODAY)["unaccounted"] == unaccounted


def test_the_value_of_lines_is_told_by_currency():
    found = of_commercial_invoice(line_items=[line("1.10"), line("2.20"), line(value=money(5, "eur"))])
    assert commercial_invoices.derived_values(found, TODAY)["lines_value_by_currency"] == [
        {"amount": "5", "currency": "EUR"},
        {"amount": "3.3", "currency": "USD"},
    ]


def test_what_the_lines_name():
    gone = {"container_number": "GONE0000001", "deleted_at": "2026-03-01T00:00:00Z"}
    expanded = {**product(5), "sku": "S-5"}
    lines = [
        line(),
        line(container_number="XYZ123", purchase_order_number=" ", product=expanded),
        line(container_number=gone),
    ]
    found = of_commercial_invoice(line_items=lines)
    assert json.loads(found["container_numbers"]) == ["CSQU3054383", "XYZ123"]
    assert json.loads(found["purchase_orders"]) == ["PO-4471"]
    assert json.loads(found["product_ids"]) == [84_291, 5]
    assert json.loads(found["skus"]) == ["S-5"]
    first = json.loads(found["lines"])[0]
    assert (first["line"], first["units"], first["price_amount"], first["volume"]) == (1, "10", "6.07", "0.5")
    assert found["seller"] == "Example Works"
    assert found["digitization_status"] == "complete"


def test_lists_of_commercial_invoices(save, ask):
    domain = commercial_invoices.RESOURCE_TYPE
    save(products.RESOURCE_TYPE, product(84_291))
    save(
        domain,
        commercial_invoice("a"),
        commercial_invoice("b", line_items=[line(product={"id": 5, "sku": "S-5"}, purchase_order_number="7")]),
        commercial_invoice(
            "c", line_items=None, digitization_status="in_progress", invoice_number="ci-9", shipment=None
        ),
    )
    assert ask(domain, "sku", "rm-00472") == ["a"]
    assert ask(domain, "sku", "s-5") == ["b"]
    assert ask(domain, "po", "PO-4471") == ["a"]
    assert ask(domain, "container", "xyz123") == ["a"]
    assert ask(domain, "status", ["in_progress"]) == ["c"]
    assert ask(domain, "invoice_number", "CI-9") == ["c"]
    assert ask(domain, "shipment", 910_233) == ["b", "a"]
    assert ask(domain, "adds_up", True) == ["a"]
    assert ask(domain, "not_adds_up", True) == ["b"]
    assert ask(domain, "currency", "usd") == ["c", "b", "a"]


# --- customs entries ---


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("pending", "pending"), ("customs_hold", "hold"), ("cleared", "cleared"), ("released", "cleared"),
        ("Released ", "cleared"), (None, "unknown"), ("", "unknown"), ("never_heard_of", "unknown"),
    ],
)  # fmt: skip
def test_the_release_of_a_customs_entry(status, state):
    fields = read(customs.RESOURCE_TYPE, customs_entry(release_status=status))
    assert fields["release_state"] == state
    assert fields["release_status"] == ((status or "").strip() or None)
    assert customs.derived_values(fields, date(2026, 3, 24)) == {
        "released": state == "cleared",
        "days_since_release": 2 if state == "cleared" else None,
    }


def test_lists_of_customs_entries(save, ask):
    domain = customs.RESOURCE_TYPE
    save(
        domain,
        customs_entry("a"),
        customs_entry("b", release_status="released", release_date="2026-04-01"),
        customs_entry("c", release_status="exam", release_date=None, entry_number="ZZ-9"),
    )
    assert ask(domain, "state", ["cleared"]) == ["b", "a"]
    assert ask(domain, "status", ["exam", "released"]) == ["c", "b"]
    assert ask(domain, "released_after", "2026-03-22") == ["b", "a"]
    assert ask(domain, "released_before", "2026-04-01") == ["a"]
    assert ask(domain, "entry_number", "zz-9") == ["c"]


# --- for SQL ---


def rows(raw, view):
    cursor = raw.execute(f"SELECT * FROM {view}")
    return [dict(zip([column[0] for column in cursor.description], row, strict=True)) for row in cursor]


def test_views_give_a_row_for_each_entry(raw, save):
    save(products.RESOURCE_TYPE, product(84_291), product(2, classifications=None, hs_codes=None))
    save(invoices.RESOURCE_TYPE, invoice(), invoice("none", items=None, credit_memos=[]))
    save(commercial_invoices.RESOURCE_TYPE, commercial_invoice())
    assert [(row["product_id"], row["region"], row["hs_code"]) for row in rows(raw, "v_product_classifications")] == [
        (84_291, "US", "8504.40.95"),
        (84_291, "US", "0301:00"),
        (84_291, "EU", "85044055"),
    ]
    items = rows(raw, "v_invoice_items")
    assert [(row["position"], row["name"], row["amount"], row["currency"]) for row in items] == [
        (1, "Ocean Freight", "500", "USD"),
        (2, "Fuel Surcharge", "112.14", "USD"),
    ]
    (memo,) = rows(raw, "v_credit_memos")
    assert (memo["shipment_id"], memo["amount"], memo["categories"]) == (910_233, "100", '["freight"]')
    first, second = rows(raw, "v_commercial_invoice_lines")
    assert (first["sku"], first["product"], first["value_amount"]) == ("RM-00472", "AC Adapter 12V", "60.7")
    assert (second["line"], second["container_number"]) == (2, "XYZ123")


def test_views_leave_out_what_flexport_no_longer_has(raw, save):
    for domain in (products.RESOURCE_TYPE, invoices.RESOURCE_TYPE, commercial_invoices.RESOURCE_TYPE):
        save(domain, PAYLOADS[domain.name](), removed_at="2026-03-05T00:00:00.000Z")
    for view in ("v_product_classifications", "v_invoice_items", "v_credit_memos", "v_commercial_invoice_lines"):
        assert rows(raw, view) == []


def test_the_schema_page_shows_views_after_the_tables():
    page = render()
    assert "## v_invoice_items\n\n```sql\nCREATE VIEW v_invoice_items AS\n" in page
    assert page.index("## v_credit_memos") > page.index("## shipments")


# --- by event ---


def test_an_invoice_that_an_event_brings_belongs_to_the_shipment_of_the_event(raw):
    one = event(invoice(name="Adjustment"), shipment=shipment(910_233), type="/invoice#created")
    tx, clock = Transaction(raw), Clock()
    body = json.dumps(one).encode()
    store_webhook(tx, [IncomingEvent(ReceivedEvent(str(one["id"]), one["type"], "webhook", clock.stamp(), "{}", body))])
    applier = EventApplier(Registry((*RESOURCE_TYPES, *GOODS)), clock)
    applier(tx, tx.items.due(EVENT, "9999", 10), lambda: False)
    (record,) = Resources(raw).of_shipment(invoices.RESOURCE_TYPE.table, 910_233)
    assert record.id == "gwdpaYrhTI-T1ljn1M7o7w"
    assert record.fields["outstanding_amount"] == "512.14"
    assert record.fields["shipment_ids"] == "[910233]"
    assert record.as_of == one["created_at"]  # it was never adjusted
