"""The errors of requests to Flexport.

    FlexportdError
    └── FlexportError                    a request failed
        ├── UnauthorisedError            401: the key or token is not accepted, for this resource or at all
        ├── ForbiddenAtFlexportError     403: the account may not see this
        ├── NotFoundAtFlexportError      404, 410: deleted, or no longer visible
        ├── RejectedError                400, 422 and every other 4xx; also an `error` inside a 2xx
        ├── RateLimitedError             429: too many requests
        ├── FlexportUnavailableError     5xx, 408, reset, timeout, DNS: temporary
        │   └── CircuitOpenError         not sent: too many failures in a row
        ├── MalformedResponseError       HTML, truncated JSON, a redirect, no valid envelope
        │   ├── EchoedSecretError        a file that contains our credentials
        │   ├── ResponseTooLargeError    reading was aborted
        │   └── RefusedRedirectError     a download that redirects to a place that is not allowed (`download`)
        ├── UnknownOutcomeError          a write that may or may not have taken effect
        └── TokensExhaustedError         no token request is left for today

The message is a sentence for people (`error_sentences`). `detail` names the request and the message of the library or
the protocol, escaped. Neither ever contains a key, token or secret.
"""

from dataclasses import dataclass

from flexportd.errors import FlexportdError

MAX_BODY = 4096  # bytes of an error's body that are kept


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """The response that an error is about.

    `status` is the HTTP status (0: no response), `request_id` Flexport's name for the request. `retry_after` is in
    seconds, None if unknown. `body` is the beginning of the body as received, for people and never for a log.
    `started_at` is when the request began, as a stamp on Flexport's clock.
    """

    status: int = 0
    request_id: str | None = None
    retry_after: float | None = None
    body: bytes = b""
    started_at: str | None = None


class FlexportError(FlexportdError):
    """A request to Flexport failed.

    `sent` is False if the request certainly never left; `detail` is the technical reason.
    """

    slug = "flexport"

    def __init__(
        self, message: str, response: ErrorDetails | None = None, *, sent: bool = True, detail: str = ""
    ) -> None:
        self.response = response or ErrorDetails()
        self.sent = sent
        self.detail = detail
        super().__init__(message)


class UnauthorisedError(FlexportError):
    slug = "flexport-unauthorised"


class ForbiddenAtFlexportError(FlexportError):
    slug = "flexport-forbidden"


class NotFoundAtFlexportError(FlexportError):
    slug = "flexport-not-found"


class RejectedError(FlexportError):
    slug = "flexport-rejected"


class RateLimitedError(FlexportError):
    slug = "flexport-rate-limited"
    permanent = False


class FlexportUnavailableError(FlexportError):
    slug = "flexport-unavailable"
    permanent = False


class CircuitOpenError(FlexportUnavailableError):
    """Not sent: Flexport failed too often in a row. `retry_after` is the time until the next attempt."""


class MalformedResponseError(FlexportError):
    """The response is not one of Flexport's API; nothing in it is used.

    `fingerprint` identifies its bytes: the same bytes again are no better. None for a temporary failure.
    """

    slug = "flexport-malformed-response"
    permanent = False
    fingerprint: int | None = None

    def repeats(self, before: FlexportError | None) -> bool:
        """Whether `before` is about the same bytes."""
        known = before.fingerprint if isinstance(before, MalformedResponseError) else None
        return known is not None and known == self.fingerprint


class ResponseTooLargeError(MalformedResponseError):
    slug = "flexport-response-too-large"
    permanent = True


class EchoedSecretError(MalformedResponseError):
    permanent = True


class UnknownOutcomeError(FlexportError):
    """A write was sent and its outcome is unknown: it must be looked up before it may be sent again."""

    slug = "flexport-unknown-outcome"


class TokensExhaustedError(FlexportError):
    """Flexport's daily limit of token requests is reached. `retry_after` is the time until the next one."""

    slug = "flexport-tokens-exhausted"
    permanent = False


_BY_STATUS: dict[int, type[FlexportError]] = {
    401: UnauthorisedError,
    403: ForbiddenAtFlexportError,
    404: NotFoundAtFlexportError,
    408: FlexportUnavailableError,
    410: NotFoundAtFlexportError,
    429: RateLimitedError,
}


def error_class(status: int) -> type[FlexportError]:
    """The error of an HTTP status; a status that is no failure (a redirect) is a malformed response."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500:
        return RejectedError
    return FlexportUnavailableError if 500 <= status < 600 else MalformedResponseError
