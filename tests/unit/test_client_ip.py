"""Which address a request comes from, as its connection and its proxies tell."""

from ipaddress import ip_address, ip_network
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from flexportd.http.client_ip import LOCAL, MAX_PROXIES, UNKNOWN, client_of, forwarded_client, is_trusted
from flexportd.settings.addresses import parse_network

PROXIES = [ip_network("127.0.0.1"), ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


def request(*lines, remote="127.0.0.1"):
    return SimpleNamespace(remote=remote, headers=CIMultiDict([("X-Forwarded-For", line) for line in lines]))


def client(*lines, remote="127.0.0.1", trusted=PROXIES):
    return client_of(request(*lines, remote=remote), trusted).name


@pytest.mark.parametrize(
    ("element", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        (" \t1.2.3.4 ", "1.2.3.4"),
        ("1.2.3.4:5555", "1.2.3.4"),
        ('"1.2.3.4"', "1.2.3.4"),
        ('"1.2.3.4:0"', "1.2.3.4"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ('"2001:db8::1"', "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ('"[2001:db8::1]:4711"', "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("[::ffff:10.0.0.1]", "10.0.0.1"),
        ("[::ffff:10.0.0.1]:99", "10.0.0.1"),
        ("::ffff:a00:1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
    ],
)
def test_an_address_is_read_in_every_form_that_proxies_write(element, address):
    assert forwarded_client(element).address == ip_address(address)


@pytest.mark.parametrize(
    "element",
    [
        "", " ", "unknown", "_hidden", "_hidden:80", "unix:", "unix:/run/x.sock", "localhost", "1.2.3", "1.2.3.4.5",
        "1.2.3.4:", "1.2.3.4:port", "1.2.3.4:_x", "1.2.3.4:123456", "1.2.3.4:80:80", "[1.2.3.4]", "[1.2.3.4]:80",
        "[2001:db8::1", "2001:db8::1]", "[2001:db8::1]80", "[2001:db8::1]:", "[[2001:db8::1]]", "[]", "[]:80",
        '"1.2.3.4', '1.2.3.4"', '""', '"', '""1.2.3.4""', '"1.2.3.4" ;x', "for=1.2.3.4", "'1.2.3.4'", "1.2.3.4/32",
        "010.0.0.1", "0x7f000001", "2130706433", "1.2.3.4%eth0", "fe80::1%", "fe80::1%a%b", "1.2.3.4\x00", "\u0661.2.3.4",
        "1.2.3.4 5.6.7.8", "1.2.3.4;5.6.7.8", "::ffff:1.2.3.256", "0" * 100, "[" + "0" * 5000 + "]", "fe80::1%" + "x" * 99,
    ],
)  # fmt: skip
def test_what_is_no_address_leaves_the_client_unknown_and_hides_what_stands_before_it(element):
    assert forwarded_client(element) is UNKNOWN
    assert client(element) == "unknown"
    assert client(f"198.51.100.7, {element}") == "unknown"
    assert client("198.51.100.7", element) == "unknown"
    assert client(f"{element}, 198.51.100.7") == "198.51.100.7"


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ([], "127.0.0.1"),
        (["203.0.113.5"], "203.0.113.5"),
        (["198.51.100.7, 203.0.113.5"], "203.0.113.5"),
        (["198.51.100.7", "203.0.113.5"], "203.0.113.5"),
        (["203.0.113.5, 10.1.1.1, 10.2.2.2"], "203.0.113.5"),
        (["198.51.100.7,203.0.113.5", "10.1.1.1:80", '"[fd00::1]:443",[::ffff:10.2.2.2]'], "203.0.113.5"),
        (["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        (["unknown, 10.1.1.1"], "unknown"),
        (["203.0.113.5, , 10.1.1.1"], "unknown"),
    ],
)
def test_proxies_are_believed_from_the_right_as_long_as_they_are_trusted(lines, address):
    assert client(*lines) == address
    assert client(*lines, remote="::ffff:127.0.0.1") == address


def test_who_is_no_trusted_proxy_cannot_name_another_address():
    assert client("203.0.113.5", remote="192.0.2.1") == "192.0.2.1"
    assert client("203.0.113.5", remote="::ffff:192.0.2.1") == "192.0.2.1"
    assert client("203.0.113.5", remote="fe80::9%eth0") == "fe80::9"
    assert client("203.0.113.5", trusted=[]) == "127.0.0.1"


def test_the_peer_of_a_unix_socket_is_a_trusted_proxy_whatever_is_configured():
    for remote in ("", "/run/nginx/upstream.sock", "b'\\x00nginx'"):
        assert client("203.0.113.5", remote=remote, trusted=[]) == "203.0.113.5"
        assert client("198.51.100.7, 10.1.1.1", remote=remote) == "198.51.100.7"
        assert client_of(request(remote=remote), []) is LOCAL
        assert client("unknown", remote=remote, trusted=[]) == "unknown"
        assert is_trusted(request(remote=remote), [])


def test_a_connection_that_has_ended_already_is_nobody_that_is_trusted():
    assert client("203.0.113.5", remote=None) == "unknown"
    assert not is_trusted(request(remote=None), PROXIES)


def test_a_chain_that_is_too_long_is_not_believed():
    trusted = ["10.0.0.1"] * (MAX_PROXIES - 1)
    assert client(",".join(["203.0.113.5", *trusted])) == "203.0.113.5"
    assert client(",".join(["203.0.113.5", *trusted, "10.0.0.1"])) == "unknown"


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\0"), max_size=30), max_size=4), st.ip_addresses())
@example(['"198.51.100.7'], ip_address("203.0.113.5"))
def test_nothing_that_a_caller_writes_before_the_proxys_own_element_changes_its_address(written, own):
    plain = client(str(own))
    if not any(forwarded_client(str(own)).address in network for network in PROXIES):
        assert client(", ".join([*written, str(own)])) == plain
        assert client(*written, str(own)) == plain


def test_networks_in_mapped_form_are_those_of_ipv4():
    assert parse_network("::ffff:10.0.0.1") == ip_network("10.0.0.1")
    assert parse_network("::ffff:10.0.0.0/104") == ip_network("10.0.0.0/8")
    assert parse_network("::/0") == ip_network("::/0")
    assert client("203.0.113.5", remote="10.0.0.1", trusted=[parse_network("::ffff:10.0.0.1")]) == "203.0.113.5"
