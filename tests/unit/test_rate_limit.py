"""How often a key may ask: fair, exact, bounded."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.core.access.keys import UNRESTRICTED, Principal
from flexportd.errors import RefusedError
from flexportd.expose.security import authentication
from flexportd.expose.security.authentication import FailureLimiter, KeyRateLimiter, RateLimitResult
from flexportd.settings import UNLIMITED, Rate

START = datetime(2026, 3, 4, 2, 41, tzinfo=UTC)
READ = frozenset({"read"})
ONE = Principal("aaaaaaaa", "one", READ)
OTHER = Principal("bbbbbbbb", "other", READ)


def _at(seconds):
    return START + timedelta(seconds=seconds)


def _rates(requests, seconds):
    return KeyRateLimiter(lambda: Rate(requests, seconds))


def test_all_may_be_asked_at_once_and_then_as_it_fills():
    limited = _rates(3, 60)
    assert [limited.acquire(ONE, START) for _ in range(3)] == [
        RateLimitResult(True, 3, 60, 2, 20), RateLimitResult(True, 3, 60, 1, 40), RateLimitResult(True, 3, 60, 0, 60),
    ]  # fmt: skip
    refused = limited.acquire(ONE, START)
    assert (refused.allowed, refused.remaining, refused.reset_seconds) == (False, 0, 20)
    assert "all 3 requests allowed per 60 s" in refused.sentence
    assert "after 20 s" in refused.sentence
    assert not limited.acquire(ONE, _at(19.9)).allowed
    assert limited.acquire(ONE, _at(20)).allowed
    assert limited.acquire(OTHER, _at(20)).remaining == 2


def test_a_key_may_have_a_rate_of_its_own_and_who_has_no_key_has_none():
    limited = _rates(1, 60)
    assert limited.acquire(UNRESTRICTED, START) is None
    own = Principal("cccccccc", "own", READ, None, Rate(2, 1))
    assert limited.acquire(own, START).limit == 2
    assert limited.acquire(Principal("dddddddd", "free", READ, None, UNLIMITED), START) is None
    assert _rates(*UNLIMITED).acquire(ONE, START) is None


@pytest.mark.parametrize(
    ("old", "new", "remaining"), [((1, 60), (5, 60), 4), ((2, 30), (2, 60), 1), ((9, 60), (1, 9), 0)]
)
def test_a_rate_that_is_changed_while_running_begins_anew(old, new, remaining):
    rate = Rate(*old)
    limited = KeyRateLimiter(lambda: rate)
    for _ in range(old[0]):
        assert limited.acquire(ONE, START).allowed
    assert not limited.acquire(ONE, START).allowed
    rate = Rate(*new)
    assert limited.acquire(ONE, START) == RateLimitResult(True, *new, remaining, -(-new[1] // new[0]))


def test_a_clock_that_is_set_back_locks_nobody_out():
    limited = _rates(2, 60)
    assert all(limited.acquire(ONE, _at(86400)).allowed for _ in range(2))
    assert limited.acquire(ONE, START).allowed


@given(st.integers(1, 50), st.integers(1, 100), st.lists(st.integers(0, 5_000_000), max_size=200))
def test_no_span_of_time_has_more_than_the_rate_and_its_bucket(requests, seconds, gaps):
    limited, now, taken = _rates(requests, seconds), START, []
    for gap in gaps:
        now += timedelta(microseconds=gap)
        found = limited.acquire(ONE, now)
        assert 0 <= found.remaining <= requests
        if found.allowed:
            taken.append(now)
        else:
            wait = timedelta(seconds=found.reset_seconds)
            again = _rates(requests, seconds)
            again._buckets._full_at.update(limited._buckets._full_at)
            assert again.acquire(ONE, now + wait).allowed  # what is promised is kept
    for place, first in enumerate(taken):
        for count, last in enumerate(taken[place:], 1):
            span = (last - first) / timedelta(seconds=1)
            assert count <= requests + span * requests / seconds + 1e-6


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_who_asks_evenly_at_the_rate_is_never_refused(requests, seconds):
    limited = _rates(requests, seconds)
    step = -(-seconds * 1_000_000 // requests)
    assert all(limited.acquire(ONE, START + timedelta(microseconds=step * n)).allowed for n in range(300))


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(authentication, "MAX_KEYS", 10)
    limited = _rates(1, 60)
    for number in range(100):
        limited.acquire(Principal(f"{number:08}", "x", READ), START)
    assert len(limited._buckets._full_at) == 10
    assert limited.acquire(Principal("00000000", "x", READ), START).allowed
    assert not limited.acquire(Principal("00000099", "x", READ), START).allowed


# --- wrong keys ---


def _error():
    return RefusedError(401, "key-unknown", "This key is not known.")


def test_an_address_with_too_many_wrong_keys_is_told_to_wait():
    failures, error = FailureLimiter(), _error()
    assert all(failures.count(error, "203.0.113.7", START) is error for _ in range(20))
    found = failures.count(error, "203.0.113.7", START)
    assert (found.status, found.slug, found.retry_after) == (429, "too-many-invalid-keys", 3)
    assert failures.count(error, "203.0.113.8", START) is error
    assert failures.count(error, "203.0.113.7", _at(3)) is error


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("::1", "::2", True),
        ("local", "local", True),
        ("local", "203.0.113.7", False),
    ],
)
def test_addresses_of_one_household_count_as_one(first, second, together):
    failures, error = FailureLimiter(), _error()
    for _ in range(20):
        failures.count(error, first, START)
    assert (failures.count(error, second, START) is not error) == together


def test_the_addresses_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(authentication, "MAX_ADDRESSES", 10)
    failures = FailureLimiter()
    for number in range(100):
        failures.count(_error(), f"10.0.0.{number}", START)
    assert len(failures._buckets._full_at) == 10
