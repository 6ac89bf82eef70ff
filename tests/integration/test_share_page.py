"""The page behind a share link over HTTP: for anybody who has the link, and nothing besides."""

import json
import re
from contextlib import asynccontextmanager

import aiohttp
import pytest

from flexportd.settings import Settings
from tests import events
from tests.under_test import start

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
PARTY = {"_object": "/company_entity", "id": 1, "name": "Secret Party Ltd", "ref": "x"}
SECRETS = {
    "shippers": [PARTY], "consignees": [PARTY], "buyers": [PARTY], "sellers": [PARTY], "importers_of_record": [PARTY],
    "metadata": {"Secret key": ["Secret value"]}, "priority": "high", "pieces": 77123, "unknown_money": "Secret 4711.99 USD",
}  # fmt: skip


class Sender:
    """Who shares shipments: on the control socket. Whoever gets a link has the network alone."""

    def __init__(self, daemon, control):
        self.daemon = daemon
        self.control = control

    async def share(self, number=910233, **more):
        url = f"http://local/api/v1/shipments/{number}/shares"
        async with self.control.post(url, json=more) as answer:
            assert answer.status == 201, await answer.text()
            return json.loads(await answer.read())

    async def views(self, share):
        async with self.control.get(f"http://local/api/v1/shares/{share['id']}") as answer:
            return json.loads(await answer.read())["views"]

    async def revoke(self, share):
        async with self.control.delete(f"http://local/api/v1/shares/{share['id']}") as answer:
            assert answer.status == 200

    async def look(self, path, status=200, method="GET", **headers):
        """As a browser does; the page."""
        headers = {"Accept": BROWSER, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self.daemon.http.request(method, self.daemon.url + path, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == status, text
            self.headers = answer.headers
            return text


@asynccontextmanager
async def sending(settings, clock):
    connector = aiohttp.UnixConnector(str(settings.storage.control_socket))
    async with start(settings, clock) as daemon, aiohttp.ClientSession(connector=connector) as control:
        leg = events.leg(
            origin=events.place("Secret Factory", "CNSZX", "Asia/Shanghai", ("origin_address",)),
            destination=events.place("Yantian, China", "CNYTN", "Asia/Shanghai", ("port_of_loading",)),
        )
        shipment = events.shipment(name="PO 4471 <b>lamps</b>", **SECRETS)
        box = events.container(metadata={"Secret": ["Secret"]})
        await daemon.receive(events.event(leg, shipment=shipment, containers=[box]), events.event(events.shipment(2)))
        await daemon.settled()
        yield Sender(daemon, control)


@pytest.fixture(params=[True, False], ids=["with a dashboard", "without"])
def settings(tmp_path, request):
    return Settings.for_tests(
        tmp_path, **{"api.require_key": True, "dashboard.enabled": request.param, "dashboard.title": "Acme & Sons"}
    )  # fmt: skip


@pytest.fixture
async def sender(settings, clock):
    async with sending(settings, clock) as sender:
        yield sender


async def test_whoever_has_the_link_needs_no_key(sender):
    share = await sender.share()
    text = await sender.look(share["path"])
    for words in (
        "FLEX-910233",
        "PO 4471 &lt;b&gt;lamps&lt;/b&gt;",
        "Acme &amp; Sons",
        "CSQU3054383",
        "This link is valid until",
    ):
        assert words in text
    assert sender.headers["Content-Type"] == "text/html; charset=utf-8"
    assert sender.headers["Cache-Control"] == "no-store"
    assert sender.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert sender.headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in sender.headers["Content-Security-Policy"]
    await sender.look("/api/v1/shipments/910233", 401)


async def test_it_shows_no_money_no_party_no_metadata(sender):
    text = await sender.look((await sender.share())["path"])
    for word in ("Secret", "4711.99", "77,123", "77123", "Priority", "metadata", "Consignee", "Incoterm"):
        assert word not in text


async def test_it_leads_nowhere_else(sender):
    share = await sender.share(label="For the Secret customer")
    text = await sender.look(share["path"])
    assert "Secret customer" not in text
    assert set(re.findall(r'href="([^"#]*)[^"]*"', text)) - {""} == set(re.findall(r'href="(/static/[^"]+)"', text))
    assert "<script" not in text


async def test_what_it_loads_is_there_without_a_key(sender):
    text = await sender.look((await sender.share())["path"])
    files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', text))
    assert len(files) == 2
    for path in files:
        await sender.look(path)
        assert "immutable" in sender.headers["Cache-Control"]


async def test_each_look_is_counted_once_and_a_head_is_none(sender):
    share = await sender.share()
    await sender.look(share["path"], method="HEAD")
    assert await sender.views(share) == 0
    await sender.look(share["path"])
    await sender.look(share["path"], Accept_Encoding="gzip")
    assert await sender.views(share) == 2
    await sender.look(share["path"] + "x", 404)
    assert await sender.views(share) == 2


async def test_it_is_made_anew_for_each_look(sender):
    share = await sender.share()
    await sender.look(share["path"])
    await sender.daemon.receive(events.event(events.shipment(name="Renamed", updated_at="2026-03-05T02:00:00Z")))
    await sender.daemon.settled()
    assert "Renamed" in await sender.look(share["path"])


async def lone(sender, path, status):
    text = await sender.look(path, status)
    assert sender.headers["Content-Type"] == "text/html; charset=utf-8"
    assert sender.headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in sender.headers
    assert "<nav" not in text
    assert 'href="/shipments' not in text
    assert "Acme &amp; Sons" in text
    return text


async def test_a_revoked_link_says_so(sender):
    share = await sender.share()
    await sender.revoke(share)
    text = await lone(sender, share["path"], 410)
    assert "This link was revoked." in text
    assert "FLEX-910233" not in text


async def test_an_expired_link_says_until_when_it_worked(sender, clock):
    share = await sender.share(expires="2d")
    clock.turn(days=2)
    text = await lone(sender, share["path"], 410)
    assert re.search(r"This link expired at \d+ \w+ \d\d:\d\d UTC\.", text)


async def test_forged_and_unknown_links_lead_nowhere(sender):
    path = (await sender.share())["path"]
    forged = path[:-1] + ("A" if path[-1] != "A" else "B")
    for other in (forged, "/s/fxs_x", "/s/", f"{path}/more", "/s/%00", "/s/%3Cb%3E"):
        assert "is not valid" in await lone(sender, other, 404)


async def test_what_messengers_add_on_the_way_is_passed_over(sender):
    path = (await sender.share())["path"]
    assert "FLEX-" in await sender.look(f"{path}?fbclid=%3Cb%3E")


async def test_programs_get_problems(sender):
    share = await sender.share()
    await sender.revoke(share)
    text = await sender.look(share["path"], 410, Accept="application/json")
    assert json.loads(text)["type"] == "urn:flexportd:problem:share-revoked"


# --- the description ---


async def test_the_description_is_a_page_that_anybody_may_read(sender):
    text = await sender.look("/api/v1/docs", Accept_Encoding="gzip")
    assert sender.headers["Content-Encoding"] == "gzip"
    described = json.loads(await sender.look("/api/v1/openapi.json"))
    names = {one["operationId"] for methods in described["paths"].values() for one in methods.values()}
    assert not {name for name in names if f'id="{name}"' not in text}
    for path in set(re.findall(r'(?:href|src)="(/[^"#]+)"', text)):
        await sender.look(path)
    assert "flexportd keys create --scope read" in text
