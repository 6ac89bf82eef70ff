"""Every error that is Flexport's, or of the way to it.

    FlexportdError
    └── FlexportError                    asked of Flexport and not had; tells status, request_id, retry_after
        ├── UnauthorisedError            401: the key or token is not accepted, here or at all
        ├── ForbiddenAtFlexportError     403: the account may not see this
        ├── NotFoundAtFlexportError      404, 410: gone, or no longer visible
        ├── RejectedError                400, 422 and every other 4xx; also an `error` inside a 2xx
        ├── RateLimitedError             429: asked too often
        ├── FlexportUnavailableError     5xx, 408, reset, time-out, DNS: for now
        │   └── CircuitOpenError         not even tried: too many failures in a row
        ├── MalformedAnswerError         HTML, cut JSON, a redirect, an envelope that is none
        │   ├── RepeatedSecretError      a file that holds what we sign in with
        │   ├── AnswerTooLargeError      broken off while it was read
        │   └── RefusedRedirectError     a download that leads where it may not (`redirects`)
        ├── UnknownOutcomeError          a write that may or may not have happened
        └── TokensExhaustedError         no token request is left for today

The message is a sentence for people (`failure_sentences`). `detail` says what was asked and what the library or the
protocol said, made harmless. Neither ever holds a key, token or secret.
"""

from dataclasses import dataclass

from flexportd.errors import FlexportdError

MAX_BODY = 4096  # bytes of an error's body that are kept


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """What an answer tells beside its data: the HTTP status (0: no answer), Flexport's name for the request, and more.

    `retry_after` is in seconds, None where the answer does not say; `body` is the beginning of an error's body;
    `started_at` is a stamp on Flexport's clock: when the request began.
    """

    status: int = 0
    request_id: str | None = None
    retry_after: float | None = None
    body: bytes = b""
    started_at: str | None = None


class FlexportError(FlexportdError):
    """Something asked of Flexport did not come out."""

    slug = "flexport"

    def __init__(self, message: str, said: ErrorDetails | None = None, *, sent: bool = True, detail: str = "") -> None:
        """`sent` is False when it is certain that the request never left; `detail` is the technical reason."""
        self.response_details = said or ErrorDetails()
        self.sent = sent
        self.detail = detail
        super().__init__(message)

    @property
    def status(self) -> int:
        """The HTTP status; 0 without an answer."""
        return self.response_details.status

    @property
    def request_id(self) -> str | None:
        """What Flexport's support calls the request."""
        return self.response_details.request_id

    @property
    def retry_after(self) -> float | None:
        """Seconds after which it may work; None when nobody said."""
        return self.response_details.retry_after

    @property
    def started_at(self) -> str | None:
        """When the request began, as a stamp on Flexport's clock; None without an answer."""
        return self.response_details.started_at

    @property
    def body(self) -> bytes:
        """The first 4 KiB of the answer's body, as they came: for a person who looks into it, never for a log."""
        return self.response_details.body


class UnauthorisedError(FlexportError):
    """The key or token is not accepted, for this resource or at all."""

    slug = "flexport-unauthorised"


class ForbiddenAtFlexportError(FlexportError):
    """The account may not see or do this."""

    slug = "flexport-forbidden"


class NotFoundAtFlexportError(FlexportError):
    """There is no such thing, or it is no longer visible to the account."""

    slug = "flexport-not-found"


class RejectedError(FlexportError):
    """Flexport refuses what was asked; asking again cannot help."""

    slug = "flexport-rejected"


class RateLimitedError(FlexportError):
    """Asked too often; nothing was done."""

    slug = "flexport-rate-limited"
    permanent = False


class FlexportUnavailableError(FlexportError):
    """Flexport cannot be reached or fails, for now."""

    slug = "flexport-unavailable"
    permanent = False


class CircuitOpenError(FlexportUnavailableError):
    """Not tried: Flexport failed too often in a row. `retry_after` says when the next try is due."""


class MalformedResponseError(FlexportError):
    """The answer is not what Flexport's API answers; nothing in it is believed.

    `fingerprint` stands for its bytes, None where they say nothing lasting: the same bytes again will not get better.
    """

    slug = "flexport-malformed-response"
    permanent = False
    fingerprint: int | None = None

    def repeats(self, before: FlexportError | None) -> bool:
        """Whether the same answer came before."""
        known = before.fingerprint if isinstance(before, MalformedResponseError) else None
        return known is not None and known == self.fingerprint


class ResponseTooLargeError(MalformedResponseError):
    """The answer is larger than allowed; it was broken off."""

    slug = "flexport-response-too-large"
    permanent = True


class EchoedSecretError(MalformedResponseError):
    """A file holds what we sign in with: it is not kept."""

    permanent = True


class UnknownOutcomeError(FlexportError):
    """A write was sent and its fate is not known: it must be looked up before it may be sent again."""

    slug = "flexport-unknown-outcome"


class TokensExhaustedError(FlexportError):
    """Flexport gives ten tokens a day; what is left is kept for a person. `retry_after` says when one is free."""

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
    """The class of error that an HTTP status stands for; what is no failure (a redirect) is a malformed answer."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500:
        return RejectedError
    return FlexportUnavailableError if 500 <= status < 600 else MalformedResponseError
