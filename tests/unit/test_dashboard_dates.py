"""Dates as pages show them: a day in disguise stays its day, a time names its zone."""

from datetime import UTC, datetime, timedelta

import pytest

from flexportd.clock import stamp
from flexportd.expose.dashboard.view.dates import Delay, ViewContext, count, days_between, find_zone, percent_elapsed

NOW = datetime(2026, 3, 24, 3, 0, tzinfo=UTC)


def sight(zone: str = "Europe/Berlin", now: datetime = NOW) -> ViewContext:
    return ViewContext(find_zone(zone), now)


@pytest.mark.parametrize(
    "moment",
    [
        "2026-03-21T12:00:00-07:00",
        "2026-03-21T00:00:00+14:00",
        "2026-03-21T12:00:00+00:00",
        "2026-03-21T00:00:00+08:00",
    ],
)
@pytest.mark.parametrize("place_zone", [None, "Asia/Tokyo", "America/Los_Angeles"])
def test_a_day_without_a_time_is_shown_as_it_was_written(moment, place_zone):
    found = sight("Pacific/Auckland").moment(moment, place_zone)
    assert (found.text, found.day, found.iso) == ("21 Mar", "21 Mar", "2026-03-21")


@pytest.mark.parametrize(
    ("moment", "place_zone", "words"),
    [
        ("2026-03-21T14:05:00-07:00", "America/Los_Angeles", "21 Mar 14:05 (UTC\N{MINUS SIGN}7)"),
        ("2026-03-21T21:05:00+00:00", "America/Los_Angeles", "21 Mar 14:05 (UTC\N{MINUS SIGN}7)"),
        ("2026-03-21T14:05:00-07:00", None, "21 Mar 14:05 (UTC\N{MINUS SIGN}7)"),
        ("2026-03-21T14:05:00+00:00", None, "21 Mar 14:05 UTC"),
        ("2026-03-21T14:05:00-07:00", "Not/AZone", "21 Mar 14:05 (UTC\N{MINUS SIGN}7)"),
        ("2026-03-21T14:05:00+08:00", "Asia/Singapore", "21 Mar 14:05 (UTC+8)"),
        ("2026-03-21T23:30:00+00:00", "Asia/Hong_Kong", "22 Mar 07:30 (UTC+8)"),
    ],
)
def test_a_time_names_the_zone_it_is_meant_in(moment, place_zone, words):
    assert sight().moment(moment, place_zone).text == words


def test_a_time_of_our_clock_is_in_the_zone_of_the_dashboard_even_at_noon():
    assert sight().instant("2026-03-21T12:00:00.000Z").text == "21 Mar 13:00 (UTC+1)"


@pytest.mark.parametrize(
    ("planned", "actual", "expected"),
    [
        ("2026-03-21T12:00:00-07:00", None, Delay("2 days overdue", "bad")),
        ("2026-03-23T12:00:00-07:00", None, None),  # there it is still the 23rd
        ("2026-03-22T12:00:00-07:00", None, Delay("1 day overdue", "bad")),
        ("2026-04-23T12:00:00-07:00", None, None),
        ("2026-03-21T12:00:00-07:00", "2026-03-24T12:00:00-07:00", Delay("3 days late", "warn")),
        ("2026-03-21T12:00:00-07:00", "2026-03-20T09:10:00-07:00", Delay("1 day early", "good")),
        ("2026-03-21T12:00:00-07:00", "2026-03-21T23:50:00-07:00", None),
        (None, "2026-03-21T12:00:00-07:00", None),
    ],
)
def test_lateness_counts_calendar_days_at_the_place(planned, actual, expected):
    assert sight().delay(planned, actual) == expected


@pytest.mark.parametrize(
    ("planned", "words"),
    [
        ("2026-03-23T12:00:00-07:00", "today"),
        ("2026-03-24T12:00:00-07:00", "tomorrow"),
        ("2026-03-28T12:00:00+08:00", "in 4 days"),
        ("2026-03-20T12:00:00+08:00", None),
    ],
)
def test_a_countdown_is_counted_at_the_place(planned, words):
    assert sight().countdown(planned) == words


@pytest.mark.parametrize(
    "text", ["soon", "", None, "0001-01-01T00:30:00+14:00", "9999-12-31T23:59:00-12:00", "x" * 500]
)
def test_no_text_that_claims_to_be_a_time_breaks_a_page(text):
    for zone in ("Pacific/Honolulu", "Pacific/Kiritimati"):
        found = sight(zone)
        assert found.moment(text) is None or len(found.moment(text).text) <= 60
        assert found.instant(text) is None or found.instant(text).text
        assert found.calendar_day(text) is None or len(found.calendar_day(text).text) <= 40


@pytest.mark.parametrize("name", [None, "", "../../etc/passwd", "Not/AZone", "/etc", "Europe", "a\x00b", "x" * 5000])
def test_a_name_that_is_no_zone_is_none(name):
    assert find_zone(name) is None


def test_small_words():
    assert (count(1, "day"), count(0, "day"), count(1204, "event")) == ("1 day", "0 days", "1,204 events")
    assert days_between("2026-03-21T12:00:00-07:00", "2026-03-24T12:00:00-07:00") == 3
    assert days_between("soon", "2026-03-24T12:00:00-07:00") is None


def test_the_share_of_a_voyage_moves_in_steps_and_never_pretends_to_be_over():
    begin, end = "2026-03-20T03:00:00+00:00", "2026-03-28T03:00:00+00:00"
    assert percent_elapsed(begin, end, NOW) == 50
    assert percent_elapsed(begin, "2026-03-21T03:00:00+00:00", NOW) == 95
    assert percent_elapsed(None, end, NOW) == 50
    assert percent_elapsed(end, begin, NOW) == 50


@pytest.mark.parametrize(
    ("seconds", "ago", "ahead"),
    [
        (-5, "just now", "now"),
        (44, "just now", "now"),
        (45, "1 minute ago", "in 1 minute"),
        (12 * 60, "12 minutes ago", "in 12 minutes"),
        (57 * 60, "1 hour ago", "in 1 hour"),
        (47 * 3600, "2 days ago", "in 2 days"),
    ],
)
def test_how_far_a_time_is_from_now_is_told_in_words(seconds, ago, ahead):
    far = timedelta(seconds=seconds)
    assert sight().ago(stamp(NOW - far)).words == ago
    assert sight().until(stamp(NOW + far)).words == ahead


def test_a_time_of_today_is_its_hour_alone():
    assert sight().clock_time("2026-03-24T01:02:00.000Z") == "02:02"
    assert sight().clock_time("2026-03-23T22:02:00.000Z") == "23 Mar 23:02"
    assert sight().between("2026-03-23T22:02:00.000Z", "2026-03-23T22:01:00.000Z") == 0.0
    for nothing in (None, "soon"):
        assert (sight().clock_time(nothing), sight().ago(nothing), sight().until(nothing)) == (None, None, None)
        assert sight().between(nothing, stamp(NOW)) is None
