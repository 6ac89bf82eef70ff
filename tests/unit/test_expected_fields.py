"""Fields that users of freight data expect: flights, places, container codes, flags, weights."""

import json

import pytest

from flexportd.core.resources import bookings, containers, legs, shipments
from flexportd.core.resources.identifiers import imo_number, is_container_number, is_imo_number, iso_type
from flexportd.core.resources.itinerary import PLACES
from flexportd.expose.openapi.schemas import field_schemas
from flexportd.flexport.models import fast_models
from flexportd.flexport.models.wire import FieldDoubt
from tests.events import container, event, leg, place, shipment
from tests.unit.test_convergence import Store
from tests.wire_goods import invoice, money


def fields_of(domain, value):
    model, problems = fast_models.load_fast(domain.wire, json.dumps(value).encode())
    assert problems == []
    return domain.normalise(model)


def flight(iata=None, number=None, icao=None, **fields):
    air = {"_object": "/air/shipment_leg", "iata_code": iata, "icao_code": icao, "flight_number": number}
    return fields_of(legs.RESOURCE_TYPE, leg(transportation_mode="air", ocean_leg=None, air_leg=air, **fields))


@pytest.mark.parametrize(
    ("given", "code", "number", "shown"),
    [
        (("BR", "652", "EVA"), "BR", "652", "BR 652"),
        (("BR", "BR652"), "BR", "652", "BR 652"),
        (("br", "br 652"), "BR", "652", "BR 652"),
        (("BR", "EVA652", "EVA"), "BR", "652", "BR 652"),
        ((None, "652", "EVA"), None, "652", "EVA 652"),
        ((None, "BR652"), None, "BR652", "BR652"),
        (("BR", "CX 252"), "BR", "CX 252", "CX 252"),  # flown by another airline
        (("5X", "5X0061"), "5X", "0061", "5X 0061"),
        (("FP", None, ""), "FP", None, None),  # as recorded of 534738
        (("FP", "FP"), "FP", None, None),
        (("FP", "NONE"), "FP", None, None),
        ((None, None), None, None, None),
        (("42", "421"), "42", "421", "42 421"),
    ],
)
def test_airline_and_flight_number_stand_apart(given, code, number, shown):
    found = flight(*given)
    assert (found["airline_code"], found["flight_number"], found["flight"]) == (code, number, shown)
    assert found["vessel"] is None


def test_the_airline_is_the_carrier_of_a_flight_and_never_a_placeholder():
    named = flight("BR", "652", "EVA", carrier_name="EVA Airways Corporation")
    assert (named["airline"], named["airline_icao"]) == ("EVA Airways Corporation", "EVA")
    assert flight("FP", carrier_name="FLXT Air")["airline"] is None
    by_sea = fields_of(legs.RESOURCE_TYPE, leg())
    assert [by_sea[name] for name in ("airline", "airline_code", "flight", "flight_number")] == [None] * 4


@pytest.mark.parametrize(
    ("given", "stored", "valid"),
    [
        ("9780861", "9780861", True),
        ("IMO 9780861", "9780861", True),
        ("IMO9780861", "9780861", True),
        ("9780862", "9780862", False),
        ("978086", "978086", False),
        ("\uff19780861", "\uff19780861", False),
        ("x" * 5000, "x" * 5000, False),
        (None, None, None),
        ("", None, None),
    ],
)
def test_an_imo_number_is_checked_and_never_refused(given, stored, valid):
    found = fields_of(legs.RESOURCE_TYPE, leg(ocean_leg={"_object": "/ocean/shipment_leg", "vessel_imo": given}))
    assert (found["vessel_imo"], found["vessel_imo_valid"]) == (stored, valid)


def test_the_check_digits_of_all_serial_numbers_are_told_apart():
    """Exactly one of ten check digits is right."""
    for number in ("978086", "000000", "123456"):
        assert sum(is_imo_number(f"{number}{digit}") for digit in range(10)) == 1
    for number in ("CSQU305438", "MSKU000001", "TRHZ999999"):
        assert sum(is_container_number(f"{number}{digit}") for digit in range(10)) == 1
    assert imo_number(None) is None


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        ("CSQU3054383", True),
        ("csqu 305438-3", True),
        ("CSQU3054384", False),
        ("CSQX3054383", False),  # no category
        ("CSQU305438", False),
        ("CSQU3054383, UACU8059492", False),
        ("TBA", False),
        ("\uff19" * 11, False),
        ("A" * 100_000, False),
        ("", None),
        (None, None),
    ],
)
def test_a_container_number_is_checked_and_never_refused(number, valid):
    found = fields_of(containers.RESOURCE_TYPE, container(container_number=number))
    assert found["container_number"] == (number or None)
    assert found["container_number_valid"] is valid


@pytest.mark.parametrize(
    ("size", "kind", "expected"),
    [
        ("twenty_ft", "dry", "22G1"),
        ("fourty_ft", "dry", "42G1"),
        ("forty_ft", "dry", "42G1"),
        ("fourty_ft_hc", "dry", "45G1"),
        ("fourty_five_ft_hc", "dry", "L5G1"),
        ("fifty_three_ft_hc", "dry", "P5G1"),
        ("fifty_three_ft", "dry", None),  # of either height
        ("fourty_ft_hc", "open", "45U1"),
        ("fourty_ft_hc", "reefer", "45R1"),
        ("twenty_ft", "flat_rack", "22P1"),
        ("twenty_ft", "tank", None),
        ("twenty_ft", "brand_new", None),
        ("brand_new", "dry", None),
        ("twenty_ft", None, None),
        (None, "dry", None),
    ],
)
def test_size_and_type_make_the_iso_code_where_they_tell_it(size, kind, expected):
    assert iso_type(size, kind) == expected
    assert fields_of(containers.RESOURCE_TYPE, container(container_size=size, container_type=kind))[
        "container_iso_type"
    ] == (expected)


def test_the_ends_of_a_leg_say_where_they_are():
    origin = place("Hong Kong", "HKHKG", "Asia/Hong_Kong")
    origin["place"]["details"] = [
        "odd", {"_object": "/trucking/port", "port_code": None},
        {"_object": "/air/port", "iata_code": "HKG", "icao_code": "VHHH", "port_code": None},
    ]  # fmt: skip
    origin["place"]["address"] |= {"state": None, "country": "Hong Kong", "country_code": "hk"}
    origin["terminal"] = {"_object": "/shipment_node/terminal", "name": " Terminal 3 ", "address": {"city": "Albany"}}
    found = fields_of(legs.RESOURCE_TYPE, leg(origin=origin))
    ours = ("iata", "city", "state", "country", "country_code", "terminal")
    assert [found[f"origin_{name}"] for name in ours] == ["HKG", "Hong Kong", None, "Hong Kong", "HK", "Terminal 3"]
    assert [found[f"destination_{name}"] for name in ours] == [None, "Los Angeles, CA", None, None, "US", None]


@pytest.mark.parametrize(
    ("terminal", "expected"),
    [("Pier 400", "Pier 400"), ({"name": ["x"]}, None), ({"name": ""}, None), (7, None), ([], None), (True, None)],
)
def test_a_terminal_of_another_shape_hurts_nothing(terminal, expected):
    found = fields_of(legs.RESOURCE_TYPE, leg(origin={**place("A", "USAAA"), "terminal": terminal}))
    assert (found["origin_terminal"], found["origin"]) == (expected, "A")


def kg(value, unit="kg"):
    return {"_object": "/quantity/weight", "unit": unit, "value": value}


def cbm(value, unit="cbm"):
    return {"_object": "/quantity/volume", "unit": unit, "value": value}


@pytest.mark.parametrize(
    ("mode", "weight", "volume", "expected"),
    [
        ("air", kg(111), cbm(11), 1833.33),
        ("air", kg(1000), cbm(1), 1000),
        ("air", kg(2000, "lbs"), cbm(1), 907.18),
        ("air", kg(1), cbm(100, "cbft"), 471.95),
        ("air", kg("111"), cbm("11.0"), 1833.33),
        ("air", kg(0), cbm(11), None),
        ("air", kg(111), None, None),
        ("air", kg(111, "stone"), cbm(11), None),
        ("air", kg(111), cbm(10**400), None),
        ("ocean", kg(111), cbm(11), None),
        (None, kg(111), cbm(11), None),
    ],
)
def test_freight_by_air_has_a_chargeable_weight(mode, weight, volume, expected):
    given = shipment(transportation_mode=mode, calculated_weight=weight, calculated_volume=volume)
    found = fields_of(shipments.RESOURCE_TYPE, given)["chargeable_weight"]
    assert (None if found is None else json.loads(found)) == (expected and {"value": expected, "unit": "kg"})


@pytest.mark.parametrize("value", [0, 0.0, "0", "0.00", None, ""])
def test_no_weight_and_no_volume_are_unknown(value):
    found = fields_of(shipments.RESOURCE_TYPE, shipment(calculated_weight=kg(value), calculated_volume=cbm(value)))
    assert (found["weight"], found["volume"]) == (None, None)


@pytest.mark.parametrize("value", [-1, -0.5, "-7"])
def test_a_negative_weight_is_unknown_and_noted(value):
    text = json.dumps(shipment(calculated_weight=kg(value), calculated_volume=cbm(3))).encode()
    model, (problem,) = fast_models.load_fast(shipments.RESOURCE_TYPE.wire, text)
    assert problem == "calculated_weight: value: is negative"
    assert isinstance(problem, FieldDoubt)
    found = shipments.RESOURCE_TYPE.normalise(model)
    assert (found["weight"], json.loads(found["volume"])) == (None, {"value": 3, "unit": "cbm"})
    assert shipments.RESOURCE_TYPE.retained_fields({"weight": "old"}, [problem]) == {}


def test_negative_pieces_are_unknown_and_noted_by_both_readers():
    for given in ({"pieces": -3}, {"pieces": -3, "transportation_mode": None, "name": 7}):
        model, (problem,) = fast_models.load_fast(shipments.RESOURCE_TYPE.wire, json.dumps(shipment(**given)).encode())
        assert (problem, shipments.RESOURCE_TYPE.normalise(model)["pieces"]) == ("pieces: is negative", None)


def test_what_cannot_be_is_kept_and_noted_in_schema_drift(tmp_path):
    store = Store(tmp_path / "x.db")
    try:
        store.apply([event(shipment(1, calculated_weight=kg(5)), created_at="2026-03-04T02:41:09.512Z")])
        later = shipment(1, calculated_weight=kg(-5), updated_at="2026-03-05T02:41:09.377Z")
        store.apply([event(later), event(invoice(total=money("1.005", "QQQ")))])
        found = store.tx.resources.load(shipments.TABLE, [1])[1]
        assert found.fields["weight"] is None
        assert '"value":-5' in found.raw.replace(" ", "")
        noted = {(row[0], row[1]) for row in store.raw.execute("SELECT object, name FROM drift WHERE kind = 'shape'")}
        assert noted == {
            ("/shipment", "calculated_weight: value: is negative"),
            ("/invoice", "total: currency_code: is no known currency"),
        }
    finally:
        store.close()


def test_the_chargeable_weight_follows_the_mode_when_only_that_changes(tmp_path):
    store = Store(tmp_path / "x.db")
    try:
        one = shipment(1, transportation_mode="ocean", calculated_weight=kg(100), calculated_volume=cbm(1))
        store.apply(
            [event(one), event({**one, "transportation_mode": "air", "updated_at": "2026-03-05T00:00:00.000Z"})]
        )
        found = store.tx.resources.load(shipments.TABLE, [1])[1].fields
        assert (found["mode"], json.loads(found["chargeable_weight"])["value"]) == ("air", 166.67)
    finally:
        store.close()


def test_a_booking_leaves_negative_weights_out_of_its_sum():
    units = [{"count": 2, "weight": kg(10)}, {"count": 1, "weight": kg(-4), "length": kg(-1, "cm")}]
    text = json.dumps({"_object": "/booking", "id": 1, "cargo": {"weight": kg(-1), "shipping_units": units}}).encode()
    model, problems = fast_models.load_fast(bookings.RESOURCE_TYPE.wire, text)
    assert problems == ["cargo: weight: value: is negative"]
    found = bookings.RESOURCE_TYPE.normalise(model)
    assert json.loads(found["weight"]) == {"value": 20, "unit": "kg"}
    assert [sorted(unit) for unit in json.loads(found["shipping_units"])] == [["count", "weight"], ["count"]]


@pytest.mark.parametrize("table", [shipments.TABLE, containers.CONTAINERS, containers.CONTAINER_LEGS, legs.TABLE])
def test_the_api_describes_places_zones_codes_and_where_a_day_is(table):
    parts = (
        "_timezone",
        "_iata",
        "_city",
        "_state",
        "_country",
        "_country_code",
        "_terminal",
        "_kinds",
        "_tags",
        "_valid",
    )
    for field in table.public:
        if field.name.endswith(parts) or (
            field.name in {*PLACES, "terminal", "date_sources"} and table is not legs.TABLE
        ):
            assert field.description.endswith("."), field.name
        if field.zone:
            place = field.zone.removesuffix("_timezone")
            described = field_schemas(field)[f"{field.name}_date"]["description"]
            assert described.startswith(f"The local calendar day at `{place}`."), field.name
