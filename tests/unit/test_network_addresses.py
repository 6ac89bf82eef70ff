"""Which network addresses are public."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexportd.http.network_addresses import address_kind

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
