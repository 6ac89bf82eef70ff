"""Pages of other sites, as the Fetch standard has it, with caches on the way (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

import aiohttp
import pytest

from flexportd.settings import Settings
from tests.events import event, shipment
from tests.integration.test_middleware import ask, new_key
from tests.under_test import start

SITE = "https://app.example.com"
EXPOSED = {
    "etag", "link", "age", "location", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id",
    "content-disposition", "content-range", "accept-ranges",
}  # fmt: skip


def _vary(headers):
    return {name.strip().lower() for line in headers.getall("Vary", ()) for name in line.split(",")}


@pytest.fixture(params=[False, True], ids=["open", "keys"])
async def named(request, tmp_path, clock):
    settings = Settings.for_tests(tmp_path, **{"api.require_key": request.param, "api.cors_origins": [SITE]})
    async with start(settings, clock) as found:
        found.key = await new_key(found, rate_limit="9/1m") if request.param else None
        yield found


@pytest.fixture
async def anyone(tmp_path, clock):
    settings = Settings.for_tests(tmp_path, **{"api.require_key": True, "api.cors_origins": ["*"]})
    async with start(settings, clock) as found:
        found.key = await new_key(found)
        yield found


PATHS = [
    "/api/v1/shipments", "/api/v1/shipments/1", "/api/v1/shipments/2", "/api/v1/nothing", "/api/v1/shipments?limit=x",
    "/api/v1/openapi.json", "/api/v1/shipments?format=csv", "/api/v1/shipments?format=ndjson",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_a_cache_on_the_way_is_told_that_answers_depend_on_the_origin(named, path):
    """Else it would give a page the answer that it kept of a request that came from none, and the browser refuses it."""
    await named.receive(event(shipment(1)))
    await named.settled()
    for _ in range(2):  # built, and lying ready
        _, headers, _ = await ask(named, path, key=named.key)
        assert "origin" in _vary(headers)
        assert "Access-Control-Allow-Origin" not in headers
    _, headers, _ = await ask(named, path, "HEAD", key=named.key)
    assert "origin" in _vary(headers)
    etag = (await ask(named, path, key=named.key))[1].get("ETag")
    if etag is not None:
        status, headers, _ = await ask(named, path, key=named.key, If_None_Match=etag)
        assert (status, "origin" in _vary(headers)) == (304, True)


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_may_read_every_answer_also_what_went_wrong(named, path):
    for key in (named.key, "fxd_00000000_" + "0" * 43, None):
        status, headers, _ = await ask(named, path, key=key, Origin=SITE)
        assert headers.getall("Access-Control-Allow-Origin") == [SITE], status
        assert {one.strip().lower() for one in headers["Access-Control-Expose-Headers"].split(",")} == EXPOSED
        assert "Access-Control-Allow-Credentials" not in headers
        assert _vary(headers) >= {"origin"}


async def test_a_page_may_read_that_it_asked_too_often_and_that_something_failed(named, monkeypatch):
    if named.key is not None:
        for _ in range(10):
            status, headers, _ = await ask(named, "/api/v1/status", key=named.key, Origin=SITE)
        assert (status, headers["Access-Control-Allow-Origin"], "Retry-After" in headers) == (429, SITE, True)
        return

    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr(named.daemon.db, "read", fail)
    status, headers, _ = await ask(named, "/api/v1/shipments", Origin=SITE)
    assert (status, headers["Access-Control-Allow-Origin"]) == (500, SITE)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
async def test_a_browser_that_asks_first_is_told_what_it_may(named, method):
    status, headers, body = await ask(
        named, "/api/v1/keys", "OPTIONS", Origin=SITE, Access_Control_Request_Method=method,
        Access_Control_Request_Headers="authorization,content-type,if-none-match,range",
    )  # fmt: skip
    assert (status, body) == (204, b"")
    assert headers.getall("Access-Control-Allow-Origin") == [SITE]
    assert method in headers["Access-Control-Allow-Methods"]
    allowed = {one.strip().lower() for one in headers["Access-Control-Allow-Headers"].split(",")}
    assert {"authorization", "content-type", "if-none-match", "range", "last-event-id"} <= allowed
    assert int(headers["Access-Control-Max-Age"]) > 0
    assert "Access-Control-Allow-Credentials" not in headers
    assert "origin" in _vary(headers)


@pytest.mark.parametrize("origin", ["null", "https://evil.example.com", "http://app.example.com", SITE + ":8443",
                                    "https://APP.example.com.evil.com", SITE + "/"])  # fmt: skip
async def test_no_other_origin_is_let_in(named, origin):
    for method, more in (("GET", {}), ("OPTIONS", {"Access_Control_Request_Method": "GET"})):
        _, headers, _ = await ask(named, "/api/v1/shipments", method, key=named.key, Origin=origin, **more)
        assert not [name for name in headers if name.lower().startswith("access-control-")]
        assert "origin" in _vary(headers)


async def test_where_all_may_ask_every_answer_says_so_and_none_depends_on_the_origin(anyone):
    for origin in ({}, {"Origin": "null"}, {"Origin": "https://a.example"}):
        for path in PATHS:
            for _ in range(2):
                _, headers, _ = await ask(anyone, path, key=anyone.key, **origin)
                assert headers.getall("Access-Control-Allow-Origin") == ["*"]
                assert "Access-Control-Allow-Credentials" not in headers
                assert "origin" not in _vary(headers)
    status, headers, _ = await ask(
        anyone, "/api/v1/shipments", "OPTIONS", Origin="null", Access_Control_Request_Method="GET"
    )
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, "*")


async def test_the_stream_may_be_read_by_a_page(named):
    headers = {"Origin": SITE} | ({"Authorization": f"Bearer {named.key}"} if named.key else {})
    async with named.http.get(f"{named.url}/api/v1/stream", headers=headers) as answer:
        assert answer.headers.getall("Access-Control-Allow-Origin") == [SITE]
        assert "origin" in _vary(answer.headers)


async def test_where_no_site_may_ask_nothing_is_said_of_it(daemon):
    for path in PATHS:
        _, headers, _ = await ask(daemon, path, Origin=SITE)
        assert not [name for name in headers if name.lower().startswith("access-control-")]
        assert "origin" not in _vary(headers)


async def test_pages_for_people_and_webhooks_are_not_for_other_sites(named):
    await named.receive(event(shipment(1)))
    async with aiohttp.ClientSession() as http:
        for path in ("/", "/healthz", "/static/icon.svg", "/metrics"):
            async with http.get(named.url + path, headers={"Origin": SITE}) as answer:
                assert "Access-Control-Allow-Origin" not in answer.headers
