"""What is asked of Flexport for a leg's carbon figure, what its answer is read as, and what is told of a shipment."""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.core.carbon import carbon_request, document
from flexportd.core.resources import legs, shipments
from flexportd.core.resources.itinerary import ROUTE_FIELDS
from flexportd.core.resources.money import format_number
from flexportd.errors import MalformedError
from flexportd.flexport.models.carbon import CarbonCalculation
from flexportd.flexport.models.legs import Leg
from flexportd.flexport.models.shipments import Shipment
from flexportd.storage.repositories.resources import Record
from flexportd.storage.repositories.shipment_details import CarbonFigure
from tests.events import leg, place, shipment

AT = "2026-03-04T12:00:00.000Z"
KILOS = {"_object": "/quantity/weight", "value": 8200, "unit": "kg"}


def record(number, fields, raw="{}"):
    return Record(number, fields, raw, AT, 1, "sync", AT, AT)


def a_leg(number=1, **fields):
    found = leg(number, **fields)
    return record(number, legs.RESOURCE_TYPE.normalise(Leg.model_validate(found)), json.dumps(found))


def a_shipment(**fields):
    found = Shipment.model_validate(shipment(**{"calculated_weight": KILOS, **fields}))
    return record(910_233, dict.fromkeys(ROUTE_FIELDS) | shipments.RESOURCE_TYPE.normalise(found))


def door(**fields):
    """The end of a leg at an address."""
    found = place("A door", "US")
    found["place"]["address"] |= {"unlocode": None, **fields}
    return found


def asked(a, b=None):
    found = carbon_request(a, b or a_shipment())
    assert found.reason == ""
    return json.loads(found.body, parse_float=Decimal)


def test_an_ocean_leg_is_asked_with_weight_ports_and_whether_it_is_shared():
    assert asked(a_leg()) == {
        "transportation_mode": "ocean",
        "weight": KILOS,
        "origin_port": "CNYTN",
        "destination_port": "USLAX",
        "is_lcl": False,
    }


def test_a_door_is_asked_by_the_address_that_flexport_has():
    found = asked(a_leg(transportation_mode="truck", destination=door(city="Reno", zip="89501")))
    assert found["origin_port"] == "CNYTN"
    assert "origin_address" not in found
    assert "destination_port" not in found
    assert found["destination_address"] == door(city="Reno", zip="89501")["place"]["address"]


def test_is_lcl_is_asked_of_the_ocean_alone_and_where_it_is_known():
    assert asked(a_leg(), a_shipment(ocean_shipment={"is_lcl": True}))["is_lcl"] is True
    assert "is_lcl" not in asked(a_leg(), a_shipment(ocean_shipment=None))
    for mode in ("air", "truck", "rail"):
        assert "is_lcl" not in asked(a_leg(transportation_mode=mode))


@pytest.mark.parametrize(("service", "told"), [("ltl", "ltl"), ("drayage", "drayage"), ("by_mule", None), (None, None)])
def test_the_service_of_a_truck_is_asked_where_it_is_documented(service, told):
    trucking = {"_object": "/trucking/shipment_leg", "service_type": service}
    found = asked(a_leg(transportation_mode="truck", trucking_leg=trucking))
    assert found.get("trucking_service_type") == told
    assert "trucking_service_type" not in asked(a_leg(trucking_leg=trucking))


@pytest.mark.parametrize(
    ("of_leg", "of_shipment", "reason"),
    [
        ({"transportation_mode": "barge"}, {}, "travels by barge"),
        ({"transportation_mode": None}, {}, "has no known mode"),
        ({}, {"calculated_weight": None}, "weight is not known"),
        ({}, {"calculated_weight": KILOS | {"value": 0}}, "weight is not known"),
        ({}, {"calculated_weight": KILOS | {"unit": "stone"}}, "weight is not known"),
        ({}, {"calculated_weight": KILOS | {"value": "NaN"}}, "weight is not known"),
        ({}, {"calculated_weight": KILOS | {"value": "1e99999"}}, "weight is not known"),
        ({"origin": None}, {}, "origin has neither a UN/LOCODE nor an address"),
        ({"destination": door(city=None)}, {}, "destination has neither"),
        ({"origin": None, "destination": door(city="")}, {}, "origin and destination have neither"),
    ],
)
def test_where_too_little_is_known_the_reason_is_told(of_leg, of_shipment, reason):
    found = carbon_request(a_leg(**of_leg), a_shipment(**of_shipment))
    assert found.body is None
    assert reason in found.reason


@given(st.decimals(min_value="0.001", max_value="999999999", places=3))
def test_a_weight_is_asked_to_the_digit(value):
    found = asked(a_leg(), a_shipment(calculated_weight={"value": str(value), "unit": "lbs"}))
    assert found["weight"] == {"_object": "/quantity/weight", "value": value, "unit": "lbs"}


FACTORS = {"kg": Fraction(1), "lbs": Fraction("0.45359237"), "t": Fraction(1000)}


def read(value, unit="kg"):
    text = f'{{"_object": "/carbon_calculation", "co2e_emissions": {{"value": {value}, "unit": "{unit}"}}}}'
    return CarbonCalculation.load(text.encode())[0].kilograms()


@given(st.decimals(min_value=0, max_value=10**12, places=9), st.sampled_from(sorted(FACTORS)), st.booleans())
def test_a_figure_is_converted_exactly(value, unit, quoted):
    written = f'"{value:f}"' if quoted else f"{value:f}"
    found = read(written, unit)
    assert Fraction(found) == Fraction(value) * FACTORS[unit]
    assert Fraction(format_number(found)) == Fraction(found)


@pytest.mark.parametrize(
    "value", ["null", "true", "[]", '"NaN"', '"Infinity"', "-1", '"much"', '"1e9999"', '"1e-9999"']
)
def test_what_is_no_weight_is_refused(value):
    with pytest.raises(MalformedError, match="co2e_emissions"):
        read(value)


def test_an_unknown_unit_and_no_figure_at_all_are_refused():
    with pytest.raises(MalformedError, match=r"co2e_emissions.unit: 'stone'"):
        read("1", "stone")
    for text in (b"{}", b'{"co2e_emissions": null}', b'{"co2e_emissions": 5}', b"[]"):
        with pytest.raises(MalformedError):
            CarbonCalculation.load(text)[0].kilograms()


def figure(number, kg, request="{}"):
    return CarbonFigure(number, 910_233, "ocean", kg, request, "{}", AT, AT)


def test_a_document_tells_the_legs_in_order_of_travel_their_sum_and_what_is_missing():
    first = a_leg(9, destination=place("Busan", "KRPUS"))
    second = a_leg(3, origin=place("Busan", "KRPUS"))
    third = a_leg(5, transportation_mode="barge", origin=place("Los Angeles, CA", "USLAX"), destination=None)
    gone = a_leg(4, deleted_at=AT)
    current = carbon_request(first, a_shipment()).body.decode()
    figures = {3: figure(3, "0.2"), 4: figure(4, "1000"), 9: figure(9, "0.1", current)}
    found = document(a_shipment(), [second, third, gone, first], figures)
    assert [(row["leg_id"], row["kg"], row["outdated"]) for row in found["data"]] == [
        (9, "0.1", False),
        (3, "0.2", True),
    ]
    assert found["total_kg"] == "0.3"
    assert [one["leg_id"] for one in found["missing"]] == [5]
    assert document(a_shipment(), [first], {})["missing"] == [{"leg_id": 9, "reason": "not calculated yet"}]
    assert document(a_shipment(), [first], {})["total_kg"] is None
