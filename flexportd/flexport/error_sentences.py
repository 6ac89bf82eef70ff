"""What went wrong between Flexport and us: one sentence for people for each kind of failure.

The message of the library, the operating system or the protocol is the `detail` of the error.
"""

import errno
import socket
import ssl
from enum import StrEnum
from pathlib import Path

import aiohttp
import msgspec
from yarl import URL


class FailureKind(StrEnum):
    """One way in which a request fails without a usable response; the value is its sentence."""

    DNS = "Flexport cannot be reached: the host name {host} cannot be resolved"
    REFUSED = "Flexport cannot be reached: {host} refuses the connection"
    UNREACHABLE = "Flexport cannot be reached: there is no network route to {host}"
    CERTIFICATE = "Flexport cannot be reached: the TLS certificate of {host} is not valid"
    TLS = "Flexport cannot be reached: no secure (TLS) connection to {host} can be set up"
    PROXY = "Flexport cannot be reached: the proxy does not pass the request on"
    CONNECT_TIMEOUT = "Flexport cannot be reached: connecting to {host} takes too long"
    NETWORK = "Flexport cannot be reached: the connection to {host} fails"
    TIMEOUT = "Flexport did not answer in time"
    CLOSED = "The connection to Flexport was closed before the answer was complete"
    BROKEN = "Flexport's answer is incomplete or is not valid HTTP"
    WEB_PAGE = "Flexport answered with a web page instead of JSON"
    NOT_JSON = "Flexport's answer is not valid JSON"
    NO_ENVELOPE = "Flexport's answer does not have the expected form"
    REDIRECT = "Flexport answered with a redirect, which is not followed"


_TEXTS = msgspec.json.decode(
    Path(__file__).with_name("error_sentences.json").read_bytes(), type=dict[str, dict[int, str]]
)
_STATUS_MESSAGES = _TEXTS["statuses"]
_CERTIFICATE_HINTS = _TEXTS["certificates"]  # by OpenSSL's codes (X509_V_ERR_*): what can be done about each differs
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH}
_CONNECTING = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
# The first that matches; proxy errors are a kind of connector errors, and so on.
_KINDS: tuple[tuple[FailureKind, type[BaseException] | tuple[type[BaseException], ...]], ...] = (
    (FailureKind.PROXY, (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)),
    (FailureKind.DNS, (socket.gaierror, aiohttp.ClientConnectorDNSError)),
    (FailureKind.CERTIFICATE, (ssl.SSLCertVerificationError, ssl.CertificateError)),
    (FailureKind.TLS, ssl.SSLError),
    (FailureKind.CONNECT_TIMEOUT, aiohttp.ConnectionTimeoutError),
    (FailureKind.TIMEOUT, TimeoutError),
    (FailureKind.BROKEN, (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.InvalidURL)),
    (FailureKind.CLOSED, (aiohttp.ServerDisconnectedError, ConnectionError)),
)


def classify_failure(error: BaseException) -> FailureKind:
    """The kind of failure of an exception from aiohttp or the operating system."""
    cause = getattr(error, "os_error", None) or error
    known = next((kind for kind, classes in _KINDS if isinstance(error, classes) or isinstance(cause, classes)), None)
    if known is FailureKind.CLOSED and isinstance(error, _CONNECTING):
        return FailureKind.REFUSED if isinstance(cause, ConnectionRefusedError) else FailureKind.NETWORK
    if known is not None:
        return known
    if not isinstance(error, aiohttp.ClientError | OSError):
        return FailureKind.BROKEN
    if isinstance(cause, OSError) and cause.errno in _UNREACHABLE:
        return FailureKind.UNREACHABLE
    return FailureKind.NETWORK if isinstance(error, _CONNECTING) else FailureKind.CLOSED


def exception_message(error: BaseException, url: str) -> str:
    """The sentence for an exception that ended a request to this URL."""
    kind = classify_failure(error)
    address = URL(url, encoded=True)
    host = f"{address.host}:{address.port}" if address.port not in (None, 80, 443) else str(address.host)
    sentence = kind.format(host=host)
    if kind is not FailureKind.CERTIFICATE:
        return sentence
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    hint = _CERTIFICATE_HINTS.get(getattr(cause, "verify_code", 0))
    return f"{sentence}: {hint}" if hint else sentence


def status_message(status: int, message: str | None = None) -> str:
    """The sentence for a response that is a refusal or a failure, with Flexport's own message."""
    if status in _STATUS_MESSAGES:
        sentence = _STATUS_MESSAGES[status]
    elif 300 <= status < 400:
        sentence = FailureKind.REDIRECT
    elif 400 <= status < 500:
        sentence = "Flexport rejects the request"
    elif 500 <= status < 600:
        sentence = "Flexport reports a failure"
    else:
        sentence = "Flexport answered with a status that HTTP does not know"
    return f"{sentence} ({status}: {message})" if message else f"{sentence} ({status})"
