"""A key for one customer sees that customer's shipments only, everywhere: every route of the description is asked."""

import asyncio
import json

import pytest

from flexportd.core.resources.documents import CUSTOMER_TYPES
from flexportd.core.resources.registry import REGISTRY
from flexportd.expose.app import routes
from flexportd.expose.openapi.document import openapi_document
from flexportd.sandbox import Sandbox, SandboxOptions
from tests.crawling import crawl
from tests.integration.test_daemon_sync import configured, ended
from tests.integration.test_middleware import ask, new_key
from tests.mirrored import KEY
from tests.under_test import DatedClock, start


@pytest.fixture
async def world(tmp_path):
    """Two customers' freight, in a daemon where keys are required."""
    async with (
        Sandbox(SandboxOptions(speed=0, shipments=14, api_key=KEY), DatedClock()) as sandbox,
        start(configured(tmp_path, sandbox.url, **{"api.require_key": True}), DatedClock()) as daemon,
    ):
        token = await new_key(daemon, scope="admin", rate_limit="off")
        daemon.http.headers["Authorization"] = f"Bearer {token}"
        await ended(daemon, (await daemon.call("/sync/run", status=202))["id"])
        async with asyncio.timeout(60):
            while not (await daemon.get("/status"))["search"]["complete"]:
                await asyncio.sleep(0.01)
            examiner = daemon.daemon.consumers.examiner
            while not (examiner.is_complete and examiner.notifies):
                daemon.daemon.consumers.wake()
                await asyncio.sleep(0.01)
        del daemon.http.headers["Authorization"]
        daemon.admin = token
        yield daemon


async def every(daemon, path, key):
    found, cursor = [], ""
    while True:
        status, _, body = await ask(daemon, f"/api/v1{path}?limit=500{cursor}", key=key)
        assert status == 200, body
        page = json.loads(body)
        found += page["data"]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


async def test_whatever_is_asked_with_it(world):
    shipments = await every(world, "/shipments", world.admin)
    names = {name for one in shipments for name in one["consignees"]}
    mine_by = {name: {one["id"] for one in shipments if name in one["consignees"]} for name in names}
    customer, mine = min(mine_by.items(), key=lambda pair: abs(len(pair[1]) - len(shipments) / 3))
    others = {one["id"] for one in shipments} - mine
    assert mine
    assert others
    key = await new_key(world, name="customer", consignees=[customer], rate_limit="off")
    assert {one["id"] for one in await every(world, "/shipments", key)} == mine
    description = openapi_document(routes(REGISTRY, "/webhooks/flexport"))
    listed, shown = {}, {}
    for path, methods in description["paths"].items():
        if "get" not in methods or not path.startswith("/api/v1/") or methods["get"].get("security") == []:
            continue
        (listed if "{" not in path else shown)[path] = methods["get"]
    seen = 0
    for path in listed:
        if path == "/api/v1/stream":
            continue
        query = "?q=a" if path == "/api/v1/search" else ""
        status, _, body = await ask(world, path + query, key=key)
        if status == 403:
            continue
        assert status in (200, 400), (path, body)
        seen += 1
        for row in json.loads(body)["data"] if status == 200 else ():
            for hit in row.get("hits", [row]):
                owner = hit["id"] if path == "/api/v1/shipments" else hit["shipment_id"]
                assert owner in mine, (path, hit)
        for form in ("csv", "ndjson"):
            status, _, body = await ask(world, f"{path}?format={form}&fields=id", key=key)
            assert status in (200, 400), (path, body)
    assert seen >= 7
    await _objects(world, key, shown, mine, others)
    await _pages(world, key, mine, others)


async def _pages(world, key, mine, others):
    """What can be reached by links, beginning with the first page."""

    async def fetch(address):
        status, headers, body = await ask(world, address, key=key, Accept="text/html")
        return status, headers["Content-Type"].partition(";")[0], body.decode("latin-1")

    costs = {row["name"] for row in await every(world, "/invoices", world.admin)}
    assert costs
    pages = await crawl(fetch, most=80)
    assert {f"/shipments/{number}" for number in mine} <= pages.keys()
    for address, text in pages.items():
        assert not [one for one in (*map(str, others), *costs) if one in text], address


async def _objects(world, key, shown, mine, others):
    """One by one, with the ids of what belongs to others, and of what is theirs."""
    for domain in REGISTRY:
        rows = await every(world, f"/{domain.route}", world.admin)
        owner = "id" if domain.name == "shipments" else "shipment_id"
        foreign = [row["id"] for row in rows if row.get(owner) not in mine]
        own = [row["id"] for row in rows if row.get(owner) in mine and _is_for_customers(row)]
        for path in [one for one in shown if one.startswith(f"/api/v1/{domain.route}/{{id}}")]:
            for number in foreign[:3]:
                for query in ("", "?include=raw", "?as_of=2100-01-01"):
                    status, _, _ = await ask(world, path.format(id=_escaped(number)) + query, key=key)
                    assert status in (400, 403, 404), (path, number, status)
            for number in own[:1]:
                status, _, body = await ask(world, path.format(id=_escaped(number)), key=key)
                assert status in (200, 202, 403, 409), (path, number, status, body)
                if status == 200 and path.endswith("{id}"):
                    assert domain.name != "invoices"
                    assert json.loads(body)["id"] == number
    for foreign in list(others)[:3]:
        for path in ("/api/v1/why/shipments/{id}", "/shipments/{id}", "/api/v1/shipments/{id}/documents.zip"):
            assert (await ask(world, path.format(id=foreign), key=key))[0] in (403, 404), path
        for method, path in (("POST", "refresh"), ("POST", "carbon"), ("POST", "shares")):
            assert (await ask(world, f"/api/v1/shipments/{foreign}/{path}", method, key=key))[0] == 403


def _is_for_customers(row):
    return "document_type" not in row or row["document_type"] in CUSTOMER_TYPES


def _escaped(key):
    from urllib.parse import quote

    return quote(str(key), safe="")


async def test_the_stream_and_the_calendar_too(world):
    shipments = await every(world, "/shipments", world.admin)
    customer = shipments[0]["consignees"][0]
    mine = {one["id"] for one in shipments if customer in one["consignees"]}
    key = await new_key(world, name="customer", consignees=[customer], rate_limit="off")
    told = []
    headers = {"Authorization": f"Bearer {key}", "Last-Event-ID": "0"}
    async with world.http.get(world.url + "/api/v1/stream", headers=headers) as answer, asyncio.timeout(30):
        async for line in answer.content:
            if line.startswith(b"data: "):
                told.append(json.loads(line[6:]))
            if line.startswith(b"id: ") and told and b"-" not in line:
                break  # it has come to the end of what was told so far
            if len(told) > 30:
                break
    assert told
    assert {one["shipment_id"] for one in told} <= mine
    assert not any(one["topic"].startswith("invoice.") for one in told)
    status, _, body = await ask(world, "/calendar.ics", key=key)
    assert status == 200
    found = {line.partition("FLEX-")[2].split()[0] for line in body.decode().splitlines() if "FLEX-" in line}
    assert {int("".join(filter(str.isdigit, one))) for one in found if one[:6].isdigit()} <= mine
