"""Whole responses against each other and against events: the object's own times where both have one, else the request."""

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.clock import stamp
from flexportd.core.importer.batch_import import (
    BEFORE_REMOVAL,
    EARLIER,
    OLDER,
    OLDER_RESPONSE,
    apply,
    record_unchanged,
    remove,
)
from flexportd.core.importer.compare import Comparison
from flexportd.core.unit_of_work import ChangeCause
from tests.events import event, shipment
from tests.unit.test_equal_times import REGISTRY, Store
from tests.wire_goods import invoice

KEY_OF_INVOICE = invoice()["id"]


class Mirror(Store):
    """A store to which responses come that tell when they were requested: `at` is in seconds of one minute."""

    def answer(self, found, at, *, date=None, seq=None, name="invoices", sent_at="", is_list=False):
        """Applies one response; why it was skipped, or None."""
        rows = [json.dumps(found).encode()]
        seq = self.tx.events.last_seq() if seq is None else seq
        started, date = _time(at), _time(at + 1 if date is None else date)
        found = Comparison(REGISTRY[name], started, date, seq, "2026-01-01T00:00:00.000Z", sent_at, is_list)
        found.compare(self.tx, rows)
        assert not found.failures
        done = []
        self.within(
            lambda: done.append(apply(self.tx, found, found.candidates, ChangeCause(self.clock.stamp(), "sync")))
        )
        self.within(lambda: record_unchanged(self.tx, found, self.clock.stamp()))
        return next(iter(done[0].skips), None)

    def removed(self, at, name="invoices", key=KEY_OF_INVOICE):
        cause = ChangeCause(self.clock.stamp(), "sync")
        self.within(lambda: remove(self.tx, REGISTRY[name], [key], _time(at), cause))

    def status(self, name="invoices", key=KEY_OF_INVOICE):
        return self.one(name, key)["status"]


def _time(second):
    return stamp(datetime(2026, 3, 5, 0, 30, tzinfo=UTC) + timedelta(seconds=second))


def bill(status, second=None, **more):
    """An invoice that changed at a second of that minute, or does not say when."""
    return invoice(status=status, last_updated_at=None if second is None else _time(second), **more)


@pytest.fixture
def mirror(tmp_path):
    made = []

    def make():
        made.append(Mirror(tmp_path / f"{len(made)}.db"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_later_response_wins_over_one_without_a_time_though_its_own_time_is_before_that_request(mirror):
    one = mirror()
    one.answer(bill("outstanding"), 0)
    assert one.answer(bill("paid", -20), 10) is None
    assert one.status() == "paid"
    assert one.one("invoices", KEY_OF_INVOICE)["as_of"] == _time(0)  # a reader who asks for what changed since finds it


def test_what_was_raised_above_its_own_time_gives_way_to_the_next_response_as_well(mirror):
    one = mirror()
    one.answer(bill("outstanding"), 0)
    one.answer(bill("paid", -20), 10)
    assert one.answer(bill("void", -15), 20) is None
    assert one.status() == "void"


def test_a_response_without_a_time_wins_over_one_that_was_requested_before_it(mirror):
    one = mirror()
    one.answer(bill("paid", -20), 0)
    assert one.answer(bill("outstanding"), 10) is None
    assert one.status() == "outstanding"


def test_a_response_that_was_requested_first_and_comes_last_is_skipped_and_the_receipt_says_why(mirror):
    one = mirror()
    one.answer(bill("paid", -20), 10)
    assert one.answer(bill("outstanding"), 0) == EARLIER
    assert one.status() == "paid"
    one = mirror()
    one.answer(bill("outstanding"), 10)
    assert one.answer(bill("paid", -20), 0) == EARLIER
    one = mirror()
    one.answer(bill("paid", -10), 10)
    assert one.answer(bill("outstanding", -20), 20) == OLDER_RESPONSE
    one = mirror()
    one.receive(event(bill("paid", -10), shipment=shipment(), id=7))
    assert one.answer(bill("outstanding", -20), 20) == OLDER


def test_a_response_requested_after_the_state_was_stored_wins_though_flexports_clock_went_back(mirror):
    one = mirror()
    one.answer(bill("outstanding"), 50)
    assert one.answer(bill("paid", -20), 20, sent_at="2099-01-01T00:00:00.000Z") is None
    assert one.status() == "paid"


@pytest.mark.parametrize("second", [-20, None])
def test_what_was_removed_and_returns_gives_way_to_later_responses(mirror, second):
    one = mirror()
    one.answer(bill("outstanding", -30), 0)
    one.removed(10)
    assert one.answer(bill("outstanding", -25), 5) == BEFORE_REMOVAL
    assert one.answer(bill("returned", second), 20) is None
    assert one.raw.execute("SELECT removed_at FROM invoices").fetchone() == (None,)
    assert one.answer(bill("paid", -15), 30) is None
    assert one.status() == "paid"


def test_a_response_with_a_time_to_come_gives_way_to_the_next(mirror):
    one = mirror()
    one.answer(bill("outstanding", 3000), 0)
    assert one.answer(bill("paid", -20), 10) is None
    assert one.status() == "paid"


def test_an_event_with_a_time_to_come_gives_way_to_the_response_requested_after_it(mirror):
    one = mirror()
    one.receive(event(bill("outstanding", 3000), shipment=shipment(), id=7))
    assert one.answer(bill("paid", -20), 10, seq=0) == OLDER  # requested before the event came
    assert one.answer(bill("paid", -20), 10) is None
    assert one.status() == "paid"


def test_an_event_that_was_recorded_before_a_response_was_requested_changes_nothing_in_any_order(mirror):
    """Whatever time the object itself had in that response: an event without one is as old as its record."""
    undated = event(bill("outstanding"), shipment=shipment(), created_at=_time(-10), id=7)
    for first in (True, False):
        one = mirror()
        if first:
            one.receive(undated)
        one.answer(bill("paid", -20), 10)
        if not first:
            one.receive(undated)
        assert one.status() == "paid"


def test_an_event_that_only_a_response_without_a_time_stands_against_has_the_object_fetched(mirror):
    one = mirror()
    one.answer(bill("outstanding"), 0)
    one.receive(event(bill("paid", -20), shipment=shipment(), id=7))
    one.receive(event(bill("paid", -20), shipment=shipment(updated_at=_time(-1_000_000)), id=8))
    assert ("invoices", KEY_OF_INVOICE) in {(found.domain, found.key) for found in one.told}
    told = dict(one.raw.execute("SELECT state, reason FROM events").fetchall())
    assert told.keys() == {"applied", "coalesced"}  # the first brought the shipment
    assert all("does not say when the object changed" in reason for reason in told.values())


VERSIONS = st.lists(st.sampled_from([None, 5]), min_size=1, max_size=4)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(1, 9), st.integers(-30, 30)), min_size=1, max_size=4),
    st.data(),
)
def test_the_response_requested_last_stands_in_every_order_of_arrival(tmp_path_factory, asked, life, data):
    """One object in its versions, each with a time or without, by a clock that is off by as much as it likes."""
    skew = data.draw(st.integers(-25, 25))
    dated = data.draw(st.lists(st.booleans(), min_size=len(life), max_size=len(life)))
    changed = list(itertools.accumulate(step for step, _ in life))
    versions = [
        bill(f"v{number}", second + skew if is_dated else None)
        for number, (second, is_dated) in enumerate(zip(changed, dated, strict=True))
    ]
    requests = []
    for number, (step, _) in enumerate(asked):
        at = changed[0] + number + sum(found for found, _ in asked[:number]) + step
        shown = max(place for place, second in enumerate(changed) if second <= at)
        requests.append((at, versions[shown], shown))
    newest = requests[-1][2]
    one = Mirror(tmp_path_factory.mktemp("requests") / "one.db")
    for at, found, _ in data.draw(st.permutations(requests)):
        one.answer(found, at, date=at + 60)
    assert one.status() == f"v{newest}"
    one.close()
