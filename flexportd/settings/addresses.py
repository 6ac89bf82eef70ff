"""Addresses: where to listen, which networks to trust, URLs, CORS origins, the proxy for requests to Flexport."""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainValidator
from yarl import URL

from flexportd.http.network_addresses import address_kind
from flexportd.settings.value_types import ValueType, ensure, show_list

ANY_ORIGIN = "*"
_SOCKET_PATH_LIMIT = 107  # bytes: the kernel's limit for the path of a Unix socket, without the final NUL
_EXPECTED_LISTEN = "expected host:port, [IPv6]:port or unix:/path"
_EXPECTED_ORIGIN = "expected an origin such as https://app.example.com (scheme, host and port, without a path)"
_EXPECTED_PROXY = 'expected a URL such as "http://user:password@proxy.example.com:3128"'
_ENCODING = 'in the user and password, encode "%" as %25, "@" as %40, ":" as %3A, "/" as %2F, "?" as %3F and "#" as %23'
_UNSAFE = r"[\x00-\x20\x7f-\xa0\\]"
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_ENTRY = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")
_ORIGIN = re.compile(r"https?://[^/?#@\s\\]{1,260}")
_ORIGIN_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_URL = 2000  # characters
_PRIVATE_DOMAINS = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test")  # RFC 6761, 6762, 8375
_NUMERIC_HOST = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$")  # as browsers recognize IPv4 addresses
_RESERVED = ("/healthz", "/readyz", "/metrics", "/api", "/static")
_PROXY_SCHEMES = ("https", "socks", "socks4", "socks4a", "socks5", "socks5h")  # not supported
# Where other programs look for a proxy, in upper or lower case (curl, Go, Python's requests).
_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One address to listen on: host and port, or a Unix socket."""

    host: str | None
    port: int | None
    unix: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether it is a loopback address. A Unix socket is not: it exists for a reverse proxy."""
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
    """Parse `127.0.0.1:8080`, `[::1]:8080`, `localhost:0` or `unix:/run/x.sock`. Raises ValueError."""
    if isinstance(value, ListenAddress):
        return value
    if not isinstance(value, str):
        raise ValueError(_EXPECTED_LISTEN)  # noqa: TRY004 (pydantic collects ValueError only)
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path:
            raise ValueError("expected an absolute path after unix:, such as unix:/run/flexportd/http.sock")
        return ListenAddress(None, None, check_socket_path(Path(path)))
    match = _ENTRY.fullmatch(value)
    if match is None:
        raise ValueError(_EXPECTED_LISTEN + _listen_hint(value))
    if int(match["port"]) > 65535:
        raise ValueError("expected a port of at most 65535")
    host = match["host"] if match["v6"] is None else match["v6"]
    if not _is_host(host, v6=match["v6"] is not None):
        raise ValueError(_EXPECTED_LISTEN + _listen_hint(value))
    return ListenAddress(_normalise_host(host), int(match["port"]))


def check_socket_path(path: Path) -> Path:
    """Refuse a path that is too long for the kernel."""
    size = len(os.fsencode(path))
    if size > _SOCKET_PATH_LIMIT:
        raise ValueError(f"the path of a socket may have at most {_SOCKET_PATH_LIMIT} bytes, this one has {size}")
    return path


def parse_network(value: object) -> Network:
    """Parse a network (`10.0.0.0/8`) or an address; an IPv4-mapped one becomes IPv4. Raises ValueError."""
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
        network = ip_network(value)
    except ValueError:
        raise ValueError(f"this is an address within a network; expected the network {loose}") from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return network if mapped is None or network.prefixlen < 96 else IPv4Network((mapped, network.prefixlen - 96))


def check_url(value: str) -> str:
    """An http(s) URL without a final slash, so that paths can be appended. Raises ValueError."""
    expected = "expected an http:// or https:// URL without user, password and query"
    if re.search(_UNSAFE, value):
        raise ValueError(expected)
    try:
        parts = urlsplit(value)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        URL(value).origin()  # a host without an ASCII form is none for browsers and clients
    except ValueError:
        raise ValueError(expected) from None
    if not is_valid or "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError(expected)
    return value.rstrip("/")


def check_host(value: str) -> str:
    """A host name or address without port. Raises ValueError."""
    if not _is_host(value, v6=":" in value):
        raise ValueError("expected a host name or address, without port")
    return value.lower()


def is_private_host(host: str) -> bool:
    """Whether a host is a private, loopback or link-local address, or a name that only a private network can resolve.

    A name under a public domain is not, whatever it resolves to.
    """
    try:
        return address_kind(host) is not None
    except ValueError:
        name = host.lower().removesuffix(".")
        return "." not in name or name.endswith(_PRIVATE_DOMAINS)


def check_target_url(value: str) -> str:
    """A complete http(s) URL to send requests to, without user, password and fragment. Raises ValueError."""
    expected = "expected an http:// or https:// URL without user and password"
    if re.search(_UNSAFE, value) or len(value) > _MAX_URL or "#" in value:
        raise ValueError(expected)
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        is_valid = parts.scheme in {"http", "https"} and bool(host) and parts.port != 0
        URL(value).origin()
    except ValueError:
        raise ValueError(expected) from None
    if not is_valid or "@" in parts.netloc or _is_obscure_address(host):
        raise ValueError(expected)
    return value


def _is_obscure_address(host: str) -> bool:
    """Whether resolvers read a host as an IPv4 address, and checks of addresses do not: `127.1`, `0x7f.1`."""
    try:
        ip_address(host)
    except ValueError:
        return _NUMERIC_HOST.search(host) is not None
    return False


def check_route(value: str) -> str:
    """Refuse a webhook path that is reserved, or that a router or proxy could interpret differently."""
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
        # Digits and dots are a mistyped address, not a name.
        return not v6 and _HOST.fullmatch(host) is not None and not re.fullmatch(r"[0-9.]+", host)


def _normalise_host(host: str) -> str:
    """A host in its normal form. Raises ValueError for an address that no socket can be bound to."""
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower()
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # an IPv6-only socket cannot be bound to it
    if address.is_multicast or str(address) == "255.255.255.255":
        raise ValueError("a multicast or broadcast address accepts no connections")
    if isinstance(address, IPv6Address):
        if address.is_link_local and address.scope_id is None:
            raise ValueError(f"a link-local address needs its interface, such as [{address}%eth0]:8080")
        if address.scope_id is not None and not address.is_link_local:
            raise ValueError("only a link-local address (fe80::) can have an interface")
    return str(address)


def _listen_hint(value: str) -> str:
    if re.fullmatch(r":[0-9]{1,5}", value):
        return f"; for all interfaces, use 0.0.0.0{value}"
    if re.fullmatch(r"[0-9]{1,5}", value):
        return f"; for this machine only, use 127.0.0.1:{value}"
    return ""


def parse_origin(value: object) -> str:
    """Parse one origin into the form that browsers send: lower case, no default port. Raises ValueError."""
    if value == ANY_ORIGIN:
        return ANY_ORIGIN
    if not isinstance(value, str) or not value.isascii() or not _ORIGIN.fullmatch(value.lower()):
        raise ValueError(_EXPECTED_ORIGIN)
    try:
        parts = urlsplit(value.lower())
        port = parts.port
    except ValueError:
        raise ValueError(_EXPECTED_ORIGIN) from None
    host = parts.netloc if port is None else parts.netloc.removesuffix(f":{port}")
    if not _ORIGIN_HOST.fullmatch(host) or port == 0:
        raise ValueError(_EXPECTED_ORIGIN)
    return f"{parts.scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """A forward proxy: `url` has no user and password; `user` and `password` are decoded."""

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    _given: str = field(default="", repr=False, compare=False)  # the password as written in the URL

    @property
    def authorization(self) -> str | None:
        """The value of `Proxy-Authorization` (RFC 7617, in UTF-8); None without a user."""
        if self.user is None:
            return None
        pair = f"{self.user}:{self.password or ''}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """All forms in which the password may appear in a text."""
        forms = (self.password, self._given, (self.authorization or "").removeprefix("Basic "))
        return tuple(dict.fromkeys(form for form in forms if form)) if self.password else ()

    def __str__(self) -> str:
        """The address for people, without the password."""
        if self.user is None:
            return self.url
        shown = re.sub(r"[^!-~]|[@:/]", "?", self.user)
        return self.url.replace("//", f"//{shown}{':***' if self.password is not None else ''}@", 1)


def parse_proxy(value: object) -> ProxyUrl:
    """Parse `http://proxy:3128` or `http://user:password@proxy:3128`. Raises ValueError that does not contain it."""
    if isinstance(value, ProxyUrl):
        return value
    expected = f"{_EXPECTED_PROXY}; {_ENCODING}" if isinstance(value, str) and "@" in value else _EXPECTED_PROXY
    if not isinstance(value, str) or re.search(_UNSAFE, value) or "?" in value or "#" in value:
        raise ValueError(expected)
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme in _PROXY_SCHEMES:
        raise ValueError(f"{parts.scheme}:// proxies are not supported; {expected}")
    if parts.scheme != "http" or port == 0 or parts.path not in ("", "/") or not _is_proxy_host(host):
        raise ValueError(expected)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port or 80}"
    userinfo, at, _ = parts.netloc.rpartition("@")
    if not at:
        return ProxyUrl(url)
    user, colon, password = userinfo.partition(":")
    if not user or "@" in userinfo or re.search(r"%(?![0-9A-Fa-f]{2})", userinfo):
        raise ValueError(expected)
    try:
        name, secret = unquote(user, errors="strict"), unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("the user and password must be percent-encoded UTF-8") from None
    if ":" in name or not (name + secret).isprintable():
        raise ValueError(
            "the user must not contain a colon, and neither user nor password may contain control characters"
        )
    return ProxyUrl(url, name, secret if colon else None, password)


def _is_proxy_host(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return re.fullmatch(r"(?!-)[A-Za-z0-9._-]{1,253}", host) is not None
    return True


def environment_note(proxy: ProxyUrl | None, environ: Mapping[str, str]) -> str | None:
    """The note that the environment names a proxy and the settings do not."""
    spellings = [spelling for name in _PROXY_VARIABLES for spelling in (name, name.lower())]
    names = [name for name in spellings if environ.get(name)]
    if proxy is not None or not names:
        return None
    return (
        f"{' and '.join(names)} in the environment: not used; to reach Flexport through a proxy, set [flexport] proxy"
    )


def _are_distinct(value: Sequence[ListenAddress]) -> bool:
    fixed = [entry for entry in value if entry.port != 0]
    return bool(value) and len(set(fixed)) == len(fixed)


Listens = Annotated[
    tuple[Annotated[ListenAddress, PlainValidator(parse_listen)], ...],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    ensure(_are_distinct, "expected one or more different addresses"),
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
HostName = Annotated[
    str,
    AfterValidator(check_host),
    ValueType("host name or address"),
]
Route = Annotated[str, AfterValidator(check_route), ValueType("path of a URL")]
Origins = Annotated[
    tuple[Annotated[str, BeforeValidator(parse_origin)], ...],
    ensure(lambda value: ANY_ORIGIN not in value or len(value) == 1, '"*" allows every origin; remove the others'),
    ValueType("list of origins", kind="list", show=show_list, missing="none"),
]
ForwardProxy = Annotated[
    ProxyUrl,
    PlainValidator(parse_proxy),
    ValueType("http:// address with an optional user and password", article="an ", secret=True, mask=str),
]
