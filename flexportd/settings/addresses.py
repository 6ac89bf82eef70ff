"""Addresses: where to listen, which networks to trust, the URLs of others."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainValidator
from yarl import URL

from flexportd.settings.value_types import ValueType, show_list

# The kernel's limit for the path of a Unix socket, without the closing NUL.
SOCKET_PATH_LIMIT = 107
_EXPECTED = "expected host:port, [IPv6]:port or unix:/path"
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_ENTRY = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")
_RESERVED = ("/healthz", "/readyz", "/metrics", "/api", "/static")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One place to listen at: host and port, or a Unix socket."""

    host: str | None
    port: int | None
    unix: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether it is a loopback address. A Unix socket is not: it exists for a proxy in front."""
        return self.host is not None and is_loopback(self.host)

    def __str__(self) -> str:
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in str(self.host) else f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether a host is a loopback address, or `localhost`."""
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def parse_listen(value: object) -> ListenAddress:
    """Read `127.0.0.1:8080`, `[::1]:8080`, `localhost:0` or `unix:/run/x.sock`. Raises ValueError."""
    if isinstance(value, ListenAddress):
        return value
    if not isinstance(value, str):
        raise ValueError(_EXPECTED)  # noqa: TRY004 (pydantic collects ValueError only)
    if value.startswith("unix:"):
        return ListenAddress(None, None, _socket_path(value.removeprefix("unix:")))
    match = _ENTRY.fullmatch(value)
    if match is None:
        raise ValueError(_EXPECTED + _listen_hint(value))
    if int(match["port"]) > 65535:
        raise ValueError("expected a port of at most 65535")
    host = match["host"] if match["v6"] is None else match["v6"]
    if not _is_host(host, v6=match["v6"] is not None):
        raise ValueError(_EXPECTED + _listen_hint(value))
    return ListenAddress(_normalise_host(host), int(match["port"]))


def check_socket_path(path: Path) -> Path:
    """Refuse what the kernel would cut or refuse at bind time."""
    size = len(os.fsencode(path))
    if size > SOCKET_PATH_LIMIT:
        raise ValueError(f"the path of a socket may have at most {SOCKET_PATH_LIMIT} bytes, this one has {size}")
    return path


def parse_network(value: object) -> Network:
    """Read a network (`10.0.0.0/8`) or one address; an IPv4-mapped one counts as IPv4. Raises ValueError."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    expected = "expected an address or a network such as 10.0.0.0/8"
    if not isinstance(value, str) or "%" in value:
        raise ValueError(expected)
    try:
        loose = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(expected) from None
    try:
        return _unmapped(ip_network(value))
    except ValueError:
        raise ValueError(f"this is an address within a network; expected the network {loose}") from None


def _unmapped(network: Network) -> Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return IPv4Network((mapped, network.prefixlen - 96))


def check_url(value: str) -> str:
    """Refuse what is no plain http(s) address; a closing slash is dropped so that paths can be joined."""
    expected = "expected an http:// or https:// URL without user, password and query"
    if re.search(r"[\x00-\x20\x7f-\xa0\\]", value):
        raise ValueError(expected)
    try:
        parts = urlsplit(value)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        URL(value).origin()  # a host that has no form in ASCII is no host of a browser or of a client
    except ValueError:
        raise ValueError(expected) from None
    if not sound or "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError(expected)
    return value.rstrip("/")


def check_route(value: str) -> str:
    """Refuse a webhook path that is taken, or that a router or proxy would read in another way."""
    segments = value.split("/")[1:]
    if not value.startswith("/") or any(not _SEGMENT.fullmatch(part) or part in {".", ".."} for part in segments):
        raise ValueError('expected a path such as "/webhooks/flexport" (letters, digits and . _ ~ - between slashes)')
    if value in _RESERVED or value.startswith(("/api/", "/static/")):
        raise ValueError("this path is used by flexportd itself; choose another")
    return value


def _is_host(host: str, *, v6: bool) -> bool:
    try:
        return ip_address(host).version == (6 if v6 else 4)
    except ValueError:
        # Digits and dots only is a mistyped address, not a name.
        return not v6 and _HOST.fullmatch(host) is not None and not re.fullmatch(r"[0-9.]+", host)


def _normalise_host(host: str) -> str:
    """A host to listen at in its usual form. Raises ValueError for an address that no socket can be bound to."""
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower()
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # no socket that serves IPv6 only can be bound to it
    if address.is_multicast or str(address) == "255.255.255.255":
        raise ValueError("a multicast or broadcast address accepts no connections")
    if isinstance(address, IPv6Address):
        if address.is_link_local and address.scope_id is None:
            raise ValueError(f"a link-local address needs its interface, such as [{address}%eth0]:8080")
        if address.scope_id is not None and not address.is_link_local:
            raise ValueError("only a link-local address (fe80::) can have an interface")
    return str(address)


def _socket_path(text: str) -> Path:
    if not text.startswith("/") or "\0" in text:
        raise ValueError("expected an absolute path after unix:, such as unix:/run/flexportd/http.sock")
    return check_socket_path(Path(text))


def _listen_hint(value: str) -> str:
    if re.fullmatch(r":[0-9]{1,5}", value):
        return f"; for all interfaces, use 0.0.0.0{value}"
    if re.fullmatch(r"[0-9]{1,5}", value):
        return f"; for this machine only, use 127.0.0.1:{value}"
    return ""


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _check_distinct(value: Sequence[ListenAddress]) -> Sequence[ListenAddress]:
    fixed = [entry for entry in value if entry.port != 0]
    if not value or len(set(fixed)) != len(fixed):
        raise ValueError("expected one or more different addresses")
    return value


Listens = Annotated[
    tuple[Annotated[ListenAddress, PlainValidator(parse_listen)], ...],
    BeforeValidator(_one_or_many),
    AfterValidator(_check_distinct),
    ValueType("text or list of texts, each host:port, [IPv6]:port or unix:/path", kind="list", show=show_list),
]
Networks = Annotated[
    tuple[Annotated[Network, PlainValidator(parse_network)], ...],
    ValueType("list of networks or addresses", kind="list", show=show_list, missing="none"),
]
AllowedNetworks = Annotated[
    Networks, ValueType("list of networks or addresses", kind="list", show=show_list, missing="all")
]
Url = Annotated[str, AfterValidator(check_url), ValueType("http(s) address", article="an ")]
OptionalUrl = Annotated[
    str | None,
    AfterValidator(lambda value: None if value is None else check_url(value)),
    ValueType("http(s) address", article="an "),
]
Route = Annotated[str, AfterValidator(check_route), ValueType("path of a URL")]
