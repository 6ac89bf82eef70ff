"""Addresses that commands print."""

from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Whether only this machine can open an address."""
    from ipaddress import ip_address

    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
