"""The beginning of links: what was configured, what was asked, or where the daemon listens."""

import pytest
from aiohttp.test_utils import make_mocked_request

from flexportd.cli.format import is_loopback
from flexportd.clock import Clock
from flexportd.expose.context import DISPLAY, SERVER_INFO, DisplaySettings, ServerInfo
from flexportd.expose.security.access_policy import ACCESS_POLICY, AccessPolicy, base_url, reachable_url


class _Parts:
    def __init__(self, addresses=("127.0.0.1:8080",), public_url=None, *, has_tls=False):
        self.server = ServerInfo("", addresses=list(addresses), has_tls=has_tls)
        self.display = DisplaySettings(public_url=public_url)


def asked(parts, host, *, operator=False, unix=False, **headers):
    door = AccessPolicy(Clock(), checks_hosts=not operator)
    app = {DISPLAY: parts.display, SERVER_INFO: parts.server, ACCESS_POLICY: door}
    found = make_mocked_request("GET", "/", {"Host": host, **headers}, app=app)
    return found.clone(remote="" if unix else "192.0.2.7")


def test_a_configured_address_wins():
    parts = _Parts(public_url="https://freight.example.com/fx")
    assert base_url(asked(parts, "10.0.0.1:8080")) == "https://freight.example.com/fx"
    assert base_url(asked(parts, "flexportd", operator=True)) == "https://freight.example.com/fx"


@pytest.mark.parametrize("host", ["10.0.0.1:8080", "localhost:9000", "[2001:db8::5]:8080", "freight"])
def test_a_caller_gets_the_address_that_it_used(host):
    assert base_url(asked(_Parts(), host)) == f"http://{host}"


@pytest.mark.parametrize("host", ["", "a b", "x/../y", "evil@host", "host:port", "a\u0308"])
def test_a_host_that_is_none_is_not_repeated(host):
    assert base_url(asked(_Parts(), host)) == "http://127.0.0.1:8080"


def test_the_control_socket_gets_a_listening_address():
    assert base_url(asked(_Parts(), "flexportd", operator=True)) == "http://127.0.0.1:8080"
    assert base_url(asked(_Parts(has_tls=True), "flexportd", operator=True)) == "https://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("addresses", "url"),
    [
        (["127.0.0.1:1", "10.0.0.1:2"], "http://10.0.0.1:2"),
        (["unix:/run/x:1", "[::1]:3"], "http://[::1]:3"),
        (["unix:/run/x:1", "unix:@abstract"], None),
        ([], None),
    ],
)
def test_an_address_that_others_reach_goes_first(addresses, url):
    assert reachable_url(addresses, "http") == url


@pytest.mark.parametrize(("address", "version"), [("0.0.0.0:8080", 4), ("[::]:8080", 6)])
def test_all_addresses_are_one_of_this_machine(address, version, monkeypatch):
    def nowhere(self, to):
        raise OSError

    monkeypatch.setattr("socket.socket.connect", nowhere)
    assert reachable_url([address], "http") == ("http://127.0.0.1:8080" if version == 4 else "http://[::1]:8080")


def test_a_proxy_on_a_unix_socket_says_that_it_encrypts():
    assert base_url(asked(_Parts(), "freight.example.com", unix=True, **{"X-Forwarded-Proto": "https"})).startswith(
        "https://"
    )


def test_links_have_the_host_and_scheme_that_a_trusted_proxy_reports():
    told = {"X-Forwarded-Host": "freight.example.com, inner:81", "X-Forwarded-Proto": "https, http"}
    assert base_url(asked(_Parts(), "127.0.0.1:8080", unix=True, **told)) == "https://freight.example.com"
    assert base_url(asked(_Parts(), "10.0.0.1", unix=True, **{"X-Forwarded-Host": "a b"})) == "http://127.0.0.1:8080"
    assert base_url(asked(_Parts(), "10.0.0.1", **told)) == "http://10.0.0.1"  # anybody can send these headers


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8080/s/x", True),
        ("http://[::1]:8080/s/x", True),
        ("http://localhost/s/x", True),
        ("https://freight.example.com/s/x", False),
        ("http://10.0.0.1:8080/s/x", False),
    ],
)
def test_an_address_of_this_machine_alone_is_known(url, loopback):
    assert is_loopback(url) is loopback
