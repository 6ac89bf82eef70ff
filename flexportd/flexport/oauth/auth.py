"""How requests are signed: by an API key, or by a token that is fetched with client credentials (`credentials`).

Source: https://developers.flexport.com/tutorials/using-api-credentials. Keys and tokens are in no repr, log or message.
"""

from typing import Any, Protocol

from flexportd.clock import Clock
from flexportd.flexport.oauth.allowance import REQUESTS_ALLOWED
from flexportd.flexport.transport import HttpSession
from flexportd.tasks import Tasks


class Auth(Protocol):
    """What the client asks for a bearer."""

    async def open(self, session: HttpSession, tasks: Tasks, clock: Clock) -> None:
        """Make ready; called once, by the client as it opens."""

    async def bearer(self) -> str:
        """What stands behind `Bearer`. Raises FlexportError when there is none to be had."""

    async def renew_rejected(self, bearer: str, resource: str) -> bool:
        """A request with this bearer was answered 401; True when another one is there and it is worth another try."""

    def report_result(self, resource: str, problem: str | None, *, renewed: bool = False) -> None:
        """How a request ended: accepted (None), or 401 for good and why; `renewed`: with a fresh bearer too."""

    def state(self) -> dict[str, Any]:
        """For the status page."""


class AuthStatus:
    """Whether Flexport accepted the last request, and if not, why."""

    def __init__(self) -> None:
        self.authorised: bool | None = None
        self.reason: str | None = None

    def record(self, problem: str | None) -> None:
        """Accepted, or refused for this reason."""
        self.authorised, self.reason = problem is None, problem


class ApiKeyAuth:
    """A key is the bearer itself and never expires."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._status = AuthStatus()

    async def open(self, session: HttpSession, tasks: Tasks, clock: Clock) -> None:
        """Nothing to do."""

    async def bearer(self) -> str:
        """The key."""
        return self._key

    async def renew_rejected(self, bearer: str, resource: str) -> bool:  # noqa: ARG002 (the protocol's)
        """There is no other key."""
        return False

    def report_result(self, resource: str, problem: str | None, *, renewed: bool = False) -> None:  # noqa: ARG002 (the protocol's)
        """Kept for the status page."""
        self._status.record(problem)

    def state(self) -> dict[str, Any]:
        """Kind, and whether the key is accepted; None before the first answer."""
        return {
            "kind": "api_key",
            "authorised": self._status.authorised,
            "reason": self._status.reason,
            "expires_at": None,
            "token_requests": 0,
            "token_requests_limit": REQUESTS_ALLOWED,
        }
