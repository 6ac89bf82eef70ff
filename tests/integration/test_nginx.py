"""A real nginx before the daemon: its defaults, what people write instead of them, and the README's example."""

import asyncio
import base64
import io
import json
import re
import tomllib
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent

import aiohttp
import pytest

from flexportd.flexport.webhook_signature import sign
from flexportd.settings import Settings
from tests.events import event, shipment
from tests.integration.test_forms import CHROMIUM, TOKEN, WITHOUT_SITE
from tests.integration.test_middleware import new_key
from tests.nginx import certificate, needs_nginx, nginx
from tests.under_test import SECRET, start

pytestmark = needs_nginx

ROOT = Path(__file__).parents[2]
NAME = "freight.example.com"
HOSTS = {
    "default": "",  # Host: $proxy_host, and HTTP/1.0
    "host": "proxy_set_header Host $host;",  # without the port
    "http_host": "proxy_set_header Host $http_host;",
    "port": "proxy_set_header Host $host:$server_port;",
    "keepalive": 'proxy_http_version 1.1; proxy_set_header Connection "";',
    "forwarded": (
        "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; "
        "proxy_set_header X-Forwarded-Host $http_host;"
    ),
}


def location(upstream, more=""):
    return f"location / {{ proxy_pass http://{upstream}; {more} }}"


def through(daemon):
    """A server for each way to write it, and one that names its upstream."""
    address = daemon.daemon.addresses[0]
    servers = {name: location(address, more) for name, more in HOSTS.items()} | {"upstream": location("backend")}
    (servers["documented"],) = examples("docs/security.md", address)
    return {"servers": servers, "around": f"upstream backend {{ server {address}; }}"}


def examples(document, address):
    """What a document shows of nginx, word for word but for the daemon's address."""
    found = [block for block in _blocks(document, "nginx") if "proxy_pass http://127.0.0.1:8080;" in block]
    return [block.replace("127.0.0.1:8080", address) for block in found]


@asynccontextmanager
async def signed_in(key):
    """A browser that has asked for the key: it sends it as the password of HTTP Basic."""
    headers = {"Authorization": "Basic " + base64.b64encode(f"x:{key}".encode()).decode()} if key else {}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=False)) as http:
        yield http


async def press(http, url, path, headers, fields=""):
    async with http.post(url + path, data=fields, headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers, await answer.text()


@pytest.mark.parametrize("public", [f"http://{NAME}:8000", f"https://{NAME}"])
async def test_login_and_buttons_work_whatever_nginx_makes_of_host(tmp_path, clock, public):
    is_tls = public.startswith("https")
    tls = certificate(tmp_path) if is_tls else None
    base = CHROMIUM if is_tls else WITHOUT_SITE  # browsers send Sec-Fetch-Site by https alone
    settings = {"server.public_url": public, "server.trusted_proxies": ["127.0.0.1"]}
    async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon:
        proxy = through(daemon)
        async with (
            signed_in(await new_key(daemon, scope="admin")) as http,
            nginx(tmp_path / "nginx", proxy["servers"], around=proxy["around"], tls=tls) as urls,
        ):
            host = {"Host": public.partition("://")[2]}
            for name, url in urls.items():
                page = {"Accept": CHROMIUM["Accept"], **host}
                async with signed_in(None) as nobody, nobody.get(url + "/queue", headers=page) as answer:
                    assert answer.status == 401, name
                    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
                async with http.get(url + "/queue", headers=page) as answer:
                    assert answer.status == 200, (name, await answer.text())
                    assert ("Strict-Transport-Security" in answer.headers) is is_tls, name
                    token = TOKEN.search(await answer.text())[1]

                sent = base | host | {"Origin": public, "Referer": f"{public}/queue"}
                status, headers, text = await press(http, url, "/queue/pause", sent)
                assert (status, headers.get("Location")) == (303, "/queue?done=paused"), (name, text)
                async with http.get(url + headers["Location"], headers=page) as answer:
                    assert "Webhooks are still accepted and stored" in await answer.text()

                sent = WITHOUT_SITE | host | {"Origin": public}  # Safari before 16.4
                assert (await press(http, url, "/queue/pause", sent))[0] == 303, name
                sent = WITHOUT_SITE | host | {"Origin": "null"}
                assert (await press(http, url, "/queue/resume", sent))[0] == 403, name
                status, _, _ = await press(http, url, "/queue/resume", sent, f"form_token={token}")
                assert (status, daemon.daemon.queue.paused) == (303, False), name

                for foreign in ({"Origin": "https://evil.example"}, {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
                                {"Origin": public, "Sec-Fetch-Site": "same-site"}):  # fmt: skip
                    sent = WITHOUT_SITE | host | foreign
                    status, headers, text = await press(http, url, "/queue/pause", sent, f"form_token={token}")
                    assert (status, "</html>" in text, "public_url" in text) == (403, True, True), (name, foreign)
                assert not daemon.daemon.queue.paused


async def test_without_public_url_a_refusal_names_what_to_set_and_browsers_that_say_more_get_through(daemon, tmp_path):
    host, origin = {"Host": NAME}, {"Origin": f"https://{NAME}"}
    async with (
        signed_in(None) as http,
        nginx(tmp_path / "nginx", {"default": location(daemon.daemon.addresses[0])}) as at,
    ):
        url = at["default"]
        status, headers, text = await press(http, url, "/queue/pause", WITHOUT_SITE | host | origin)
        assert (status, headers["Content-Type"]) == (403, "text/html; charset=utf-8")
        for words in (
            f"Origin https://{NAME}",
            daemon.url,
            f"public_url = &#34;https://{NAME}&#34;",
            "proxy_set_header Host",
        ):
            assert words in text, words
        assert not daemon.daemon.queue.paused
        assert (await press(http, url, "/queue/pause", CHROMIUM | host | origin))[0] == 303


async def test_a_proxy_that_is_not_configured_is_refused_with_a_page(daemon, tmp_path):
    servers = {"forwarding": location(daemon.daemon.addresses[0], HOSTS["forwarded"])}
    async with signed_in(None) as http, nginx(tmp_path / "nginx", servers) as at:
        status, headers, text = await press(http, at["forwarding"], "/queue/pause", CHROMIUM)
        assert (status, headers["Content-Type"]) == (403, "text/html; charset=utf-8")
        assert "trusted_proxies" in text
        assert not daemon.daemon.queue.paused


async def test_through_a_unix_socket(tmp_path, clock):
    path = tmp_path / "web.sock"
    async with start(Settings.for_tests(tmp_path, **{"server.listen": f"unix:{path}"}), clock) as daemon:
        servers = {name: location(f"unix:{path}", HOSTS[name]) for name in ("default", "http_host", "forwarded")}
        async with signed_in(await new_key(daemon, scope="admin")) as http, nginx(tmp_path / "nginx", servers) as urls:
            for name, url in urls.items():
                sent = CHROMIUM | {"Host": NAME, "Origin": f"https://{NAME}"}
                assert (await press(http, url, "/queue/pause", sent))[0] == 303, name
                sent = WITHOUT_SITE | {"Host": NAME, "Origin": f"http://{NAME}"}
                status, _, text = await press(http, url, "/queue/pause", sent)
                assert status == (403 if name == "default" else 303), text
                sent = WITHOUT_SITE | {"Host": NAME, "Origin": "https://evil.example"}
                assert (await press(http, url, "/queue/pause", sent))[0] == 403, name


# --- the README's example ---


def _blocks(document, language):
    text = (ROOT / document).read_text()
    return [dedent(block) for block in re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)]


async def test_the_example_of_the_readme_word_for_word(tmp_path, clock):
    tables = [tomllib.loads(block) for block in _blocks("README.md", "toml")]
    (server,) = [table["server"] for table in tables if "public_url" in table.get("server", {})]
    settings = {f"server.{name}": value for name, value in server.items()} | {
        "webhook.allowed_networks": ["127.0.0.0/8"]
    }
    async with start(Settings.for_tests(tmp_path, **settings), clock) as daemon:
        (example,) = examples("README.md", daemon.daemon.addresses[0])
        servers = {"readme": example}
        async with (
            signed_in(None) as http,
            nginx(tmp_path / "nginx", servers, tls=certificate(tmp_path)) as urls,
        ):
            body = json.dumps(
                event(shipment(1, name="x" * 2_000_000))
            ).encode()  # nginx takes 1 MB unless told otherwise
            sent = {"X-Hub-Signature-256": sign(body, SECRET), "Content-Type": "application/json", "Host": NAME}
            for word in ("accepted", "duplicate"):
                async with http.post(
                    urls["readme"] + "/webhooks/flexport", data=io.BytesIO(body), headers=sent
                ) as answer:
                    assert (answer.status, (await answer.json())["status"]) == (200, word)
            for path in ("/", "/queue", "/api/v1/status", "/metrics"):
                async with http.get(urls["readme"] + path, headers={"Host": NAME}) as answer:
                    assert answer.status == 404, path
                    assert answer.headers["Server"].startswith("nginx"), path


# --- streams, compression, exports ---


async def test_a_stream_is_not_held_up_nor_an_answer_compressed_twice(daemon, tmp_path):
    around = "gzip on; gzip_proxied any; gzip_types *; gzip_min_length 1;"
    await daemon.receive(*(event(shipment(number, name=f"Lamps {number}")) for number in range(1, 40)))
    await daemon.settled()
    async with (
        signed_in(None) as http,
        nginx(tmp_path / "nginx", {"default": location(daemon.daemon.addresses[0])}, around=around) as urls,
    ):
        url = urls["default"]
        for coding in ("gzip", "identity"):
            async with (
                asyncio.timeout(20),
                http.get(url + "/api/v1/stream", headers={"Accept-Encoding": coding}) as stream,
            ):
                assert (stream.status, stream.content_type) == (200, "text/event-stream")
                await daemon.receive(event(shipment(7, name=f"Kettles {coding}")))
                while f"Kettles {coding}".encode() not in await stream.content.readline():
                    pass
        for path in ("/shipments", "/api/v1/shipments", "/shipments/1"):
            for coding in ("gzip", "identity"):
                asked = {"Accept-Encoding": coding}
                async with http.get(url + path, headers=asked) as answer:
                    assert answer.status == 200
                    assert answer.headers.getall("Content-Encoding", ["identity"]) == [coding], path
                    assert "Lamps 39" in await answer.text() or path == "/shipments/1"
                    etag = answer.headers["ETag"]
                async with http.get(url + path, headers=asked | {"If-None-Match": etag}) as answer:
                    assert answer.status == 304 or not path.startswith("/api"), (path, coding)  # pages say how old
        async with http.get(url + "/api/v1/shipments?format=csv") as answer:
            assert len((await answer.text()).splitlines()) == 40
