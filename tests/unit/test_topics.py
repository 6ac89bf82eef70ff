"""Topics: the patterns that choose among them, and what an entry of the journal is told as."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.core.changes.stream_messages import (
    END,
    MAX_VALUE_LENGTH,
    EncodedMessage,
    EntryContext,
    StreamMessage,
    StreamPosition,
    messages_of,
    parse_position,
)
from flexportd.core.changes.topics import (
    FIELD_TOPICS,
    MILESTONES,
    TOPICS,
    milestone_topic,
    parse_patterns,
    topic_prefix,
)
from flexportd.core.resources.registry import RESOURCE_TYPES, Registry
from flexportd.errors import InvalidError
from flexportd.notify.message_texts import _WORDINGS
from flexportd.queue.handlers import DEAD_LETTER
from flexportd.storage.change_log import FinishedEvent, HistoryRow, JournalEntry, WrittenObject
from flexportd.storage.repositories.resources import ObjectState

AT = "2026-03-04T02:41:10.000Z"
AS_OF = "2026-03-04T02:41:09.377Z"
NAMES = {topic.name for topic in (*TOPICS, *MILESTONES)}
messages = msgspec.json.Decoder(StreamMessage)


def moved(field, old, new, resource="shipments", key="1", event="e1", run=None):
    old, new = (None if value is None else json.dumps(value) for value in (old, new))
    return HistoryRow(resource, key, field, old, new, AS_OF, "sync" if run else "webhook", None if run else event, run)


def entry(moved=(), states=None, events=(), notices=()):
    return JournalEntry(7, AT, (1, len(moved)) if moved else None, states or {}, events, notices)


def told(rows=(), *, objects=None, happened=None, **more):
    known = EntryContext(rows, happened or {}, objects or {})
    found = list(messages_of(Registry(), entry(rows, **more), known))
    return [messages.decode(one.data) if one else None for one in found]


def topics(*rows, **more):
    return [one["topic"] for one in told(rows, **more)]


def happened(seq=5, type_="/shipment_leg#departed", state="applied", resource="/shipment_leg"):
    return FinishedEvent(seq, f"evt{seq}", type_, "webhook", state, AS_OF, AS_OF, resource, "88", 1)


# --- patterns ---


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*", "shipment.created", None),
        ("shipment.*", "shipment.eta_changed", "leg.updated"),
        ("*.created", "container_leg.created", "shipment.updated"),
        ("shipment.eta_changed", "shipment.eta_changed", "shipment.status_changed"),
        ("milestone.*", "milestone.never_heard_of", "shipment.created"),
        ("milestone.brand_new", "milestone.brand_new", "milestone.departed"),
        ("milestone.*_delay", "milestone.weather_delay", "milestone.delay_of_sorts"),
        ("document.added,booking.*", "booking.status_changed", "document.created"),
    ],
)
def test_a_pattern_chooses(pattern, yes, no):
    found = parse_patterns("topics", pattern)
    assert found.match(yes)
    assert found.match(yes)
    assert no is None or not found.match(no)


@pytest.mark.parametrize(
    "pattern",
    ["", ",", "shipments.*", "shipment", "Shipment.*", "a b", "shipment.exploded", "*.*.*", "[a-z]*", "x" * 200, "ship*", "*.*", "%", "milestone.", "milestone." + "m" * 101, "\x00",
     ",".join(f"milestone.m{n}" for n in range(51))],
)  # fmt: skip
def test_a_pattern_that_can_match_nothing_is_refused_by_name(pattern):
    with pytest.raises(InvalidError, match="topics") as caught:
        parse_patterns("topics", pattern)
    assert caught.value.parameter == "topics"


def test_a_slip_of_the_pen_gets_a_hint():
    with pytest.raises(InvalidError, match=r"did you mean shipment\.eta_changed\?"):
        parse_patterns("topics", "shipment.eta_change")


@given(st.lists(st.sampled_from(["*", "a", "b", "ab"]), min_size=1, max_size=60), st.text("ab", max_size=80))
def test_a_star_is_any_text(parts, topic):
    import re

    from flexportd.core.changes.topics import Patterns

    pattern = "".join(parts)
    # Python's own matching takes forever with many stars; few show the same.
    if pattern.count("*") <= 4:
        wanted = re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), topic) is not None
        assert Patterns([pattern]).match(topic) == wanted
    else:
        Patterns([pattern]).match(topic)


# --- the list ---


def test_every_topic_is_listed_once_and_has_a_meaning():
    names = [topic.name for topic in (*TOPICS, *MILESTONES)]
    assert len(names) == len(set(names))
    assert all(topic.meaning for topic in (*TOPICS, *MILESTONES))
    assert DEAD_LETTER in NAMES


def test_derived_topics_name_fields_that_there_are():
    by_name = {domain.name: domain for domain in RESOURCE_TYPES}
    for derived in FIELD_TOPICS:
        assert {*derived.fields, *derived.context} <= {"id", *by_name[derived.resource].table.names}
        assert derived.topic.name.startswith(f"{topic_prefix(derived.resource)}.")


def test_the_word_for_a_resource_is_its_singular():
    for domain in RESOURCE_TYPES:
        if domain.name != "invoices":  # the design calls a freight invoice `invoice` here
            assert topic_prefix(domain.name) == domain.label.replace(" ", "_")
    assert topic_prefix("invoices") == "invoice"


@pytest.mark.parametrize(
    ("event_type", "topic"),
    [
        ("/shipment_leg#departed", "milestone.departed"),
        ("/invoice#Invoice Paid!", "milestone.invoice_paid"),
        ("/odd", "milestone.odd"),
        ("/x#", "milestone.unknown"),
        ("/x#a\nevent: b", "milestone.a_event_b"),
    ],
)
def test_a_milestones_topic_is_what_follows_the_hash(event_type, topic):
    assert milestone_topic(event_type) == topic


def test_the_shape_of_a_message_can_be_described():
    schema = msgspec.json.schema(StreamMessage)
    assert "days_later" in schema["$defs"]["StreamMessage"]["properties"]


# --- places ---


@given(st.integers(0, 10**17), st.integers(0, END), st.from_regex("([0-9a-f]{12})?", fullmatch=True))
def test_a_place_is_read_as_it_is_written(number, index, mark):
    assert parse_position(StreamPosition(number, index, mark).text) == StreamPosition(number, index, mark)
    assert StreamPosition(number, index) <= StreamPosition(number) < StreamPosition(number + 1, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "1-",
        "-1",
        "1-2-3",
        "x",
        "1.5",
        "1.0123456789AB",
        "1.0123456789abc",
        "1-.0123456789ab",
        "٣",
        "9" * 19,
        " 1",
        "1\n",
    ],
)
def test_what_is_no_place_is_none(text):
    assert parse_position(text) is None


# --- telling ---


def test_what_one_cause_did_to_one_object_is_one_message():
    found = told(
        [
            moved("weight", None, {"value": 1}),
            moved("name", "a", "b", key="2"),
            moved("pieces", 1, 2),
            moved("pieces", 2, 3, event="e2"),
        ],
        objects={("shipments", "1"): ObjectState(1, AS_OF, "webhook")},
    )
    assert [(one["id"], one["resource_id"], one["event_id"]) for one in found] == [
        ("7-0", "1", "e1"), ("7-1", "2", "e1"), ("7-2", "1", "e2"),
    ]  # fmt: skip
    assert found[0] == {
        "id": "7-0", "topic": "shipment.updated", "at": AT, "as_of": AS_OF, "resource": "shipments",
        "resource_id": "1", "shipment_id": 1, "source": "webhook", "event_id": "e1", "run_id": None,
        "changes": [
            {"field": "weight", "old": None, "new": {"value": 1}},
            {"field": "pieces", "old": 1, "new": 2},
        ],
    }  # fmt: skip
    assert found[1]["shipment_id"] is None


def test_the_same_field_of_one_cause_goes_from_first_to_last():
    (one,) = told([moved("name", "a", "b", run=3), moved("name", "b", "c", run=3)])
    assert one["changes"] == [{"field": "name", "old": "a", "new": "c"}]
    assert (one["run_id"], one["source"], one["event_id"]) == ("3", "sync", None)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (moved("id", None, 1), ["shipment.created"]),
        (moved("removed_at", None, AT), ["shipment.removed"]),
        (moved("removed_at", AT, None), ["shipment.updated"]),
        (moved("actual_departure", None, AT), ["shipment.updated", "shipment.departed"]),
        (moved("actual_departure", AT, AS_OF), ["shipment.updated"]),
        (moved("actual_arrival", None, AT), ["shipment.updated", "shipment.arrived"]),
        (moved("actual_delivered_in_full", None, AT), ["shipment.updated", "shipment.delivered"]),
        (moved("status", "a", "b"), ["shipment.updated", "shipment.status_changed"]),
        (moved("status", "a", "b", "bookings"), ["booking.updated", "booking.status_changed"]),
        (moved("id", None, "x", "documents", "x"), ["document.created", "document.added"]),
        (moved("id", None, "x", "invoices", "x"), ["invoice.created", "invoice.shared"]),
        (moved("status", "outstanding", "paid", "invoices", "x"), ["invoice.updated", "invoice.paid"]),
        (moved("status", "outstanding", "past_due", "invoices", "x"), ["invoice.updated"]),
        (moved("id", None, "x", "companies", "x"), ["company.created"]),
    ],
)
def test_topics_of_one_row(row, found):
    assert topics(row) == found
    assert set(found) <= NAMES


def test_new_and_gone_at_once_are_two_messages():
    assert topics(moved("id", None, 1), moved("removed_at", None, AT)) == ["shipment.created", "shipment.removed"]


@pytest.mark.parametrize(
    ("old", "new", "days"),
    [
        ("2026-03-21T12:00:00-07:00", "2026-03-24T12:00:00-07:00", 3),
        ("2026-03-21T12:00:00-07:00", "2026-03-20T23:00:00-07:00", -1),
        ("2026-03-21T01:00:00-07:00", "2026-03-21T23:00:00-07:00", 0),
        (None, "2026-03-21T12:00:00-07:00", None),
        ("2026-03-21T12:00:00-07:00", None, None),
    ],
)
def test_days_later_are_days_of_the_place(old, new, days):
    _, one = told([moved("estimated_arrival", old, new)])
    assert one["topic"] == "shipment.eta_changed"
    assert one["days_later"] == days
    assert one["changes"] == [{"field": "estimated_arrival", "old": old, "new": new}]


def test_a_value_that_is_too_long_is_left_out_and_says_so():
    (one,) = told([moved("metadata", None, "x" * MAX_VALUE_LENGTH), moved("name", "a", "b")])
    assert one["changes"] == [
        {"field": "metadata", "old": None, "new": None, "omitted": True}, {"field": "name", "old": "a", "new": "b"},
    ]  # fmt: skip
    (one,) = told([moved(f"f{n}", "x" * 9000, "y" * 9000) for n in range(9)])
    assert [("omitted" in change) for change in one["changes"]] == [False] * 3 + [True] * 6


def test_states_without_history_are_updates_without_fields():
    found = told(
        [moved("name", "a", "b")],
        states={
            "shipments": [WrittenObject(1, AS_OF), WrittenObject(2, AS_OF)],
            "documents": [WrittenObject("x-y", AS_OF)],
        },
        objects={("documents", "x-y"): ObjectState(4, AS_OF, "sync")},
    )
    assert [(one["topic"], one["resource_id"], one["shipment_id"], one["changes"] == []) for one in found] == [
        ("shipment.updated", "1", None, False), ("shipment.updated", "2", None, True),
        ("document.updated", "x-y", 4, True),
    ]  # fmt: skip


@pytest.mark.parametrize("state", ["applied", "coalesced"])
def test_an_event_that_ended_is_a_milestone(state):
    (one,) = told(events=[5], happened={5: happened(state=state)})
    assert one["topic"] == "milestone.departed"
    assert (one["event_id"], one["type"], one["resource"], one["shipment_id"]) == (
        "evt5", "/shipment_leg#departed", "legs", 1,
    )  # fmt: skip
    assert one["title"] == "Actual Time of Departure (ATD)"
    assert one["occurred_at"] == AS_OF


@pytest.mark.parametrize("state", ["ignored", "dead", "ready"])
def test_an_event_that_is_not_told_leaves_its_number_free(state):
    found = told(events=[5, 6], happened={5: happened(state=state), 6: happened(6)}, notices=[{"topic": "system.x"}])
    assert found[0] is None
    assert [one["id"] for one in found[1:]] == ["7-1", "7-2"]


def test_notices_are_told_as_they_are_but_cannot_forge_a_place():
    notice = {"topic": DEAD_LETTER, "id": "1-1", "at": "never", "dead_letter_id": "4", "kind": "event", "detail": "no"}
    (one,) = told(notices=[notice])
    assert (one["id"], one["at"], one["dead_letter_id"], one["detail"]) == ("7-0", AT, "4", "no")
    assert one["link"] == "/api/v1/dead-letters/4"


rows = st.builds(
    moved,
    st.sampled_from(["id", "name", "status", "removed_at", "estimated_arrival"]),
    st.none() | st.just("2026-03-21T12:00:00-07:00"),
    st.none() | st.just("2026-03-24T12:00:00-07:00"),
    st.sampled_from(["shipments", "invoices", "unheard_of"]),
    st.sampled_from(["1", "2"]),
    st.sampled_from(["e1", "e2"]),
)


@given(st.lists(rows, max_size=20))
def test_messages_have_numbers_in_order_and_are_one_line_each(found):
    messages = [
        one for one in messages_of(Registry(), entry(found), EntryContext(found)) if isinstance(one, EncodedMessage)
    ]
    assert [one.position for one in messages] == [StreamPosition(7, number) for number in range(len(messages))]
    assert all(b"\n" not in one.data for one in messages)
    again = [
        one for one in messages_of(Registry(), entry(found), EntryContext(found)) if isinstance(one, EncodedMessage)
    ]
    assert messages == again


# --- freight invoices ---

INVOICE = {"status": "outstanding", "voided_at": None, "total_amount": "100", "total_currency": "USD",
           "type": "Shipment", "invoice_type": None}  # fmt: skip


def of_invoice(*changed, **usual):
    """The messages of changes (field, old, new) of an invoice that is otherwise as usual."""
    found = [moved(*one, resource="invoices", key="abc") for one in changed]
    values = {("invoices", "abc", name): json.dumps(value) for name, value in (INVOICE | usual).items() if value}
    known = EntryContext(found, values=values)
    return [messages.decode(one.data) for one in messages_of(Registry(), entry(found), known) if one][1:]


@pytest.mark.parametrize(
    ("changed", "told_of"),
    [
        ([("total_amount", "100", "120.5")], ("100", "120.5", "USD", "USD", "20.5")),
        ([("total_amount", "120.5", "100")], ("120.5", "100", "USD", "USD", "-20.5")),
        ([("total_amount", "0.1", "0.3")], ("0.1", "0.3", "USD", "USD", "0.2")),
        ([("total_currency", "EUR", "USD")], ("100", "100", "EUR", "USD", None)),
        ([("total_amount", "90", "100"), ("total_currency", "EUR", "USD")], ("90", "100", "EUR", "USD", None)),
    ],
)
def test_a_total_that_changed_says_from_what_to_what_in_which_currency(changed, told_of):
    (found,) = of_invoice(*changed)
    assert found["topic"] == "invoice.total_changed"
    assert (
        tuple(found[name] for name in ("old_total", "new_total", "old_currency", "currency", "difference")) == told_of
    )


@pytest.mark.parametrize(
    ("changed", "usual", "topics"),
    [
        ([("total_amount", None, "100")], {}, []),  # it was not known before
        ([("total_currency", None, "USD")], {}, []),
        ([("total_amount", "100", None)], {}, []),
        ([("status", "outstanding", "void")], {}, ["invoice.voided"]),
        ([("status", "paid", "void"), ("voided_at", None, "2026-03-04T00:00:00Z")], {}, ["invoice.voided"]),
        ([("voided_at", None, "2026-03-04T00:00:00Z")], {"status": "void"}, []),  # told when the status came
        ([("status", "outstanding", "void")], {"voided_at": "2026-03-04T00:00:00Z"}, []),
        ([("voided_at", "2026-03-04T00:00:00Z", "2026-03-05T00:00:00Z")], {"status": "void"}, []),
        ([("status", "void", "outstanding")], {}, []),
        ([("status", "outstanding", "void"), ("total_amount", "100", "0")], {}, ["invoice.voided"]),  # one fact
        ([("total_amount", "100", "0")], {"status": "void"}, []),
        ([("status", "past_due", "paid")], {}, ["invoice.paid"]),
        (
            [("status", "past_due", "paid"), ("total_amount", "100", "90")],
            {},
            ["invoice.paid", "invoice.total_changed"],
        ),
        ([("status", "outstanding", "paid")], {"total_amount": "-10"}, []),  # a credit note
        ([("status", "outstanding", "paid")], {"invoice_type": "credit_note"}, []),
        ([("status", "paid", "outstanding")], {}, []),
    ],
)
def test_each_change_of_an_invoice_is_told_once_by_its_topic(changed, usual, topics):
    assert [found["topic"] for found in of_invoice(*changed, **usual)] == topics


def test_an_invoice_that_arrives_paid_or_void_is_only_shared():
    assert topics(moved("id", None, "abc", resource="invoices", key="abc")) == ["invoice.created", "invoice.shared"]


def test_two_changes_in_one_commit_each_see_the_values_of_their_time():
    found = [
        moved("total_amount", "100", "120", resource="invoices", key="abc", event="e1"),
        moved("total_currency", "EUR", "USD", resource="invoices", key="abc", event="e2"),
    ]
    values = {("invoices", "abc", name): json.dumps(value) for name, value in INVOICE.items() if value}
    values |= {("invoices", "abc", "total_amount"): '"120"'}
    known = EntryContext(found, values=values)
    told_ = [messages.decode(one.data) for one in messages_of(Registry(), entry(found), known) if one]
    first, second = (one for one in told_ if one["topic"] == "invoice.total_changed")
    assert (first["new_total"], first["currency"], first["difference"]) == ("120", "EUR", "20")
    assert (second["old_total"], second["old_currency"], second["currency"]) == ("120", "EUR", "USD")


def test_each_topic_with_a_text_for_people_can_be_named():
    assert set(_WORDINGS) <= NAMES
    assert parse_patterns("on", "system.channel_failed").match("system.channel_failed")
