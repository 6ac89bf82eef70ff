"""Objects are found by the references that people use: in the API, in commands, on pages."""

import asyncio

import pytest

from tests.events import event, shipment
from tests.integration.test_resources_cli import Terminal
from tests.small_flexport import SmallFlexport, mirroring, one_of_each
from tests.wire_goods import invoice


async def answered(daemon, path):
    async with daemon.http.get(daemon.url + path) as answer:
        return answer.status


@pytest.fixture
async def daemon(tmp_path, clock):
    twins = [invoice("first-twin", name="FLEX-7-1"), invoice("second-twin", name="flex 7-1")]
    near = [invoice("near-1", name="FLEX-91-1"), invoice("near-2", name="FLEX-9-11")]
    async with mirroring(SmallFlexport(*one_of_each(), *twins, *near), tmp_path, clock) as found:
        async with asyncio.timeout(30):
            while len((await found.get("/search?q=FLEX-7-1&kind=invoice"))["data"][:1]) == 0:
                found.daemon.consumers.wake()
                await asyncio.sleep(0.01)
            for route, reference, _ in ONES:  # the index follows the store by a moment
                while (await answered(found, f"/api/v1/{route}/{reference}")) != 200:
                    found.daemon.consumers.wake()
                    await asyncio.sleep(0.01)
        yield found


@pytest.fixture
def terminal(tmp_path, capsys):
    return Terminal(tmp_path, capsys)


ONES = [
    ("invoices", "FLEX-910233-1", "gwdpaYrhTI-T1ljn1M7o7w"),
    ("invoices", "flex-910233-1", "gwdpaYrhTI-T1ljn1M7o7w"),
    ("invoices", "FLEX-91-1", "near-1"),
    ("invoices", "FLEX-9-11", "near-2"),
    ("containers", "CSQU3054383", 555_001),
    ("containers", "csqu 305438-3", 555_001),
    ("containers", "CSQU%20305438-3", 555_001),
    ("containers", "555001", 555_001),
    ("shipments", "FLEX-910233", 910_233),
    ("shipments", "flex%20910233", 910_233),
    ("shipments", "PO 910233", 910_233),
    ("shipments", "EXA2", 910_233),
    ("shipments", "maeu1", 910_233),
    ("products", "rm-00472", 84_291),
    ("products", "AC Adapter 12V", 84_291),
    ("purchase-orders", "po1234", None),
    ("bookings", "Spring goods 31001", 31_001),
    ("ports", "cnytn", None),
    ("companies", "Zoomit", None),
]


async def test_causes_are_told_by_what_people_call_an_object(daemon):
    for route, reference, key in [one for one in ONES if one[2]]:
        found, known = [await daemon.get(f"/why/{route}/{text}") for text in (reference, key)]
        assert found["data"] == known["data"]
        assert found["data"], reference
    async with daemon.http.get(f"{daemon.url}/api/v1/why/invoices/FLEX7-1") as answer:
        assert (answer.status, (await answer.json())["type"].rpartition(":")[2]) == (409, "ambiguous-reference")


async def test_one_object_is_found_by_what_people_call_it(daemon):
    for route, reference, key in ONES:
        url = f"{daemon.url}/api/v1/{route}/{reference}"
        async with daemon.http.get(url) as answer:
            found = await answer.json()
            assert answer.status == 200, (reference, found)
        assert key in (None, found["id"])
        direct = await daemon.get(f"/{route}/{str(found['id']).replace('/', '%2F')}")
        assert direct == found
    async with daemon.http.get(f"{daemon.url}/api/v1/containers/CSQU3054383/history?limit=1") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Location"] == "/api/v1/containers/555001/history"
    for path in ("/shipments/EXA2/timeline", "/shipments/EXA2/legs", "/containers/csqu3054383/legs"):
        await daemon.get(path)
    assert (await daemon.call("/products/RM-00472/refresh"))["refresh"] == "unchanged"


async def test_several_are_listed_and_none_is_none(daemon):
    problem = await daemon.get("/invoices/FLEX_7_1", 409)
    assert problem["type"].endswith(":ambiguous-reference")
    assert "2 invoices have the reference 'FLEX_7_1'; use an id: " in problem["detail"]
    assert "first-twin (FLEX-7-1)" in problem["detail"]
    assert "second-twin (flex 7-1)" in problem["detail"]
    assert (await daemon.get("/invoices/FLEX-7-1"))["id"] == "first-twin"  # spelt exactly so
    for path in ("/invoices/FLEX-7", "/containers/CSQU305438", "/shipments/lamps", "/shipments/-", "/ports/%20",
                 "/container-legs/x", "/containers/910233", "/documents/%2E%2E"):  # fmt: skip
        await daemon.get(path, 404)


async def test_a_reference_leads_elsewhere_once_it_is_anothers(daemon):
    assert (await daemon.get("/shipments/PO 910233"))["id"] == 910_233
    await daemon.receive(event(shipment(5, name="PO 910233")))
    await daemon.settled()
    async with asyncio.timeout(20):
        while len((await daemon.get("/search?q=PO 910233&kind=shipment"))["data"][0]["hits"]) < 2:
            daemon.daemon.consumers.wake()
            await asyncio.sleep(0.01)
    assert "2 shipments" in (await daemon.get("/shipments/PO 910233", 409))["detail"]


async def test_commands_and_pages_take_references(daemon, terminal):
    assert "gwdpaYrhTI-T1ljn1M7o7w" in await terminal.said("invoices", "show", "FLEX-910233-1")
    assert "555001" in await terminal.said("containers", "show", "csqu", "305438-3")
    assert "CSQU3054383" in await terminal.said("containers", "CSQU3054383")
    said = await terminal.said("shipments", "910233")
    assert said == await terminal.said("shipments", "show", "EXA2")
    assert "Timeline" in said
    assert (await terminal.json("invoices", "FLEX-910233-1"))["id"] == "gwdpaYrhTI-T1ljn1M7o7w"
    _, told = await terminal.run("invoices", "show", "FLEX_7_1", code=1)
    assert "first-twin (FLEX-7-1), second-twin (flex 7-1)" in told
    _, told = await terminal.run("invoices", "show", "FLEX-8-1", code=4)
    assert "There is no freight invoice" in told
    _, told = await terminal.run("shipments", "lsit", code=2)
    assert "No such command" in told
    assert "is unchanged" in await terminal.said("products", "refresh", "RM-00472")
    async with daemon.http.get(f"{daemon.url}/shipments/exa2", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/shipments/910233")
    async with daemon.http.get(f"{daemon.url}/shipments/nothing") as answer:
        assert answer.status == 404
