"""Which addresses a redirect may lead to."""

import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from flexportd.flexport import download
from flexportd.flexport.download import Redirects, RefusedRedirectError, address_kind
from flexportd.flexport.errors import FlexportError
from flexportd.flexport.transport import Request, open_response
from tests.flexport_double import FlexportDouble, answer

BOTH = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("2001:0:7f00:1::", "loopback"),
        ("2a01:4f8::5efe:7f00:1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("10.0.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("2002:c0a8:101::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fec0::1", "private"),
        ("100.64.0.1", "shared"),
        ("100.100.100.200", "shared"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("0.0.0.0", "reserved"),
        ("::", "reserved"),
        ("255.255.255.255", "reserved"),
        ("240.0.0.1", "reserved"),
        ("192.0.2.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("168.63.129.16", "reserved"),
        ("2001:db8::1", "reserved"),
        ("64:ff9b:1::a00:1", "reserved"),
        ("100::1", "reserved"),
        ("4000::1", "reserved"),
        ("8.8.8.8", None),
        ("172.32.0.1", None),
        ("100.128.0.1", None),
        ("::ffff:8.8.8.8", None),
        ("64:ff9b::808:808", None),
        ("2606:4700::6810:1", None),
    ],
)
def test_the_kind_of_an_address(address, kind):
    assert address_kind(address) == kind


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_of_one_kind_in_every_disguise(address):
    kind, number = address_kind(str(address)), int(address)
    assert kind is not None or address.is_global
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        assert address_kind(str(IPv6Address(int(IPv6Address(prefix)) | number))) == kind
    assert address_kind(str(IPv6Address((0x2002 << 112) | (number << 80) | 1))) == kind


@given(BOTH)
def test_what_is_not_global_is_never_public(address):
    if not address.is_global and not isinstance(address, IPv6Address):
        assert address_kind(str(address)) is not None
    if isinstance(address, IPv4Address) and (address.is_loopback or address.is_private or address.is_multicast):
        assert address_kind(str(address)) is not None


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
