"""The agenda: which day or time each entry is at, what it says, and that every calendar program can read it."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.core import calendar as agenda
from flexportd.core.calendar import CalendarEntry
from flexportd.core.resources.values import moment
from flexportd.expose.feeds import icalendar as calendar_module
from flexportd.expose.feeds.icalendar import CalendarInfo, render_calendar, sequence
from flexportd.storage.connection import open_writer
from flexportd.storage.migrate import migrate
from flexportd.storage.queries.list_query import PageRequest
from flexportd.storage.repositories.audiences import Audience
from flexportd.storage.repositories.calendar import LIST_QUERIES, LegContainers, ShipmentSummary
from tests.strict_icalendar import checked

HEADING = CalendarInfo("Freight, ours; all of it", "America/Los_Angeles", pages="https://freight.example.com")
AT = "2026-03-04T02:41:10.512Z"
JOURNEY = ShipmentSummary(910_233, "PO 4471", None, AT)


def row(kind, **fields):
    return dict.fromkeys((*LIST_QUERIES[kind].columns, "shipment_id")) | {"id": 910_233, "synced_at": AT} | fields


def arrival(**fields):
    return agenda.arrival(row("arrivals", **{"port_of_unloading": "Los Angeles, CA"} | fields))


def box(last_free_day, **fields):
    return row("free_time", id=555_001, shipment_id=910_233, container_number="CSQU3054383", **fields) | {
        "last_free_day": last_free_day
    }


def lone(entry, heading=HEADING):
    """The one event of a calendar with this entry."""
    (event,) = checked(render_calendar(heading, [entry]))
    return event


# --- times ---

CHANGES_OF_CLOCKS = [
    # Flexport writes the place's own offset; the instants are as the two clocks there have them.
    ("2026-03-08T01:30:00.000-08:00", "20260308T093000Z"),  # Los Angeles, before it skips an hour
    ("2026-03-08T03:30:00.000-07:00", "20260308T103000Z"),
    ("2026-11-01T01:30:00.000-07:00", "20261101T083000Z"),  # the same time of day twice
    ("2026-11-01T01:30:00.000-08:00", "20261101T093000Z"),
    ("2026-03-29T01:30:00.000+01:00", "20260329T003000Z"),  # Berlin
    ("2026-03-29T03:30:00.000+02:00", "20260329T013000Z"),
    ("2026-10-25T02:30:00.000+02:00", "20261025T003000Z"),
    ("2026-10-25T02:30:00.000+01:00", "20261025T013000Z"),
    ("2026-03-21T14:05:30.000Z", "20260321T140530Z"),
]


@pytest.mark.parametrize(("wire", "instant"), CHANGES_OF_CLOCKS)
def test_a_time_is_the_same_instant_on_both_sides_of_a_change_of_clocks(wire, instant):
    event = lone(arrival(estimated_arrival=moment(wire)))
    assert event["DTSTART"].to_ical().decode() == instant
    assert event["DTEND"].dt - event["DTSTART"].dt == timedelta(hours=1)


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Europe/Berlin", "Asia/Hong_Kong", "Pacific/Kiritimati"])
def test_every_hour_of_the_days_on_which_clocks_change_comes_back_as_it_was(zone):
    local = ZoneInfo(zone)
    for day in (date(2026, 3, 8), date(2026, 3, 29), date(2026, 10, 25), date(2026, 11, 1)):
        for hour in range(48):
            meant = datetime(day.year, day.month, day.day, 0, 17, tzinfo=UTC) + timedelta(hours=hour)
            event = lone(arrival(actual_arrival=moment(meant.astimezone(local).isoformat(timespec="milliseconds"))))
            assert event["DTSTART"].dt == meant


@pytest.mark.parametrize("time", ["12:00:00", "00:00:00"])
@pytest.mark.parametrize("offset", ["+14:00", "+12:45", "+08:00", "+00:00", "-07:00", "-11:00"])
def test_a_day_in_disguise_is_that_day_all_day_on_both_sides_of_the_date_line(time, offset):
    event = lone(arrival(estimated_arrival=moment(f"2026-03-08T{time}.000{offset}")))
    assert event["DTSTART"].to_ical() == b"20260308"
    assert event["DTEND"].to_ical() == b"20260309"
    assert event["TRANSP"] == "TRANSPARENT"


@pytest.mark.parametrize(
    "stored", ["2026-11-28T00:00:00+09:00", "2026-11-28T12:00:00+14:00", "2026-11-28T00:00:00-00:00"]
)
def test_the_last_free_day_is_the_day_that_is_stored_at_the_terminal(stored):
    entry = agenda.free_time(box(stored, terminal="Tokyo", terminal_code="JPTYO"), JOURNEY)
    assert (entry.at, entry.place) == (date(2026, 11, 28), "Tokyo (JPTYO)")


@pytest.mark.parametrize("stored", ["1970-01-01T00:00:00+00:00", "2099-12-31T00:00:00+00:00", None])
def test_dates_that_are_not_plausible_are_no_entries(stored):
    assert agenda.free_time(box(stored), JOURNEY) is None
    assert arrival(estimated_arrival=stored) is None
    assert agenda.appointment(row("appointments", delivery_appointment=stored), JOURNEY) is None


# --- what entries say ---


def test_an_arrival_is_tentative_until_it_has_happened_and_keeps_its_identity():
    planned = arrival(
        name="PO 4471", estimated_arrival="2026-03-21T12:00:00-07:00", port_of_unloading="Los Angeles, CA",
        port_of_unloading_code="USLAX", mode="ocean", status="in_transit_to_arrival_port", carrier="Example Line",
        vessel="EXAMPLE STAR", voyage="012E", purchase_orders='["4471","4472"]', container_numbers='["CSQU3054383"]',
    )  # fmt: skip
    before = lone(planned)
    assert before["UID"] == "arrival-910233@flexportd"
    assert before["SUMMARY"] == "Arrives Los Angeles, CA · FLEX-910233 PO 4471"
    assert before["STATUS"] == "TENTATIVE"
    assert before["LOCATION"] == "Los Angeles, CA (USLAX)"
    assert before["URL"] == "https://freight.example.com/shipments/910233"
    assert before["CATEGORIES"].to_ical() == b"Arrivals"
    assert str(before["DESCRIPTION"]).split("\n") == [
        "Estimated arrival: 2026-03-21",
        "Mode: ocean",
        "Status: in transit to arrival port",
        "Carrier: Example Line",
        "Vessel or flight: EXAMPLE STAR 012E",
        "Purchase orders: 4471, 4472",
        "Containers: CSQU3054383",
        "https://freight.example.com/shipments/910233",
    ]
    after = lone(
        arrival(
            name="PO 4471", actual_arrival="2026-03-22T14:05:00-07:00", estimated_arrival="2026-03-21T12:00:00-07:00",
            synced_at="2026-03-22T22:00:00.000Z",
        )
    )  # fmt: skip
    assert (after["UID"], after["STATUS"]) == (before["UID"], "CONFIRMED")
    assert after["SUMMARY"] == "Arrived Los Angeles, CA · FLEX-910233 PO 4471"
    assert "Actual arrival: 2026-03-22 14:05 (-07:00)" in after["DESCRIPTION"]
    assert after["SEQUENCE"] > before["SEQUENCE"]


@pytest.mark.parametrize(
    ("kind", "make", "fields", "planned", "done"),
    [
        (
            "ramp_arrivals", agenda.ramp_arrival, {"inland_ramp": "Chicago, IL"},
            ("estimated_ramp_arrival", "Arrives Chicago, IL ramp"), ("actual_ramp_arrival", "Arrived Chicago, IL ramp"),
        ),
        (
            "ramp_arrivals", agenda.ramp_arrival, {"inland_ramp": "BNSF Ramp Dallas"},
            ("estimated_ramp_arrival", "Arrives BNSF Ramp Dallas"), ("actual_ramp_arrival", "Arrived BNSF Ramp Dallas"),
        ),
        (
            "deliveries", agenda.delivery, {"destination": "Memphis"},
            ("estimated_delivered_in_full", "Delivery Memphis"), ("actual_delivered_in_full", "Delivered Memphis"),
        ),
        (
            "arrivals", agenda.arrival, {"destination": "Memphis"},  # by road
            ("estimated_arrival", "Arrives Memphis"), ("actual_arrival", "Arrived Memphis"),
        ),
    ],
)  # fmt: skip
def test_each_place_has_an_entry_of_its_own(kind, make, fields, planned, done):
    for (name, words), at in ((planned, "2026-03-25T12:00:00-05:00"), (done, "2026-03-26T02:30:00-05:00")):
        entry = make(row(kind, **fields, **{name: at}))
        assert (entry.title, entry.kind) == (f"{words} · FLEX-910233", kind)
        assert entry.day == date.fromisoformat(at[:10])
        assert entry.place == next(iter(fields.values()))
    assert make(row(kind, **fields)) is None


def test_by_road_a_delivery_is_no_arrival_as_well():
    at = "2026-03-25T12:00:00-05:00"
    assert (
        agenda.arrival(row("arrivals", destination="Memphis", estimated_arrival=at, actual_delivered_in_full=at))
        is None
    )


def test_free_time_names_the_container_and_its_shipment():
    event = lone(agenda.free_time(box("2026-03-25T07:00:00.000Z", container_size="fourty_ft_hc"), JOURNEY))
    assert event["UID"] == "free-time-555001@flexportd"
    assert event["SUMMARY"] == "Last free day CSQU3054383 · FLEX-910233 PO 4471"
    assert event["STATUS"] == "CONFIRMED"
    assert "Container: CSQU3054383 fourty ft hc" in event["DESCRIPTION"]
    unknown = agenda.free_time(box("2026-03-25T07:00:00Z") | {"container_number": None, "shipment_id": None})
    assert unknown.title == "Last free day container 555001"


@pytest.mark.parametrize(
    ("numbers", "words"),
    [((), ""), (("CSQU3054383",), " · CSQU3054383"), (("CSQU3054383", "MSKU1234565"), " · 2 containers")],
)
def test_an_appointment_says_what_is_to_be_delivered_where(numbers, words):
    found = row(
        "appointments", id=8_800_412, shipment_id=910_233, destination="Warehouse 7", destination_code=None,
        delivery_appointment="2026-03-26T09:30:00-07:00",
    )  # fmt: skip
    load = LegContainers(numbers, "2026-03-04T09:00:00.000Z") if numbers else None
    event = lone(agenda.appointment(found, JOURNEY, load))
    assert event["UID"] == "appointment-8800412@flexportd"
    assert event["SUMMARY"] == f"Delivery appointment FLEX-910233 PO 4471{words} · Warehouse 7"
    assert event["DTSTART"].dt == datetime(2026, 3, 26, 16, 30, tzinfo=UTC)
    done = agenda.appointment(found | {"delivery_completed": "2026-03-26T10:00:00-07:00"}, JOURNEY, load)
    assert done.title.startswith("Delivered FLEX-910233")
    assert done.key == "appointment-8800412"


def test_an_invoice_is_due_all_day_whatever_its_id_looks_like():
    found = row(
        "invoices", id="a/b c,ä\n@x", name="FLEX-910233-1", due_date="2026-03-31", outstanding_amount="512.14",
        outstanding_currency="USD", status="past_due",
    )  # fmt: skip
    event = lone(agenda.invoice_due(found))
    assert event["UID"] == "invoice-a%2Fb%20c%2C%C3%A4%0A%40x@flexportd"
    assert event["SUMMARY"] == "Invoice due FLEX-910233-1 · 512.14 USD"
    assert event["DTSTART"].to_ical() == b"20260331"


def test_the_revision_rises_with_whatever_an_entry_is_made_of():
    first = agenda.free_time(box("2026-03-25T07:00:00Z"), JOURNEY)
    moved = msgspec.structs.replace(JOURNEY, synced_at="2026-03-04T02:41:12.000Z")
    assert sequence(agenda.free_time(box("2026-03-25T07:00:00Z"), moved).revised_at) > sequence(first.revised_at)
    later = LegContainers((), "2026-03-05T00:00:00.000Z")
    found = row("appointments", delivery_appointment="2026-03-26T09:30:00-07:00")
    assert agenda.appointment(found, moved, later).revised_at == later.synced_at


@pytest.mark.parametrize(
    ("at", "number"),
    [
        ("2019-12-31T23:59:59.999Z", 0),
        ("2020-01-01T00:00:01.500Z", 1),
        ("2087-12-31T00:00:00.000Z", 2145830400),
        ("2199-01-01T00:00:00.000Z", 2**31 - 1),
    ],
)
def test_a_revision_is_a_number_that_every_program_can_hold(at, number):
    assert sequence(at) == number


# --- the file ---


def test_the_heading_says_who_and_how_often():
    body = render_calendar(HEADING, [])
    text = body.replace(b"\r\n ", b"").decode()
    assert "X-WR-CALNAME:Freight\\, ours\\; all of it\r\n" in text
    assert "NAME:Freight\\, ours\\; all of it\r\n" in text
    assert "METHOD:PUBLISH\r\n" in text
    assert "REFRESH-INTERVAL;VALUE=DURATION:PT1H\r\n" in text
    assert "X-PUBLISHED-TTL:PT1H\r\n" in text
    assert "X-WR-TIMEZONE:America/Los_Angeles\r\n" in text


def test_a_calendar_without_entries_is_valid_and_shows_nothing():
    body = render_calendar(replace(HEADING, description="Cut; see below"), [])
    assert checked(body) == []
    assert body.count(b"BEGIN:VTIMEZONE") == 1
    assert b"DESCRIPTION:Cut\\; see below" in body


def test_the_same_agenda_is_the_same_bytes():
    entries = [arrival(id=number, estimated_arrival="2026-03-21T12:00:00-07:00") for number in range(1, 30)]
    body = render_calendar(HEADING, entries)
    calendar_module._event.cache_clear()
    assert render_calendar(HEADING, [*entries]) == body
    for event in checked(body):
        assert event["DTSTAMP"].dt == event["LAST-MODIFIED"].dt == datetime(2026, 3, 4, 2, 41, 10, tzinfo=UTC)


HOSTILE = [
    "x\r\nBEGIN:VEVENT\r\nUID:forged\r\nEND:VEVENT",
    "x\nSUMMARY:forged",
    "a,b;c\\d:e\"f'g",
    "\\n is no break",
    "🚢" * 500,
    "é" * 2000,
    "👩\u200d👩\u200d👧 family",
    "a\u202egnp.exe\u2066\u200bb",
    "\x00\x01\x08\x0b\x1b[31mred\x7f\x85\u2028\u2029",
    "tab\there",
    "=1+1",
    "".join(map(chr, range(1, 200))),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_one_line_of_one_entry(name):
    event = lone(
        arrival(
            name=name, estimated_arrival="2026-03-21T12:00:00-07:00", port_of_unloading=name,
            port_of_unloading_code=name, vessel=name, purchase_orders=msgspec.json.encode([name] * 50).decode(),
        ),
        replace(HEADING, title=name),
    )  # fmt: skip
    assert event["UID"] == "arrival-910233@flexportd"
    assert len(event["SUMMARY"]) < 400
    assert len(event["DESCRIPTION"]) < 5000
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e\u2066\u2028]", event["SUMMARY"])
    assert "\n" not in event["LOCATION"]


def test_emoji_and_long_names_come_through_whole():
    event = lone(arrival(name="👩\u200d👩\u200d👧 Möbel, 家具", estimated_arrival="2026-03-21T12:00:00-07:00"))
    assert event["SUMMARY"] == "Arrives Los Angeles, CA · FLEX-910233 👩\u200d👩\u200d👧 Möbel, 家具"


names = st.text(st.characters(codec="utf-8"), max_size=300)
seconds = st.integers(0, 2_200_000_000) | st.integers(0, 25_000 * 2).map(lambda half: half * 43_200)
times = seconds.map(lambda past: datetime(2000, 1, 2, tzinfo=UTC).replace(tzinfo=None) + timedelta(seconds=past))
offsets = st.integers(-12 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))


@given(names, names, times, offsets, st.booleans())
def test_whatever_a_name_or_time_is_every_reader_takes_the_calendar(name, place, at, offset, happened):
    written = moment(at.replace(tzinfo=offset).isoformat(timespec="milliseconds"))
    fields = {"actual_arrival" if happened else "estimated_arrival": written}
    entries = [
        arrival(name=name, port_of_unloading=place, mode=place, **fields),
        agenda.free_time(
            box(written, container_size=name, terminal=place), msgspec.structs.replace(JOURNEY, name=name)
        ),
        agenda.appointment(row("appointments", destination=place, delivery_appointment=written), JOURNEY, None),
        agenda.invoice_due(row("invoices", id=name or "1", name=name, due_date=written[:10], issuer=place)),
    ]
    events = checked(render_calendar(replace(HEADING, title=name, pages=None), entries))
    assert len(events) == 4
    start = events[0]["DTSTART"].dt
    if written[11:19] in ("12:00:00", "00:00:00"):
        assert start == at.date()
    else:
        assert start == at.replace(tzinfo=offset)


# --- how much ---


def entry(key, day):
    return CalendarEntry(key, "arrivals", key, day, AT)


def test_what_is_to_come_goes_before_what_is_past_and_the_nearest_first():
    today = date(2026, 3, 10)
    entries = [entry(f"e{days}", today + timedelta(days=days)) for days in range(-20, 20)]
    assert [one.key for one in agenda.closest(entries, today, 3)] == ["e0", "e1", "e2"]
    assert [one.key for one in agenda.closest(entries, today, 22)] == [f"e{days}" for days in range(-2, 20)]
    assert agenda.closest([*entries, *entries], today, 100) == agenda.closest(entries, today, 100)
    assert len(agenda.closest(entries, today, 100)) == 40
    times = [entry("b", datetime(2026, 3, 10, 9, tzinfo=UTC)), entry("a", datetime(2026, 3, 10, 8, tzinfo=UTC))]
    assert [one.key for one in agenda.closest([*times, entry("c", today)], today, 9)] == ["c", "a", "b"]


@pytest.mark.parametrize("kind", agenda.KINDS)
@pytest.mark.parametrize("restricted", [False, True])
def test_every_page_goes_through_an_index(tmp_path, kind, restricted):
    """One request must not read the whole of what is stored."""
    migrate(tmp_path / "x.db")
    raw = open_writer(tmp_path / "x.db")
    audience = Audience("consignee", ("Acme",))
    filters = {"from": ("2026-01-01",), "before": ("2027-01-01",), "shown": ()}
    filters |= {"audience": audience.parameters} if restricted else {}
    try:
        for after in (None, ("2026-03-01T00:00:00.000Z", 5)):
            page, listing = PageRequest(500, "at", filters=filters, after=after), LIST_QUERIES[kind]
            for sql, values in listing.statements(page, listing.columns):
                plan = [found[3] for found in raw.execute("EXPLAIN QUERY PLAN " + sql, (*values, 501))]
                assert not any(re.match(r"SCAN (?!json_each)", step) for step in plan), plan
    finally:
        raw.close()
