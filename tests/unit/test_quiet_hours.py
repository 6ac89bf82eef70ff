"""Quiet windows and digest times: each once a day, whatever the clock does."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.notify.quiet_hours import DigestSchedule, QuietHours, instant_of

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe",
         "Pacific/Apia", "Pacific/Chatham", "Africa/Cairo", "America/Havana", "Asia/Tehran", "Antarctica/Troll")  # fmt: skip

zones = st.sampled_from(ZONES).map(ZoneInfo)
moments = st.integers(0, 20 * 366 * 86_400).map(
    lambda seconds: datetime(2010, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
clocks = st.builds(time, st.integers(0, 23), st.sampled_from((0, 1, 15, 30, 59)))


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("text", "now", "end"),
    [
        ("22:00-07:00", "2026-11-10T21:59", None),
        ("22:00-07:00", "2026-11-10T22:00", "2026-11-11T07:00"),
        ("22:00-07:00", "2026-11-11T06:59", "2026-11-11T07:00"),
        ("22:00-07:00", "2026-11-11T07:00", None),
        ("12:00-13:30", "2026-11-11T13:29", "2026-11-11T13:30"),
        ("0:00-8:00", "2026-11-11T00:00", "2026-11-11T08:00"),
        # Berlin skips 02:00 to 03:00 on 29 March 2026, and repeats it on 25 October.
        ("22:00-02:30", "2026-03-28T23:00", "2026-03-29T03:00"),
        ("02:15-02:45", "2026-03-29T03:00", None),
        ("02:30-06:00", "2026-03-29T03:00", "2026-03-29T06:00"),
        ("22:00-02:30", "2026-10-25T02:29", "2026-10-25T02:30"),
    ],
)
def test_a_quiet_window_ends_at_its_wall_time(text, now, end):
    found = QuietHours.parse(text).ends_at(berlin(now), BERLIN)
    assert found == (None if end is None else berlin(end).astimezone(UTC))


def test_a_quiet_window_does_not_begin_again_when_the_clock_is_set_back():
    second = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1)
    assert QuietHours.parse("22:00-02:30").ends_at(second, BERLIN) is None


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("daily 07:30", "2026-11-10T07:29", "2026-11-10T07:30"),
        ("daily 07:30", "2026-11-10T07:30", "2026-11-11T07:30"),
        ("Daily 7:30", "2026-12-31T08:00", "2027-01-01T07:30"),
        ("weekly mon 07:30", "2026-11-10T12:00", "2026-11-16T07:30"),
        ("weekly Monday 07:30", "2026-11-16T07:29", "2026-11-16T07:30"),
        ("weekly sun 23:59", "2026-11-16T00:00", "2026-11-22T23:59"),
        ("daily 02:30", "2026-03-29T00:00", "2026-03-29T03:00"),
        ("daily 02:30", "2026-03-29T03:00", "2026-03-30T02:30"),
        ("daily 02:30", "2026-10-25T02:30", "2026-10-26T02:30"),
    ],
)
def test_a_digest_is_sent_at_its_wall_time(text, after, expected):
    found = DigestSchedule.parse(text).next_after(berlin(after), BERLIN)
    assert found == berlin(expected).astimezone(UTC)


def test_a_digest_of_a_day_that_a_country_skipped_is_sent_when_the_next_day_begins():
    apia = ZoneInfo("Pacific/Apia")  # 30 December 2011 did not exist there
    before = datetime(2011, 12, 29, 12, tzinfo=apia)
    assert DigestSchedule.parse("daily 07:30").next_after(before, apia) == datetime(2011, 12, 31, tzinfo=apia)


@pytest.mark.parametrize(
    "text", ["", "22:00", "22:00-", "22-07", "24:00-07:00", "22:60-07:00", "07:00-07:00", "22:00-07:00-08:00",
             "22:00 to 07:00", "\u0662\u0662:00-07:00", "-22:00-07:00"]
)  # fmt: skip
def test_other_text_is_no_quiet_window(text):
    with pytest.raises(ValueError, match="22:00-07:00"):
        QuietHours.parse(text)


@pytest.mark.parametrize(
    "text", ["", "daily", "07:30", "daily 25:00", "daily mon 07:30", "weekly 07:30", "weekly foo 07:30", "weekly mon",
             "hourly 00:30", "weekly mon tue 07:30", "daily 07:30:00"]
)  # fmt: skip
def test_other_text_is_no_digest_schedule(text):
    with pytest.raises(ValueError, match="daily 07:30"):
        DigestSchedule.parse(text)


@pytest.mark.parametrize("text", ["22:00-07:00", "00:00-23:59"])
def test_a_window_is_written_as_it_is_read(text):
    assert str(QuietHours.parse(text)) == text


@settings(max_examples=200)
@given(st.builds(QuietHours, clocks, clocks).filter(lambda one: one.start != one.end), moments, zones)
def test_a_window_ends_once_and_nothing_is_quiet_at_its_end(quiet, now, zone):
    end = quiet.ends_at(now, zone)
    if end is None:
        return
    assert now < end <= now + timedelta(hours=49)  # a day of 24 hours more, where a country skipped one
    assert quiet.ends_at(end - timedelta(microseconds=1), zone) == end
    # Only a window that follows at once, from the skipped hour, is quiet at the end of another.
    follows = quiet.ends_at(end, zone)
    assert follows is None or instant_of(end.astimezone(zone).date(), quiet.start, zone) == end


@settings(max_examples=200)
@given(clocks, st.none() | st.integers(0, 6), moments, zones)
def test_digests_are_sent_once_for_each_of_their_days(at, weekday, moment, zone):
    schedule = DigestSchedule(at, weekday)
    step = 1 if weekday is None else 7
    times = [moment]
    for _ in range(3):
        times.append(schedule.next_after(times[-1], zone))
    assert times == sorted(set(times))
    assert schedule.next_after(times[1] - timedelta(microseconds=1), zone) == times[1]
    for earlier, later in pairwise(times[1:]):
        assert timedelta(days=step - 1, hours=-1) <= later - earlier <= timedelta(days=step + 1, hours=2)
    assert DigestSchedule.parse(str(schedule)) == schedule


@settings(max_examples=200)
@given(st.dates(date(2010, 1, 1), date(2030, 1, 1)), clocks, zones)
def test_a_wall_time_stands_for_its_first_moment_or_for_the_end_of_its_gap(day, clock, zone):
    instant = instant_of(day, clock, zone)
    local, wanted = instant.astimezone(zone).replace(tzinfo=None, fold=0), datetime.combine(day, clock)
    assert local >= wanted
    just_before = (instant - timedelta(microseconds=1)).astimezone(zone).replace(tzinfo=None)
    assert just_before < wanted or local == wanted
    if local == wanted:
        assert datetime.combine(day, clock, zone) == instant
