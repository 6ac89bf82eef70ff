"""What Flexport answers is checked before it is believed, and read to its exact bytes."""

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flexportd.clock import stamp
from flexportd.flexport.errors import (
    FlexportUnavailableError,
    ForbiddenAtFlexportError,
    MalformedResponseError,
    NotFoundAtFlexportError,
    RateLimitedError,
    RejectedError,
    UnauthorisedError,
    error_class,
)
from flexportd.flexport.lists import page_number, page_query, path_template
from flexportd.flexport.parse_response import EnvelopeError, message_of, read_object, read_page
from flexportd.flexport.server_clock import ServerClock
from tests.flexport_double import envelope, listing

RECORDED = Path(__file__).parents[3] / "shared" / "recorded"

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)

anything = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["_object", "data", "error", "errors", "id", "next", "total_count", "version", "message"])
            | st.text(),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


def encoded(value):
    return json.dumps(value).encode("utf-8")


@given(anything)
def test_no_json_breaks_the_reader_otherwise_than_it_says(value):
    for read in (read_page, read_object):
        with contextlib.suppress(MalformedResponseError, EnvelopeError):
            read(encoded(value))


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader_otherwise_than_it_says(body):
    message_of(body)
    for read in (read_page, read_object):
        with contextlib.suppress(MalformedResponseError, EnvelopeError):
            read(body)


def test_each_row_keeps_its_exact_bytes():
    rows = [b'{ "id" : 1, "n": 1.10, "e":"\\u00e9" }', b'{"id":2}']
    body = b'{"data": {"data": [ ' + b" , ".join(rows) + b' ], "next": null}, "error" : null }'
    page = read_page(body)
    assert page.rows == rows
    assert (page.next, page.total_count, page.notes) == (None, None, [])


def test_an_object_keeps_its_exact_bytes_whatever_the_version():
    body = (
        b'{"_object":"/api/response","version":7,"data": {"_object":"/event", "id":1, "data": {"x": 1.0}},"error":null}'
    )
    assert read_object(body) == b'{"_object":"/event", "id":1, "data": {"x": 1.0}}'


def test_an_object_without_envelope_is_taken_if_it_names_itself():
    for body in (b'{"_object":"/x","id":1}', b'{"_object":"/event","id":1,"data":{"id":2},"error":"no"}'):
        assert read_object(body) == body
    for body in (
        b'{"_object":"/x"}',
        b'{"id":1}',
        b'{"_object":"/api/response","id":1}',
        b'{"_object":"/x","id":null}',
    ):
        with pytest.raises(MalformedResponseError):
            read_object(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"<html>", "not valid JSON"),
        (b'{"data": {"data": [{"id"', "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b'{"error": null}', "without data"),
        (b'{"data": null, "error": null}', "data is null"),
        (b'{"data": [{"id": 1}]}', "data is a list"),
        (b'{"data": {"id": 1}}', "an object where a list"),
        (b'{"data": {"data": {"id": 1}}}', "an object where a list"),
        (b'{"data": {"data": "x"}}', "an object where a list"),
        (b'{"data": ' + b"[" * 5000 + b"]" * 4999 + b"}", "not valid JSON"),
    ],
)
def test_what_is_no_list_is_named(body, words):
    with pytest.raises(MalformedResponseError, match=words):
        read_page(body)


def test_a_list_is_no_object():
    with pytest.raises(MalformedResponseError, match="a list where an object"):
        read_object(encoded(listing([{"id": 1}])))


def test_a_list_without_rows_or_count_is_empty():
    assert read_page(b'{"data": {"data": null}}').rows == []


@pytest.mark.parametrize(
    ("total", "count", "odd"),
    [(3, 3, 0), ("3", 3, 0), (None, None, 0), (-1, None, 1), (1.5, None, 1), (True, None, 1), ([], None, 1)],
)
def test_a_total_count_that_is_none_is_noted(total, count, odd):
    page = read_page(encoded(listing([], total=total)))
    assert (page.total_count, len(page.notes)) == (count, odd)


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        ({"status": 503, "message": "Sorry"}, 503, "Sorry"),
        ({"code": "x"}, None, "x"),
        ({"status": 12, "message": "Sorry\n\x1b[2J"}, None, r"Sorry\\u000a"),
        ("no", None, "no"),
        (False, None, "error is filled"),
        ([], None, "error is filled"),
    ],
)
def test_a_filled_error_counts_whatever_it_is(error, status, words):
    with pytest.raises(EnvelopeError, match=words) as caught:
        read_page(encoded(envelope({"data": []}, error)))
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"error": {"message": "a"}, "errors": [{"message": "b"}]}, "a"),
        ({"error": "invalid_client", "error_description": "c"}, "invalid_client: c"),
        ({"error": None, "errors": [{"code": "bad_token", "message": "b"}]}, "b"),
        ({"errors": ["plain"]}, "plain"),
        ({"error_description": "d"}, "d"),
        ({"error": {}}, None),
        ([], None),
    ],
)
def test_the_message_is_the_first_that_is_there(value, message):
    assert message_of(encoded(value)) == message


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, MalformedResponseError),
        (400, RejectedError),
        (401, UnauthorisedError),
        (403, ForbiddenAtFlexportError),
        (404, NotFoundAtFlexportError),
        (408, FlexportUnavailableError),
        (409, RejectedError),
        (422, RejectedError),
        (429, RateLimitedError),
        (500, FlexportUnavailableError),
        (599, FlexportUnavailableError),
        (600, MalformedResponseError),
    ],
)
def test_each_status_is_a_kind_of_failure(status, kind):
    assert error_class(status) is kind


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded answers are not here")
def test_every_recorded_answer_is_read_value_by_value():
    seen = 0
    for file in RECORDED.glob("*.json"):
        for recorded in json.loads(file.read_bytes()).values():
            body = encoded(recorded)
            if isinstance(recorded["data"].get("data"), list):
                assert [json.loads(row) for row in read_page(body).rows] == recorded["data"]["data"]
            else:
                assert json.loads(read_object(body)) == recorded["data"]
            seen += 1
    assert seen > 100


def test_version_2_asks_for_the_largest_page_and_names_a_bounded_set_of_resources():
    assert page_query({"f.x": "1", "per": "5"}, 3) == {"f.x": "1", "per": "100", "page": "3"}
    assert path_template("/shipments/12") == path_template("/shipments") == "/shipments"
    assert path_template("/shipment_legs/1") == "/shipment_legs"
    assert path_template("/documents/x/download") == "/documents"
    assert path_template("/ocean/shipment_container_legs") == "/ocean/shipment_container_legs"
    assert path_template("/shipmentsX") == path_template("/what/ever") == "other"
    assert page_number("/invoices/?per=1&page=2") == 2
    for link in ("/x", "/x?page=", "/x?page=-1", "/x?page=a", "http://[x/?page=1"):
        assert page_number(link) is None


def http(moment):
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


@given(
    st.floats(-3600, 3600),
    st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 3)), min_size=1, max_size=60),
)
def test_the_estimate_of_flexports_clock_is_never_later_than_the_truth_and_close_to_it(ahead, answers):
    clock = ServerClock()
    local = NOON
    for pause, delay in answers:
        local += timedelta(seconds=pause)
        truth = local + timedelta(seconds=ahead)
        clock.observe(http(truth.replace(microsecond=0)), local + timedelta(seconds=delay))
    error = (clock.offset() / timedelta(seconds=1)) - ahead
    assert -4.001 <= error <= 0.000_01


def test_a_date_that_cannot_be_is_ignored_and_noted():
    clock = ServerClock()
    assert clock.observe(http(NOON + timedelta(seconds=30)), NOON) == stamp(NOON + timedelta(seconds=30))
    for date in (None, "yesterday", http(NOON + timedelta(days=400)), "Thu, 99 Feb 2026 25:00:00 GMT"):
        assert clock.observe(date, NOON) == stamp(NOON + timedelta(seconds=30))
    state = clock.state()
    assert (state["offset_seconds"], state["responses"], state["ignored"]) == (30, 1, 4)
    assert "99 Feb" in state["note"]


def test_the_answer_that_came_quickest_tells_most():
    clock = ServerClock()
    for delay in (3, 1, 2):
        clock.observe(http(NOON), NOON + timedelta(seconds=delay))
    assert clock.at(NOON) == stamp(NOON - timedelta(seconds=1))


@given(st.lists(st.tuples(st.floats(0, 0.01), st.floats(0, 0.5)), min_size=1, max_size=300))
@example([(0, 0), *[(0.001, 0.5)] * 60])
def test_within_a_minute_the_estimate_never_runs_backwards(answers):
    """Else what was read later could seem to be older than what was read before."""
    clock, local, before = ServerClock(), NOON, ""
    for pause, delay in answers:
        local += timedelta(seconds=pause)
        clock.observe(http(local.replace(microsecond=0)), local + timedelta(seconds=delay))
        assert before <= clock.at(local)
        before = clock.at(local)


def test_what_is_remembered_of_answers_has_a_bound():
    clock = ServerClock()
    for number in range(5000):
        clock.observe(http(NOON), NOON + timedelta(milliseconds=number))
    assert clock.state()["responses"] == 1000
    for number in range(100):
        clock.observe(http(NOON + timedelta(hours=number)), NOON + timedelta(hours=number))
    assert clock.state()["responses"] == 50


def test_when_our_own_clock_jumps_the_estimate_starts_anew():
    clock = ServerClock()
    clock.observe(http(NOON), NOON)
    clock.observe(http(NOON), NOON + timedelta(hours=1))
    assert clock.offset() == timedelta(hours=-1)


def test_a_clock_that_is_far_off_is_believed_when_it_says_so_again_and_again():
    clock = ServerClock()
    clock.observe(http(NOON), NOON)
    far = NOON + timedelta(days=400)
    assert clock.observe(http(far), NOON) == clock.observe(http(far), NOON) == stamp(NOON)
    assert clock.observe(http(far), NOON) == stamp(far)
    assert clock.at(NOON) == stamp(far)


def test_single_strange_dates_never_add_up():
    clock = ServerClock()
    for year in (2001, 2050, 2001, 2050, 2001):
        assert clock.observe(f"Thu, 05 Mar {year} 12:00:00 GMT", NOON) == stamp(NOON)
        assert clock.observe(http(NOON), NOON) == stamp(NOON)
