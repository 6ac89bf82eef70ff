"""Purchase orders of a shipment that only its booking's metadata names."""

import itertools

import pytest

from tests.events import event, shipment
from tests.unit.test_equal_times import KEY
from tests.unit.test_response_order import Mirror
from tests.wire_orders import booking, link

BOOKED = booking(metadata={"PO #": ["123", "124"], "Season": ["S1"]}, shipment=link("/shipment", KEY))
LISTED = shipment(metadata={}, booking=None)


@pytest.fixture
def mirror(tmp_path):
    made = []

    def make():
        made.append(Mirror(tmp_path / f"{len(made)}.db"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def orders(one):
    shown = one.one()["purchase_orders"]
    found = one.raw.execute("SELECT value FROM shipment_references WHERE kind = 'po' ORDER BY value").fetchall()
    return shown, [value for (value,) in found]


def test_a_booking_names_them_in_every_order_of_arrival(mirror):
    for names in itertools.permutations(["bookings", "shipments"]):
        one = mirror()
        for name in names:
            one.answer(BOOKED if name == "bookings" else LISTED, 0, name=name)
        assert orders(one) == ('["123","124"]', ["123", "124"])
        one.receive(event(LISTED | {"status": "departed", "updated_at": "2026-03-06T00:00:00Z"}))
        assert orders(one)[1] == ["123", "124"]
        one.answer(
            shipment(metadata={"PO #": ["124", "9"]}, updated_at="2026-03-07T00:00:00Z"),
            10,
            date=10**6,
            name="shipments",
        )
        assert orders(one) == ('["124","9","123"]', ["123", "124", "9"])


def test_a_shipment_that_names_its_booking_finds_them_too(mirror):
    one = mirror()
    one.answer(BOOKED | {"shipment": None}, 0, name="bookings")
    one.answer(shipment(metadata={}, booking=link("/booking", BOOKED["id"])), 0, name="shipments")
    assert orders(one)[1] == ["123", "124"]


def test_an_order_that_the_booking_no_longer_names_is_gone_and_one_of_the_shipment_stays(mirror):
    one = mirror()
    one.answer(shipment(metadata={"PO #": ["4471"]}), 0, name="shipments")
    one.answer(BOOKED, 0, name="bookings")
    assert orders(one)[0] == '["4471","123","124"]'
    one.answer(BOOKED | {"metadata": {"PO #": ["124"]}}, 10, name="bookings")
    assert orders(one) == ('["4471","124"]', ["124", "4471"])
    one.answer(BOOKED | {"metadata": {}}, 20, name="bookings")
    assert orders(one) == ('["4471"]', ["4471"])
