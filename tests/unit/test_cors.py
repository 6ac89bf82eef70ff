"""Which requests the door takes for ours: what browsers send, directly and through proxies, and what other sites send."""

from ipaddress import ip_network
from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from flexportd.clock import Clock
from flexportd.errors import ForbiddenError
from flexportd.expose.security.access_policy import AccessPolicy
from flexportd.expose.security.cors import origin_of
from flexportd.settings.addresses import check_url

DIRECT = "127.0.0.1:8080"
PUBLIC = "https://freight.example.com"
BASIC = {"Authorization": "Basic dTpmeGQ="}
BROWSER = {"User-Agent": "Mozilla/5.0", "Accept": "text/html,*/*;q=0.8"}


def _door(*, public_url=None, trusted=(), cors=(), required=False, hosts=("localhost", "flexportd")):
    gate = Mock(required=required)
    named = hosts if public_url is None else (*hosts, public_url.partition("://")[2], "freight.example.com")
    return AccessPolicy(
        Clock(), gate, cors_origins=cors, trusted_proxies=tuple(ip_network(one) for one in trusted),
        hosts=frozenset(named), public_origin=None if public_url is None else origin_of(public_url),
    )  # fmt: skip


def _request(headers, path="/queue/pause", method="POST", peer="127.0.0.1", *, tls=False):
    names = {"peername": (peer, 40000) if peer else ""}
    transport = Mock(get_extra_info=lambda name, default=None: names.get(name, default))
    context = Mock() if tls else None
    return make_mocked_request(method, path, CIMultiDict(headers), transport=transport, sslcontext=context)


def _verdict(door, headers, **more):
    """ours, foreign, or unknown: the form's token decides."""
    try:
        return "ours" if door.check_origin(_request(headers, **more)) else "unknown"
    except ForbiddenError:
        return "foreign"


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, "ours"),  # a page with Referrer-Policy: no-referrer
        ({"Sec-Fetch-Site": "same-origin", "Origin": PUBLIC}, "ours"),  # behind a proxy that rewrites Host
        ({"Sec-Fetch-Site": "none"}, "ours"),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://evil.example.com"}, "foreign"),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, "foreign"),  # a sandboxed frame
        ({"Sec-Fetch-Site": "cross-site"}, "foreign"),
        ({"Sec-Fetch-Site": "cross-site", "Origin": f"http://{DIRECT}"}, "foreign"),
        ({"Sec-Fetch-Site": "", "Origin": f"http://{DIRECT}"}, "foreign"),
        ({"Sec-Fetch-Site": "something-new"}, "foreign"),
        ({"Origin": f"http://{DIRECT}"}, "ours"),  # Safari before 16.4
        ({"Origin": "http://127.0.0.1"}, "foreign"),
        ({"Origin": "https://evil.example"}, "foreign"),
        ({"Origin": f"http://{DIRECT}.evil.example"}, "foreign"),
        ({"Origin": f"http://{DIRECT} https://evil.example"}, "foreign"),
        ({"Origin": ""}, "foreign"),
        ({"Origin": "file://"}, "foreign"),
        ({"Origin": "null"}, "unknown"),
        (BROWSER, "unknown"),
        ({"User-Agent": "Mozilla/5.0", "Accept": "*/*"}, "unknown"),
        ({"User-Agent": "curl/8.0", "Accept": "*/*"}, "ours"),  # no browser
        (BASIC | {"Origin": "null"}, "unknown"),
        ({"Authorization": "Bearer fxd", "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, "ours"),
    ],
)
def test_what_a_browser_says_decides(headers, verdict):
    assert _verdict(_door(), {"Host": DIRECT, **headers}) == verdict


@pytest.mark.parametrize(
    "sent",
    [
        [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", f"http://{DIRECT}"), ("Origin", "https://evil.example")],
        [("Origin", "null"), ("Origin", "null")],
        [("Origin", "https://evil.example"), ("X-Forwarded-Host", "evil.example")],  # no proxy is trusted
    ],
)
def test_a_header_that_is_given_twice_or_by_nobody_trusted_proves_nothing(sent):
    assert _verdict(_door(), CIMultiDict([("Host", DIRECT), *sent])) == "foreign"


@pytest.mark.parametrize(
    ("host", "more"),
    [
        (DIRECT, {}),  # nginx without proxy_set_header: $proxy_host
        ("flexport_backend", {}),  # the name of an upstream
        ("localhost", {}),  # proxy_pass http://unix:...
        ("freight.example.com", {}),  # $host
        ("freight.example.com:443", {}),  # $host:$server_port
        ("freight.example.com", {"X-Forwarded-Proto": "https"}),
    ],
)
def test_the_origin_of_public_url_is_ours_whatever_the_proxy_makes_of_host(host, more):
    door = _door(public_url=PUBLIC, required=True)
    for sent in ({"Origin": PUBLIC}, {"Sec-Fetch-Site": "same-origin", "Origin": "null"}):
        assert _verdict(door, {"Host": host, **BASIC, **more, **sent}) == "ours"
    for sent in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Origin": PUBLIC}):
        assert _verdict(door, {"Host": host, **BASIC, **more, **sent}) == "foreign"


@pytest.mark.parametrize(
    ("public", "origin", "verdict"),
    [
        ("https://Freight.example.com:443/", PUBLIC, "ours"),
        ("https://freight.example.com:8443", "https://freight.example.com:8443", "ours"),
        ("https://freight.example.com:8443", PUBLIC, "foreign"),
        ("https://freight.example.com/flexport", PUBLIC, "ours"),
        (PUBLIC, "http://freight.example.com", "foreign"),
        (PUBLIC, "https://sub.freight.example.com", "foreign"),
        ("https://Fräight.example.com", "https://xn--fright-cua.example.com", "ours"),
        ("http://[2001:DB8::1]:80", "http://[2001:db8::1]", "ours"),
    ],
)
def test_public_url_is_compared_as_browsers_write_origins(public, origin, verdict):
    door = _door(public_url=public, required=True)
    assert _verdict(door, {"Host": DIRECT, **BASIC, "Origin": origin}) == verdict


@given(st.text("aä-._:[]%1@/!$&'()*+,;=ß\u3002\u200d\u202e", min_size=1, max_size=9))
def test_every_address_that_the_settings_take_has_an_origin(host):
    try:
        url = check_url(f"https://{host}")
    except ValueError:
        return
    assert origin_of(url).isascii()


@pytest.mark.parametrize(
    ("forwarded", "origin", "verdict"),
    [
        ({"X-Forwarded-Host": "freight.example.com"}, PUBLIC, "ours"),
        ({"X-Forwarded-Host": "freight.example.com", "X-Forwarded-Proto": "https"}, PUBLIC, "ours"),
        ({"X-Forwarded-Host": "freight.example.com", "X-Forwarded-Proto": "https"}, "http://freight.example.com", "foreign"),
        ({"X-Forwarded-Host": "freight.example.com:443", "X-Forwarded-Proto": "https"}, PUBLIC, "ours"),
        ({"X-Forwarded-Host": "freight.example.com, inner:8080"}, PUBLIC, "ours"),
        ({"X-Forwarded-Host": "freight.example.com"}, "https://evil.example", "foreign"),
        ({}, PUBLIC, "foreign"),
    ],
)  # fmt: skip
def test_a_trusted_proxy_says_under_which_name_it_was_reached(forwarded, origin, verdict):
    headers = {"Host": DIRECT, "Origin": origin, **BASIC, **forwarded}
    door = _door(trusted=["127.0.0.1"], required=True)
    assert _verdict(door, headers) == verdict
    assert _verdict(door, headers, peer="192.0.2.7") == "foreign"
    assert _verdict(door, headers, peer=None) == verdict  # a Unix socket


def test_by_tls_of_our_own_only_https_is_ours():
    headers = {"Host": "freight.example.com", "Origin": "http://freight.example.com"}
    door = _door(hosts=("freight.example.com",))
    assert _verdict(door, headers, tls=True) == "foreign"
    assert _verdict(door, headers) == "ours"


@pytest.mark.parametrize("path", ["/api/v1/queue/pause", "/queue/pause"])
def test_a_configured_site_acts_with_the_api_alone_and_never_with_a_key_that_the_browser_adds(path):
    site, verdict = "https://app.example.com", "ours" if path.startswith("/api") else "foreign"
    door = _door(cors=(site,))
    for more in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        assert _verdict(door, {"Host": DIRECT, "Origin": site, **more}, path=path) == verdict
        assert _verdict(door, {"Host": DIRECT, "Origin": site, **more, **BASIC}, path=path) == "foreign"
        assert _verdict(door, {"Host": DIRECT, "Origin": "null", **more}, path="/api/v1/queue/pause") == "foreign"
    assert _verdict(_door(cors=("*",), required=True), {"Host": DIRECT, "Origin": site}, path=path) == "foreign"


# --- names that are not ours: DNS rebinding ---

NAVIGATION = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("settings", "headers", "verdict"),
    [
        ({}, {}, "foreign"),
        ({}, NAVIGATION, "foreign"),
        ({}, {"X-Forwarded-Host": "localhost"}, "foreign"),
        ({"required": True}, BASIC, "foreign"),
        # No key is needed, and the name may be rebound: only a browser that reached it by TLS says where it comes from.
        ({"public_url": PUBLIC}, {}, "foreign"),
        ({"public_url": PUBLIC}, NAVIGATION, "ours"),
        ({"trusted": ["127.0.0.1"]}, {"X-Forwarded-Host": "freight.example.com"}, "foreign"),
        ({"trusted": ["127.0.0.1"]}, NAVIGATION, "ours"),
        ({"trusted": ["192.0.2.1"]}, NAVIGATION, "foreign"),
        # A rebound name has no key.
        ({"public_url": PUBLIC, "required": True}, {}, "ours"),
        ({"trusted": ["127.0.0.1"], "required": True}, {}, "ours"),
    ],
)
def test_a_name_that_is_not_ours_is_taken_only_where_rebinding_has_no_effect(settings, headers, verdict, method):
    assert _verdict(_door(**settings), {"Host": "backend:8080", **headers}, method=method) == verdict


FOREIGN = st.sampled_from(
    ["null", "https://evil.example", "http://evil.example:8080", "https://sub.freight.example.com"]
)
CHOICES = {
    "settings": st.fixed_dictionaries(
        {
            "public_url": st.sampled_from([None, PUBLIC]),
            "trusted": st.sampled_from([(), ("127.0.0.1",), ("192.0.2.1",)]),
            "required": st.booleans(),
            "cors": st.sampled_from([(), ("https://app.example.com",)]),
        }
    ),
    "host": st.sampled_from([DIRECT, "freight.example.com", "freight.example.com:443", "backend", "localhost:8080"]),
    "origin": FOREIGN,
    "site": st.sampled_from([None, "cross-site", "same-site"]),
    "method": st.sampled_from(["POST", "DELETE", "PATCH", "PUT"]),
    "path": st.sampled_from(["/queue/pause", "/sync/run", "/api/v1/queue/pause", "/api/v1/keys"]),
    "kind": st.sampled_from(["text/plain", "multipart/form-data; boundary=x", "application/json", None]),
    "is_signed_in": st.booleans(),
}


@given(**CHOICES)
def test_a_page_of_another_site_is_refused_in_every_combination(
    settings, host, origin, site, method, path, kind, is_signed_in
):
    headers = {"Host": host, "Origin": origin, **BROWSER, **(BASIC if is_signed_in else {})}
    headers |= {name: value for name, value in (("Sec-Fetch-Site", site), ("Content-Type", kind)) if value}
    expected = {"foreign"} if origin != "null" or site or path.startswith("/api") else {"foreign", "unknown"}
    assert _verdict(_door(**settings), headers, path=path, method=method) in expected
