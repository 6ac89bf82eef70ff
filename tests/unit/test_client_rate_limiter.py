"""How requests are sent to Flexport: rate and shares, the breaker, deadlines, usage."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flexportd.clock import MonotonicClock
from flexportd.flexport.circuit_breaker import Breaker
from flexportd.flexport.errors import ErrorDetails, FlexportUnavailableError, RateLimitedError
from flexportd.flexport.rate_limiter import RateLimiter
from flexportd.flexport.retry import Deadline, backoff
from flexportd.flexport.usage import PURPOSES, Call, UsageRecorder
from flexportd.http.retry_after import http_date, retry_after
from tests.flexport_double import StillClock

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


# Retry-After and backoff


@given(st.text())
def test_retry_after_is_seconds_of_sense_or_nothing(text):
    found = retry_after(text, NOW)
    assert found is None or 0 <= found <= 86_400


@given(st.integers(0, 10**9))
def test_retry_after_in_seconds(seconds):
    assert retry_after(f" {seconds} ", NOW) == min(seconds, 86_400)


@given(st.integers(-(10**6), 86_400))
def test_retry_after_as_a_date_counts_from_the_clock_of_who_wrote_it(seconds):
    text = (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after(text, NOW) == max(0, seconds)
    assert http_date(text) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("text", [None, "", "-1", "1e9", "nan", "inf", "soon", "١٢", "Thu, 99 Feb 2026 25:00:00 GMT"])
def test_retry_after_without_sense_is_none(text):
    assert retry_after(text, NOW) is None


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_below_its_bound(attempt, jitter):
    assert 0 <= backoff(attempt, jitter) < 20.000001
    assert backoff(attempt, jitter) <= 0.5 * 2 ** min(attempt - 1, 30)


@given(st.floats(0, 120), st.none() | st.floats(0, 200), st.integers(1, 30), st.floats(0, 1, exclude_max=True))
def test_no_wait_reaches_beyond_patience_and_none_is_shorter_than_what_was_asked_for(whole, asked, attempt, jitter):
    clock = StillClock()
    patience = Deadline(MonotonicClock(clock), whole)
    for kind in (RateLimitedError, FlexportUnavailableError):
        delay = patience.delay(attempt, kind("x", ErrorDetails(429, retry_after=asked)), jitter)
        if delay is not None:
            assert (asked or 0) <= delay <= whole
        if asked is not None and asked > whole:
            assert delay is None


def test_a_429_that_names_no_time_waits_half_a_minute_or_half_of_a_short_patience():
    steady = MonotonicClock(StillClock())
    assert Deadline(steady, 60).delay(1, RateLimitedError("x"), 0.5) == pytest.approx(33)
    assert Deadline(steady, 10).delay(1, RateLimitedError("x"), 0.5) == pytest.approx(5.5)
    assert Deadline(steady, 0).delay(1, RateLimitedError("x"), 0.5) is None


def test_steady_seconds_never_run_backwards():
    clock = StillClock()
    steady = MonotonicClock(clock)
    clock.turn(seconds=5)
    assert steady.seconds() == 5
    clock.turn(days=-3)
    assert steady.seconds() == 5
    clock.turn(seconds=2)
    assert steady.seconds() == 7
    assert steady.wall_time(10) == clock.now() + timedelta(seconds=3)


# The pace


class Track:
    """Drives a pace in time that only passes when somebody sleeps."""

    def __init__(self, rate=5.0, places=4):
        self.clock = StillClock()
        self.steady = MonotonicClock(self.clock)
        self.pace = RateLimiter(rate, places, self.clock, self.steady)
        self.granted = []

    async def one(self, purpose, hold=0.0):
        await self.pace.acquire(purpose)
        self.granted.append((purpose, self.steady.seconds()))
        if hold:
            await self.clock.sleep(hold)
        self.pace.release(purpose)

    async def all(self, *purposes):
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            for purpose in purposes:
                group.create_task(self.one(purpose))

    def order(self):
        return [purpose for purpose, _ in self.granted]


@given(st.lists(st.sampled_from(PURPOSES), max_size=60), st.floats(0.2, 50), st.integers(1, 6))
@settings(max_examples=50)
async def test_the_rate_is_kept_and_nobody_is_forgotten(purposes, rate, places):
    track = Track(rate, places)
    await track.all(*purposes)
    assert sorted(track.order()) == sorted(purposes)
    times = [at for _, at in track.granted]
    burst = max(1.0, rate / 5)
    for number, at in enumerate(times):
        assert number + 1 <= burst + rate * at + 0.001
    if len(times) > burst + 1:  # and it is made use of
        assert times[-1] <= (len(times) - burst) / rate + 1 + len(times) * 0.0001


async def test_a_person_goes_first_and_lists_get_every_fifth_turn():
    track = Track(rate=1.0)
    await track.all(*["sync"] * 10, *["interactive"] * 40)
    order = track.order()
    for begin in range(0, 45, 5):
        assert "sync" in order[begin + 1 : begin + 6]
    assert order[:40].count("interactive") >= 30


@example(["interactive"] * 80 + ["events", "refresh", "write", "sync"])
@given(st.permutations(["interactive"] * 80 + ["events", "refresh", "write", "sync"]))
@settings(max_examples=10)
async def test_whoever_waits_gets_a_turn_among_a_crowd(purposes):
    track = Track(rate=1.0)
    await track.all(*purposes)
    order = track.order()
    for purpose in ("events", "refresh", "write", "sync"):
        assert order.index(purpose) <= 16


async def test_details_of_shipments_go_last_and_get_every_tenth_turn():
    track = Track(rate=1.0)
    await track.all(*["details"] * 10, *["sync"] * 40)
    order = track.order()
    assert order[:40].count("sync") >= 35
    for begin in range(0, 30, 10):
        assert "details" in order[begin + 1 : begin + 12]


@pytest.mark.parametrize("purpose", ["sync", "details"])
@pytest.mark.parametrize(("places", "lists"), [(1, 1), (2, 1), (4, 3)])
async def test_one_place_is_kept_free_of_lists_and_details(places, lists, purpose):
    track = Track(rate=1000.0, places=places)
    waiting = [asyncio.create_task(track.pace.acquire(purpose)) for _ in range(places + 2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sum(task.done() for task in waiting) == lists
    if places > 1:
        await asyncio.wait_for(track.pace.acquire("interactive"), 5)
        track.pace.release("interactive")
    for _ in range(places + 2):
        track.pace.release(purpose)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*waiting), 5)


async def test_who_is_cancelled_while_waiting_takes_nothing_from_the_others():
    track = Track(rate=1.0, places=1)
    await track.pace.acquire("sync")
    waiting = [asyncio.create_task(track.one(purpose)) for purpose in ("interactive", "sync", "events")]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.wait([waiting[0]])
    track.pace.release("sync")
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting[1:])
    assert sorted(track.order()) == ["events", "sync"]
    assert track.pace.view()["in_flight"] == 0
    assert not any(track.pace.view()["waiting"].values())


async def test_who_is_cancelled_just_as_its_turn_comes_gives_it_back():
    track = Track(rate=1000.0, places=1)
    await track.pace.acquire("sync")
    first = asyncio.create_task(track.one("interactive"))
    await asyncio.sleep(0)
    track.pace.release("sync")  # grants the turn, which `first` has not noticed
    first.cancel()
    await asyncio.wait([first])
    assert track.granted == []
    await asyncio.wait_for(track.one("events"), 5)


async def test_the_one_who_keeps_the_time_may_be_cancelled():
    class Stuck(StillClock):
        def __init__(self):
            super().__init__()
            self.let = asyncio.Event()

        async def sleep(self, seconds):
            await self.let.wait()
            await super().sleep(seconds)

    clock = Stuck()
    steady = MonotonicClock(clock)
    pace = RateLimiter(1.0, 4, clock, steady)
    await pace.acquire("sync")
    keeper = asyncio.create_task(pace.acquire("interactive"))
    other = asyncio.create_task(pace.acquire("sync"))
    await asyncio.sleep(0)
    keeper.cancel()
    await asyncio.wait([keeper])
    clock.let.set()
    await asyncio.wait_for(other, 5)


async def test_a_429_halves_the_rate_once_for_a_burst_and_it_recovers_slowly():
    track = Track(rate=8.0)
    began = track.clock.now()
    track.clock.turn(seconds=1)
    for _ in range(4):
        track.pace.slow_down(began)
    assert track.pace.rate() == pytest.approx(4)
    track.clock.turn(seconds=30)
    assert 4 < track.pace.rate() < 7
    track.clock.turn(seconds=31)
    assert track.pace.rate() == 8
    for _ in range(20):
        track.clock.turn(milliseconds=1)
        track.pace.slow_down(track.clock.now())
    assert 0.24 < track.pace.rate() < 0.3
    track.clock.turn(days=-1)  # the wall clock is set back: no matter
    assert 0.24 < track.pace.rate() < 0.3


async def test_the_queue_of_those_who_wait_is_bounded():
    track = Track(rate=1.0, places=1)
    await track.pace.acquire("sync")
    waiting = [asyncio.create_task(track.pace.acquire("sync")) for _ in range(2001)]
    await asyncio.sleep(0)
    done = [task for task in waiting if task.done()]
    assert len(done) == 1
    assert isinstance(done[0].exception(), FlexportUnavailableError)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


# The breaker


class Fuse:
    def __init__(self):
        self.clock = StillClock()
        self.breaker = Breaker(MonotonicClock(self.clock))
        self.resources = itertools.cycle(("/shipments", "/shipment_legs"))

    def request(self, failure=None, answered=True):
        assert self.breaker.wait() == 0
        probe = self.breaker.enter()
        self.breaker.leave(next(self.resources), probe=probe, failure=failure, answered=answered and failure is None)


def test_five_failures_in_a_row_open_the_breaker_and_an_answer_between_them_does_not():
    fuse = Fuse()
    for _ in range(4):
        fuse.request("down")
    fuse.request()
    for _ in range(4):
        fuse.request("down")
    assert fuse.breaker.state == "closed"
    fuse.request("down\x1b")
    view = fuse.breaker.view()
    assert (view["state"], view["reason"]) == ("open", "down\\u001b")
    assert view["retry_at"] > view["since"]
    assert 5 <= fuse.breaker.wait() <= 6.26


def test_each_failed_probe_doubles_the_pause_up_to_two_minutes_and_a_good_one_closes():
    fuse = Fuse()
    for _ in range(5):
        fuse.request("down")
    for bound in (10, 20, 40, 80, 120, 120):
        fuse.clock.turn(seconds=fuse.breaker.wait())
        assert fuse.breaker.state == "half_open"
        fuse.request("still down")
        assert bound <= fuse.breaker.wait() <= min(120, bound * 1.25) + 0.01
    fuse.clock.turn(seconds=121)
    fuse.request()
    assert fuse.breaker.view()["state"] == "closed"
    assert (fuse.breaker.view()["retry_at"], fuse.breaker.reason) == (None, None)
    for _ in range(5):
        fuse.request("down")
    assert fuse.breaker.wait() <= 6.26


def test_one_probe_at_a_time_and_a_cancelled_one_makes_room():
    fuse = Fuse()
    for _ in range(5):
        fuse.request("down")
    fuse.clock.turn(seconds=10)
    assert fuse.breaker.enter()
    assert fuse.breaker.wait() > 0
    fuse.breaker.leave(next(fuse.resources), probe=True, failure=None, answered=False)
    assert fuse.breaker.state == "half_open"
    assert fuse.breaker.wait() == 0


def test_what_began_before_it_opened_neither_closes_it_nor_prolongs_the_pause():
    fuse = Fuse()
    early = [fuse.breaker.enter() for _ in range(7)]
    for probe in early[:5]:
        fuse.breaker.leave(next(fuse.resources), probe=probe, failure="down", answered=False)
    until = fuse.breaker.wait()
    fuse.breaker.leave(next(fuse.resources), probe=early[5], failure="down", answered=False)
    fuse.breaker.leave(next(fuse.resources), probe=early[6], failure=None, answered=True)
    assert (fuse.breaker.state, fuse.breaker.wait()) == ("open", until)


# The budget book


def test_calls_are_added_up_by_hour_purpose_and_resource_and_taken_out_once():
    clock = StillClock()
    book = UsageRecorder(clock)
    book.add(Call("sync", "/shipments", 0.5, 100, False, None))
    book.add(Call("sync", "/shipments", 1.5, 10, True, "flexport-unavailable"))
    book.add(Call("interactive", "/shipments", 0.1, 5, False, None))
    clock.turn(hours=1)
    book.add(Call("sync", "/shipments", 1.0, 1, False, None))
    assert book.take() == {
        ("2026-03-04T12:00:00.000Z", "sync", "/shipments"): (2, 1, 1, 110, 2.0),
        ("2026-03-04T12:00:00.000Z", "interactive", "/shipments"): (1, 0, 0, 5, 0.1),
        ("2026-03-04T13:00:00.000Z", "sync", "/shipments"): (1, 0, 0, 1, 1.0),
    }
    assert book.take() == {}
    assert book.totals()["sync"] == {
        "calls": 3, "errors": 1, "retries": 1, "bytes": 111, "seconds": 3.0, "recent_average_seconds": 1.0
    }  # fmt: skip
    assert book.totals()["events"]["recent_average_seconds"] is None


def test_a_book_that_nobody_drains_stays_bounded():
    clock = StillClock()
    book = UsageRecorder(clock)
    for _ in range(5_100):
        clock.turn(hours=1)
        book.add(Call("sync", "/shipments", 0.5, 100, False, None))
    kept = book.take()
    assert len(kept) == 5_000
    assert max(kept)[0] == clock.stamp()[:13] + ":00:00.000Z"


def test_one_list_that_always_fails_stands_in_nobodys_way():
    fuse = Fuse()
    fuse.resources = itertools.repeat("/shipments")
    for _ in range(20):
        fuse.request("500")
    assert fuse.breaker.state == "closed"
    fuse.resources = itertools.repeat("/documents")
    fuse.request("500")
    assert fuse.breaker.state == "open"
