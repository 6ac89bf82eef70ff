"""Each way in which Flexport fails has a sentence; what the library says is a detail."""

import re
import socket
import ssl

import aiohttp
import pytest

from flexportd.clock import Clock
from flexportd.flexport.error_sentences import FailureKind, status_message
from flexportd.flexport.parse_response import error_for
from flexportd.flexport.transport import Reply, Request, translate


class _Key:
    host, port, ssl, is_ssl = "api.flexport.test", 443, True, True


def expired():
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: expired")
    error.verify_code, error.verify_message = 10, "certificate has expired"
    return error


TECHNICAL = re.compile(
    r"Client\w+|Server\w+|\w+Error|\w+Exception|Cannot connect|Connect call|ssl:|\[Errno|Errno \d|b'|None|Traceback"
)

ERRORS = {
    "refused": aiohttp.ClientConnectorError(
        _Key(), ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9)")
    ),
    "dns": aiohttp.ClientConnectorDNSError(_Key(), socket.gaierror(-2, "Name or service not known")),
    "raw dns": aiohttp.ClientConnectorError(_Key(), socket.gaierror(-3, "Temporary failure in name resolution")),
    "no route": aiohttp.ClientConnectorError(_Key(), OSError(113, "No route to host")),
    "network down": aiohttp.ClientConnectorError(_Key(), OSError(101, "Network is unreachable")),
    "certificate": aiohttp.ClientConnectorCertificateError(_Key(), expired()),
    "tls": aiohttp.ClientConnectorSSLError(_Key(), ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version")),
    "proxy": aiohttp.ClientProxyConnectionError(_Key(), ConnectionRefusedError(111, "Connect call failed")),
    "connecting": aiohttp.ConnectionTimeoutError("Connection timeout to host"),
    "other": aiohttp.ClientConnectorError(_Key(), OSError(99, "Cannot assign requested address")),
    "reset while connecting": aiohttp.ClientConnectorError(_Key(), ConnectionResetError(104, "reset by peer")),
    "timeout": TimeoutError(),
    "socket timeout": aiohttp.SocketTimeoutError("Timeout on reading data from socket"),
    "closed": aiohttp.ServerDisconnectedError(),
    "reset": aiohttp.ClientOSError(104, "Connection reset by peer"),
    "cut": aiohttp.ClientPayloadError("Response payload is not completed"),
    "no http": aiohttp.ClientResponseError(None, (), message="Bad status line", status=400),
    "url": aiohttp.InvalidURL("http://x"),
    "value": ValueError("Can not decode content-encoding: gzip"),
}
KINDS = {
    "refused": FailureKind.REFUSED, "dns": FailureKind.DNS, "raw dns": FailureKind.DNS,
    "no route": FailureKind.UNREACHABLE, "network down": FailureKind.UNREACHABLE,
    "certificate": FailureKind.CERTIFICATE, "tls": FailureKind.TLS, "proxy": FailureKind.PROXY,
    "connecting": FailureKind.CONNECT_TIMEOUT, "other": FailureKind.NETWORK,
    "reset while connecting": FailureKind.NETWORK, "timeout": FailureKind.TIMEOUT,
    "socket timeout": FailureKind.TIMEOUT, "closed": FailureKind.CLOSED, "reset": FailureKind.CLOSED,
    "cut": FailureKind.BROKEN, "no http": FailureKind.BROKEN, "url": FailureKind.BROKEN, "value": FailureKind.BROKEN,
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_each_exception_is_a_sentence_and_a_detail(name):
    ours = translate(ERRORS[name], Request("GET", "https://api.flexport.test/shipments?page=1", {}))
    assert not TECHNICAL.search(str(ours)), str(ours)
    assert str(ours).startswith(KINDS[name].format(host="api.flexport.test"))
    assert ours.detail.startswith("GET api.flexport.test/shipments: ")
    assert type(ERRORS[name]).__name__ in ours.detail


def test_a_certificate_that_has_expired_says_so():
    ours = translate(ERRORS["certificate"], Request("GET", "https://api.flexport.test:8443/shipments", {}))
    expected = "the TLS certificate of api.flexport.test:8443 is not valid: it has expired"
    assert str(ours) == f"Flexport cannot be reached: {expected}"


@pytest.mark.parametrize(
    "status", [302, 400, 401, 403, 404, 407, 408, 409, 410, 422, 429, 451, 500, 502, 503, 504, 520]
)
def test_each_status_is_a_sentence(status):
    assert re.fullmatch(rf"(Flexport|The)\S* .+ \({status}\)", status_message(status))
    now = Clock().now()
    ours = error_for(Reply(status, {}, b'{"error": {"message": "too many"}}', now, now), "GET /legs (page 2)")
    assert str(ours).startswith(status_message(status).removesuffix(")"))
    assert ours.detail.startswith(f"GET /legs (page 2): {status}")
