"""Authentication and rate limit of the API: the API key, and tokens from `POST /oauth/token`.

Tokens are valid for 24 hours, and at most ten are issued per day: https://developers.flexport.com/tutorials/using-api-credentials.
"""

import hmac
import math
import secrets
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta

from flexportd.clock import Clock
from flexportd.errors import FlexportdError
from flexportd.sandbox.catalog.kinds import Wire
from flexportd.sandbox.options import SandboxOptions

_DAY = timedelta(days=1)
_TOKENS_A_DAY = 10


class ApiError(FlexportdError):
    """An error response, as Flexport sends it; `code` is its name in the envelope."""

    slug = "refused"

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        self.status = status
        self.code = code
        self.retry_after = retry_after
        super().__init__(message)


class Authenticator:
    """Checks bearer tokens, issues tokens and limits the request rate."""

    def __init__(self, options: SandboxOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._tokens: dict[str, datetime] = {}
        self._issued_at: deque[datetime] = deque()
        self._allowance = self._burst
        self._counted_at = clock.now()

    def check(self, authorization: str | None) -> None:
        """Accept a request. Raises ApiError: 401 without a valid bearer token, 429 above the rate limit."""
        scheme, _, bearer = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not self._accepts(bearer.strip()):
            raise ApiError(401, "unauthorized", "The bearer token is missing, wrong or expired.")
        self._consume()

    def issue_token(self, body: Mapping[str, object]) -> Wire:
        """Issue a token for client credentials. Raises ApiError: 400, 401, or 429 after ten in a day."""
        if body.get("grant_type") != "client_credentials":
            raise ApiError(400, "unsupported_grant_type", "grant_type must be client_credentials.")
        now = self._clock.now()
        while self._issued_at and self._issued_at[0] <= now - _DAY:
            self._issued_at.popleft()
        if len(self._issued_at) >= _TOKENS_A_DAY:
            wait = math.ceil((self._issued_at[0] + _DAY - now) / timedelta(seconds=1))
            raise ApiError(429, "too_many_requests", "At most 10 tokens are issued per day.", wait)
        self._issued_at.append(now)
        known_id = _same(body.get("client_id"), self._options.client_id)
        if not _same(body.get("client_secret"), self._options.client_secret) or not known_id:
            raise ApiError(401, "access_denied", "The client id or secret is wrong.")
        token = secrets.token_urlsafe(48)
        self._tokens = {known: until for known, until in self._tokens.items() if until > now}
        self._tokens[token] = now + _DAY
        return {"access_token": token, "token_type": "Bearer", "expires_in": int(_DAY.total_seconds())}

    @property
    def _burst(self) -> float:
        """The allowance after a quiet second; at least one request."""
        return max(1.0, self._options.rate_limit or 0.0)

    def _accepts(self, bearer: str) -> bool:
        if _same(bearer, self._options.api_key):
            return True
        until = self._tokens.get(bearer)
        return until is not None and until > self._clock.now()

    def _consume(self) -> None:
        rate = self._options.rate_limit
        if rate is None:
            return
        now = self._clock.now()
        passed = max(0.0, (now - self._counted_at) / timedelta(seconds=1))
        self._allowance = min(self._burst, self._allowance + passed * rate)
        self._counted_at = now
        if self._allowance < 1:
            wait = max(1, math.ceil((1 - self._allowance) / rate))
            raise ApiError(429, "too_many_requests", f"More than {rate:g} requests a second.", wait)
        self._allowance -= 1


def _same(given: object, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(), expected.encode())
