"""Authentication of requests: a bearer that is an API key, or a token (`client_credentials`).

Source: https://developers.flexport.com/tutorials/using-api-credentials. Keys and tokens are in no repr, log or message.
"""

from abc import ABC, abstractmethod
from typing import Any

from flexportd.clock import Clock
from flexportd.flexport.oauth.token_store import REQUESTS_ALLOWED
from flexportd.flexport.transport import HttpSession
from flexportd.tasks import Tasks


class Auth(ABC):
    """Supplies the bearer of requests, and records whether Flexport accepted the last one, or why not."""

    kind: str

    def __init__(self) -> None:
        self.authorised: bool | None = None
        self.reason: str | None = None

    async def open(self, session: HttpSession, tasks: Tasks, clock: Clock) -> None:  # noqa: B027 (a key needs nothing)
        """Called once, when the client opens."""

    @abstractmethod
    async def bearer(self) -> str:
        """The text after `Bearer`. Raises FlexportError if there is none."""

    async def renew_rejected(self, bearer: str, resource: str) -> bool:  # noqa: ARG002 (there is no other key)
        """After a 401 with this bearer: whether there is another one now, so that the request may be sent again."""
        return False

    def report_result(self, resource: str, problem: str | None, *, renewed: bool = False) -> None:  # noqa: ARG002
        """The result of a request: accepted (None), or a final 401 and why; `renewed`: with a fresh bearer too."""
        self.authorised, self.reason = problem is None, problem

    def state(self) -> dict[str, Any]:
        """For the status page; `authorised` is None before the first response."""
        return {
            "kind": self.kind,
            "authorised": self.authorised,
            "reason": self.reason,
            "expires_at": None,
            "token_requests": 0,
            "token_requests_limit": REQUESTS_ALLOWED,
        }


class ApiKeyAuth(Auth):
    """A key is the bearer itself and never expires."""

    kind = "api_key"

    def __init__(self, key: str) -> None:
        super().__init__()
        self._key = key

    async def bearer(self) -> str:
        return self._key
