"""The proxy for requests to Flexport, with the user and password that it asks for."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import PlainValidator

from flexportd.settings.value_types import ValueType

VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
"""Where other programs look for a proxy, in capitals or small letters (curl, Go, Python's requests)."""

_NEEDED = 'expected a URL such as "http://user:password@proxy.example.com:3128"'
_ENCODED = 'in the user and password, encode "%" as %25, "@" as %40, ":" as %3A, "/" as %2F, "?" as %3F and "#" as %23'
_OTHER_KINDS = ("https", "socks", "socks4", "socks4a", "socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """A forward proxy: `url` has no user and password; `user` and `password` are decoded."""

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    _given: str = field(default="", repr=False, compare=False)  # the password as it stands in the URL

    @property
    def authorization(self) -> str | None:
        """The value of `Proxy-Authorization` (RFC 7617, in UTF-8); None without a user."""
        if self.user is None:
            return None
        pair = f"{self.user}:{self.password or ''}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every form in which the password may appear in a text."""
        forms = (self.password, self._given, (self.authorization or "").removeprefix("Basic "))
        return tuple(dict.fromkeys(form for form in forms if form)) if self.password else ()

    def __str__(self) -> str:
        """The address for people, without the password."""
        if self.user is None:
            return self.url
        shown = re.sub(r"[^!-~]|[@:/]", "?", self.user)
        return self.url.replace("//", f"//{shown}{':***' if self.password is not None else ''}@", 1)


def parse_proxy(value: object) -> ProxyUrl | None:
    """Read `http://proxy:3128` or `http://user:password@proxy:3128`. Raises ValueError, without the value in it."""
    if value is None or isinstance(value, ProxyUrl):
        return value
    needed = f"{_NEEDED}; {_ENCODED}" if isinstance(value, str) and "@" in value else _NEEDED
    if not isinstance(value, str) or re.search(r"[\x00-\x20\x7f-\xa0\\?#]", value):
        raise ValueError(needed)
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(needed) from None
    if parts.scheme in _OTHER_KINDS:
        raise ValueError(f"{parts.scheme}:// proxies are not supported; {needed}")
    if parts.scheme != "http" or port == 0 or parts.path not in ("", "/") or not _is_host(host):
        raise ValueError(needed)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port or 80}"
    sign_in, at, _ = parts.netloc.rpartition("@")
    return _signing_in(url, sign_in, needed) if at else ProxyUrl(url)


def _signing_in(url: str, sign_in: str, needed: str) -> ProxyUrl:
    user, colon, password = sign_in.partition(":")
    if not user or "@" in sign_in or re.search(r"%(?![0-9A-Fa-f]{2})", sign_in):
        raise ValueError(needed)
    try:
        name, secret = unquote(user, errors="strict"), unquote(password, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("the user and password must be percent-encoded UTF-8") from None
    if ":" in name or not (name + secret).isprintable():
        raise ValueError(
            "the user must not contain a colon, and neither user nor password may contain control characters"
        )
    return ProxyUrl(url, name, secret if colon else None, password)


def _is_host(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return re.fullmatch(r"(?!-)[A-Za-z0-9._-]{1,253}", host) is not None
    return True


def ignored_variables(environ: Mapping[str, str]) -> list[str]:
    """The variables of the environment that name a proxy, which is not used."""
    names = (form for name in VARIABLES for form in (name, name.lower()))
    return [name for name in names if environ.get(name)]


def environment_note(proxy: ProxyUrl | None, environ: Mapping[str, str]) -> str | None:
    """That the environment names a proxy and the settings do not."""
    names = [] if proxy is not None else ignored_variables(environ)
    if not names:
        return None
    return (
        f"{' and '.join(names)} in the environment: not used; to reach Flexport through a proxy, set [flexport] proxy"
    )


OptionalProxy = Annotated[
    ProxyUrl | None,
    PlainValidator(parse_proxy),
    ValueType("http:// address with an optional user and password", article="an ", secret=True, mask=str),
]
