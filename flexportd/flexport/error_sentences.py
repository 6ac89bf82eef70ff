"""What went wrong between Flexport and us: one sentence for people for each kind of failure.

The message of the library, the operating system or the protocol is the `detail` of the error.
"""

from enum import StrEnum
from pathlib import Path

import msgspec

from flexportd.http import request_failures
from flexportd.http.request_failures import RequestFailure


class FailureKind(StrEnum):
    """One way in which a request fails without a usable response; the value is its sentence."""

    DNS = f"Flexport cannot be reached: {RequestFailure.DNS}"
    REFUSED = f"Flexport cannot be reached: {RequestFailure.REFUSED}"
    UNREACHABLE = f"Flexport cannot be reached: {RequestFailure.UNREACHABLE}"
    CERTIFICATE = f"Flexport cannot be reached: {RequestFailure.CERTIFICATE}"
    TLS = f"Flexport cannot be reached: {RequestFailure.TLS}"
    PROXY = f"Flexport cannot be reached: {RequestFailure.PROXY}"
    CONNECT_TIMEOUT = f"Flexport cannot be reached: {RequestFailure.CONNECT_TIMEOUT}"
    NETWORK = f"Flexport cannot be reached: {RequestFailure.NETWORK}"
    TIMEOUT = "Flexport did not answer in time"
    CLOSED = "The connection to Flexport was closed before the answer was complete"
    BROKEN = "Flexport's answer is incomplete or is not valid HTTP"
    WEB_PAGE = "Flexport answered with a web page instead of JSON"
    NOT_JSON = "Flexport's answer is not valid JSON"
    NO_ENVELOPE = "Flexport's answer does not have the expected form"
    REDIRECT = "Flexport answered with a redirect, which is not followed"


_STATUS_MESSAGES = msgspec.json.decode(
    Path(__file__).with_name("error_sentences.json").read_bytes(), type=dict[int, str]
)


def classify_failure(error: BaseException) -> FailureKind:
    """The kind of failure of an exception from aiohttp or the operating system."""
    return FailureKind[request_failures.classify_failure(error).name]


def exception_message(error: BaseException, url: str) -> str:
    """The sentence for an exception that ended a request to this URL."""
    return request_failures.describe_failure(error, url, classify_failure(error))


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
