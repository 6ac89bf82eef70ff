"""Carbon figures through the daemon: calculated by the sandbox when a person asks, kept, and told again."""

import json
from decimal import Decimal

import pytest
from aiohttp import web

from flexportd.sandbox import Sandbox, SandboxOptions
from flexportd.settings import Settings
from tests.events import leg, place, shipment
from tests.flexport_double import envelope
from tests.integration.test_resources_cli import Terminal
from tests.mirrored import KEY
from tests.small_flexport import SmallFlexport, mirroring, synced
from tests.under_test import DatedClock, start

PATH = "/shipments/910233/carbon"
WEIGHT = {"_object": "/quantity/weight", "value": 8200, "unit": "kg"}


@pytest.fixture
def terminal(tmp_path, capsys):
    return Terminal(tmp_path, capsys)


async def test_the_sandbox_calculates_every_leg_that_can_be_asked(tmp_path, terminal):
    clock = DatedClock()
    async with Sandbox(SandboxOptions(speed=0, shipments=4, api_key=KEY), clock) as sandbox:
        flexport = {"api_key": KEY, "base_url": sandbox.url, "requests_per_second": 1000, "concurrency": 16}
        settings = Settings.for_tests(tmp_path, **{f"flexport.{name}": value for name, value in flexport.items()})
        async with start(settings, clock) as daemon:
            await synced(daemon)
            calculated = 0
            for row in (await daemon.get("/shipments"))["data"]:
                path = f"/shipments/{row['id']}"
                legs = [one["id"] for one in (await daemon.get(f"{path}/legs"))["data"]]
                before = await daemon.get(f"{path}/carbon")
                assert (before["data"], before["total_kg"]) == ([], None)
                assert [one["leg_id"] for one in before["missing"]] == legs
                if all(one["reason"] != "not calculated yet" for one in before["missing"]):
                    await daemon.call(f"{path}/carbon", status=409)
                    continue
                after = await daemon.call(f"{path}/carbon")
                assert after["failed"] == after["missing"]
                assert after["missing"] == [one for one in before["missing"] if one["reason"] != "not calculated yet"]
                assert sorted(one["leg_id"] for one in (*after["data"], *after["missing"])) == sorted(legs)
                assert Decimal(after["total_kg"]) == sum(Decimal(one["kg"]) for one in after["data"]) > 0
                del after["failed"]
                assert await daemon.get(f"{path}/carbon") == after
                assert await terminal.json("shipments", "carbon", str(row["id"])) == after
                calculated += len(after["data"])
            assert calculated > 0


class Calculating(SmallFlexport):
    """A shipment of three legs. `told` maps an origin port to a status or to what is emitted."""

    def __init__(self):
        stops = [place("Yantian", "CNYTN"), place("Busan", "KRPUS"), place("Los Angeles", "USLAX")]
        super().__init__(
            shipment(calculated_weight=WEIGHT),
            leg(30, origin=stops[0], destination=stops[1]),
            leg(20, origin=stops[1], destination=stops[2]),
            leg(10, origin=stops[2], destination=place("Reno", "USRNO"), transportation_mode="truck"),
            shipment(7, calculated_weight=None),
            leg(70, 7),
        )
        self.told = {}
        self.bodies = []

    async def answer(self, request):
        if request.path != "/carbon_calculation":
            return super().answer(request)
        body = json.loads(await request.read())
        self.bodies.append(body)
        told = self.told.get(body["origin_port"], {"value": 12.5, "unit": "lbs"})
        if isinstance(told, int):
            return web.json_response(envelope(None, {"code": "x", "message": "told so"}), status=told)
        return web.json_response(envelope({"_object": "/carbon_calculation", "co2e_emissions": told}))


@pytest.fixture
async def flexport():
    return Calculating()


@pytest.fixture
async def daemon(flexport, tmp_path, clock):
    async with mirroring(flexport, tmp_path, clock) as found:
        yield found


async def test_legs_are_asked_in_order_of_travel_and_kept_to_the_digit(flexport, daemon, clock):
    found = await daemon.call(PATH)
    assert [body["origin_port"] for body in flexport.bodies] == ["CNYTN", "KRPUS", "USLAX"]
    assert [(one["leg_id"], one["mode"], one["kg"]) for one in found["data"]] == [
        (30, "ocean", "5.669904625"),
        (20, "ocean", "5.669904625"),
        (10, "truck", "5.669904625"),
    ]
    assert (found["total_kg"], found["missing"], found["failed"]) == ("17.009713875", [], [])
    rows = await daemon.daemon.db.read(lambda tx: tx.carbon.of_shipment(910_233))
    assert [json.loads(rows[number].request) for number in (30, 20, 10)] == flexport.bodies
    assert '"value": 12.5' in rows[30].raw


@pytest.mark.parametrize("status", [422, 500])
async def test_one_leg_that_fails_loses_nothing_of_the_others(flexport, daemon, terminal, status):
    flexport.told["KRPUS"] = status
    found = await daemon.call(PATH)
    assert [one["leg_id"] for one in found["data"]] == [30, 10]
    [missing] = found["missing"]
    assert missing["leg_id"] == 20
    assert "told so" in missing["reason"]
    assert "took effect" not in missing["reason"]
    assert found["failed"] == found["missing"]
    text = await terminal.said("shipments", "carbon", "FLEX-910233")
    assert "(incomplete)" in text
    assert "Leg 20: not calculated yet" in text


async def test_an_older_figure_stays_where_a_newer_one_fails(flexport, daemon, terminal):
    before = await daemon.call(PATH)
    flexport.told["KRPUS"] = {"value": 1, "unit": "stone"}
    after = await daemon.call(PATH)
    assert after["data"][1] == before["data"][1]
    assert (after["missing"], [one["leg_id"] for one in after["failed"]]) == ([], [20])
    assert "Leg 20: kept the previous figure: co2e_emissions.unit" in await terminal.said(
        "shipments", "carbon", "910233", "--calculate"
    )


async def test_what_stands_in_the_way_of_all_is_asked_once_and_is_a_problem(flexport, daemon):
    flexport.told["CNYTN"] = 403
    found = await daemon.call(PATH, status=502)
    assert found["type"] == "urn:flexportd:problem:flexport-forbidden"
    assert len(flexport.bodies) == 1
    assert (await daemon.get(PATH))["data"] == []


async def test_a_figure_is_outdated_when_what_would_be_asked_has_changed(flexport, daemon):
    await daemon.call(PATH)
    flexport.put(shipment(calculated_weight=WEIGHT | {"value": 9000}, updated_at="2026-03-05T00:00:00.000Z"))
    await daemon.call("/shipments/910233/refresh")
    assert {one["outdated"] for one in (await daemon.get(PATH))["data"]} == {True}
    assert {one["outdated"] for one in (await daemon.call(PATH))["data"]} == {False}


async def test_a_shipment_that_cannot_be_asked_for_or_is_unknown(flexport, daemon, terminal):
    found = await daemon.call("/shipments/7/carbon", status=409)
    assert "weight is not known" in found["detail"]
    for path in ("/shipments/8/carbon", "/shipments/abc/carbon"):
        await daemon.call(path, status=404)
        await daemon.get(path, status=404)
    assert flexport.bodies == []
    assert "Leg 70: the shipment's weight is not known" in await terminal.said("shipments", "carbon", "7")


async def test_no_more_than_twenty_legs_are_asked_at_once_and_the_rest_the_next_time(flexport, daemon):
    for number in range(100, 119):
        flexport.put(leg(number))
    await synced(daemon)
    first = await daemon.call(PATH)
    assert (len(first["data"]), len(first["missing"]), len(flexport.bodies)) == (20, 2, 20)
    assert "at most 20" in first["missing"][0]["reason"]
    assert (await daemon.call(PATH))["missing"] == []


async def test_without_a_key_nothing_is_calculated(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path), clock) as daemon:
        assert "no key" in (await daemon.call(PATH, status=409))["detail"]
