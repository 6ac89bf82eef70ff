"""A Flexport of a few objects: lists, objects and failures as a test says, on loopback, and a daemon that mirrors it."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from flexportd.flexport.lists import LISTS
from flexportd.settings import Settings
from tests.events import container, leg, shipment
from tests.flexport_double import FlexportDouble, envelope, listing
from tests.under_test import UnderTest, look_again, start
from tests.wire_goods import commercial_invoice, customs_entry, invoice, product
from tests.wire_orders import ONE_OF_EACH, link

CONTAINER_LEG = {
    "_object": "/ocean/shipment_container_leg",
    "id": 661,
    "shipment_container": link("/ocean/shipment_container", 555_001),
    "leg": link("/shipment_leg", 8_800_412),
    "dates": {},
}


class SmallFlexport:
    """`objects` by path and id; `failing` maps a path to the status that it answers with."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {facts.path: {} for facts in LISTS.values()}
        self.failing: dict[str, int] = {}
        for found in objects:
            self.put(found)

    def put(self, found: dict[str, Any]) -> None:
        self.objects[LISTS[found["_object"]].path][str(found.get("id", found.get("name")))] = found

    def take(self, found: dict[str, Any]) -> None:
        del self.objects[LISTS[found["_object"]].path][str(found["id"])]

    def answer(self, request: web.Request) -> web.Response:
        path, _, quoted = request.rel_url.raw_path.rpartition("/")
        key = unquote(quoted)
        if request.path in self.failing or path in self.failing:
            status = self.failing.get(request.path) or self.failing[path]
            return web.json_response(envelope(None, {"code": "x", "message": "told so"}), status=status)
        if request.path in self.objects:
            rows = list(self.objects[request.path].values())
            return web.json_response(listing(rows, total=len(rows)))
        found = self.objects.get(path, {}).get(key)
        if found is None:
            return web.json_response(envelope(None, {"code": "not_found", "message": "no such thing"}), status=404)
        return web.json_response(envelope(found))


def one_of_each() -> list[dict[str, Any]]:
    """One object of every resource, of one shipment."""
    goods = [product(), invoice(), commercial_invoice(), customs_entry()]
    return [shipment(), leg(), container(), CONTAINER_LEG, *goods, *ONE_OF_EACH.values()]


@asynccontextmanager
async def mirroring(flexport: SmallFlexport, folder, clock, **changed: object):
    """A daemon that has read everything that there is; `changed` are settings by dotted name."""
    double = FlexportDouble()
    double.usual = flexport.answer
    async with double.running():
        settings = Settings.for_tests(
            folder,
            **{
                "flexport.api_key": "test-key",
                "flexport.base_url": double.url,
                "flexport.requests_per_second": 1000,
                "flexport.concurrency": 16,
            }
            | changed,
        )
        async with start(settings, clock) as daemon:
            await synced(daemon)
            yield daemon


async def synced(daemon: UnderTest) -> None:
    """Read every list, to the end."""
    async with asyncio.timeout(120):
        number = (await daemon.call("/sync/run", status=202))["id"]
        while (found := await daemon.get(f"/sync/runs/{number}"))["state"] == "running":
            await look_again()
    assert found["state"] == "complete", found
