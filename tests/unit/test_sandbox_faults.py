"""Faults are read strictly and made the same way for the same seed (design §8: `--faults`)."""

import re
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.cli.commands.sandbox import sandbox
from flexportd.errors import InvalidError
from flexportd.sandbox import Faults, SandboxOptions, parse_faults
from flexportd.sandbox.faults import (
    ANSWER_FAULTS,
    BODY_FAULTS,
    NAMES,
    PAGE_FAULTS,
    WEBHOOK_FAULTS,
    WRITE_FAULTS,
    FaultInjector,
    RequestInfo,
    ScriptedFault,
    inject,
)
from flexportd.sandbox.http.middleware import LOGGED_REQUESTS, LoggedRequest, RequestLog
from flexportd.sandbox.webhook_sender import backoff

LIST, OBJECT = RequestInfo("GET", "/shipments?page=2", 2), RequestInfo("GET", "/shipments/1")


def events(count):
    return [{"id": number} for number in range(count)]


def test_every_fault_has_its_name():
    names = [name for name in NAMES if name != "latency"]
    text = ",".join(f"{name}={1 + at / 10}%" for at, name in enumerate(names))
    assert parse_faults(f"latency=200ms, {text}") == Faults(
        0.2, {name: pytest.approx((1 + at / 10) / 100) for at, name in enumerate(names)}
    )


def test_no_text_is_no_faults():
    assert parse_faults("") == parse_faults(" , ") == Faults()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("429", "'429' is not a fault: write name=value, as in 429=5%."),
        ("429=5%,429=6%", "The fault '429' is given twice."),
        ("429=101%", "429=101% is more than 100%."),
        ("429=5", "429=5 is not a share: write it as 5%."),
        ("drop=-1%", "drop=-1% is not a share: write it as 5%."),
        ("drop=nan%", "drop=nan% is not a share: write it as 5%."),
        ("latency=5%", "latency=5% is not a duration: write it as 200ms or 1.5s."),
        ("trunkate=1%", "There is no fault 'trunkate': did you mean 'truncate'?"),
        ("zzz=1%", f"There is no fault 'zzz': known are {', '.join(NAMES)}."),
        ("429=60%,5xx=60%", "The shares of 429, 5xx add up to 120%: more than 100%."),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(text, sentence):
    with pytest.raises(InvalidError) as caught:
        parse_faults(text)
    assert str(caught.value) == sentence
    assert caught.value.parameter == "faults"


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from([*NAMES, "=", "%", ",", "5", "200ms", " "]), max_size=12).map("".join)
)
def test_any_text_is_read_or_refused_with_a_sentence(text):
    faults, sentence = Faults(), "read"
    try:
        faults = parse_faults(text)
    except InvalidError as error:
        sentence = str(error)
    assert sentence
    assert all(share >= 0 for share in faults.shares.values())


@given(st.dictionaries(st.sampled_from([name for name in NAMES if name != "latency"]), st.integers(0, 3)))
def test_written_shares_are_read_back(shares):
    faults = parse_faults(",".join(f"{name}={share}%" for name, share in shares.items()))
    assert faults.shares == {name: share / 100 for name, share in shares.items()}


@given(st.integers(), st.lists(st.integers(0, 30), max_size=5))
def test_the_same_seed_makes_the_same_faults(seed, sizes):
    faults = parse_faults("429=20%,5xx=20%,duplicate=20%,reorder=20%,drop=20%")
    one, other = FaultInjector(faults, seed), FaultInjector(faults, seed)
    for size in sizes:
        assert one.perturb(events(size)) == other.perturb(events(size))
        assert one.random_fault(OBJECT) == other.random_fault(OBJECT)


@given(st.integers(), st.integers(2, 60))
def test_without_drops_every_event_is_sent(seed, count):
    injector = FaultInjector(parse_faults("duplicate=30%,reorder=50%"), seed)
    sent = Counter(event["id"] for event in injector.perturb(events(count)))
    assert set(sent) == set(range(count))
    assert sent.total() == count + injector.counters.duplicated


def test_without_faults_nothing_is_changed():
    injector = FaultInjector(Faults(), 1)
    assert injector.perturb(events(5)) == events(5)
    assert {injector.random_fault(OBJECT) for _ in range(100)} == {None}


def test_certain_faults_are_certain():
    assert FaultInjector(parse_faults("drop=100%"), 1).perturb(events(9)) == []
    assert FaultInjector(parse_faults("429=100%"), 1).random_fault(OBJECT) == "429"
    assert len(FaultInjector(parse_faults("duplicate=100%"), 1).perturb(events(9))) == 18


def test_a_single_event_held_back_waits_for_the_next():
    injector = FaultInjector(parse_faults("reorder=100%"), 1)
    assert injector.perturb([{"id": 1}]) == []
    assert [event["id"] for event in injector.perturb([{"id": 2}, {"id": 3}])] == [1, 2, 3]
    assert injector.counters.reordered == 3


def test_shares_come_true_in_the_long_run():
    injector = FaultInjector(parse_faults("429=10%,5xx=20%"), 5)
    seen = Counter(injector.random_fault(OBJECT) for _ in range(5000))
    assert 0.08 < seen["429"] / 5000 < 0.12
    assert 0.17 < seen["5xx"] / 5000 < 0.23


@given(st.integers(1, 10), st.floats(0, 1))
def test_backoff_is_between_a_second_and_a_minute(attempt, chance):
    assert 1 <= backoff(attempt, chance) <= 60


@pytest.mark.parametrize(
    ("wrong", "parameter"),
    [
        ({"shipments": -1}, "shipments"),
        ({"speed": -1.0}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"rate_limit": 0.0}, "rate_limit"),
        ({"in_flight": 0}, "in_flight"),
        ({"webhook_url": "ftp://x", "webhook_secret": "s"}, "webhook_url"),
        ({"webhook_url": "http://x"}, "webhook_secret"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(wrong, parameter):
    with pytest.raises(InvalidError) as caught:
        SandboxOptions(**wrong)
    assert caught.value.parameter == parameter


def test_keys_are_generated_and_never_shown():
    one, other = SandboxOptions(), SandboxOptions()
    assert one.api_key != other.api_key
    assert one.api_key not in repr(one)
    assert one.client_secret not in repr(one)


def test_every_fault_has_a_sentence_and_the_help_names_it():
    assert all(sentence for sentence in (ANSWER_FAULTS | WRITE_FAULTS | WEBHOOK_FAULTS).values())
    assert len(NAMES) == len(set(NAMES))
    assert PAGE_FAULTS <= set(BODY_FAULTS) <= set(ANSWER_FAULTS)
    said = set(re.findall(r"\w+", sandbox.help))
    assert set(NAMES) <= said


def test_a_script_takes_as_many_requests_as_it_was_told():
    script = ScriptedFault("500", "^/shipments", 2, "GET")
    asked = [RequestInfo("GET", "/bookings"), RequestInfo("PATCH", "/shipments/1"), OBJECT, LIST, OBJECT]
    assert [script.matches(one) for one in asked] == [False, False, True, True, False]
    assert (script.made, script.left) == (2, 0)
    always = ScriptedFault("500", "", None, None)
    assert all(always.matches(one) for one in asked * 9)
    assert always.made == 45


@pytest.mark.parametrize("kind", ANSWER_FAULTS)
def test_faults_of_lists_wait_for_a_list(kind):
    assert OBJECT.supports(kind) == (kind not in PAGE_FAULTS)
    assert LIST.supports(kind)
    assert RequestInfo("GET", "/shipments", 1).supports(kind) == (kind != "repeat")


@pytest.mark.parametrize("kind", WRITE_FAULTS)
def test_faults_of_writes_wait_for_a_write(kind):
    amendment, creation, change = (
        RequestInfo(method, path)
        for method, path in (("POST", "/booking_amendments"), ("POST", "/bookings"), ("PATCH", "/products/1"))
    )
    assert amendment.supports(kind)
    assert creation.supports(kind) == (kind != "pending_amendment")
    assert change.supports(kind) == (kind not in {"pending_amendment", "refused_as_duplicate"})
    for other in (OBJECT, LIST, RequestInfo("POST", "/oauth/token"), RequestInfo("POST", "/carbon_calculation")):
        assert not other.supports(kind)
    always = FaultInjector(parse_faults(f"{kind}=100%"), 1)
    assert (always.random_fault(amendment), always.random_fault(OBJECT)) == (kind, None)


def test_faults_of_writes_leave_those_of_reads_as_they_were():
    shares = "429=20%,5xx=20%"
    one = FaultInjector(parse_faults(shares), 3)
    other = FaultInjector(parse_faults(f"{shares},accepted_then_dropped=50%"), 3)
    write = RequestInfo("POST", "/bookings")
    for _ in range(400):
        assert one.random_fault(OBJECT) == other.random_fault(OBJECT)
    seen = Counter(other.random_fault(write) for _ in range(1000))
    assert 400 < seen["accepted_then_dropped"] < 600


@pytest.mark.parametrize(
    ("wrong", "parameter", "sentence"),
    [
        (("502x", "", 1, None), "faults", "There is no fault '502x': did you mean '502'?"),
        (("drop", "", 1, None), "faults", "There is no fault 'drop'"),
        (("500", "(", 1, None), "path", "no regular expression"),
        (("500", "", 0, None), "times", "times is 0"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused(wrong, parameter, sentence):
    with pytest.raises(InvalidError) as caught:
        ScriptedFault(*wrong)
    assert caught.value.parameter == parameter
    assert sentence in str(caught.value)


def test_a_script_comes_before_the_dice_and_the_first_one_first():
    injector = FaultInjector(Faults(), 1)
    injector.scripts += [ScriptedFault("500", "", 1, None), ScriptedFault("html", "", 1, None)]
    assert [injector.scripted_fault(OBJECT) for _ in range(3)] == ["500", "html", None]


ROWS = [
    {"_object": "/shipment", "id": number, "status": "departure_port", "updated_at": "2026-03-04T08:00:00.000Z"}
    for number in (1, 2, 3, 4)
]
NOW = datetime(2026, 3, 4, 9, tzinfo=UTC)


def spoilt_page(fault):
    page = {"_object": "/api/collections/paginated", "prev": None, "total_count": 9, "data": ROWS}
    page["next"] = "http://127.0.0.1:9/shipments?page=2&per=4"
    envelope = {"_object": "/api/response", "self": "x", "version": 2, "error": None, "data": page}
    found = inject(fault, envelope, NOW, [{"id": 77}])
    assert envelope["data"] is page
    assert len(ROWS) == 4
    return found


@pytest.mark.parametrize(
    ("fault", "field", "value"),
    [
        ("repeat", "data", [{"id": 77}]),
        ("lying_total", "total_count", 16),
        ("low_total", "total_count", 4),
        ("foreign_next", "next", "http://elsewhere.invalid/shipments?page=2&per=4"),
        ("no_id", "data", [{name: value for name, value in ROWS[0].items() if name != "id"}, *ROWS[1:]]),
        ("twice", "data", [*ROWS, ROWS[0]]),
        ("future", "data", [row | {"updated_at": "2026-04-03T09:00:00.000Z"} for row in ROWS]),
        ("backwards", "data", [row | {"updated_at": "2026-03-03T08:00:00.000Z"} for row in ROWS]),
        ("cut", "data", ROWS[:2]),
        ("unknown_enum", "data", [row | {"status": "x_sandbox_novelty"} for row in ROWS]),
    ],
)
def test_a_page_is_spoilt_as_its_sentence_says(fault, field, value):
    page, good = spoilt_page(fault)["data"], spoilt_page("slow")["data"]
    assert page[field] == value != good[field]
    changed = {name for name in page if page[name] != good[name]}
    assert changed == ({"data", "next"} if fault == "cut" else {field})
    assert fault != "cut" or page["next"] is None


def test_other_answers_are_spoilt_as_their_sentence_says():
    page = spoilt_page("empty")["data"]
    assert (page["data"], page["total_count"], page["next"]) == ([], 0, None)
    assert all("x_sandbox_novelty" in row for row in spoilt_page("unknown_field")["data"]["data"])
    failed = spoilt_page("error_200")
    assert failed["data"] is None
    assert failed["error"]["_object"] == "/api/error"
    assert len(spoilt_page("huge")["padding"]) == 50 * 2**20
    shown = inject("no_id", {"data": ROWS[0], "error": None}, NOW)
    assert shown["data"] == {name: value for name, value in ROWS[0].items() if name != "id"}
    assert inject("future", {"data": None}, NOW) == {"data": None}


def test_what_was_asked_is_remembered_within_a_bound():
    requests = RequestLog()
    for number in range(LOGGED_REQUESTS + 5):
        requests.record(LoggedRequest("GET", f"/shipments/{number}", 200))
    requests.record(LoggedRequest("POST", "/oauth/token", 200), token=True)
    assert (requests.total, len(requests), requests.tokens) == (LOGGED_REQUESTS + 6, LOGGED_REQUESTS, 1)
    assert requests.count("^/shipments/1000[0-4]$") == 5
    assert requests.count(method="POST") == 1
    requests.clear()
    assert (requests.total, len(list(requests)), requests.tokens) == (0, 0, 0)
