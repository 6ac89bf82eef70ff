"""What a rule's `when` can say, and why a message matches it or does not."""

import tomllib
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.core.changes.topics import ALL_TOPICS, TOPICS, Patterns
from flexportd.core.resources.registry import REGISTRY
from flexportd.notify.conditions import MAX_CONDITIONS, AllOf, ConditionParser, RuleCondition, Verdict
from flexportd.notify.fields import Facts, lane, rule_fields

TODAY = date(2026, 3, 10)
SHIPMENT = {
    "name": "Winter jackets", "mode": "ocean", "status": "departure_port", "priority": None, "pieces": 12,
    "consignees": '["ACME Trading GmbH", "Second"]', "skus": None, "is_lcl": False,
    "port_of_loading_code": "CNSHA", "port_of_unloading_code": "USLAX", "origin_code": None, "destination_code": None,
    "estimated_arrival": "2026-03-12T10:00:00-08:00", "actual_departure": "2026-02-28T10:00:00+08:00", "booking_id": 77,
    "metadata": "{}", "weight": '{"value": 3, "unit": "kg"}',
}  # fmt: skip
INVOICE = {"status": "outstanding", "total_amount": "1200.5", "total_currency": "USD", "due_date": "2026-03-12",
           "shipment_ids": "[1, 2]", "exchange_rate": "1.07"}  # fmt: skip
ETA = {"topic": "shipment.eta_changed", "days_later": 3, "resource": "shipments", "resource_id": "1042",
       "changes": [{"field": "estimated_arrival", "old": None, "new": None}]}  # fmt: skip
OPENED = {"topic": "exception.opened", "kind": "customs_hold", "severity": "critical", "shipment_id": 1042,
          "evidence": {"days": 4, "place": "Oakland, CA", "missing": ["packing_list", "commercial_invoice"]}}  # fmt: skip
DUE = {"topic": "invoice.due", "evidence": {"name": "FLEX-1", "due_date": "2026-03-12", "status": "outstanding"}}


def parse(when: str | dict, on: str = "*") -> tuple[RuleCondition, ConditionParser]:
    parser = ConditionParser(rule_fields(Patterns([on])))
    return parser.parse(tomllib.loads(when) if isinstance(when, str) else when), parser


def verdict(when: str | dict, message: dict, fields: dict | None = None, shipment: dict | None = None) -> Verdict:
    condition, parser = parse(when, message["topic"])
    assert parser.problems == []
    return condition.evaluate(Facts(message, fields, shipment), TODAY)


def problems(when: str | dict, on: str = "*") -> list[str]:
    return [f"{'.'.join(map(str, path))}: {text}" for path, text in parse(when, on)[1].problems]


@pytest.mark.parametrize(
    ("when", "matched", "reason"),
    [
        ("", True, "there are no conditions"),
        ("days_later = 2", True, "days_later is 3, at least 2"),
        ("days_later = 4", False, "days_later is 3, not at least 4"),
        ("days_later = 3.0", True, "days_later is 3, at least 3"),
        ("days_later = { at_least = 1, below = 3 }", False, "days_later is 3, not below 3"),
        ("days_later = { at_most = 3, above = 2 }", True, "days_later is 3, at most 3; days_later is 3, above 2"),
        ("days_later = { equals = 3 }", True, "days_later is 3"),
        ("days_later = { not = 3 }", False, "days_later is 3, which the rule excludes"),
        ("days_later = { not = { at_least = 5 } }", True, "days_later is 3, not at least 5"),
        ("days_later = { any = [1, 3] }", True, "days_later is 3"),
        ("days_later = [1, 2]", False, "days_later is 3, not 1; days_later is 3, not 2"),
        ("days_later = { any = [{ at_most = 1 }, { at_least = 3 }] }", True, "days_later is 3, at least 3"),
        ("mode = 'OCEAN'", True, "mode is ocean"),
        ("mode = ['air', 'ocean']", True, "mode is ocean"),
        ("mode = ['air', 'rail']", False, "mode is ocean, not one of air, rail"),
        ("mode = { not = ['air', 'rail'] }", True, "mode is ocean, not one of air, rail"),
        ("mode = { not = 'oce*' }", False, "mode is ocean, which the rule excludes"),
        ("name = { contains = 'JACKET' }", True, "name is Winter jackets, containing JACKET"),
        ("name = 'winter *'", True, "name is Winter jackets"),
        ("priority = 'high'", False, "priority is not known"),
        ("priority = { not = 'high' }", True, "priority is not known"),
        ("priority = { is_set = false }", True, "priority is not set"),
        ("priority = { is_set = true }", False, "priority is not set"),
        ("metadata = { is_set = false }", True, "metadata is not set"),
        ("weight = { is_set = true }", True, "weight is set"),
        ("consignee = 'acme*'", True, "consignee is ACME Trading GmbH, Second"),
        ("consignees = ['x', 'second']", True, "consignees is ACME Trading GmbH, Second"),
        ("consignees = { all = ['second', 'acme*'] }", True, "consignees is ACME Trading GmbH, Second"),
        ("consignees = { all = ['second', 'third'] }", False, "consignees is ACME Trading GmbH, Second, not third"),
        ("consignees = { contains = 'trading' }", True, "consignees is ACME Trading GmbH, Second, containing trading"),
        ("skus = 'A'", False, "skus is not known"),
        ("is_lcl = false", True, "is_lcl is false"),
        ("is_lcl = true", False, "is_lcl is false, not true"),
        ("booking_id = 77", True, "booking_id is 77"),
        ("booking_id = '78'", False, "booking_id is 77, not 78"),
        ("lane = 'CNSHA-USLAX'", True, "lane is CNSHA-USLAX"),
        ("lane = 'cn*-us*'", True, "lane is CNSHA-USLAX"),
        ("lane = '*-DE*'", False, "lane is CNSHA-USLAX, not *-DE*"),
        ("changed = 'estimated_arrival'", True, "changed is estimated_arrival"),
        ("estimated_arrival = 2026-03-12", True, "estimated_arrival is 2026-03-12"),
        ("estimated_arrival = { at_least = '2026-03-13' }", False, "estimated_arrival is 2026-03-12, not at least 2026-03-13"),
        ("estimated_arrival = { within_days = 2 }", True, "estimated_arrival is 2026-03-12, within 2 days from today"),
        ("estimated_arrival = { within_days = 1 }", False, "estimated_arrival is 2026-03-12, not within 1 day from today"),
        ("actual_departure = { days_ago = 10 }", True, "actual_departure is 2026-02-28, 10 days ago or more"),
        ("actual_departure = { within_days = 30 }", False, "actual_departure is 2026-02-28, not within 30 days from today"),
        ("shipment.mode = 'ocean'", True, "shipment.mode is ocean"),
        ("'shipment.mode' = 'air'", False, "shipment.mode is ocean, not air"),
        ("any = [{ mode = 'air' }, { pieces = 10 }]", True, "pieces is 12, at least 10"),
        ("any = [{ mode = 'air' }, { pieces = 20 }]", False, "mode is ocean, not air; pieces is 12, not at least 20"),
        ("all = [{ mode = 'ocean' }, { pieces = 20 }]", False, "pieces is 12, not at least 20"),
        ("not = { mode = 'ocean', pieces = 10 }", False, "mode is ocean; pieces is 12, at least 10, which the rule excludes"),
        ("not = { mode = 'ocean', pieces = 20 }", True, "pieces is 12, not at least 20"),
        ("mode = 'air'\npieces = 10", False, "mode is ocean, not air"),
    ],
)  # fmt: skip
def test_conditions_match_or_say_why_not(when, matched, reason):
    assert verdict(when, ETA, SHIPMENT) == (matched, reason)


@pytest.mark.parametrize(
    ("when", "message", "fields", "matched"),
    [
        ("severity = 'critical'\nkind = ['customs_hold', 'silent']", OPENED, None, True),
        ("kind = { not = 'customs_hold' }", OPENED, None, False),
        ("severity = { at_least = 'warning' }", OPENED, None, True),
        ("severity = { at_most = 'Warning' }", OPENED, None, False),
        ("severity = { below = 'critical' }", {**OPENED, "severity": "notice"}, None, True),
        ("severity = { at_most = 'critical' }", {**OPENED, "severity": "good"}, None, False),
        ("severity = { any = ['notice', { above = 'warning' }] }", OPENED, None, True),
        ("days = 4\nevidence.days = 4\nplace = 'Oak*'", OPENED, None, True),
        ("evidence.missing = 'packing_list'\nmode = 'ocean'\nlane = 'CN*'", OPENED, None, True),
        ("total_amount = { at_least = '1000.00', currency = 'usd' }", DUE, INVOICE, True),
        ("total_amount = { at_least = '1000.00', currency = 'EUR' }", DUE, INVOICE, False),
        ("total_amount = 1200.5", DUE, INVOICE, True),
        ("total_amount = '1200.50'", DUE, INVOICE, True),
        ("total_amount = { above = 1200.5 }", DUE, INVOICE, False),
        ("exchange_rate = { at_most = 1.1 }", DUE, INVOICE, True),
        ("due_date = { within_days = 3 }\nstatus = 'outstanding'", DUE, INVOICE, True),
        ("shipment_ids = 2", DUE, INVOICE, True),
        ("shipment.status = 'departure_port'\nmode = 'ocean'", DUE, INVOICE, True),
        ("new_total = { above = 100, currency = 'USD' }",
         {"topic": "invoice.total_changed", "old_total": "90", "new_total": "101", "currency": "USD"}, INVOICE, True),
        ("type = '/shipment*'\ntitle = '*'", {"topic": "milestone.departed", "type": "/shipment_leg#departed", "title": "D"},
         None, True),
        ("kind = 'sync_failed'\ndetail = { contains = 'shipments' }",
         {"topic": "system.recovered", "kind": "sync_failed", "detail": "Shipments are complete"}, None, True),
        ("channel = { not = ['erp', 'phone'] }", {"topic": "system.channel_failed", "channel": "erp"}, None, False),
    ],
)  # fmt: skip
def test_messages_have_fields_of_their_own_of_their_object_and_of_its_shipment(when, message, fields, matched):
    condition = ConditionParser(rule_fields(ALL_TOPICS)).parse(tomllib.loads(when))
    assert condition.evaluate(Facts(message, fields, SHIPMENT), TODAY).matched == matched


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("days_latr = 2", "days_latr: unknown field; did you mean days_later?"),
        ("consigne = 'x'", "consigne: unknown field; did you mean consignee?"),
        ("container = 'x'", "container: unknown field; did you mean container_numbers?"),
        ("shipment.mod = 'x'", "shipment.mod: unknown field; did you mean shipment.mode?"),
        ("zzzzz = 1", "zzzzz: unknown field; fields are topic, resource"),
        ("days_later = '2'", 'days_later: found "2"; expected a number'),
        ("days_later = true", "days_later: found true; expected a number"),
        ("days_later = nan", "days_later: found nan; expected a number"),
        (
            "days_later = { at_leest = 2 }",
            "days_later.at_leest: unknown condition for days_later; did you mean at_least?",
        ),
        (
            "days_later = { contains = 'x' }",
            "days_later.contains: unknown condition for days_later; it can have at_least",
        ),
        ("days_later = {}", "days_later: found an empty table; expected at_least"),
        ("days_later = []", "days_later: found a list of 0; expected a list of 1 to 200"),
        ("days_later = { at_least = [1] }", "days_later.at_least: found a list; expected a number"),
        ("days_later = { any = 3 }", "days_later.any: found 3; expected a list of 1 to 200"),
        ("mode = 3", "mode: found 3; expected a text"),
        ("mode = ''", 'mode: found ""; expected a text'),
        ("mode = 'ocaen'", 'mode: found "ocaen"; did you mean ocean?'),
        ("mode = ['air', 'sea']", 'mode.1: found "sea"; expected one of air, barge, ocean'),
        ("priority = { is_set = 1 }", "priority.is_set: found 1; expected true or false"),
        ("is_lcl = 1", "is_lcl: found 1; expected true or false"),
        ("estimated_arrival = 'soon'", 'estimated_arrival: found "soon"; expected a day such as "2026-03-01"'),
        ("estimated_arrival = 2026-03-01T10:00:00Z", "expected a day such as"),
        ("estimated_arrival = { within_days = -1 }", "within_days: found -1; expected a whole number from 0 to 3650"),
        ("estimated_arrival = { days_ago = 1.5 }", "days_ago: found 1.5; expected a whole number from 0 to 3650"),
        ("metadata = 'x'", 'metadata: found "x"; expected { is_set = true } or { is_set = false }'),
        ("any = { mode = 'air' }", "any: found a table; expected a list of tables of conditions"),
        ("any = []", "any: found a list; expected a list of tables of conditions"),
        ("any = [{ mode = 'air' }, { mdoe = 'air' }]", "any.1.mdoe: unknown field; did you mean mode?"),
        ("not = 'air'", 'not: found "air"; expected a table of conditions'),
    ],
)
def test_what_cannot_be_tested_is_a_problem_with_its_place(when, problem):
    (only,) = problems(when, "shipment.*")
    assert problem in only


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("severity = 'crtical'", 'severity: found "crtical"; did you mean critical?'),
        ("kind = 'delayed'", 'kind: found "delayed"; expected one of late_pickup'),
        ("severity = 2", "severity: found 2; expected a text"),
        ("severity = { at_least = 'crit*' }", 'at_least: found "crit*"; expected one of critical, warning, notice'),
        ("total_amount = { currency = 'dollars' }", "total_amount: unknown field"),
    ],
)
def test_the_fields_and_values_are_those_of_the_topics(when, problem):
    (only,) = problems(when, "exception.*")
    assert problem in only


def test_the_channel_of_a_failure_is_a_field_of_its_topics():
    assert problems("channel = 'erp'", "system.channel_failed") == problems("channel = 'erp'", "system.*") == []
    assert "channel: unknown field" in problems("channel = 'erp'", "system.disk_low")[0]


def test_amounts_have_a_currency():
    assert problems("total_amount = { currency = 'dollars' }", "invoice.*") == [
        'total_amount.currency: found "dollars"; expected a currency code such as "USD"'
    ]
    assert problems("total_amount = { at_least = 'much' }", "invoice.*") == [
        'total_amount.at_least: found "much"; expected an amount, such as 1000 or "1000.00"'
    ]


def test_a_value_that_flexport_has_added_since_can_be_written_with_a_star():
    assert problems("mode = 'hyperloop*'", "shipment.*") == []
    assert 'write "hyperloop*" for a value' in problems("mode = 'hyperloop'", "shipment.*")[0]


def test_conditions_are_bounded():
    deep: dict = {"mode": "air"}
    for _ in range(50):
        deep = {"not": deep}
    assert any("nested at most" in text for text in problems(deep))
    many = {"any": [{"mode": "air"}] * (MAX_CONDITIONS + 50)}
    assert set(problems(many)) == {f"any: a rule may have at most {MAX_CONDITIONS} conditions"}


@pytest.mark.parametrize(
    ("when", "fields", "matched"),
    [
        ("name = '[URGENT] *'", {"name": "[URGENT] jackets"}, True),
        ("name = '[\"a\"]'", {"name": '["a"]'}, True),
        ("name = 'a'", {"name": '["a"]'}, False),
        ("name = '*'", {"name": "[" * 100_000}, True),
        ("skus = '*'", {"skus": "[" * 100_000}, True),
        ("skus = { is_set = true }", {"skus": "[]"}, False),
        ("pieces = 1", {"pieces": 10**5000}, False),
        ("booking_id = 1", {"booking_id": 10**5000}, False),
        ("estimated_arrival = { is_set = true }", {"estimated_arrival": 20260301}, True),
        ("estimated_arrival = { days_ago = 0 }", {"estimated_arrival": 20260301}, False),
    ],
)
def test_odd_values_are_taken_for_what_they_are(when, fields, matched):
    assert verdict(when, ETA, fields).matched == matched


def test_the_consignee_of_a_shipment_stands_for_that_of_its_booking_if_it_has_none():
    booking = {"topic": "booking.status_changed"}
    for fields, name in (({"consignee": "Own"}, "own"), ({"consignee": None}, "acme*")):
        assert verdict({"consignee": name}, booking, fields, SHIPMENT).matched


def test_a_lane_by_road_is_that_of_the_first_and_last_place():
    assert lane({"origin_code": "DEHAM", "destination_code": "DEMUC"}) == "DEHAM-DEMUC"
    assert lane({"port_of_loading_code": "CNSHA"}) is None


def test_every_topic_has_fields_and_each_field_is_written_once():
    for topic in TOPICS:
        fields = rule_fields(Patterns([topic.name]))
        assert "topic" in fields
        assert all(field.name == name for name, field in fields.items())
    assert {"mode", "lane", "consignee", "shipment.status"} <= set(rule_fields(Patterns(["invoice.due"])))
    assert "mode" not in rule_fields(Patterns(["system.*"]))
    assert {field.name for field in REGISTRY["legs"].table.public} <= set(rule_fields(Patterns(["leg.updated"])))


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("days_later", "mode", "lane", "consignee", "estimated_arrival", "is_lcl", "pieces", "metadata", "booking_id",
         "total_amount", "skus", "kind", "evidence.days", "shipment.mode", "any", "all", "not", "changed")  # fmt: skip
OPERATORS = ("at_least", "at_most", "above", "below", "equals", "not", "any", "all", "contains", "within_days", "days_ago",
             "is_set", "currency")  # fmt: skip
tables = st.dictionaries(
    st.sampled_from(NAMES), odd | st.dictionaries(st.sampled_from(OPERATORS), odd, max_size=3), max_size=3
)
stored = st.dictionaries(
    st.sampled_from((*SHIPMENT, "days_later", "evidence", "changes", "total_amount", "total_currency")), odd, max_size=6
)


@settings(max_examples=300, deadline=None)
@given(
    tables, stored, stored, st.sampled_from(("shipment.eta_changed", "invoice.due", "exception.opened", "odd", "x.y"))
)
def test_no_condition_and_no_message_raises(when, message, shipment, topic):
    parser = ConditionParser(rule_fields(ALL_TOPICS))
    condition = parser.parse(when)
    assert all(path and text for path, text in parser.problems)
    matched, reason = condition.evaluate(Facts({**message, "topic": topic}, message, shipment), TODAY)
    assert isinstance(matched, bool)
    assert reason
    assert reason.isprintable()
    assert len(reason) <= 600


usable = st.sampled_from([
    "days_later = 2", "mode = 'air'", "mode = ['air', 'ocean']", "pieces = { at_least = 5, at_most = 20 }", "is_lcl = true",
    "lane = 'CN*'", "consignee = { contains = 'acme' }", "estimated_arrival = { within_days = 5 }", "priority = 'high'",
])  # fmt: skip
shipments = st.fixed_dictionaries({
    "mode": st.sampled_from((None, "air", "ocean", "rail")), "pieces": st.none() | st.integers(0, 30),
    "is_lcl": st.sampled_from((None, True, False, 0, 1)), "priority": st.sampled_from((None, "high", "standard")),
    "port_of_loading_code": st.sampled_from((None, "CNSHA", "DEHAM")), "port_of_unloading_code": st.just("USLAX"),
    "consignees": st.sampled_from((None, '["ACME"]', '["Other"]', "[]")),
    "estimated_arrival": st.none() | st.dates(date(2026, 3, 1), date(2026, 3, 20)).map(str),
})  # fmt: skip


@settings(max_examples=200)
@given(st.lists(usable.map(tomllib.loads), min_size=1, max_size=4), shipments, st.none() | st.integers(-5, 5))
def test_any_all_and_not_follow_logic(parts, shipment, days):
    def matches(when: dict) -> bool:
        return verdict(when, {"topic": "shipment.eta_changed", "days_later": days}, shipment).matched

    each = [matches(part) for part in parts]
    assert matches({"all": parts}) == all(each)
    assert matches({"any": parts}) == any(each)
    assert [matches({"not": part}) for part in parts] == [not one for one in each]
    assert matches({"not": {"any": parts}}) == matches({"all": [{"not": part} for part in parts]})


def test_a_condition_is_immutable():
    condition, _ = parse("mode = 'air'")
    assert isinstance(condition, AllOf)
    with pytest.raises(AttributeError):
        condition.parts = ()
