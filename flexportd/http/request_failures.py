"""Why a request got no usable response: one sentence for each kind of failure."""

import errno
import socket
import ssl
from enum import StrEnum

import aiohttp
from yarl import URL


class RequestFailure(StrEnum):
    """One way in which a request fails without a usable response; the value is its sentence."""

    DNS = "the host name {host} cannot be resolved"
    REFUSED = "{host} refuses the connection"
    UNREACHABLE = "there is no network route to {host}"
    CERTIFICATE = "the TLS certificate of {host} is not valid"
    TLS = "no secure (TLS) connection to {host} can be set up"
    PROXY = "the proxy does not pass the request on"
    CONNECT_TIMEOUT = "connecting to {host} takes too long"
    NETWORK = "the connection to {host} fails"
    TIMEOUT = "{host} did not answer in time"
    CLOSED = "{host} closed the connection before the answer was complete"
    BROKEN = "the answer of {host} is incomplete or is not valid HTTP"


_CERTIFICATE_HINTS = {  # by OpenSSL's codes (X509_V_ERR_*): what can be done about each differs
    9: "it is not valid yet; check this machine's clock",
    10: "it has expired",
    18: "it is self-signed",
    19: "it is signed by an unknown authority",
    20: "it is signed by an unknown authority",
    62: "it is for another host name",
    64: "it is for another address",
}
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH}
_CONNECTING = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
# The first that matches; proxy errors are a kind of connector errors, and so on.
_KINDS: tuple[tuple[RequestFailure, type[BaseException] | tuple[type[BaseException], ...]], ...] = (
    (RequestFailure.PROXY, (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)),
    (RequestFailure.DNS, (socket.gaierror, aiohttp.ClientConnectorDNSError)),
    (RequestFailure.CERTIFICATE, (ssl.SSLCertVerificationError, ssl.CertificateError)),
    (RequestFailure.TLS, ssl.SSLError),
    (RequestFailure.CONNECT_TIMEOUT, aiohttp.ConnectionTimeoutError),
    (RequestFailure.TIMEOUT, TimeoutError),
    (RequestFailure.BROKEN, (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.InvalidURL)),
    (RequestFailure.CLOSED, (aiohttp.ServerDisconnectedError, ConnectionError)),
)


def classify_failure(error: BaseException) -> RequestFailure:
    """The kind of failure of an exception from aiohttp or the operating system."""
    cause = getattr(error, "os_error", None) or error
    known = next((kind for kind, classes in _KINDS if isinstance(error, classes) or isinstance(cause, classes)), None)
    if known is RequestFailure.CLOSED and isinstance(error, _CONNECTING):
        return RequestFailure.REFUSED if isinstance(cause, ConnectionRefusedError) else RequestFailure.NETWORK
    if known is not None:
        return known
    if not isinstance(error, aiohttp.ClientError | OSError):
        return RequestFailure.BROKEN
    if isinstance(cause, OSError) and cause.errno in _UNREACHABLE:
        return RequestFailure.UNREACHABLE
    return RequestFailure.NETWORK if isinstance(error, _CONNECTING) else RequestFailure.CLOSED


def describe_failure(error: BaseException, url: str, sentence: str | None = None) -> str:
    """The sentence for an exception that ended a request to this URL; `sentence` replaces that of its kind."""
    kind = classify_failure(error)
    address = URL(url, encoded=True)
    host = f"{address.host}:{address.port}" if address.port not in (None, 80, 443) else str(address.host)
    sentence = (sentence or kind).format(host=host)
    if kind is not RequestFailure.CERTIFICATE:
        return sentence
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    hint = _CERTIFICATE_HINTS.get(getattr(cause, "verify_code", 0))
    return f"{sentence}: {hint}" if hint else sentence
