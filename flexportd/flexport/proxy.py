"""The forward proxy for requests to Flexport (RFC 9110, sections 3.7 and 9.3.6), and its failures in words.

Over https, the proxy opens a tunnel (CONNECT) and sees the host alone; TLS is between Flexport and us. Over http it
sees the whole request.
"""

from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from flexportd.escape import escape_control

_SIGN_IN = 407


@dataclass(frozen=True, slots=True)
class Proxy:
    """`url` has no user and password; `authorization` is the value of `Proxy-Authorization`."""

    url: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Host and port, for messages."""
        return self.url.partition("://")[2]

    @property
    def headers(self) -> dict[str, str]:
        """The headers for the proxy alone."""
        return {} if self.authorization is None else {"Proxy-Authorization": self.authorization}

    def refusal(self, status: int, reason: str, target: str) -> str:
        """What an answer of the proxy itself means."""
        if status != _SIGN_IN:
            return (
                f"the proxy {self.name} does not connect to {target}: {status} {escape_control(reason, 100)}".rstrip()
            )
        if self.authorization is None:
            return f"the proxy {self.name} asks for a user and password (407); see [flexport] proxy"
        return f"the proxy {self.name} does not accept the user and password of [flexport] proxy (407)"

    def failure(self, error: Exception, url: URL) -> str:
        """Why no connection to a URL was made through the proxy."""
        target = f"{url.host}:{url.port}"
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return self.refusal(error.status, error.message, target)
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return f"the name of the proxy {self.name} cannot be resolved ({_reason(error)})"
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return f"the proxy {self.name} cannot be reached ({_reason(error)})"
        if isinstance(error, TimeoutError):
            return f"no connection to {target} through the proxy {self.name} within the time allowed"
        if isinstance(error, aiohttp.ClientConnectorError):
            return f"no TLS connection to {target} through the proxy {self.name} ({_reason(error)})"
        return f"the proxy {self.name} broke off or is no HTTP proxy ({type(error).__name__})"


def _reason(error: aiohttp.ClientConnectorError) -> str:
    found = error.os_error
    return escape_control(found.strerror or str(found) or type(found).__name__, 200)
