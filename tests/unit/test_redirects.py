"""Which addresses a redirect may lead to."""

import socket

import pytest
from yarl import URL

from flexportd.flexport import download
from flexportd.flexport.download import Redirects, RefusedRedirectError
from flexportd.flexport.errors import FlexportError
from flexportd.flexport.transport import Request, open_response
from tests.flexport_double import FlexportDouble, answer


async def followed(home, location, here=None):
    return str(await Redirects(URL(home)).follow(URL(here or home), location, "GET /x"))


async def test_an_encrypted_download_stays_encrypted():
    home = "https://api.flexport.com/documents/1/download"
    assert await followed(home, "https://files.example.com/x") == "https://files.example.com/x"
    assert await followed(home, "/elsewhere") == "https://api.flexport.com/elsewhere"
    for location in ("http://files.example.com/x", "http://api.flexport.com/x", "HTTP://api.flexport.com:80/"):
        with pytest.raises(RefusedRedirectError, match="without https"):
            await followed(home, location)
        with pytest.raises(RefusedRedirectError, match="without https"):
            await followed(home, location, "https://files.example.com/x")


@pytest.mark.parametrize(
    "location",
    ["", "ftp://files.example.com/", "file:///etc/passwd", "gopher://x", "https://u:p@files.example.com/",
     "https://:p@files.example.com/", "https://files.example.com:0/", "https://[::1", "data:text/plain,x"],
)  # fmt: skip
async def test_a_redirect_to_nowhere_is_refused(location):
    with pytest.raises(RefusedRedirectError, match="not valid"):
        await followed("https://api.flexport.com/x", location)


async def test_a_public_host_over_http_is_no_reason_to_be_led_to_http_elsewhere(monkeypatch):
    monkeypatch.setattr(Redirects, "_exempt", lambda self: done(frozenset()))
    with pytest.raises(RefusedRedirectError, match="without https"):
        await followed("http://flexport.example.com/x", "http://files.example.com/x")


async def done(value):
    return value


async def reached(home, url, monkeypatch, addresses=None):
    """Ask a redirect's address; the names in `addresses` resolve as they say, at each look-up the next."""
    if addresses is not None:
        loop_lookup = socket.getaddrinfo
        left = list(addresses)

        def lookup(host, port, *rest, **more):
            if host in ("home.example", b"home.example", "files.example", b"files.example"):
                host = left.pop(0) if len(left) > 1 else left[0]
            return loop_lookup(host, port, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
    async with Redirects(URL(home)).session("GET /x", "flexportd/1") as session:
        response = await open_response(session, Request("GET", url, {}), download.aiohttp.ClientTimeout(total=5))
        response.close()
        return response.status


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST.", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001",
     "0177.0.0.1", "0x7f.1", "127.0.0.1.", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "%31%32%37.0.0.1", "169.254.169.254"],
)  # fmt: skip
async def test_no_spelling_of_an_address_leads_inside(host, monkeypatch):
    async with FlexportDouble().running() as inside:
        inside.usual = answer(b"secret")
        # The configured host is public: nothing is exempt.
        with pytest.raises(FlexportError):
            await reached("https://8.8.8.8/x", f"http://{host}:{inside.port}/", monkeypatch)
        assert inside.asked == []


async def test_the_address_that_is_checked_is_the_one_that_is_connected_to(monkeypatch):
    """A name that resolves to a public address first, and to an inner one when it counts."""
    async with FlexportDouble().running() as inside:
        with pytest.raises(RefusedRedirectError, match=r"127\.0\.0\.1, a loopback address"):
            await reached("https://8.8.8.8/x", f"http://files.example:{inside.port}/", monkeypatch, ["127.0.0.1"])
        assert inside.asked == []


async def test_the_kind_of_the_configured_host_is_exempt_and_no_other(monkeypatch):
    async with FlexportDouble().running() as inside:
        inside.usual = answer(b"file")
        assert await reached(inside.url, f"http://localhost:{inside.port}/", monkeypatch) == 200
        with pytest.raises(RefusedRedirectError, match="link-local"):
            await reached(inside.url, "http://169.254.169.254/latest/meta-data/", monkeypatch)
        with pytest.raises(RefusedRedirectError, match="private"):
            await reached(inside.url, "http://[::ffff:10.0.0.1]/", monkeypatch)
