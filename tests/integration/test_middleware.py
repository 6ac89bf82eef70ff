"""What every request passes: ids, keys, rates, other sites, sizes, the access log; and problems for all that is wrong."""

import asyncio
import base64
import io
import json

import aiohttp
import pytest
from yarl import URL

from flexportd.expose import api_docs, middleware
from flexportd.http import client_ip
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.under_test import start


@pytest.fixture
async def open_daemon(tmp_path, clock):
    async with start(Settings.for_tests(tmp_path), clock) as found:
        yield found


@pytest.fixture
async def locked(tmp_path, clock):
    settings = {"api.require_key": True, "api.rate_limit": "5/1m", "api.cors_origins": ["https://app.example.com"]}
    async with start(Settings.for_tests(tmp_path, **settings), clock) as found:
        yield found


async def new_key(daemon, **body):
    """Made as the command makes it: over the control socket."""
    path = str(daemon.daemon.settings.storage.control_socket)
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as http,
        http.post("http://flexportd/api/v1/keys", json={"name": "test", **body}) as answer,
    ):
        assert answer.status == 201, await answer.text()
        return (await answer.json())["token"]


async def ask(daemon, path, method="GET", key=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    async with daemon.http.request(method, daemon.url + path, headers=headers) as answer:
        body = await answer.read()
        return answer.status, answer.headers, body


async def raw(daemon, data: bytes) -> bytes:
    host, port = daemon.daemon.addresses[0].rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    async with asyncio.timeout(10):
        found = await reader.read()
    writer.close()
    return found


# --- request ids ---


@pytest.mark.parametrize("given", ["abc-123", "4bf92f3577b34da6a3ce929d0e0e4736", "a" * 128])
async def test_a_request_id_is_taken_and_returned(open_daemon, given):
    _, headers, _ = await ask(open_daemon, "/api/v1/status", X_Request_Id=given)
    assert headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["a" * 129, "with blank", "<script>", "ü"])
async def test_an_id_that_cannot_be_believed_is_replaced(open_daemon, given):
    _, headers, _ = await ask(open_daemon, "/api/v1/status", X_Request_Id=given)
    assert headers["X-Request-Id"] not in ("", given)


async def test_every_answer_has_an_id_of_its_own_and_problems_tell_it(open_daemon):
    await open_daemon.receive(event(shipment(1)))
    await open_daemon.settled()
    seen = set()
    for path in ("/api/v1/shipments/1", "/api/v1/shipments/1", "/healthz", "/", "/api/v1/nothing", "/static/icon.svg"):
        _, headers, _ = await ask(open_daemon, path)
        seen.add(headers["X-Request-Id"])
    assert len(seen) == 6
    status, headers, body = await ask(open_daemon, "/api/v1/shipments/999")
    assert status == 404
    assert json.loads(body)["request_id"] == headers["X-Request-Id"]


# --- the log ---


async def test_each_request_is_a_line_of_the_log_without_its_query(tmp_path, clock, capsys):
    async with start(Settings.for_tests(tmp_path, **{"log.access": True}), clock) as daemon:
        await ask(daemon, "/api/v1/shipments?limit=7", X_Request_Id="mine")
        await ask(daemon, "/s/very-secret-token")
        await ask(daemon, "/api/v1/shared/very-secret-token?x=hidden")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"request_finished"' in line]
    lines = [line for line in lines if line["client"] != "local"]  # the job that warms the cache
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/api/v1/shipments", 200),
        ("GET", "/s/***", 404),
        ("GET", "/api/v1/shared/***", 400),
    ]
    assert lines[0]["request_id"] == "mine"
    assert lines[0]["bytes"] > 20
    assert lines[0]["ms"] > 0
    assert lines[0]["client"] == "127.0.0.1"
    assert lines[0]["level"] == "info"


# --- keys ---


@pytest.mark.parametrize("path", ["/api/v1/shipments", "/api/v1/status", "/", "/shipments", "/metrics"])
async def test_without_a_key_nothing_is_shown(locked, path):
    status, headers, body = await ask(locked, path)
    assert status == 401
    assert json.loads(body)["type"] == "urn:flexportd:problem:key-missing"
    assert headers["WWW-Authenticate"] == 'Bearer realm="flexportd"'


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/v1/openapi.json", "/api/v1/docs", "/static/icon.svg"])
async def test_what_is_open_is_open(locked, path):
    assert (await ask(locked, path))[0] == 200


async def test_a_key_opens_what_its_scope_allows(locked):
    key = await new_key(locked, scope="read")
    assert (await ask(locked, "/api/v1/shipments", key=key))[0] == 200
    status, _, body = await ask(locked, "/api/v1/queue/pause", "POST", key=key)
    assert (status, json.loads(body)["type"]) == (403, "urn:flexportd:problem:insufficient-scope")
    admin = await new_key(locked, name="admin", scope="admin")
    assert (await ask(locked, "/api/v1/queue/pause", "POST", key=admin))[0] == 200


async def test_what_lies_ready_needs_a_key_too(locked):
    """The short way before the router asks for it as the long way does."""
    key = await new_key(locked, rate_limit="off")
    for _ in range(3):
        assert (await ask(locked, "/api/v1/openapi.json"))[0] == 200
        assert (await ask(locked, "/api/v1/shipments", key=key))[0] == 200
        assert (await ask(locked, "/api/v1/shipments"))[0] == 401
        assert (await ask(locked, "/api/v1/shipments", key="fxd_00000000_" + "0" * 43))[0] in (401, 429)


async def test_a_browser_is_asked_for_the_key_as_a_password(locked):
    status, headers, body = await ask(locked, "/", Accept="text/html")
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Basic ")
    assert b"<html" in body
    key = await new_key(locked)
    auth = aiohttp.encode_basic_auth("anybody", key) if hasattr(aiohttp, "encode_basic_auth") else None
    headers = {"Authorization": auth or aiohttp.BasicAuth("anybody", key).encode(), "Accept": "text/html"}
    async with locked.http.get(locked.url + "/", headers=headers) as answer:
        assert answer.status == 200


async def test_a_browser_with_a_reading_key_cannot_act(locked):
    key = await new_key(locked)
    status, _, _ = await ask(locked, "/queue/pause", "POST", key=key)
    assert status == 403


async def test_the_rate_of_a_key_is_told_and_kept(locked):
    key = await new_key(locked)
    answers = [await ask(locked, "/api/v1/shipments", key=key) for _ in range(6)]
    assert [status for status, _, _ in answers] == [200] * 5 + [429]
    assert answers[0][1]["RateLimit-Policy"] == '"default";q=5;w=60'
    assert answers[0][1]["RateLimit"].startswith('"default";r=4;t=')
    assert int(answers[5][1]["Retry-After"]) > 0
    assert json.loads(answers[5][2])["type"] == "urn:flexportd:problem:rate-limited"


async def test_a_wrong_key_counts_once_also_where_an_answer_lies_ready(locked):
    key = await new_key(locked, rate_limit="off")
    assert (await ask(locked, "/api/v1/shipments", key=key))[0] == 200
    wrong = "fxd_00000000_" + "0" * 43
    statuses = [(await ask(locked, "/api/v1/shipments", key=wrong))[0] for _ in range(22)]
    assert statuses == [401] * 20 + [429] * 2


async def test_wrong_keys_are_counted_by_the_address_that_a_trusted_proxy_tells(tmp_path, clock):
    settings = {"api.require_key": True, "server.trusted_proxies": ["127.0.0.1"]}
    async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon:

        async def guess(told):
            wrong = "fxd_00000000_" + "0" * 43
            return (await ask(daemon, "/api/v1/shipments", key=wrong, X_Forwarded_For=told))[:2]

        # What the caller itself put before the address is not believed.
        found = [await guess(f"198.51.100.{number}, 192.0.2.1") for number in range(21)]
        assert [status for status, _ in found] == [401] * 20 + [429]
        assert int(found[-1][1]["Retry-After"]) > 0
        assert (await guess("192.0.2.2"))[0] == 401
        key = await new_key(daemon)
        assert (await ask(daemon, "/api/v1/shipments", key=key, X_Forwarded_For="192.0.2.1"))[0] == 200


@pytest.mark.parametrize(
    ("mine", "others"),
    [
        ("192.0.2.1:4711", "192.0.2.2:4711"),
        ('"[2001:db8::1]:4711"', '"[2001:db8:1::1]:4711"'),
        ("unknown", "192.0.2.2"),
    ],
)
async def test_through_a_unix_socket_one_clients_wrong_keys_lock_out_no_other(tmp_path, clock, capsys, mine, others):
    """The peer of a Unix socket is a trusted proxy, also where `trusted_proxies` names none."""
    path = f"{tmp_path}/web.sock"
    settings = {"server.listen": f"unix:{path}", "log.access": True}
    async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon:
        daemon.url = "http://flexportd"
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as daemon.http:
            wrong = "fxd_00000000_" + "0" * 43
            found = [
                (await ask(daemon, "/api/v1/shipments", key=wrong, X_Forwarded_For=f"198.51.100.{number}, {mine}"))[0]
                for number in range(22)
            ]
            assert found == [401] * 20 + [429] * 2
            assert (await ask(daemon, "/api/v1/shipments", key=wrong, X_Forwarded_For=others))[0] == 401
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"request_finished"' in line]
    clients = [line["client"] for line in lines if line["client"] != "local"]  # the job that warms the cache
    assert clients == [client_ip.forwarded_client(mine).name] * 22 + [client_ip.forwarded_client(others).name]


async def test_a_forged_cursor_tells_nothing_of_what_its_owner_may_not_see(locked):
    """Neither whether there is such a row, nor where it stands."""
    others = [{"_object": "/company_entity", "id": 78, "name": "Somebody else", "ref": "id-78"}]
    events = [
        event(shipment(number, consignees=others if number % 2 else shipment()["consignees"])) for number in range(1, 9)
    ]
    await locked.receive(*events)
    await locked.settled()
    key = await new_key(locked, consignees=["Example Imports"], rate_limit="off")
    _, _, body = await ask(locked, "/api/v1/shipments?limit=1&sort=updated_at", key=key)
    own = json.loads(body)["next"]
    assert (await ask(locked, f"/api/v1/shipments?sort=updated_at&cursor={own}", key=key))[0] == 200
    admin = await new_key(locked, name="admin", scope="admin")
    _, _, body = await ask(locked, "/api/v1/shipments?limit=1&sort=updated_at", key=admin)
    cursor = json.loads(base64.urlsafe_b64decode(json.loads(body)["next"] + "==="))
    answers = set()
    for number in (4, 3, 999):
        forged = [*cursor[:2], True, number, *cursor[4:]]
        text = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode().rstrip("=")
        status, _, body = await ask(locked, f"/api/v1/shipments?sort=updated_at&cursor={text}", key=key)
        answers.add((status, json.loads(body)["detail"]))
    assert [status for status, _ in answers] == [400]
    changed = ("A" if own[0] != "A" else "B") + own[1:]
    assert (await ask(locked, f"/api/v1/shipments?sort=updated_at&cursor={changed}", key=key))[0] == 400
    sister = await new_key(locked, name="sister", consignees=["Example Imports"], rate_limit="off")
    assert (await ask(locked, f"/api/v1/shipments?sort=updated_at&cursor={own}", key=sister))[0] == 400


# --- other sites ---


async def test_pages_of_an_allowed_origin_may_ask(locked):
    key = await new_key(locked, scope="admin")
    origin = "https://app.example.com"
    status, headers, body = await ask(
        locked, "/api/v1/shipments", "OPTIONS", Origin=origin, Access_Control_Request_Method="GET"
    )
    assert (status, body) == (204, b"")
    assert headers["Access-Control-Allow-Origin"] == origin
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    _, headers, _ = await ask(locked, "/api/v1/shipments", key=key, Origin=origin)
    assert headers["Access-Control-Allow-Origin"] == origin
    assert "ETag" in headers["Access-Control-Expose-Headers"]
    assert (await ask(locked, "/api/v1/queue/pause", "POST", key=key, Origin=origin))[0] == 200
    _, headers, _ = await ask(locked, "/api/v1/shipments", Origin=origin)  # a page must be able to read why not
    assert headers["Access-Control-Allow-Origin"] == origin


async def test_pages_of_other_origins_may_not(locked):
    key = await new_key(locked)
    _, headers, _ = await ask(locked, "/api/v1/shipments", key=key, Origin="https://evil.example.com")
    assert "Access-Control-Allow-Origin" not in headers
    assert "Origin" in headers.getall("Vary")
    status, headers, _ = await ask(
        locked, "/api/v1/shipments", "OPTIONS", Origin="https://evil.example.com", Access_Control_Request_Method="GET"
    )
    assert "Access-Control-Allow-Origin" not in headers
    assert status == 405


async def test_a_page_of_another_site_cannot_act_here(open_daemon):
    for headers in ({"Origin": "https://evil.example.com"}, {"Sec_Fetch_Site": "cross-site"}):
        assert (await ask(open_daemon, "/api/v1/queue/pause", "POST", **headers))[0] == 403
    assert (await ask(open_daemon, "/api/v1/status", Host="evil.example.com"))[0] == 403


# --- what is wrong ---


@pytest.mark.parametrize(
    ("request_bytes", "status", "slug"),
    [
        (b"GET /api/v1/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404, "not-found"),
        (b"PUT /api/v1/shipments HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405, "method-not-allowed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", 400, "malformed-request"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed-request"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70000 + b"\r\n\r\n", 400, "malformed-request"),
        (b"GET /api/v1/shipments?a=" + b"&a=".join([b"1"] * 2000) + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400, "invalid-request"),
        (b"GET /api/v1/shipments?q=%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400, "invalid-request"),
        (b"GET /api/v1/shipments?q=%ff%fe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400, "invalid-request"),
        (b"POST /api/v1/dead-letters/1/discard HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9999999999\r\nConnection: close\r\n\r\n", 413, "content-too-large"),
        (b"POST /api/v1/dead-letters/1/discard HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", 415, "unsupported-media-type"),
        (b"POST /api/v1/dead-letters/1/discard HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5\r\nConnection: close\r\n\r\n[1,2]", 400, "invalid-request"),
    ],
    ids=["404", "405", "tls", "long-line", "long-header", "many-parameters", "nul", "no-utf8", "large", "type", "shape"],
)  # fmt: skip
async def test_whatever_is_wrong_is_told_as_a_problem(open_daemon, request_bytes, status, slug):
    answer = await raw(open_daemon, request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert b"Content-Type: application/problem+json" in head
    assert json.loads(body)["type"] == f"urn:flexportd:problem:{slug}"
    assert (b"Allow: " in head) == (status == 405)


@pytest.mark.parametrize("path", [b"/api/v1/shipments", b"/healthz", b"/", b"/webhooks/flexport", b"/nothing"])
async def test_an_expectation_that_nobody_knows_is_told_as_a_problem(open_daemon, path):
    for method in (b"GET", b"POST"):
        head = b"%b %b HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\nConnection: close\r\n\r\n" % (method, path)
        answer = await raw(open_daemon, head)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Content-Type: application/problem+json" in head, answer
        assert b"X-Request-Id: " in head
        assert json.loads(body)["status"] == int(head.split()[1])
        assert head.startswith((b"HTTP/1.1 417 ", b"HTTP/1.1 404 ", b"HTTP/1.1 405 "))


@pytest.mark.parametrize("path", [b"/api/v1/shipments", b"/", b"/api/v1/shipments/1"])
async def test_two_hosts_are_one_too_many(open_daemon, path):
    """Whoever is before us may have believed the other (RFC 9112, 3.2)."""
    await open_daemon.receive(event(shipment(1)))
    await open_daemon.settled()
    for hosts in (b"localhost\r\nHost: evil.example", b"localhost\r\nHost: localhost"):
        for _ in range(2):
            assert (await ask(open_daemon, path.decode()))[0] == 200  # it lies ready
            answer = await raw(open_daemon, b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (path, hosts))
            assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]
            assert b"application/problem+json" in answer


async def test_who_goes_away_in_the_middle_of_a_body_is_no_error_of_ours(open_daemon, monkeypatch):
    """Else anybody could fill the log."""
    logged, ended, told = [], asyncio.Event(), middleware.as_problem
    monkeypatch.setattr("flexportd.http.problems.log.error", lambda *_, **more: logged.append(more), raising=False)

    def watched(request, error):
        ended.set()
        return told(request, error)

    monkeypatch.setattr("flexportd.expose.middleware.as_problem", watched)
    host, port = open_daemon.daemon.addresses[0].rsplit(":", 1)
    _, writer = await asyncio.open_connection(host, int(port))
    head = b"POST /api/v1/dead-letters/1/discard HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(head + b"Content-Length: 50\r\n\r\n{")
    await writer.drain()
    await ask(open_daemon, "/healthz")
    writer.transport.abort()
    async with asyncio.timeout(10):
        await ended.wait()
    assert (await ask(open_daemon, "/healthz"))[0] == 200
    assert logged == []


async def test_the_description_is_made_once_whatever_its_path_is_spelled_like(open_daemon, monkeypatch):
    """It takes half a second, and needs no key."""
    made = []
    make = api_docs._docs_html
    monkeypatch.setattr(api_docs, "_docs_html", lambda *given: made.append(1) or make(*given))
    paths = ["/api/v1/docs", "/api/v1/doc%73", "/api/v1/d%6fcs", "/api/%761/docs", "/api/v1/docs"]
    urls = [URL(open_daemon.url + path, encoded=True) for path in paths]

    async def read(url):
        async with open_daemon.http.get(url) as answer:
            return answer.status, await answer.read()

    found = await asyncio.gather(*map(read, urls))
    assert {status for status, _ in found} == {200}
    assert len({body for _, body in found}) == 1
    assert len(made) == 1


async def test_an_unknown_error_tells_nothing_of_itself(open_daemon, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(open_daemon.daemon.db, "read", fail)
    status, _, body = await ask(open_daemon, "/api/v1/shipments")
    assert status == 500
    assert b"secret" not in body
    assert json.loads(body)["type"] == "urn:flexportd:problem:internal-error"


async def test_an_answer_that_takes_too_long_is_given_up(open_daemon, monkeypatch):
    async def forever(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr("flexportd.expose.middleware.TIME_LIMIT", 0.05)
    monkeypatch.setattr(open_daemon.daemon.db, "read", forever)
    status, headers, body = await ask(open_daemon, "/api/v1/shipments")
    assert (status, json.loads(body)["type"]) == (503, "urn:flexportd:problem:response-timeout")
    assert headers["Retry-After"]


# --- compression ---


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip", "gzip"), ("zstd, gzip", "zstd"), ("gzip;q=1, zstd;q=0.5", "gzip"), ("*", "zstd"), ("br", None),
     ("gzip;q=0", None), ("identity", None), ("gzip;q=x", None)],
)  # fmt: skip
async def test_answers_are_compressed_as_the_client_likes(open_daemon, accepted, coding):
    await open_daemon.receive(*(event(shipment(number)) for number in range(1, 6)))
    await open_daemon.settled()
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        for _ in range(2):  # built, and lying ready
            async with http.get(open_daemon.url + "/api/v1/shipments", headers={"Accept-Encoding": accepted}) as answer:
                assert answer.headers.get("Content-Encoding") == coding
                assert answer.headers["Vary"] == "Accept-Encoding"
                body = await answer.read()
    if coding == "zstd":
        import zstandard

        body = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)).read()
    elif coding == "gzip":
        import gzip

        body = gzip.decompress(body)
    assert len(json.loads(body)["data"]) == 5


# --- reload ---


async def test_what_a_reload_changes_is_changed(open_daemon, tmp_path):
    assert (await ask(open_daemon, "/api/v1/status"))[0] == 200
    settings = Settings.for_tests(tmp_path, **{"api.require_key": True, "api.cors_origins": ["https://a.example.com"]})
    now, later = open_daemon.daemon.reload(settings)
    assert {"api.require_key", "api.cors_origins"} <= set(now)
    assert not later
    status, headers, _ = await ask(open_daemon, "/api/v1/status", Origin="https://a.example.com")
    assert status == 401
    assert headers["Access-Control-Allow-Origin"] == "https://a.example.com"
