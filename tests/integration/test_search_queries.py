"""What people type into the search finds the shipments that they mean, and a customer finds only its own."""

import asyncio
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.events import container, leg, place, shipment
from tests.integration.test_middleware import new_key
from tests.small_flexport import SmallFlexport, mirroring
from tests.under_test import DatedClock

pytestmark = pytest.mark.asyncio(loop_scope="module")

OCEAN, AIR, OTHER = 1001, 1002, 1003


def party(number, name, ref):
    return {"_object": "/company_entity", "id": number, "name": name, "ref": ref}


def bills(house, master, booking):
    return {
        "_object": "/ocean/shipment", "house_bill_number": house, "master_bill_number": master,
        "carrier_booking_number": booking,
    }  # fmt: skip


def truck(number, shipment_id, start, end, **fields):
    return leg(
        number, shipment_id, transportation_mode="truck", carrier_name="Swift Haulage", ocean_leg=None,
        origin=place(start, ""), destination=place(end, ""), **fields,
    )  # fmt: skip


WORLD = [
    shipment(
        OCEAN, name="Spring lamps", metadata={"PO #": ["4471"]}, ocean_shipment=bills("EXA1", "MAEU8899", "BKG555"),
        consignees=[party(71, "Acme Lamps", "ACME-77")], shippers=[party(72, "上海电子有限公司", "SUP-1")],
    ),
    leg(
        11, OCEAN, carrier_name="Maersk", origin=place("Yantian, China", "CNYTN"), destination=place("Savannah, GA", "USSAV"),
        ocean_leg={
            "_object": "/ocean/shipment_leg", "vessel_name": "EVER GOLDEN", "vessel_imo": "9811000",
            "voyage_number": "042W", "scac_code": "MAEU",
        },
    ),
    truck(12, OCEAN, "Savannah, GA", "Memphis Warehouse 9"),
    container(21, OCEAN, container_number="MSCU1234567"),
    shipment(
        AIR, name="Autumn chairs", metadata={}, ocean_shipment=None, transportation_mode="air",
        air_shipment={"_object": "/air/shipment", "house_airway_bill": "HAWB9", "master_airway_bill": "160-12345675"},
        consignees=[party(73, "Borg Trading", "BORG-1")],
    ),
    leg(
        13, AIR, transportation_mode="air", carrier_name="Cathay Pacific", ocean_leg=None,
        air_leg={"_object": "/air/shipment_leg", "iata_code": "CX", "flight_number": "880"},
        origin=place("上海浦东国际机场", "CNPVG"), destination=place("Los Angeles Intl", "USLAX"),
    ),
    shipment(
        OTHER, name="Winter jackets", metadata={"PO #": ["88"]}, ocean_shipment=bills("ZZB2", "MAEU7711", "BKG666"),
        consignees=[party(73, "Borg Trading", "BORG-1")],
    ),
    leg(
        14, OTHER, carrier_name="Maersk", origin=place("Ningbo, China", "CNNGB"), destination=place("Charleston, SC", "USCHS"),
        ocean_leg={
            "_object": "/ocean/shipment_leg", "vessel_name": "MAERSK ALABAMA", "voyage_number": "101E", "scac_code": "MAEU",
        },
    ),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(tmp_path_factory):
    async with mirroring(SmallFlexport(*WORLD), tmp_path_factory.mktemp("search"), DatedClock()) as found:
        indexer = found.daemon.consumers.indexer
        async with asyncio.timeout(30):
            while not (indexer.is_complete and await shipments(found, "maersk") and await shipments(found, "acme")):
                found.daemon.consumers.wake()
                await asyncio.sleep(0.01)
        yield found


async def shipments(daemon, text, key=None, **asked):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = f"{daemon.url}/api/v1/search"
    async with daemon.http.get(url, params={"q": text, "limit": 50, **asked}, headers=headers) as answer:
        found = await answer.json()
        assert answer.status == 200, found
    return {hit["shipment_id"] for group in found["data"] for hit in group["hits"]} - {None}


async def listed(daemon, text, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with daemon.http.get(f"{daemon.url}/api/v1/shipments", params={"q": text}, headers=headers) as answer:
        found = await answer.json()
        assert answer.status == 200, found
    return {one["id"] for one in found["data"]}


QUERIES = [
    ("ever golden", {OCEAN}),
    ("EVERGOLDEN", {OCEAN}),
    ("golden ever", {OCEAN}),
    ("vessel Ever Golden", {OCEAN}),
    ("042W", {OCEAN}),
    ("voyage 042w", {OCEAN}),
    ("9811000", {OCEAN}),
    ("IMO 9811000", {OCEAN}),
    ("imo9811000", {OCEAN}),
    ("CX 880", {AIR}),
    ("CX880", {AIR}),
    ("flight cx-880", {AIR}),
    ("savannah", {OCEAN}),
    ("USSAV", {OCEAN}),
    ("port savannah", {OCEAN}),
    ("LAX", {AIR}),
    ("memphis warehouse", {OCEAN}),
    ("maersk", {OCEAN, OTHER}),
    ("MAEU", {OCEAN, OTHER}),
    ("SCAC MAEU", {OCEAN, OTHER}),
    ("maersk savannah", {OCEAN}),
    ("Savannah, Maersk", {OCEAN}),
    ("charleston maersk borg", {OTHER}),
    ("maersk acme charleston", set()),
    ("acme lamps", {OCEAN}),
    ("consignee acme", {OCEAN}),
    ("ACME-77", {OCEAN}),
    ("borg-1", {AIR, OTHER}),
    ("PO 4471", {OCEAN}),
    ("po#4471", {OCEAN}),
    ("P.O. no. 4471", {OCEAN}),
    ("purchase order 4471", {OCEAN}),
    ("container MSCU1234567", {OCEAN}),
    ("container MSCU 123456-7", {OCEAN}),
    ("container mscu", {OCEAN}),
    ("BL EXA1", {OCEAN}),
    ("B/L EXA1", {OCEAN}),
    ("HBL: EXA1", {OCEAN}),
    ("MBL MAEU8899", {OCEAN}),
    ("bill of lading EXA1", {OCEAN}),
    ("AWB 160-12345675", {AIR}),
    ("air waybill 160 1234 5675", {AIR}),
    ("booking BKG666", {OTHER}),
    ("flex-1001", {OCEAN}),
    ("FLEX 1001", {OCEAN}),
    ("PO 4471 savannah", {OCEAN}),
    ("savannah po 4471 container MSCU1234567", {OCEAN}),
    ("PO 4471 charleston", set()),
    ("上海", {OCEAN, AIR}),
    ("电子", {OCEAN}),
    ("浦东", {AIR}),
    ("东国", {AIR}),
    ("海东", set()),
    ("cathay 浦东", {AIR}),
]


async def test_a_query_finds_the_shipments_that_are_meant(daemon):
    for text, expected in QUERIES:
        assert await shipments(daemon, text) == expected, text
        if text not in ("ACME-77", "borg-1"):  # a list finds nothing that only some of its readers may see
            assert await listed(daemon, text) == expected, text


async def test_a_shipment_is_found_by_its_legs_under_its_own_name(daemon):
    found = await daemon.get("/search?q=ever+golden")
    (group,) = found["data"]
    (hit,) = group["hits"]
    assert group["kind"] == "shipment"
    assert (hit["resource"], hit["id"], hit["title"], hit["field"], hit["value"], hit["match"]) == (
        "shipments", OCEAN, "Spring lamps", "legs.vessel", "EVER GOLDEN", "exact",
    )  # fmt: skip


async def test_a_label_says_which_kind_is_meant(daemon):
    kinds = {}
    for text in ("container MSCU1234567", "BL EXA1", "PO 4471", "booking BKG555"):
        kinds[text] = [group["kind"] for group in (await daemon.get(f"/search?q={quote(text)}"))["data"]]
    assert kinds == {
        "container MSCU1234567": ["container"], "BL EXA1": ["bill"], "PO 4471": ["po"], "booking BKG555": ["booking"],
    }  # fmt: skip


async def test_a_key_for_one_customer_finds_its_own_by_every_query(daemon):
    key = await new_key(daemon, name="borg", consignees=["Borg Trading"])
    hidden = {"borg-1"}  # the references of parties are not shown to it anywhere
    for text, expected in QUERIES:
        own = set() if text in hidden else expected - {OCEAN}
        assert await shipments(daemon, text, key) == own, text
        if text not in hidden:
            assert await listed(daemon, text, key) == own, text
