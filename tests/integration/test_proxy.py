"""Flexport through a forward proxy: every request, its failures in words, and no password anywhere."""

import json
import logging
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import connector
from yarl import URL

from flexportd.clock import Clock
from flexportd.flexport.client import Client, ClientRules
from flexportd.flexport.download import Redirects, RefusedRedirectError
from flexportd.flexport.errors import FlexportUnavailableError
from flexportd.flexport.oauth.auth import ApiKeyAuth
from flexportd.flexport.oauth.client_credentials import ClientCredentials, Credentials
from flexportd.flexport.transport import Proxy
from flexportd.settings import Settings
from flexportd.settings.addresses import parse_proxy
from tests.flexport_double import FlexportDouble, HurriedClock, answer
from tests.forward_proxy import ForwardProxy
from tests.under_test import start

KEY = "key-of-the-account"
PASSWORD = "p@ss:wörd/7"
SIGN_IN = "team%20a:p%40ss%3Aw%C3%B6rd%2F7"


def chosen(proxy, sign_in=SIGN_IN):
    """The proxy as the settings give it to the client."""
    found = parse_proxy(proxy.url.replace("//", f"//{sign_in}@") if sign_in else proxy.url)
    return Proxy(found.url, found.authorization)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,DNS:store.example.com",
            "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]  # fmt: skip
    subprocess.run(made, capture_output=True, check=True)
    return folder


@pytest.fixture
async def flexport(certificate, monkeypatch):
    """Over TLS, with a certificate that the client trusts."""
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    trusting = ssl.create_default_context(cafile=certificate / "cert.pem")
    monkeypatch.setattr(connector, "_SSL_CONTEXT_VERIFIED", trusting)
    async with FlexportDouble().running(serving) as double:
        yield double


@pytest.fixture
async def proxy():
    async with ForwardProxy("team a", PASSWORD).running() as found:
        yield found


@asynccontextmanager
async def opened(base_url, through, auth=None, clock=None, **rules):
    given = ClientRules(base_url, requests_per_second=1000.0, timeout=5.0, patience=0, proxy=through, **rules)
    async with Client(given, auth or ApiKeyAuth(KEY), clock or HurriedClock()) as client:
        yield client


async def downloaded(client, path="/documents/9/download"):
    found = bytearray()

    async def sink(chunk):
        found.extend(chunk)

    await client.download(path, "interactive", sink, 1 << 20)
    return bytes(found)


async def test_api_tokens_and_files_all_go_through_the_proxy(flexport, proxy, tmp_path):
    auth = ClientCredentials(
        Credentials("id", "client-secret", f"{flexport.url}/oauth/token", "x"), tmp_path / "t", 5.0
    )
    async with opened(flexport.url, chosen(proxy), auth) as client:
        await client.page("/shipments", {}, 1, "sync")
        flexport.script.append(answer(b"%PDF", Content_Type="application/pdf"))
        assert await downloaded(client) == b"%PDF"
        assert client.state()["proxy"] == f"127.0.0.1:{proxy.port}"
        assert client.state()["auth"]["authorised"]
    assert set(proxy.lines) == {f"CONNECT localhost:{flexport.port} HTTP/1.1"}
    assert flexport.token_requests == 1
    assert len(flexport.asked) == 2
    for request in flexport.asked:  # neither learns what is for the other
        assert "Proxy-Authorization" not in request.headers
    assert not any(b"token-1" in head or b"client-secret" in head for head in proxy.seen)


async def test_what_is_not_encrypted_goes_through_the_proxy_as_well(proxy):
    async with FlexportDouble().running() as flexport, opened(flexport.url, chosen(proxy)) as client:
        for _ in range(2):
            await client.page("/shipments", {}, 1, "sync")
        assert proxy.lines[0].startswith(f"GET {flexport.url}/shipments?")
        assert "Proxy-Authorization" not in flexport.asked[0].headers
    async with FlexportDouble().running() as flexport, opened(flexport.url, chosen(proxy, "team:wrong")) as client:
        with pytest.raises(FlexportUnavailableError, match="does not accept the user and password") as caught:
            await client.get("/shipments", "7", "sync")
        assert not caught.value.sent


@pytest.mark.parametrize(
    ("fault", "sign_in", "told"),
    [
        (None, "", r"the proxy 127.0.0.1:\d+ asks for a user and password \(407\); see \[flexport\] proxy"),
        (None, "team:wrong-password", r"the proxy 127.0.0.1:\d+ does not accept the user and password of .* \(407\)"),
        (
            b"HTTP/1.1 403 Not on the list\r\n\r\n",
            SIGN_IN,
            r"the proxy .* does not connect to localhost:\d+: 403 Not on",
        ),
        (b"HTTP/1.1 502 Bad \x1b[31mGateway\r\n\r\n", SIGN_IN, r"the proxy .* does not connect to localhost:\d+: 502 "),
        (b"SSH-2.0-OpenSSH\r\n", SIGN_IN, r"the proxy 127.0.0.1:\d+ closed the connection or is not an HTTP proxy"),
        (b"", SIGN_IN, r"the proxy 127.0.0.1:\d+ closed the connection or is not an HTTP proxy"),
        ("hang", SIGN_IN, r"no connection to localhost:\d+ through the proxy 127.0.0.1:\d+ within the time allowed"),
        (b"HTTP/1.1 200 OK\r\n\r\nno TLS here", SIGN_IN, r"no TLS connection to localhost:\d+ through the proxy 127"),
    ],
)
async def test_a_failure_of_the_proxy_names_it_and_tells_no_password(flexport, proxy, caplog, fault, sign_in, told):
    caplog.set_level(logging.DEBUG)
    proxy.fault = fault
    async with opened(flexport.url, chosen(proxy, sign_in)) as client:
        client._rules = ClientRules(client._rules.base_url, timeout=0.3 if fault == "hang" else 5.0)
        with pytest.raises(FlexportUnavailableError, match=told) as caught:
            await client.send("POST", "/bookings", b"{}", "write")  # it is certain that it never left
    assert not caught.value.sent
    assert "\x1b" not in str(caught.value)
    assert flexport.asked == []
    for secret in (PASSWORD, "wrong-password", SIGN_IN.partition(":")[2], proxy.needed):
        assert secret not in str(caught.value) + caplog.text + repr(client._rules) + json.dumps(client.state())


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:1", r"the proxy 127.0.0.1:1 cannot be reached \(Connect.* refused|Connect call failed"),
        ("http://no-such-proxy.invalid:3128", r"the name of the proxy no-such-proxy.invalid:3128 cannot be resolved"),
    ],
)
async def test_a_proxy_that_cannot_be_reached_costs_no_token_request(flexport, tmp_path, url, told):
    auth = ClientCredentials(Credentials("id", "secret", f"{flexport.url}/oauth/token", "x"), tmp_path / "t", 5.0)
    async with opened(flexport.url, Proxy(url), auth) as client:
        with pytest.raises(FlexportUnavailableError, match=told):
            await client.page("/shipments", {}, 1, "sync")
        assert client.state()["auth"]["token_requests"] == 0
        assert "proxy" in client.state()["auth"]["reason"]


async def test_a_certificate_that_is_not_trusted_is_told_with_the_proxy(flexport, proxy, monkeypatch):
    monkeypatch.setattr(connector, "_SSL_CONTEXT_VERIFIED", ssl.create_default_context())
    async with opened(flexport.url, chosen(proxy)) as client:
        with pytest.raises(FlexportUnavailableError, match=r"no TLS connection .* through the proxy .*certificate"):
            await client.page("/shipments", {}, 1, "sync")


# --- redirects of downloads ---


def resolving(monkeypatch, **names):
    """Make the event loop resolve these names alone."""
    found = {name.replace("_", "."): address for name, address in names.items()}

    def lookup(host, port, *_, **__):
        if host not in found:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


@pytest.mark.parametrize(
    ("location", "refused"),
    [
        ("https://127.0.0.1/x", "loopback"),
        ("https://[::ffff:10.0.0.1]:8443/x", "private"),
        ("https://169.254.169.254/latest", "link-local"),
        ("https://127.1/", "loopback"),
        ("https://0x7f000001/", "loopback"),
        ("https://2130706433/", "loopback"),
        ("https://localhost/", "local network"),
        ("https://LOCALHOST./", "local network"),
        ("https://metadata.google.internal/", "local network"),
        ("https://nas.local/", "local network"),
        ("https://intranet/", "local network"),
        ("https://a.b\u3002local/", "not valid"),
        ("https://%31%32%37.0.0.1/", "local network"),
        ("https://127.0.0.1./", "loopback"),
        ("https://wiki.example.com/", "private"),
        ("http://files.example.com/", "without https"),
        ("https://files.example.com/x", None),
        ("https://only-the-proxy-knows.example.com/x", None),
        ("https://8.8.8.8/x", None),
    ],
)
async def test_with_a_proxy_a_redirect_is_checked_before_the_proxy_is_asked(monkeypatch, location, refused):
    resolving(
        monkeypatch, api_flexport_com="104.16.0.1", wiki_example_com="10.0.0.5", files_example_com="93.184.216.34"
    )
    home = URL("https://api.flexport.com/documents/1/download")
    redirects = Redirects(home, Proxy("http://127.0.0.1:3128"))
    if refused is None:
        assert str(await redirects.follow(home, location, "GET /x")) == location
        return
    with pytest.raises(RefusedRedirectError, match=refused):
        await redirects.follow(home, location, "GET /x")


async def test_a_download_is_followed_to_a_store_through_the_proxy_without_our_key(flexport, proxy, monkeypatch):
    async with opened(flexport.url, chosen(proxy)) as client:
        proxy.hosts["store.example.com"] = flexport.port
        flexport.script.append(answer(b"", 302, Location="https://store.example.com/a.pdf"))
        flexport.script.append(answer(b"%PDF", Content_Type="application/pdf"))
        assert await downloaded(client) == b"%PDF"
    assert proxy.lines == [f"CONNECT localhost:{flexport.port} HTTP/1.1", "CONNECT store.example.com:443 HTTP/1.1"]
    assert "Authorization" not in flexport.asked[1].headers


# --- the daemon ---


async def test_the_status_names_the_proxy_without_its_password(tmp_path, proxy, capsys):
    async with FlexportDouble().running() as flexport:
        settings = {
            "flexport.api_key": KEY,
            "flexport.base_url": flexport.url,
            "flexport.proxy": proxy.url.replace("//", f"//{SIGN_IN}@"),
        }
        async with start(Settings.for_tests(tmp_path, **settings), Clock()) as daemon:
            found = await daemon.get("/status")
            async with daemon.http.get(daemon.url + "/sync") as page:
                text = await page.text()
        assert found["flexport"]["proxy"] == f"127.0.0.1:{proxy.port}"
        assert f"127.0.0.1:{proxy.port}" in text
        assert not any(secret in text + json.dumps(found) for secret in (PASSWORD, "team"))
        assert len(flexport.asked) == len(proxy.seen) or flexport.asked


@pytest.mark.parametrize(("key", "warned"), [(KEY, True), (None, False)])
async def test_a_proxy_of_the_environment_is_told_not_to_be_used(tmp_path, monkeypatch, key, warned):
    monkeypatch.setenv("https_proxy", "http://secret-user:secret-password@127.0.0.1:9")
    settings = {
        "flexport.api_key": key,
        "flexport.base_url": "http://127.0.0.1:9",
        "flexport.timeout": timedelta(seconds=1),
    }
    async with start(Settings.for_tests(tmp_path, **settings), Clock()) as daemon:
        warnings = [one for one in (await daemon.get("/status"))["warnings"] if "https_proxy in the environment" in one]
    assert bool(warnings) is warned
    assert "secret" not in str(warnings)
