"""The sandbox's world is believable and the same for the same seed (design §8: a seeded world that moves)."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexportd.errors import InvalidError, NotFoundError
from flexportd.sandbox import World, WorldPlan
from flexportd.sandbox.catalog.kinds import CONTAINER, CONTAINER_LEG, EVENT, INVOICE, LEG, SHIPMENT
from flexportd.sandbox.catalog.places import PLACES
from flexportd.sandbox.catalog.schedules import imo_number
from flexportd.sandbox.catalog.vehicles import check_digit
from flexportd.sandbox.http.filters import STATUSES
from flexportd.sandbox.world.world import EVENTS_KEPT

START = datetime(2026, 3, 4, 8, tzinfo=UTC)
KINDS = (SHIPMENT, LEG, CONTAINER, CONTAINER_LEG)


def world_of(shipments=40, seed=7, start=START):
    return World(WorldPlan(start=start, seed=seed, shipments=shipments))


@pytest.fixture(scope="module")
def book() -> World:
    return world_of(300)


def moment(text):
    return datetime.fromisoformat(text)


def replayed(events):
    """What a listener knows who stores every full object of every event, in order."""
    known = {kind: {} for kind in (*KINDS, INVOICE)}
    for event in events:
        data = event["data"]
        for wire in (data["shipment"], *data["containers"], data["resource"]):
            # An invoice of type Client comes without a shipment.
            if wire is not None:
                known[wire["_object"]][wire["id"]] = wire
    return known


def of_shipments(events):
    """The events that carry a shipment: those about Client invoices carry none."""
    return [event for event in events if event["data"]["shipment"] is not None]


def test_the_same_seed_makes_the_same_world():
    one, other = world_of(), world_of()
    assert one.tables == other.tables
    assert one.advance(START + timedelta(days=9)) == other.advance(START + timedelta(days=9))
    assert one.backlog() == other.backlog()


def test_another_seed_makes_another_world():
    assert world_of().tables[SHIPMENT] != world_of(seed=8).tables[SHIPMENT]


@settings(max_examples=15)
@given(st.lists(st.integers(0, 10 * 86_400), max_size=6))
def test_many_small_steps_lead_where_one_large_step_leads(seconds):
    steps, leap = world_of(8), world_of(8)
    told = [event for count in sorted(seconds) for event in steps.advance(START + timedelta(seconds=count))]
    assert told == leap.advance(START + timedelta(seconds=max(seconds, default=0)))
    assert steps.tables == leap.tables


def test_going_back_in_time_changes_nothing():
    world = world_of()
    world.advance(START + timedelta(days=2))
    now = world.now
    assert world.advance(START) == []
    assert world.now == now


def test_a_book_holds_as_many_shipments_as_asked():
    assert len(world_of(0).tables[SHIPMENT]) == 0
    assert len(world_of(1).tables[SHIPMENT]) == 1
    assert len(world_of(40).tables[SHIPMENT]) == 40


def test_shipments_stand_in_every_stage(book):
    assert {row["status"] for row in book.tables[SHIPMENT].values()} <= set(STATUSES)
    assert {event["data"]["shipment"]["status"] for event in of_shipments(book.backlog())} == set(STATUSES)
    assert len({row["status"] for row in book.tables[SHIPMENT].values()}) >= 11
    assert len({row["status"] for row in world_of().tables[SHIPMENT].values()}) >= 8


def test_arrivals_lie_around_now(book):
    days = [
        (moment(row["estimated_arrival_date"]) - START).days
        for row in book.tables[SHIPMENT].values()
        if row["estimated_arrival_date"]
    ]
    assert min(days) < -5
    assert max(days) > 20
    assert sum(abs(count) < 15 for count in days) > len(days) / 4


def test_some_are_late_held_or_out_of_free_time(book):
    overdue = [
        row
        for row in book.tables[SHIPMENT].values()
        if row["actual_arrival_date"] is None
        and row["estimated_arrival_date"]
        and moment(row["estimated_arrival_date"]) < START
    ]
    names = Counter(event["type"] for event in book.events)
    assert overdue
    assert sum(count for kind, count in names.items() if "customs" in kind and "released" not in kind)
    assert sum(count for kind, count in names.items() if "delay" in kind)
    assert names["/ocean/shipment_container#free_time_expired"]
    assert names["/shipment_leg#delivery_appointment_scheduled"]
    assert names["/shipment_leg#updated_estimated_time_of_arrival"]


def test_legs_depart_before_they_arrive_and_follow_each_other(book):
    for number in book.tables[SHIPMENT]:
        legs = book.journey(number).plan.legs
        times = [time for leg in legs for time in (leg.departure, leg.arrival)]
        assert times == sorted(times)
        for leg in legs:
            if leg.route_leg.mode == "ocean":
                assert timedelta(days=1) < leg.arrival - leg.departure < timedelta(days=60)
            if leg.route_leg.mode == "air":
                assert leg.arrival - leg.departure < timedelta(days=9)


def test_actual_times_are_never_in_the_future(book):
    for kind in (SHIPMENT, LEG, CONTAINER):
        for row in book.tables[kind].values():
            for name, text in row.items():
                if name.startswith("actual_") and text:
                    assert moment(text) <= START, (kind, row["id"], name)


def test_transport_times_carry_the_offset_of_their_place_and_are_mostly_noon(book):
    hours = Counter()
    for leg in book.tables[LEG].values():
        for name, side in (("departure", "origin"), ("arrival", "destination")):
            zone = ZoneInfo(leg[side]["place"]["address"]["timezone"])
            for text in (leg[f"estimated_{name}_date"], leg[f"actual_{name}_date"]):
                if text:
                    assert moment(text).utcoffset() == moment(text).astimezone(zone).utcoffset()
                    assert text[-6] in "+-"
                    hours[text[11:19] == "12:00:00"] += 1
    assert 0.85 < hours[True] / hours.total() < 0.98


def test_stamps_are_utc_with_milliseconds(book):
    for event in book.events:
        for name in ("created_at", "occurred_at"):
            assert len(event[name]) == 24
            assert event[name].endswith("Z")
        assert event["occurred_at"] <= event["created_at"]
    for row in book.tables[SHIPMENT].values():
        assert len(row["updated_at"]) == len(row["created_date"]) == 24


def test_event_ids_and_stamps_rise(book):
    backlog = book.backlog()
    assert [event["id"] for event in backlog] == list(range(730_000, 730_000 + len(backlog)))
    stamps = [event["created_at"] for event in backlog]
    assert stamps == sorted(stamps)
    assert stamps[-1] <= "2026-03-04T08:00:00.000Z"


def test_some_events_are_back_dated(book):
    """An arrival keyed in days later is what the events poller must not miss."""
    lags = [moment(event["created_at"]) - moment(event["occurred_at"]) for event in book.events]
    assert any(lag > timedelta(days=1) for lag in lags)
    assert sum(lag < timedelta(hours=2) for lag in lags) > len(lags) / 2


def test_updated_at_rises_with_every_change(book):
    """A change of an invoice is none of its shipment: whoever waits for the stamp to move misses it."""
    seen = defaultdict(list)
    for event in of_shipments(book.backlog()):
        if event["data"]["resource"]["_object"] == INVOICE:
            assert event["data"]["shipment"]["updated_at"] == seen[event["data"]["shipment"]["id"]][-1]
            continue
        seen[event["data"]["shipment"]["id"]].append(event["data"]["shipment"]["updated_at"])
    for stamps in seen.values():
        assert stamps == sorted(set(stamps))


@pytest.mark.parametrize("days", [0, 20])
def test_replaying_the_backlog_ends_in_the_present(days):
    world = world_of(120, seed=3)
    world.advance(START + timedelta(days=days))
    known = replayed(world.backlog())
    assert known[SHIPMENT] == world.tables[SHIPMENT]
    # Containers are made when the schedule is confirmed and told of with the first leg, minutes later.
    assert {number: world.tables[CONTAINER][number] for number in known[CONTAINER]} == known[CONTAINER]
    untold = set(world.tables[CONTAINER]) - set(known[CONTAINER])
    assert all(world.tables[CONTAINER][number]["estimated_departure_date"] is None for number in untold)
    standing = {number: leg for number, leg in world.tables[LEG].items() if leg["deleted_at"] is None}
    # A leg is told of when the schedule is confirmed, hours after the booking.
    assert {number: leg for number, leg in known[LEG].items() if number in standing}.items() <= standing.items()
    untold = set(standing) - set(known[LEG])
    assert all(standing[number]["estimated_departure_date"] is None for number in untold)
    # No event tells of a deletion.
    for number in set(known[LEG]) - set(standing):
        assert known[LEG][number] | {"deleted_at": None} == world.tables[LEG][number] | {"deleted_at": None}
    for number, row in world.tables[CONTAINER_LEG].items():
        assert known[CONTAINER_LEG].get(number, row | {"dates": {}}) == row


def test_the_backlog_and_what_follows_are_one_story():
    world = world_of(60)
    before = world.backlog()
    after = world.advance(START + timedelta(days=15))
    assert world.backlog() == before + after
    known = replayed(before + after)
    assert known[SHIPMENT] == world.tables[SHIPMENT]


def test_every_shipment_begins_with_its_creation(book):
    first = {}
    for event in of_shipments(book.backlog()):
        first.setdefault(event["data"]["shipment"]["id"], event["type"])
    assert set(first) == set(book.tables[SHIPMENT])
    assert set(first.values()) == {"/shipment#created"}


def test_a_listener_hears_of_every_leg_before_it_departs(book):
    told = set()
    for event in book.backlog():
        resource = event["data"]["resource"]
        if resource["_object"] == LEG:
            if event["type"].endswith("#departed"):
                assert resource["id"] in told
            told.add(resource["id"])


def test_the_world_never_runs_dry():
    world = world_of(10)
    for _ in range(12):
        assert world.advance(world.now + timedelta(days=30))
    running = [row for row in world.tables[SHIPMENT].values() if row["status"] != "final_destination"]
    assert len(running) >= 5
    assert len(world.tables[SHIPMENT]) > 20


def test_only_the_last_events_are_kept(monkeypatch):
    world = world_of(40)
    monkeypatch.setattr("flexportd.sandbox.world.world.EVENTS_KEPT", 100)
    told = world.advance(START + timedelta(days=10))
    assert len(told) > 50
    assert len(world.events) == 100
    assert world.events[-1] == told[-1]
    assert EVENTS_KEPT == 20_000


def test_new_routes_delete_a_leg_without_an_event(book):
    deleted = [leg for leg in book.tables[LEG].values() if leg["deleted_at"]]
    assert deleted
    for leg in deleted:
        assert leg["actual_departure_date"] is None
        assert any(event["type"] == "/shipment#updated_route" for event in book.journey(leg["shipment"]["id"]).replay())


def test_a_chain_of_legs_joins_the_two_ends(book):
    for number in book.tables[SHIPMENT]:
        legs = [leg for leg in book.tables[LEG].values() if leg["shipment"]["id"] == number and not leg["deleted_at"]]
        refs = [
            (leg["origin"]["place"]["address"]["ref"], leg["destination"]["place"]["address"]["ref"]) for leg in legs
        ]
        starts = {origin for origin, _ in refs} - {destination for _, destination in refs}
        assert len(starts) == 1


def test_a_silent_change_moves_updated_at_and_is_in_the_backlog():
    world = world_of(5)
    number = next(iter(world.tables[SHIPMENT]))
    before = world.tables[SHIPMENT][number]
    stamps = [before["updated_at"]]
    stamps += [world.edit_shipment(number, {"metadata": {"PO #": [value]}})["updated_at"] for value in ("a", "b")]
    assert stamps == sorted(set(stamps))
    assert before["metadata"] != world.tables[SHIPMENT][number]["metadata"] == {"PO #": ["b"]}
    assert replayed(world.backlog())[SHIPMENT] == world.tables[SHIPMENT]
    world.advance(START + timedelta(days=30))
    assert world.tables[SHIPMENT][number]["metadata"] == {"PO #": ["b"]}
    assert replayed(world.backlog())[SHIPMENT] == world.tables[SHIPMENT]


def test_the_clock_never_lags_behind_a_stamp():
    """`Date` tells the time of the world: a client would take a later stamp for one in the future."""
    world = world_of(1)
    number = next(iter(world.tables[SHIPMENT]))
    stamps = [moment(world.edit_shipment(number, {"name": str(at)})["updated_at"]) for at in range(20)]
    assert START < stamps[-1] <= world.now


def test_amend_refuses_what_is_not_there():
    world = world_of(2)
    with pytest.raises(NotFoundError, match="999"):
        world.edit_shipment(999, {})
    with pytest.raises(InvalidError, match="colour"):
        world.edit_shipment(next(iter(world.tables[SHIPMENT])), {"colour": "red"})


def test_items_fill_only_after_the_invoices_are_digitised(book):
    digitised = {
        event["data"]["shipment"]["id"]
        for event in book.backlog()
        if event["type"].endswith("#commercial_invoices_digitized")
    }
    assert {number for number, row in book.tables[SHIPMENT].items() if row["items"]} == digitised
    row = book.tables[SHIPMENT][min(digitised)]
    assert {item["purchase_order_number"] for item in row["items"]} == set(row["metadata"]["PO #"])


def test_full_containers_number_one_to_three_and_numbers_hold(book):
    boxes = defaultdict(list)
    for box in book.tables[CONTAINER].values():
        number = box["container_number"]
        assert check_digit(number[:10]) == int(number[10])
        boxes[box["shipment"]["id"]].append(box)
    sizes = {len(group) for group in boxes.values()}
    assert sizes == {1, 2, 3}
    assert any(box["container_size"] == "fourty_ft_hc" for box in book.tables[CONTAINER].values())
    for number, row in book.tables[SHIPMENT].items():
        if boxes[number]:
            assert row["ocean_shipment"] is not None or row["transportation_mode"] == "rail"


@pytest.mark.parametrize(("stem", "digit"), [("CSQU305438", 3), ("MSKU907032", 3), ("TGHU123456", None)])
def test_container_check_digits_follow_iso_6346(stem, digit):
    assert check_digit(stem) == digit if digit is not None else 0 <= check_digit(stem) <= 9


@given(st.integers(100_000, 999_999))
def test_imo_numbers_carry_their_check_digit(stem):
    number = imo_number(stem)
    assert sum(int(sign) * weight for sign, weight in zip(number, range(7, 1, -1), strict=False)) % 10 == int(number[6])


def test_a_known_imo_number_holds():
    assert imo_number(907472) == "9074729"


def test_places_have_real_zones_and_countries():
    for place in PLACES.values():
        assert place.zone.key == place.timezone
        assert place.country
        assert place.kinds or place.street
    assert len([place for place in PLACES.values() if place.unlocode]) >= 30


def test_deprecated_dates_follow_the_actual_else_the_estimated(book):
    for row in book.tables[SHIPMENT].values():
        for name in ("departure", "arrival", "picked_up_in_full"):
            assert row[f"{name}_date"] == (row[f"actual_{name}_date"] or row[f"estimated_{name}_date"])
        assert row["delivered_in_full_date"] == row["actual_delivered_in_full_date"]


def test_links_lead_to_the_host_of_the_plan():
    world = World(WorldPlan(start=START, shipments=3, link_base="http://127.0.0.1:9/"))
    for row in world.tables[SHIPMENT].values():
        assert row["legs"]["link"] == f"http://127.0.0.1:9/shipment_legs?f.shipment.id={row['id']}"
    assert all(
        leg["shipment"]["link"].startswith("http://127.0.0.1:9/shipments/") for leg in world.tables[LEG].values()
    )


def test_events_are_listed_with_their_ids(book):
    assert book.tables[EVENT][book.events[0]["id"]] is book.events[0]
