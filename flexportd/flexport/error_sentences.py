"""What went wrong between us and Flexport, one sentence for each kind: the only place where it is put into words.

A sentence is for people. What the library, the operating system or the protocol said is the `detail` of the error.
"""

import socket
import ssl
from collections.abc import Mapping
from enum import StrEnum

import aiohttp
from yarl import URL


class FailureKind(StrEnum):
    """One way in which a request fails without a usable answer."""

    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CERTIFICATE = "certificate"
    TLS = "tls"
    PROXY = "proxy"
    CONNECT_TIMEOUT = "connect-timeout"
    NETWORK = "network"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    BROKEN = "broken"
    WEB_PAGE = "web-page"
    NOT_JSON = "not-json"
    NO_ENVELOPE = "no-envelope"
    REDIRECT = "redirect"


MESSAGES: Mapping[FailureKind, str] = {
    FailureKind.DNS: "Flexport cannot be reached: the host name {host} cannot be resolved",
    FailureKind.REFUSED: "Flexport cannot be reached: {host} refuses the connection",
    FailureKind.UNREACHABLE: "Flexport cannot be reached: there is no network route to {host}",
    FailureKind.CERTIFICATE: "Flexport cannot be reached: the TLS certificate of {host} is not valid",
    FailureKind.TLS: "Flexport cannot be reached: no secure (TLS) connection to {host} can be set up",
    FailureKind.PROXY: "Flexport cannot be reached: the proxy does not pass the request on",
    FailureKind.CONNECT_TIMEOUT: "Flexport cannot be reached: connecting to {host} takes too long",
    FailureKind.NETWORK: "Flexport cannot be reached: the connection to {host} fails",
    FailureKind.TIMEOUT: "Flexport did not answer in time",
    FailureKind.CLOSED: "The connection to Flexport was closed before the answer was complete",
    FailureKind.BROKEN: "Flexport's answer is incomplete or is not valid HTTP",
    FailureKind.WEB_PAGE: "Flexport answered with a web page instead of JSON",
    FailureKind.NOT_JSON: "Flexport's answer is not valid JSON",
    FailureKind.NO_ENVELOPE: "Flexport's answer does not have the expected form",
    FailureKind.REDIRECT: "Flexport answered with a redirect, which is not followed",
}

_STATUS_MESSAGES: Mapping[int, str] = {
    401: "Flexport does not accept the API key or token",
    403: "Flexport does not allow this account to do this",
    404: "Flexport has no such object, or does not show it to this account",
    407: MESSAGES[FailureKind.PROXY],
    408: "Flexport did not receive the whole request in time",
    410: "Flexport no longer has this object",
    429: "Flexport's rate limit is exceeded",
    500: "Flexport had an internal error",
    502: "Flexport is temporarily unavailable",
    503: "Flexport is temporarily unavailable",
    504: "Flexport is temporarily unavailable",
}

# OpenSSL's codes (X509_V_ERR_*): what can be done differs.
_CERTIFICATE_HINTS: Mapping[int, str] = {
    9: "it is not valid yet; check this machine's clock",
    10: "it has expired",
    18: "it is self-signed",
    19: "it is signed by an unknown authority",
    20: "it is signed by an unknown authority",
    62: "it is for another host name",
    64: "it is for another address",
}

_UNREACHABLE = {101, 113}  # ENETUNREACH, EHOSTUNREACH
_RESOLVER = (socket.gaierror, aiohttp.ClientConnectorDNSError)
_PROXY = (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)
_NOT_HTTP = (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.InvalidURL)
_CLOSED = (aiohttp.ServerDisconnectedError, ConnectionError)
_CONNECTING = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def classify_failure(error: BaseException) -> FailureKind:
    """The kind of failure that an exception of aiohttp's or the operating system's stands for."""
    cause = getattr(error, "os_error", None) or error
    found = next((kind for classes, kind in _KINDS if isinstance(error, classes) or isinstance(cause, classes)), None)
    if found is FailureKind.CLOSED and isinstance(error, _CONNECTING):
        found = FailureKind.REFUSED if isinstance(cause, ConnectionRefusedError) else FailureKind.NETWORK
    if found is not None:
        return found
    if isinstance(error, aiohttp.ClientError | OSError):
        unreachable = isinstance(cause, OSError) and cause.errno in _UNREACHABLE
        if unreachable or isinstance(error, _CONNECTING):
            return FailureKind.UNREACHABLE if unreachable else FailureKind.NETWORK
        return FailureKind.CLOSED
    return FailureKind.BROKEN


_KINDS: tuple[tuple[tuple[type[BaseException], ...], FailureKind], ...] = (
    (_PROXY, FailureKind.PROXY),
    (_RESOLVER, FailureKind.DNS),
    ((ssl.SSLCertVerificationError, ssl.CertificateError), FailureKind.CERTIFICATE),
    ((ssl.SSLError,), FailureKind.TLS),
    ((aiohttp.ConnectionTimeoutError,), FailureKind.CONNECT_TIMEOUT),
    ((TimeoutError,), FailureKind.TIMEOUT),
    (_NOT_HTTP, FailureKind.BROKEN),
    (_CLOSED, FailureKind.CLOSED),
)


def exception_message(error: BaseException, url: str) -> str:
    """The sentence for an exception that a request to this address ended with."""
    kind = classify_failure(error)
    address = URL(url, encoded=True)
    host = f"{address.host}:{address.port}" if address.port not in (None, 80, 443) else str(address.host)
    sentence = MESSAGES[kind].format(host=host)
    if kind is FailureKind.CERTIFICATE:
        cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
        why = _CERTIFICATE_HINTS.get(getattr(cause, "verify_code", 0))
        return f"{sentence}: {why}" if why else sentence
    return sentence


def status_message(status: int, said: str | None = None) -> str:
    """The sentence for an answer that is a refusal or a failure, with what Flexport said of it."""
    if status in _STATUS_MESSAGES:
        sentence = _STATUS_MESSAGES[status]
    elif 300 <= status < 400:
        sentence = MESSAGES[FailureKind.REDIRECT]
    elif 400 <= status < 500:
        sentence = "Flexport rejects the request"
    elif 500 <= status < 600:
        sentence = "Flexport reports a failure"
    else:
        sentence = "Flexport answered with a status that HTTP does not know"
    return f"{sentence} ({status}: {said})" if said else f"{sentence} ({status})"
