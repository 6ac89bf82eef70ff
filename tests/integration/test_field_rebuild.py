"""After an upgrade: what is derived otherwise now is derived again from what Flexport sent, without any history."""

import asyncio
import json

import pytest

from flexportd.core import field_rebuild
from flexportd.settings import Settings
from tests.events import container, event, leg, place, shipment
from tests.under_test import look_again, start

RAMP = place("Chicago, IL", "USCHI", "America/Chicago", ("place_of_delivery",))


async def rebuilt(daemon):
    async with asyncio.timeout(20):
        while True:
            text = await daemon.daemon.db.read(lambda tx: tx.meta.get("field_rebuild"))
            if text and json.loads(text) == {"version": field_rebuild.VERSION, "domain": None, "after": None}:
                return
            await look_again()


async def objects(daemon):
    paths = ("/shipments/910233", "/containers/555001", "/legs/8800412", "/shipments/910233/history")
    return [await daemon.get(path) for path in paths]


@pytest.mark.parametrize("known", [True, False], ids=["with its shipment", "without its shipment"])
async def test_fields_of_an_older_version_are_derived_again(tmp_path, clock, known):
    settings = Settings.for_tests(tmp_path)
    async with start(settings, clock) as daemon:
        box = container(last_free_day_date="2026-03-28T05:00:00.000Z")
        rail = leg(2, transportation_mode="rail", origin=leg()["destination"], destination=RAMP)
        await daemon.receive(event(leg(), shipment=shipment() if known else None, containers=[box]), event(rail))
        await daemon.settled()
        await rebuilt(daemon)
        before = [await daemon.get("/containers/555001"), await daemon.get("/legs/8800412")]
        if known:
            before = await objects(daemon)
            assert before[0]["inland_ramp"] == "Chicago, IL"
        assert before[1 if known else 0]["last_free_day_date"] == "2026-03-28"

        def forget(tx):
            for table, columns in (
                ("shipments", "inland_ramp route_dates date_sources port_of_loading arrival arrival_at"),
                ("containers", "terminal terminal_timezone last_free_day_at"),
                ("legs", "origin_kinds"),
            ):
                tx.raw.execute(f"UPDATE {table} SET " + ", ".join(f"{one} = NULL" for one in columns.split()))
            tx.raw.execute("UPDATE containers SET last_free_day = '2026-03-28T05:00:00+00:00'")
            tx.meta.put("field_rebuild", '{"version":"0","domain":null,"after":null}')

        await daemon.daemon.db.write(forget)
    async with start(settings, clock) as daemon:
        await rebuilt(daemon)
        after = (
            await objects(daemon)
            if known
            else [await daemon.get("/containers/555001"), await daemon.get("/legs/8800412")]
        )
        assert after == before


async def test_an_object_that_cannot_be_read_stays_as_it_is(tmp_path, clock, monkeypatch):
    settings = Settings.for_tests(tmp_path)
    async with start(settings, clock) as daemon:
        await daemon.receive(event(shipment()), event(shipment(2)))
        await daemon.settled()
        await rebuilt(daemon)
        before = await daemon.get("/shipments/910233")

        def spoil(tx):
            tx.raw.execute("UPDATE shipments SET raw = '{' WHERE id = 910233")
            tx.raw.execute("UPDATE shipments SET name = 'old' WHERE id = 2")
            tx.meta.put("field_rebuild", '{"version":"0","domain":null,"after":null}')

        await daemon.daemon.db.write(spoil)
    async with start(settings, clock) as daemon:
        await rebuilt(daemon)
        assert await daemon.get("/shipments/910233") == before
        assert (await daemon.get("/shipments/2"))["name"] != "old"
